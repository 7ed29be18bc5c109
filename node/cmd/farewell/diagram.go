package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
)

func newDiagram() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "diagram",
		Short: "Print the state diagram of a shutdown",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch format {
			case "mermaid":
				fmt.Fprint(c.OutOrStdout(), fsm.Transitions().Mermaid())
			case "dot":
				fmt.Fprint(c.OutOrStdout(), fsm.Transitions().DOT())
			default:
				return usage(c, fmt.Errorf("%s: %q is neither mermaid nor dot", nameOf(c, "format"), format))
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "mermaid", "mermaid or dot")
	complete(c, "format", "mermaid", "dot")
	return c
}
