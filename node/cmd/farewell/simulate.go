package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/neighborhood/sim"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func newSimulate() *cobra.Command {
	var config sim.Config
	var format string
	var scaleDowns int
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Simulate networks of neighborhoods, from a seed",
		Long: `Simulate a network of neighborhoods, the same code that a node runs, under a
simulated clock. Prints for each event what it cost in messages and bytes, and
how long it took until all agreed. The same flags always show the same run.
Exits with 1 if a promise was broken, with the command line that shows it again.
A network in parts, although its nodes could find each other by what they are
configured with or remember, is a broken promise.

With --scale-downs it simulates many networks of up to --nodes nodes, of which a
part goes in every manner, and says how long they took to be whole again.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "table" && format != "json" {
				return cli.Usage(c, fmt.Errorf("%s: %q is neither table nor json", cli.NameOf(c, "format"), format))
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
			defer stop()
			if scaleDowns > 0 {
				return simulateScaleDowns(ctx, c, format, scaleDowns, config)
			}
			result, err := sim.Run(ctx, config)
			switch {
			case errors.Is(err, sim.ErrConfig):
				return cli.Usage(c, err)
			case err != nil:
				return err
			case format == "json":
				err = cli.PrintJSON(c.OutOrStdout(), result)
			default:
				_, err = fmt.Fprint(cli.PageOf(c), result)
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
	flags.IntVar(&config.Killed, "killed", 0, "nodes that vanish without a farewell, for good")
	flags.StringVar((*string)(&config.Hub), "hub", "", "all are configured with the first node, which `stays` or goes")
	flags.StringVar((*string)(&config.Pace), "pace", "", "those who go do so in a `row`, or at once: row or once (default: when the network is silent again)")
	flags.BoolVar(&config.Settled, "settled", false, "start with a network that has long been there; so do all of more than 100 nodes")
	flags.IntVar(&scaleDowns, "scale-downs", 0, "simulate so many networks of up to --nodes nodes, of which 1 to 90 % go")
	flags.StringVar(&format, "format", "table", "table or json")
	return c
}

func simulateScaleDowns(ctx context.Context, c *cobra.Command, format string, runs int, config sim.Config) error {
	all, err := sim.RunScaleDowns(ctx, runs, config.Nodes, config.Seed)
	switch {
	case errors.Is(err, sim.ErrConfig):
		return cli.Usage(c, err)
	case err != nil:
		return err
	case format == "json":
		err = cli.PrintJSON(c.OutOrStdout(), all)
	default:
		_, err = fmt.Fprint(c.OutOrStdout(), all)
	}
	return errors.Join(err, all.Err())
}
