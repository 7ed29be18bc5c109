package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/page"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

// pageFlags are the flags of `farewell fleet page`, as they come.
type pageFlags struct {
	listen string
	hosts  []string
	alarm  time.Duration
	log    cli.Log
}

func newPage(to *where) *cobra.Command {
	var f pageFlags
	c := &cobra.Command{
		Use:   "page [GROUP]",
		Short: "Serve a page that shows a group, or all of them, live",
		Long: `Serve a page that shows a group, or all of them, live: who is there, who leaves
and whom each waits for, who hangs and who is to blame, with everybody's acks on
one axis of time. It only shows: nobody can be asked to leave from it.

Only this machine reaches it. From elsewhere by "ssh -L", or by a proxy that
asks who comes; the name by which the proxy is asked is given by --host.

When it is up it prints one line of JSON on stdout, with its URL. It logs on
stderr. It goes on while NATS is away, and the page says so.

Exit codes: 0 left in time; 1 could not start; 2 wrong flags; 3 the alarm fired;
4 in time, but insisted upon; 128+n forced by signal n.`,
		Args:              atMostOneGroup,
		ValidArgsFunction: to.completeGroups,
		RunE: func(c *cobra.Command, args []string) error {
			logger, err := f.log.Logger(c)
			if err != nil {
				return err
			}
			l, err := f.open(c)
			if err != nil {
				return err
			}
			defer func() { _ = l.Close() }() // where nobody serves it
			err = untilShutdown(fsm.Config{Alarm: f.alarm, Logger: logger}, func(ctx context.Context, o *fsm.Orchestrator) error {
				return f.start(ctx, c, to, o, l, groupOf(args), logger)
			})
			if errors.Is(err, remote.ErrInvalid) {
				err = cli.Usage(c, err)
			}
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:5334", "`host:port` of this machine to listen on; port 0: one that is free")
	flags.StringArrayVar(&f.hosts, "host", nil, "`name` by which a proxy before the page is asked; repeatable")
	flags.DurationVar(&f.alarm, "alarm", fsm.DefaultAlarm, "how long its own shutdown may take")
	f.log.Flags(c)
	return c
}

// open checks the flags, and listens.
func (f *pageFlags) open(c *cobra.Command) (net.Listener, error) {
	if f.alarm <= 0 {
		return nil, cli.Usage(c, fmt.Errorf("%s %v: it is positive", cli.NameOf(c, "alarm"), f.alarm))
	}
	for _, host := range f.hosts {
		if err := ui.CheckHost(host); err != nil {
			return nil, cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "host"), err))
		}
	}
	l, err := page.Listen(f.listen)
	if errors.Is(err, ui.ErrNotLoopback) || errors.As(err, new(*net.AddrError)) {
		err = cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "listen"), err))
	}
	return l, err
}

// start serves the page. The connection is closed when everybody else is done.
func (f *pageFlags) start(ctx context.Context, c *cobra.Command, to *where, o *fsm.Orchestrator, l net.Listener, group string, logger *slog.Logger) error {
	nc, err := to.connect(ctx, c, nats.ErrorHandler(denied(logger)))
	if err != nil {
		return err
	}
	closed := fsm.Func(func(context.Context) error { nc.Close(); return nil })
	if err := o.Register("nats", closed, fsm.Last()); err != nil {
		nc.Close()
		return err
	}
	p, err := page.New(nc, page.Config{
		Group: group, Hosts: f.hosts, Logger: logger,
		Drains: func(ctx context.Context) ([]page.Drain, error) { return pageDrains(ctx, nc, group) },
	})
	if err != nil {
		return err
	}
	if err := p.Register(o, l); err != nil {
		return err
	}
	err = json.NewEncoder(c.OutOrStdout()).Encode(struct {
		Page string `json:"page"`
	}{"http://" + l.Addr().String() + "/"})
	if err != nil {
		o.Request(fsm.Command{Reason: "stdout is gone", By: "farewell fleet page", Err: err})
	}
	return nil
}

// denied says once what the server does not permit: what is asked every second may be
// among it.
func denied(logger *slog.Logger) nats.ErrHandler {
	var once sync.Once
	return func(_ *nats.Conn, _ *nats.Subscription, err error) {
		logger.Debug("nats", "error", err)
		once.Do(func() {
			logger.Warn("NATS does not permit all that the page shows; docs/fleet.md says what it takes", "error", err)
		})
	}
}

// pageDrains are the drains that the page shows.
func pageDrains(ctx context.Context, nc *nats.Conn, group string) (shown []page.Drain, err error) {
	drains, err := drainsOf(ctx, nc, group)
	for _, s := range drains {
		d := page.Drain{Group: s.Group, Operator: s.Operator, Done: s.Done, Total: s.Total, Failed: s.Failed, Stopped: s.Stopped, Held: s.Held}
		if s.AtOnce > 0 {
			d.AtOnce = fmt.Sprint(s.AtOnce)
		}
		shown = append(shown, d)
	}
	return shown, err
}
