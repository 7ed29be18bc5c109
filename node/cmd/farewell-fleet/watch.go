package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/live"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func newWatch(to *where) *cobra.Command {
	var asJSON, lines bool
	c := &cobra.Command{
		Use:   "watch [GROUP]",
		Short: "Follow a group, or all of them",
		Long: `Follow a group, or all of them: who is there, who joins, what happens in their
shutdowns, and how they left. On a terminal that is a table that changes, those
first who leave; elsewhere a line each, with this machine's time of day.

It goes on while NATS is away, and says so: who joined or left meanwhile is told
when it is back, single events of their shutdowns are not. Ctrl-C ends it, and
harms nobody.

Exit codes: 0 it was ended by Ctrl-C or SIGTERM; 1 NATS is not there, or does
not permit it; 2 wrong flags.`,
		Args:              atMostOneGroup,
		ValidArgsFunction: to.completeGroups,
		RunE: func(c *cobra.Command, args []string) error {
			var see viewer
			switch terminal := cli.Terminal(c.OutOrStdout()); {
			case asJSON:
				see = &jsonLines{says: c.ErrOrStderr(), out: json.NewEncoder(c.OutOrStdout())}
			case terminal != nil && !lines && os.Getenv("TERM") != "dumb":
				see = &liveTable{newBoard(groupOf(args)), terminal}
			default:
				see = &textLines{says: c.ErrOrStderr(), page: cli.PageOf(c)}
			}
			return watch(c, to, groupOf(args), see)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print each piece of news as JSON, on a line of its own")
	c.Flags().BoolVar(&lines, "lines", false, "print lines, also on a terminal")
	return c
}

// viewer shows what a fleet does. Its methods but run are called from other goroutines
// than run is, and notice from any.
type viewer interface {
	// run shows it until ctx ends. It is called once.
	run(ctx context.Context) error
	// see is told each piece of news.
	see(news remote.News) error
	// notice is told what is no news of the fleet.
	notice(text string)
}

const (
	away   = "NATS is away: what happens now is told when it is back."
	isBack = "NATS is back; what was missed may take 20 s to come." // two heartbeats of nats.go, twice
)

// watch has a viewer see what happens until Ctrl-C.
func watch(c *cobra.Command, to *where, group string, see viewer) error {
	err := to.with(c, func(ctx context.Context, nc *nats.Conn) error {
		ctx, cancel := context.WithCancelCause(ctx)
		followed := make(chan struct{})
		go func() {
			defer close(followed)
			cancel(follow(ctx, nc, group, see))
		}()
		err := see.run(ctx)
		cancel(err)
		<-followed
		if err == nil {
			err = context.Cause(ctx)
		}
		return err
	},
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // else it is the end
				see.notice(away)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { see.notice(isBack) }))
	if errors.Is(err, errInterrupted) {
		return nil
	}
	return err
}

// registryPause is between two looks for a registry that is not there yet.
const registryPause = time.Second

// follow tells see what happens until ctx ends. A registry that nobody has made yet is
// waited for.
func follow(ctx context.Context, nc *nats.Conn, group string, see viewer) error {
	for said := false; ; said = true {
		err := followOnce(ctx, nc, group, see)
		if !errors.Is(err, jetstream.ErrBucketNotFound) {
			return err
		}
		if !said {
			see.notice("Nobody has ever joined here; waiting for the first.")
		}
		select {
		case <-time.After(registryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func followOnce(ctx context.Context, nc *nats.Conn, group string, see viewer) error {
	for news, err := range remote.Watch(ctx, nc, group) {
		if err == nil {
			err = see.see(news)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// jsonLines print news for programs.
type jsonLines struct {
	says io.Writer
	out  *json.Encoder
}

func (*jsonLines) run(ctx context.Context) error { return untilDone(ctx) }

func (j *jsonLines) see(news remote.News) error { return j.out.Encode(news) }

func (j *jsonLines) notice(text string) { fmt.Fprintln(j.says, text) }

// textLines print news for people who do not look at a table.
type textLines struct {
	says   io.Writer
	page   *cli.Page
	listed bool // all that were there at the beginning have been told
}

func (*textLines) run(ctx context.Context) error { return untilDone(ctx) }

func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func (l *textLines) notice(text string) { fmt.Fprintln(l.says, text) }

func (l *textLines) see(news remote.News) error {
	if news.Kind == remote.Listed {
		l.listed = true
		l.notice("That is all who are there. Following; Ctrl-C ends this, and harms nobody.")
		return nil
	}
	text := words(news)
	if news.Kind == remote.Joined && !l.listed {
		text = "is there, since " + ago(news.Instance.Since)
	}
	line := fmt.Sprintf("%s  %-20s  %-12s  %s", time.Now().Format("15:04:05.000"), news.Instance, stateOf(news), text)
	_, err := fmt.Fprintln(l.page, strings.TrimRight(line, " "))
	return err
}

// What an instance is that is not in a shutdown that one can follow.
const (
	running   = "Running"
	withdrawn = "Withdrawn"
	expired   = "Expired"
	left      = "Left"
)

// stateOf says how an instance stands after a piece of news.
func stateOf(news remote.News) string {
	switch news.Kind {
	case remote.Joined:
		return running
	case remote.Withdrawn:
		return withdrawn
	case remote.Expired:
		return expired
	case remote.Left:
		return left
	}
	return news.Event.State.String()
}

// words say a piece of news.
func words(news remote.News) string {
	switch news.Kind {
	case remote.Joined:
		return "joined"
	case remote.Withdrawn:
		return "is off the registry"
	case remote.Expired:
		return "has fallen silent, and is off the registry"
	case remote.Left:
		return news.Report.Summary()
	}
	return cli.What(news.Event)
}

// liveTable shows a board on a terminal.
type liveTable struct {
	*board
	terminal *os.File
}

func (l *liveTable) run(ctx context.Context) error { return live.Show(ctx, l.terminal, l.frame) }
