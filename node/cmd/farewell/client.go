package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/node/internal/cli"
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

func (w *where) dial(ctx context.Context, more ...client.Option) (*client.Client, error) {
	token, err := w.token()
	if err != nil {
		return nil, err
	}
	var options []client.Option
	if token != "" {
		options = append(options, client.Token(token))
	}
	return client.Dial(ctx, w.address, append(options, more...)...)
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

// with connects to the node and has do ask it. Ctrl-C ends the command, and never
// harms the node.
func (w *where) with(c *cobra.Command, do func(context.Context, *client.Client) error, more ...client.Option) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt)
	defer stop()
	connection, err := w.dial(ctx, more...)
	if err != nil {
		return w.inPlainWords(c, err)
	}
	defer func() { _ = connection.Close() }()
	return w.inPlainWords(c, do(ctx, connection))
}

// inPlainWords says first what an error of the client means for a person.
func (w *where) inPlainWords(c *cobra.Command, err error) error {
	address := w.address
	switch {
	case errors.Is(err, client.ErrBadAddress):
		return cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "ui"), err))
	case errors.Is(err, client.ErrTooLong):
		return fmt.Errorf("the reason is too long for the node at %s, which has not read it and goes on: %w", address, err)
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

// maxReason bounds what is said in every report and log. (The node reads no request
// over 64 KiB.)
const maxReason = 4 << 10

func newShutdown() *cobra.Command {
	var to where
	var reason string
	var asJSON bool
	c := &cobra.Command{
		Use:   "shutdown",
		Short: "Ask a running node to shut down, and show how it does",
		Long: `Ask a running node to shut down, show its components' acks as they come in, and
print the report. Exits with the report's code, which is the node's own.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(reason) > maxReason {
				return cli.Usage(c, fmt.Errorf("%s: %d bytes are too long, the most is %d", cli.NameOf(c, "reason"), len(reason), maxReason))
			}
			if asJSON {
				return to.with(c, func(ctx context.Context, node *client.Client) error {
					goodbye, err := node.Shutdown(ctx, reason, nil)
					if err != nil {
						return err
					}
					return errors.Join(cli.PrintJSON(c.OutOrStdout(), goodbye), cli.Code(goodbye.Report.ExitCode()))
				})
			}
			page := cli.PageOf(c)
			see, waits := showEvents(page)
			return to.with(c, func(ctx context.Context, node *client.Client) error {
				goodbye, err := node.Shutdown(ctx, reason, see)
				if err != nil {
					return err
				}
				return errors.Join(printGoodbye(page, goodbye), cli.Code(goodbye.Report.ExitCode()))
			}, client.OnWaiting(waits))
		},
	}
	to.flags(c)
	c.Flags().StringVar(&reason, "reason", "farewell shutdown", fmt.Sprintf("why, for the report; at most %d bytes", maxReason))
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON, and nothing else")
	return c
}

func newWatch() *cobra.Command {
	var to where
	c := &cobra.Command{
		Use:   "watch",
		Short: "Follow a running node until it has shut down",
		Args:  cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			page := cli.PageOf(c)
			see, waits := showEvents(page)
			return to.with(c, func(ctx context.Context, node *client.Client) error {
				fmt.Fprintln(c.ErrOrStderr(),
					"Following the node until it has shut down; Ctrl-C ends this, and\ndoes not harm it.")
				goodbye, err := node.Watch(ctx, see)
				if err != nil {
					return err
				}
				return printGoodbye(page, goodbye)
			}, client.OnWaiting(waits))
		},
	}
	to.flags(c)
	return c
}

// showEvents returns what prints each event on a line of its own, with the time since
// the first one, and what says in between whom the shutdown waits for.
func showEvents(page *cli.Page) (see func(fsm.Event), waits func(*ui.Status)) {
	var began time.Time
	line := func(after time.Duration, state fsm.State, text string) {
		line := fmt.Sprintf("%9.1fms  %-12s  %s", millis(after), state, text)
		fmt.Fprintln(page, strings.TrimRight(line, " "))
	}
	see = func(e fsm.Event) {
		if began.IsZero() {
			began = e.At
		}
		line(e.At.Sub(began), e.State, cli.What(e))
	}
	waits = func(s *ui.Status) { line(s.Report.Took, s.Report.State, cli.WaitsFor(s.Report)) }
	return see, waits
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func printGoodbye(page *cli.Page, goodbye *ui.Goodbye) error {
	if _, err := fmt.Fprintf(page, "\n%s", goodbye.Report); err != nil {
		return err
	}
	return printFarewells(page, goodbye.Farewells)
}
