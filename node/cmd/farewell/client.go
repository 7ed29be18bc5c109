package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

// withClient makes a command that connects to the node at --ui. Ctrl-C ends the
// command, and never harms the node.
func withClient(c *cobra.Command, do func(context.Context, *cobra.Command, *client.Client) error) *cobra.Command {
	address := c.Flags().String("ui", node.DefaultUI, "`address` of the node's UI: a port, host:port or unix:PATH")
	tokenFile := c.Flags().String("ui-token-file", "", "`file` with the token, if the node wants one")
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
		defer stop()
		var options []client.Option
		if *tokenFile != "" {
			token, err := readToken(*tokenFile)
			if err != nil {
				return err
			}
			options = append(options, client.Token(token))
		}
		connection, err := client.Dial(ctx, *address, options...)
		if err != nil {
			return inPlainWords(*address, err)
		}
		defer func() { _ = connection.Close() }()
		return inPlainWords(*address, do(ctx, c, connection))
	}
	return c
}

// readToken reads the token of a node that is there already: it makes none.
func readToken(file string) (string, error) {
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("--ui-token-file: %w", err)
	}
	return ui.LoadOrCreateToken(file)
}

// inPlainWords says first what an error of the client means for a person.
func inPlainWords(address string, err error) error {
	switch {
	case errors.Is(err, client.ErrNobodyThere):
		return fmt.Errorf("no node has its UI at %s: %w", address, err)
	case errors.Is(err, client.ErrWedged):
		return fmt.Errorf("the node at %s does not answer: it is wedged, or not a node: %w", address, err)
	case errors.Is(err, client.ErrGone):
		return fmt.Errorf("the node at %s is gone without a good-bye: %w", address, err)
	case errors.Is(err, client.ErrRefused):
		return fmt.Errorf("what listens at %s is no node, or does not let this command in: %w", address, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("interrupted; the node at %s goes on with what it does", address)
	}
	return err
}

func newShutdown() *cobra.Command {
	var reason string
	var asJSON bool
	c := withClient(&cobra.Command{
		Use:   "shutdown",
		Short: "Ask a running node to shut down, and show how it does",
		Long: `Ask a running node to shut down, show its components' acks as they come in, and
print the report. Exits with the report's code, which is the node's own.`,
	}, func(ctx context.Context, c *cobra.Command, node *client.Client) error {
		out := c.OutOrStdout()
		show := showEvents(out)
		if asJSON {
			show = nil
		}
		goodbye, err := node.Shutdown(ctx, reason, show)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(out, goodbye)
		} else {
			err = printGoodbye(out, goodbye)
		}
		return errors.Join(err, codeOf(goodbye.Report))
	})
	c.Flags().StringVar(&reason, "reason", "farewell shutdown", "why, for the report")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON, and nothing else")
	return c
}

func newWatch() *cobra.Command {
	return withClient(&cobra.Command{
		Use:   "watch",
		Short: "Follow a running node until it has shut down",
	}, func(ctx context.Context, c *cobra.Command, node *client.Client) error {
		goodbye, err := node.Watch(ctx, showEvents(c.OutOrStdout()))
		if err != nil {
			return err
		}
		return printGoodbye(c.OutOrStdout(), goodbye)
	})
}

func newStatus() *cobra.Command {
	var asJSON bool
	c := withClient(&cobra.Command{
		Use:   "status",
		Short: "Show what a running node is and does",
	}, func(ctx context.Context, c *cobra.Command, node *client.Client) error {
		status, err := node.Status(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), status)
		}
		descriptor, err := node.Descriptor(ctx)
		if err != nil {
			return err
		}
		return printStatus(c.OutOrStdout(), status, descriptor)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "print everything, as JSON")
	return c
}

// codeOf is nil for a polite end.
func codeOf(report *fsm.Report) error {
	if code := report.ExitCode(); code != exitOK {
		return exitCode(code)
	}
	return nil
}

// showEvents returns what prints each event on a line of its own, with the time
// since the first one.
func showEvents(out io.Writer) func(fsm.Event) {
	var began time.Time
	return func(e fsm.Event) {
		if began.IsZero() {
			began = e.At
		}
		var line strings.Builder
		fmt.Fprintf(&line, "%9.1fms  %-12s  %s", millis(e.At.Sub(began)), e.State, what(e))
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// what says an event in words.
func what(e fsm.Event) string {
	subject := plain(string(e.From))
	switch {
	case e.Kind == fsm.Started:
		return subject + ": asked to shut down"
	case e.Kind == fsm.Acked && e.Err == nil:
		return subject + ": okay, I'm done"
	case e.Kind == fsm.Acked:
		return subject + ": done, with an error: " + plain(e.Err.Error())
	case e.Kind == fsm.Quiesced && e.Err == nil:
		return subject + ": takes no new work"
	case e.Kind == fsm.Quiesced:
		return subject + ": quiesce: " + plain(e.Err.Error())
	case e.Kind == fsm.Insisted:
		return subject + ": insisted upon"
	case e.Command != nil:
		return fmt.Sprintf("%s by %s: %s", e.Kind, plain(e.Command.By), plain(e.Command.Reason))
	}
	return e.Kind.String()
}

func printGoodbye(out io.Writer, goodbye *ui.Goodbye) error {
	if _, err := fmt.Fprintf(out, "\n%s", goodbye.Report); err != nil {
		return err
	}
	return printFarewells(out, goodbye.Farewells)
}
