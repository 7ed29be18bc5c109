package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

// statusPause is between two looks at a node that is waited for.
const statusPause = 100 * time.Millisecond

func newStatus() *cobra.Command {
	var to where
	var asJSON, openURL bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what a running node is and does",
		Long: `Show what a running node is and does.

Exit codes: 0 it is running; 1 it is not there, or does not answer; 2 wrong
flags; 5 it is leaving.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if wait < 0 {
				return cli.Usage(c, fmt.Errorf("%s %v: a time to wait is not negative", cli.NameOf(c, "wait"), wait))
			}
			if openURL {
				url, err := to.pageURL()
				if err == nil {
					_, err = fmt.Fprintln(c.OutOrStdout(), url)
				}
				return err
			}
			found, err := to.await(c, wait)
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(c.OutOrStdout(), found.status)
			} else {
				err = printStatus(cli.PageOf(c), found.status, found.descriptor)
			}
			if found.status.Report.State != fsm.Running {
				err = errors.Join(err, cli.ExitCode(cli.ExitLeaving))
			}
			return err
		},
	}
	to.flags(c)
	flags := c.Flags()
	flags.DurationVar(&wait, "wait", 0, "wait that long for a node that is running")
	flags.BoolVar(&asJSON, "json", false, "print everything, as JSON")
	flags.BoolVar(&openURL, "open-url", false, "only print the URL to open in a browser; with a token it is a secret")
	return c
}

// found is what a node says of itself.
type found struct {
	status     *ui.Status
	descriptor string
}

// await looks at the node until it is running, at most that long, and once at least.
// It returns what it has seen last.
func (w *where) await(c *cobra.Command, limit time.Duration) (*found, error) {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
	defer stop()
	c.SetContext(ctx)
	deadline := time.Now().Add(limit)
	for {
		var f found
		err := w.with(c, f.look)
		wrong := errors.As(err, new(*cli.UsageError)) || errors.As(err, new(*client.Error)) || ctx.Err() != nil
		fine := err == nil && f.status.Report.State == fsm.Running
		if fine || wrong || time.Until(deadline) < statusPause {
			return &f, err
		}
		select {
		case <-time.After(statusPause):
		case <-ctx.Done():
		}
	}
}

func (f *found) look(ctx context.Context, node *client.Client) (err error) {
	if f.status, err = node.Status(ctx); err != nil {
		return err
	}
	if f.status.Report == nil {
		return errors.New("the answer has no report")
	}
	f.descriptor, err = node.Descriptor(ctx)
	return err
}
