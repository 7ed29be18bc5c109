package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func newDiagram() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "diagram",
		Short: "Print the state diagram of a shutdown",
		Args:  cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch format {
			case "mermaid":
				fmt.Fprint(c.OutOrStdout(), fsm.Transitions().Mermaid())
			case "dot":
				fmt.Fprint(c.OutOrStdout(), fsm.Transitions().DOT())
			default:
				return cli.Usage(c, fmt.Errorf("%s: %q is neither mermaid nor dot", cli.NameOf(c, "format"), format))
			}
			return nil
		},
	}
	c.Flags().StringVar(&format, "format", "mermaid", "mermaid or dot")
	cli.Complete(c, "format", "mermaid", "dot")
	return c
}
