package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// shutdownFlags are the flags of `farewell fleet shutdown`, as they come.
type shutdownFlags struct {
	atOnce, order                           string
	maxFailed                               int
	alarm, back                             time.Duration
	reason, by                              string
	dryRun, resume, forgive, asJSON, asText bool
}

// planFlags are those that a drain that is taken up again has already.
var planFlags = []string{"at-once", "order", "max-failed", "alarm", "back", "reason", "dry-run"}

func newShutdown(to *where) *cobra.Command {
	var f shutdownFlags
	c := &cobra.Command{
		Use:   "shutdown GROUP",
		Short: "Have a group leave, a few at a time",
		Long: `Have the instances of a group leave that are there now, a few at a time: the
next is asked when one is done, which is when its report is there. It stops at
the first that goes wrong, unless --max-failed lets it go on, and says who is to
blame. With --back it is a rolling restart, for groups whose processes are
started again by somebody else: an instance is done when its successor has
joined.

One operator at a time: the group is held by a lease, and who comes second is
told who has it. Ctrl-C asks nobody else, and waits for those who were asked; a
second one leaves them to themselves. What was not finished, also because this
command was killed, is taken up again by --resume, from anywhere, with the plan
as it was (the environment is for new drains): nobody obeys twice. What
--max-failed has stopped stays stopped, unless --forgive says that those
failures do not count any more.

Exit codes, the first that fits: 128+n an instance was forced by signal n; 3 the
alarm of one fired; 1 one could not be reached, or was not back in time; 4 in
time, but a component of one failed or had to be insisted upon; 1 not all were
asked, the group is held by somebody else, or NATS is not there; 2 wrong flags;
0 all have left, also if nobody was there, which it says on stderr.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(c, fmt.Errorf("%d arguments, want one group", len(args)))
			}
			return nil
		},
		ValidArgsFunction: to.completeGroups,
		RunE: func(c *cobra.Command, args []string) error {
			plan, err := f.plan(c, args[0])
			if err != nil {
				return err
			}
			return to.with(c, func(ctx context.Context, nc *nats.Conn) error {
				if f.dryRun {
					return dryRun(ctx, c, nc, plan, f.asJSON)
				}
				return f.drain(ctx, c, nc, plan)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.atOnce, "at-once", "1", "how `many` may be away at a time: a number, or a part of the group as 25%, rounded down, at least 1")
	flags.StringVar(&f.order, "order", fleet.Newest.String(), "who is asked first: newest, oldest or name")
	flags.IntVar(&f.maxFailed, "max-failed", 0, "ask nobody else when more have failed")
	flags.DurationVar(&f.alarm, "alarm", 0, "what each may take; 0: what it takes by itself, which is the most in any case")
	flags.DurationVar(&f.back, "back", 0, "wait that long for each to be back, started by somebody else; 0: it need not be")
	flags.StringVar(&f.reason, "reason", "farewell fleet shutdown", fmt.Sprintf("why, for the reports; at most %d bytes", maxReason))
	flags.StringVar(&f.by, "by", "", fmt.Sprintf("who asks, for the reports; at most %d bytes (default USER@HOST)", maxBy))
	flags.BoolVar(&f.dryRun, "dry-run", false, "only say who would be asked, in which order")
	flags.BoolVar(&f.resume, "resume", false, "take up again what was not finished")
	flags.BoolVar(&f.forgive, "forgive", false, "with --resume: what has failed so far does not count")
	flags.BoolVar(&f.asJSON, "json", false, "print the report as JSON, and nothing else")
	flags.BoolVar(&f.asText, "lines", false, "print lines, also on a terminal")
	cli.Complete(c, "order", fleet.Newest.String(), fleet.Oldest.String(), fleet.ByName.String())
	return c
}

// What is said in every report and log is bounded.
const maxReason, maxBy = 4 << 10, 256

// plan is what the flags say.
func (f *shutdownFlags) plan(c *cobra.Command, group string) (plan fleet.Plan, err error) {
	wrong := func(flag string, err error) (fleet.Plan, error) {
		return fleet.Plan{}, cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, flag), err))
	}
	for _, flag := range planFlags {
		given := c.Flags().Changed(flag) && cli.NameOf(c, flag) == "--"+flag // in the environment it is for new drains
		if f.resume && (given || flag == "dry-run" && f.dryRun) {
			return wrong(flag, fmt.Errorf("--resume goes on with the plan as it was"))
		}
	}
	if f.forgive && !f.resume {
		return wrong("forgive", errors.New("only --resume has something to forgive"))
	}
	plan = fleet.Plan{Group: group, MaxFailed: f.maxFailed, Back: f.back, Command: fsm.Command{Reason: f.reason, By: f.operator(), Within: f.alarm}}
	if plan.AtOnce, err = fleet.ParseLimit(f.atOnce); err != nil {
		return wrong("at-once", err)
	}
	if err := plan.Order.UnmarshalText([]byte(f.order)); err != nil {
		return wrong("order", err)
	}
	switch {
	case f.maxFailed < 0:
		return wrong("max-failed", fmt.Errorf("%d is negative", f.maxFailed))
	case f.alarm < 0:
		return wrong("alarm", fmt.Errorf("%v is negative", f.alarm))
	case f.back < 0:
		return wrong("back", fmt.Errorf("%v is negative", f.back))
	case len(f.reason) > maxReason:
		return wrong("reason", fmt.Errorf("%d bytes are too long, the most is %d", len(f.reason), maxReason))
	case len(f.by) > maxBy:
		return wrong("by", fmt.Errorf("%d bytes are too long, the most is %d", len(f.by), maxBy))
	}
	return plan, nil
}

// operator is who asks, for people.
func (f *shutdownFlags) operator() string {
	if f.by != "" {
		return f.by
	}
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = cmp.Or(u.Username, u.Uid)
	}
	host, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + host
}

// dryRun says who would be asked, and what is in the way.
func dryRun(ctx context.Context, c *cobra.Command, nc *nats.Conn, plan fleet.Plan, asJSON bool) error {
	preview, err := fleet.Preview(ctx, nc, plan)
	if err != nil {
		return err
	}
	if asJSON {
		return cli.PrintJSON(c.OutOrStdout(), preview)
	}
	page := cli.PageOf(c)
	if len(preview.Lines) == 0 {
		return errors.Join(sayEmpty(c, plan.Group), sayWhichGroups(ctx, c, nc))
	}
	rows := [][]string{{"NEXT", "INSTANCE", "SINCE"}}
	for i, l := range preview.Lines {
		rows = append(rows, []string{fmt.Sprint(i + 1), l.Instance.Name, ago(l.Instance.Since)})
	}
	if err := cli.Table(page, rows); err != nil {
		return err
	}
	fmt.Fprintf(page, "\n%d would be asked, %d at once, %s first, until more than %d have failed. Nobody was asked.\n",
		len(preview.Lines), preview.AtOnce, plan.Order, plan.MaxFailed)
	drains, err := drainsOf(ctx, nc, plan.Group)
	if err != nil {
		return err
	}
	return printDrains(page, drains)
}

// drain has the group leave. Its ctx ends at the first signal.
func (f *shutdownFlags) drain(ctx context.Context, c *cobra.Command, nc *nats.Conn, plan fleet.Plan) error {
	options := fleet.Options{Operator: f.operator(), Forgive: f.forgive, Logger: slog.New(slog.DiscardHandler)} // all of it is said
	begin := func() (*fleet.Drain, error) { return fleet.Begin(ctx, nc, plan, options) }
	if f.resume {
		begin = func() (*fleet.Drain, error) { return fleet.Resume(ctx, nc, plan.Group, options) }
	}
	d, err := begin()
	if err != nil {
		return heldInPlainWords(plan.Group, err)
	}
	started := d.Report()
	if len(started.Lines) == 0 && !f.asJSON {
		defer func() { // also that is said only when the lease is given back
			_ = errors.Join(sayEmpty(c, plan.Group), sayWhichGroups(ctx, c, nc))
		}()
	}
	show := f.viewer(c, started)
	report := runDrain(ctx, c, nc, d, show)
	if !nc.IsConnected() {
		fmt.Fprintf(c.ErrOrStderr(), "NATS is away: the lease could not be given back, and expires by itself, %v after NATS is back at most.\n", fleet.DefaultLease)
	}
	return errors.Join(f.print(c, report), cli.Code(report.ExitCode()))
}

// mostGroups is how many groups one line names.
const mostGroups = 8

// sayWhichGroups names those there are, to who may have mistyped one.
func sayWhichGroups(ctx context.Context, c *cobra.Command, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	instances, err := remote.List(ctx, nc, "")
	if err != nil {
		return nil // it is not what was asked for
	}
	var groups []string
	for _, i := range instances {
		groups = append(groups, cli.Plain(i.Group))
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) == 0 {
		return nil
	}
	more := ""
	if n := len(groups) - mostGroups; n > 0 {
		groups, more = groups[:mostGroups], fmt.Sprintf(" and %d more", n)
	}
	_, err = fmt.Fprintf(c.ErrOrStderr(), "The groups there are: %s%s.\n", strings.Join(groups, ", "), more)
	return err
}

// heldInPlainWords says what can be done about a drain that cannot begin.
func heldInPlainWords(group string, err error) error {
	var held *fleet.HeldError
	switch {
	case errors.As(err, &held):
		return fmt.Errorf("%s has group %s leave already: %s\n(Who has died holds it for %v more at most; then --resume goes on.)",
			cli.Plain(held.Holder), cli.Plain(group), cli.Plain(progressOf(held.Standing)), fleet.DefaultLease)
	case errors.Is(err, fleet.ErrNothing):
		return fmt.Errorf("nothing in group %s was left unfinished: %w", cli.Plain(group), err)
	}
	return err
}

// secondSignal is how soon after the first one a signal is the same, as fsm has it.
const secondSignal = 100 * time.Millisecond

// runDrain runs the drain and has it shown. The second signal abandons those who were
// asked.
func runDrain(ctx context.Context, c *cobra.Command, nc *nats.Conn, d *fleet.Drain, show rolloutViewer) *fleet.Report {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { abandonAtSecond(ctx, signals, ended, d, func(text string) { show.notice(text) }) })
	shown, stop := context.WithCancel(context.WithoutCancel(ctx))
	following.Go(func() {
		for p := range d.Progress(shown) {
			show.progress(p)
		}
	})
	nc.SetDisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil { // else it is the end
			show.notice(awayInDrain)
		}
	})
	nc.SetReconnectHandler(func(*nats.Conn) { show.notice(backInDrain) })
	following.Go(func() { _ = follow(shown, nc, d.Report().Group, show) }) // only for people: the drain has eyes of its own
	running := make(chan struct{})
	var report *fleet.Report
	go func() {
		defer close(running)
		report, _ = d.Run(ctx) // it is run once
		close(ended)
		stop()
	}()
	_ = show.run(shown) // a table that cannot be shown is no reason to ask nobody
	<-running
	following.Wait()
	return report
}

// abandonAtSecond has the drain left alone when a second signal comes.
func abandonAtSecond(ctx context.Context, signals <-chan os.Signal, ended <-chan struct{}, d *fleet.Drain, say func(string)) {
	select {
	case <-ctx.Done():
	case <-ended:
		return
	}
	first := time.Now()
	say("Nobody else is asked. Waiting for those who were; again leaves them to themselves.")
	for seen := 0; ; {
		select {
		case <-signals:
			if seen++; seen > 1 && time.Since(first) >= secondSignal {
				d.Abandon()
				return
			}
		case <-ended:
			return
		}
	}
}

// mostReports is of how many that failed the whole report is printed.
const mostReports = 3

func (f *shutdownFlags) print(c *cobra.Command, report *fleet.Report) error {
	if f.asJSON {
		return cli.PrintJSON(c.OutOrStdout(), report)
	}
	if len(report.Lines) == 0 {
		return nil
	}
	page := cli.PageOf(c)
	fmt.Fprintf(page, "\n%s", report)
	shown := 0
	for _, l := range report.Lines {
		when := ""
		switch {
		case l.Report == nil || l.State != fleet.Failed && l.State != fleet.Unreachable:
			continue
		case l.Report.State != fsm.Terminated:
			when = ", when it was last heard of"
		}
		if shown++; shown > mostReports {
			fmt.Fprintf(page, "\nMore have failed; --json has their reports, and \"farewell fleet status %s/NAME\".\n", cli.Plain(report.Group))
			break
		}
		fmt.Fprintf(page, "\n%s%s:\n%s", cli.Plain(l.Instance.String()), when, l.Report)
	}
	if report.Stopped != "" {
		fmt.Fprintf(page, "\nNot finished: %s. To go on:\n  farewell fleet shutdown %s --resume%s\n",
			leftUndone(report), cli.Plain(report.Group), forgiving(report))
	}
	return nil
}

// leftUndone says what a drain that was stopped has not done.
func leftUndone(report *fleet.Report) string {
	var undone []string
	if n := report.Count(fleet.Skipped, fleet.Waiting); n > 0 {
		undone = append(undone, fmt.Sprintf("%d of %d not asked", n, len(report.Lines)))
	}
	if n := report.Count(fleet.Asked, fleet.Away); n > 0 {
		undone = append(undone, fmt.Sprintf("%d of %d asked, and not waited for", n, len(report.Lines)))
	}
	return cmp.Or(strings.Join(undone, "; "), "it was stopped")
}

// forgiving is what --resume needs beside it, when it would stop again at once.
func forgiving(report *fleet.Report) string {
	if report.Count(fleet.Failed, fleet.Unreachable) > report.Plan.MaxFailed {
		return " --forgive"
	}
	return ""
}
