package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
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

// where says where a node's UI is, and what it takes to be let in.
type where struct{ address, tokenFile string }

func (w *where) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.address, "ui", node.DefaultUI, "`address` of the node's UI: a port, host:port or unix:PATH")
	c.Flags().StringVar(&w.tokenFile, "ui-token-file", "", "`file` with the token, if the node wants one")
}

func (w *where) token() (string, error) {
	if w.tokenFile == "" {
		return "", nil
	}
	return node.LoadToken(w.tokenFile)
}

func (w *where) dial(ctx context.Context) (*client.Client, error) {
	token, err := w.token()
	if err != nil {
		return nil, err
	}
	var options []client.Option
	if token != "" {
		options = append(options, client.Token(token))
	}
	return client.Dial(ctx, w.address, options...)
}

// pageURL is what to open in a browser. The token stands in the fragment, which
// browsers send to nobody.
func (w *where) pageURL() (string, error) {
	if strings.HasPrefix(w.address, "unix:") {
		return "", fmt.Errorf("%s: browsers cannot open a page over a Unix socket", w.address)
	}
	token, err := w.token()
	if err != nil {
		return "", err
	}
	host := w.address
	if !strings.Contains(host, ":") {
		host = net.JoinHostPort("127.0.0.1", host)
	}
	page := url.URL{Scheme: "http", Host: host, Path: "/", Fragment: token}
	return page.String(), nil
}

// withClient makes a command that connects to a node. Ctrl-C ends the command,
// and never harms the node.
func withClient(
	c *cobra.Command, to *where, do func(context.Context, *cobra.Command, *client.Client) error,
) *cobra.Command {
	to.flags(c)
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
		defer stop()
		connection, err := to.dial(ctx)
		if errors.Is(err, client.ErrBadAddress) {
			return usage(c, fmt.Errorf("--ui: %w", err))
		}
		if err != nil {
			return inPlainWords(to.address, err)
		}
		defer func() { _ = connection.Close() }()
		return inPlainWords(to.address, do(ctx, c, connection))
	}
	return c
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
	}, new(where), func(ctx context.Context, c *cobra.Command, node *client.Client) error {
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
	}, new(where), func(ctx context.Context, c *cobra.Command, node *client.Client) error {
		fmt.Fprintln(c.ErrOrStderr(), "Following the node until it has shut down; Ctrl-C ends this, and does not harm it.")
		goodbye, err := node.Watch(ctx, showEvents(c.OutOrStdout()))
		if err != nil {
			return err
		}
		return printGoodbye(c.OutOrStdout(), goodbye)
	})
}

func newStatus() *cobra.Command {
	var to where
	var asJSON, openURL bool
	c := withClient(&cobra.Command{
		Use:   "status",
		Short: "Show what a running node is and does",
	}, &to, func(ctx context.Context, c *cobra.Command, node *client.Client) error {
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
	show := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if !openURL {
			return show(c, args)
		}
		page, err := to.pageURL()
		if err == nil {
			_, err = fmt.Fprintln(c.OutOrStdout(), page)
		}
		return err
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything, as JSON")
	c.Flags().BoolVar(&openURL, "open-url", false, "only print the URL to open in a browser; with a token it is a secret")
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
