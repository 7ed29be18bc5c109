package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/live"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// rolloutViewer shows a drain. It also sees the news of the group, which say whom
// those who were asked wait for.
type rolloutViewer interface {
	viewer
	progress(p fleet.Progress)
}

func (f *shutdownFlags) viewer(c *cobra.Command, started *fleet.Report) rolloutViewer {
	terminal := cli.Terminal(c.OutOrStdout())
	switch {
	case f.asJSON:
		return &silentRollout{says: c.ErrOrStderr()}
	case terminal != nil && !f.asText && os.Getenv("TERM") != "dumb":
		return &liveRollout{newRollout(started), terminal}
	}
	return &textRollout{rollout: newRollout(started), page: cli.PageOf(c), says: c.ErrOrStderr()}
}

// rollout is how the instances of a drain stand. Its methods are safe for concurrent use.
type rollout struct {
	report *fleet.Report // as it was at the beginning
	began  time.Time

	mu       sync.Mutex
	rows     map[string]*rolloutRow // by the instances' names
	order    []*rolloutRow          // in which they are asked
	away     string                 // that NATS is, while it is
	says     string
	stopping map[string]*pending // by run of an instance
}

type rolloutRow struct {
	fleet.Progress
	since time.Time // of the state
}

// pending are the components of one instance that have begun and have not acked, in
// the order in which they began.
type pending struct{ names []fsm.ID }

func newRollout(started *fleet.Report) *rollout {
	r := &rollout{report: started, began: time.Now(), rows: map[string]*rolloutRow{}, stopping: map[string]*pending{}}
	for _, l := range started.Lines {
		row := &rolloutRow{fleet.Progress{Instance: l.Instance, State: l.State, Culprits: l.Culprits, Err: l.Err, Took: l.Took}, r.began}
		r.rows[l.Instance.Name] = row
		r.order = append(r.order, row)
	}
	return r
}

func (r *rollout) progress(p fleet.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row := r.rows[p.Instance.Name]; row != nil {
		row.Progress, row.since = p, time.Now()
	}
}

