package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

func newNeighbor() *cobra.Command {
	c := &cobra.Command{
		Use:   "neighbor",
		Short: "Give a running node a neighbor",
	}
	c.AddCommand(newNeighborAdd())
	return cli.Parent(c)
}

func newNeighborAdd() *cobra.Command {
	var to where
	var remember bool
	var descriptor neighborhood.Descriptor
	c := &cobra.Command{
		Use:   "add DESCRIPTOR",
		Short: "Have a running node dial another one",
		Long: `Have a running node dial another one, farewell://KEY@HOST:PORT, now and whenever
it cannot be reached, as if the node had been started with --neighbor. That
lasts until the node ends; with --remember it is written beside the node's key
file, and done again whenever the node is started with that file.

Exits with 0 when the node has taken it; 'farewell status' shows whether it was
reached.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(c, fmt.Errorf("%d arguments, want one descriptor", len(args)))
			}
			if err := descriptor.UnmarshalText([]byte(args[0])); err != nil {
				return cli.Usage(c, err)
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			return to.with(c, func(ctx context.Context, node *client.Client) error {
				if err := node.AddNeighbor(ctx, descriptor.String(), remember); err != nil {
					return err
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "The node dials %s.\n", descriptor)
				return err
			})
		},
	}
	to.flags(c)
	c.Flags().BoolVar(&remember, "remember", false, "also whenever the node is started again with its key file")
	return c
}

// mapRows say whether the neighborhood is in parts, and who is missing.
func mapRows(n *ui.NodeStatus) [][]string {
	text := "whole"
	switch {
	case n.InParts:
		text = "in parts"
	case len(n.Missing) > 0:
		text = "without somebody that the node is configured with"
	}
	if n.BeyondReach > 0 {
		text += fmt.Sprintf("; %d nodes out of reach", n.BeyondReach)
	}
	rows := [][]string{{"map", text}}
	for _, m := range n.Missing {
		rows = append(rows, []string{"", missingText(m)})
	}
	return rows
}

func missingText(m ui.Missing) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%.8s is not reachable for %s", cli.Plain(m.Key), cli.Short(time.Duration(m.For)))
	if m.Left {
		text.WriteString(" (it has left)")
	}
	if m.Next != nil {
		fmt.Fprintf(&text, ", dialed again in %s", cli.Short(time.Duration(*m.Next)))
	}
	return text.String()
}
