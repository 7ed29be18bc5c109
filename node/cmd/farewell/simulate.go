package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/neighborhood/sim"
)

func newSimulate() *cobra.Command {
	var config sim.Config
	var format string
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Simulate networks of neighborhoods, from a seed",
		Long: `Simulate a network of neighborhoods, the same code that a node runs, under a
simulated clock. Prints for each event what it cost in messages and bytes, and
how long it took until all agreed. The same flags always show the same run.
Exits with 1 if a promise was broken, with the command line that shows it again.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return usage(c, fmt.Errorf("%s: %q is neither table nor json", nameOf(c, "format"), format))
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
			defer stop()
			result, err := sim.Run(ctx, config)
			switch {
			case errors.Is(err, sim.ErrConfig):
				return usage(c, err)
			case err != nil:
				return err
			case format == "json":
				err = printJSON(c.OutOrStdout(), result)
			default:
				_, err = fmt.Fprint(pageOf(c), result)
			}
			return errors.Join(err, result.Err())
		},
	}
	flags := c.Flags()
	flags.IntVar(&config.Nodes, "nodes", 100, fmt.Sprintf("how many, up to %d", sim.MaxNodes))
	flags.Uint64Var(&config.Seed, "seed", 1, "of everything that is drawn")
	flags.IntVar(&config.Leavers, "leavers", 3, "nodes that withdraw")
	flags.IntVar(&config.Crashers, "crashers", 1, "nodes that vanish without a farewell; every second one comes back")
	flags.IntVar(&config.Byzantine, "byzantine", 0, "nodes that lie")
	flags.IntVar(&config.Faults, "faults", 0, "links that stall or break, and partitions that heal")
	flags.StringVar(&format, "format", "table", "table or json")
	return c
}