func (r *rollout) see(news remote.News) error {
	if news.Kind != remote.Happened {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	run := news.Instance.String() + " " + news.Instance.Incarnation
	p := r.stopping[run]
	if p == nil {
		p = new(pending)
		r.stopping[run] = p
	}
	switch e := news.Event; e.Kind {
	case fsm.Started:
		p.names = append(p.names, e.From)
	case fsm.Acked:
		p.names = slices.DeleteFunc(p.names, func(id fsm.ID) bool { return id == e.From })
	case fsm.AllAcked, fsm.Timeout:
		delete(r.stopping, run)
	}
	return nil
}

// What is said of NATS while a group leaves.
const (
	awayInDrain = "NATS is away: nobody is asked until it is back."
	backInDrain = "NATS is back: it goes on."
)

func (r *rollout) notice(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch text {
	case awayInDrain:
		r.away = text
	case backInDrain:
		r.away = ""
	default:
		r.says = text
	}
}

// mostPending is how many components one line names.
const mostPending = 3

// remarks say of a row what a person wants to know. The caller holds mu.
func (r *rollout) remarks(row *rolloutRow) string {
	switch {
	case row.State == fleet.Asked:
		p := r.stopping[row.Instance.String()+" "+row.Instance.Incarnation]
		if p == nil || len(p.names) == 0 {
			return ""
		}
		var names []string
		for _, id := range p.names[:min(mostPending, len(p.names))] {
			names = append(names, cli.Plain(string(id)))
		}
		text := "waits for " + strings.Join(names, ", ")
		if more := len(p.names) - len(names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		return text
	case len(row.Culprits) > 0:
		return cli.Plain(strings.Join(row.Culprits, ", "))
	case row.Err != nil:
		return cli.Plain(strings.ReplaceAll(row.Err.Error(), "\n", "; "))
	}
	return ""
}

// prominence orders the states of a table that shows only its beginning: what goes on,
// what went wrong, what comes next, what is over.
var prominence = map[fleet.InstanceState]int{
	fleet.Asked: 0, fleet.Away: 1, fleet.Unreachable: 2, fleet.Failed: 2, fleet.Waiting: 4,
	fleet.Left: 5, fleet.Back: 5, fleet.Gone: 5, fleet.Skipped: 6,
}

func (r *rollout) frame() live.Frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	rows := slices.Clone(r.order)
	slices.SortStableFunc(rows, func(a, b *rolloutRow) int {
		byState := cmp.Compare(prominence[a.State], prominence[b.State])
		if prominence[a.State] == prominence[fleet.Left] { // who was last is first
			byState = cmp.Or(byState, b.since.Compare(a.since))
		}
		return byState
	})
	cells := [][]string{{"INSTANCE", "STATE", "", "REMARKS"}}
	for _, row := range rows {
		took := ""
		switch row.State {
		case fleet.Asked, fleet.Away:
			took = cli.Coarse(time.Since(row.since).Truncate(100 * time.Millisecond))
		case fleet.Waiting, fleet.Skipped:
		default:
			took = cli.Coarse(row.Took)
		}
		cells = append(cells, []string{cli.Plain(row.Instance.Name), row.State.String(), took, r.remarks(row)})
	}
	footer := cmp.Or(r.says, "Ctrl-C asks nobody else.")
	if r.away != "" {
		footer = r.away + "\n" + footer
	}
	return live.Frame{Title: r.title(), Rows: cells, Footer: footer}
}

// title says how far it is. The caller holds mu.
func (r *rollout) title() string {
	counts := map[fleet.InstanceState]int{}
	for _, row := range r.order {
		counts[row.State]++
	}
	text := fmt.Sprintf("Group %s: %d, %d at once", cli.Plain(r.report.Group), len(r.order), r.report.AtOnce)
	for _, s := range []fleet.InstanceState{
		fleet.Waiting, fleet.Asked, fleet.Away, fleet.Left, fleet.Back, fleet.Gone, fleet.Failed, fleet.Unreachable, fleet.Skipped,
	} {
		if counts[s] > 0 {
			text += fmt.Sprintf("; %d %s", counts[s], s)
		}
	}
	return text
}

// liveRollout shows a table that changes.
type liveRollout struct {
	*rollout
	terminal *os.File
}

func (l *liveRollout) run(ctx context.Context) error { return live.Show(ctx, l.terminal, l.frame) }

// textRollout prints a line for each step, and every now and then who takes long.
type textRollout struct {
	*rollout
	page *cli.Page
	says io.Writer

	printing sync.Mutex
}

// longTime is how long somebody may take before it is said whom it waits for, and how
// often that is said.
const longTime = 5 * time.Second

func (t *textRollout) run(ctx context.Context) error {
	tick := time.NewTicker(longTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.sayWhoTakesLong()
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *textRollout) progress(p fleet.Progress) {
	before := t.stateOf(p.Instance.Name)
	t.rollout.progress(p)
	if p.State != fleet.Waiting && p.State != before { // what was so at the beginning is in the report
		t.line(p.Instance.Name)
	}
}

func (t *textRollout) stateOf(name string) fleet.InstanceState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rows[name].State
}

func (t *textRollout) notice(text string) {
	t.printing.Lock()
	defer t.printing.Unlock()
	fmt.Fprintln(t.says, text)
}

func (t *textRollout) line(name string) {
	t.mu.Lock()
	row := *t.rows[name]
	took, remarks := "", t.remarks(&row)
	if row.State != fleet.Asked && row.State != fleet.Skipped {
		took = cli.Short(row.Took)
	}
	t.mu.Unlock()
	t.printing.Lock()
	defer t.printing.Unlock()
	line := fmt.Sprintf("%9.1fms  %-20s  %-11s  %-8s  %s",
		float64(time.Since(t.began))/float64(time.Millisecond), cli.Plain(name), row.State, took, remarks)
	fmt.Fprintln(t.page, strings.TrimRight(line, " "))
}

func (t *textRollout) sayWhoTakesLong() {
	var long []string
	t.mu.Lock()
	for _, row := range t.order {
		if (row.State == fleet.Asked || row.State == fleet.Away) && time.Since(row.since) >= longTime {
			long = append(long, row.Instance.Name)
		}
	}
	t.mu.Unlock()
	for _, name := range long {
		t.line(name)
	}
}

// silentRollout leaves everything to the report.
type silentRollout struct{ says io.Writer }

func (*silentRollout) run(ctx context.Context) error { return untilDone(ctx) }
func (*silentRollout) see(remote.News) error         { return nil }
func (*silentRollout) progress(fleet.Progress)       {}
func (s *silentRollout) notice(text string)          { fmt.Fprintln(s.says, text) }
