package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Outcome is how one component's shutdown went. It marshals as its name.
type Outcome uint8

const (
	// OutcomeWaiting: not started yet. Not in a final report.
	OutcomeWaiting Outcome = iota
	// OutcomeStopping: started, not acked yet. Not in a final report.
	OutcomeStopping
	// OutcomeAcked: done without an error.
	OutcomeAcked
	// OutcomeFailed: Shutdown returned an error, or Quiesce did, in time.
	OutcomeFailed
	// OutcomePanicked: Shutdown or Quiesce panicked or called Goexit.
	OutcomePanicked
	// OutcomeHung: started, and had not acked at the alarm or at a force.
	OutcomeHung
	// OutcomeSkipped: not even started at the alarm or at a force.
	OutcomeSkipped
)

var outcomeNames = [...]string{"waiting", "stopping", "acked", "failed", "panicked", "hung", "skipped"}

// String returns the outcome's name, in lower case.
func (u Outcome) String() string { return nameOf(outcomeNames[:], u) }

// MarshalText implements [encoding.TextMarshaler].
func (u Outcome) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses other names.
func (u *Outcome) UnmarshalText(text []byte) error {
	return parseName(outcomeNames[:], "outcome", u, text)
}

// ComponentReport is one component's line in a [Report], and as an error what
// names a component that did not leave politely.
type ComponentReport struct {
	ID         ID            `json:"id"`
	Withdraws  bool          `json:"withdraws,omitempty"` // as registered
	Strict     bool          `json:"strict,omitempty"`
	BestEffort bool          `json:"bestEffort,omitempty"`
	Last       bool          `json:"last,omitempty"`
	After      []ID          `json:"after,omitempty"` // those ordered before it, by whichever side
	Outcome    Outcome       `json:"outcome"`
	Insisted   bool          `json:"insisted"`           // its context was cancelled before it was done
	Waited     time.Duration `json:"-"`                  // from the request to its start, or to now if it has none
	WaitedOn   []ID          `json:"waitedOn,omitempty"` // whom for, at last; its own ID stands for its Quiesce
	Ran        time.Duration `json:"-"`                  // from its start to its ack, or to now if it has none
	Err        error         `json:"-"`                  // of Shutdown
	QuiesceErr error         `json:"-"`                  // of Quiesce; after ErrQuiesceLate only a panic is a failure
	Died       time.Time     `json:"died,omitzero"`      // when its run failed before it was stopped; how, is in Requests
	Stack      string        `json:"stack,omitempty"`    // where it hung or panicked; at most 16 KiB
	Inner      *Report       `json:"inner,omitempty"`    // of one that is a shutdown of its own
}

// Report says how a shutdown went, or goes. It is shared by all who ask, and not
// to be changed. In JSON durations are numbers of milliseconds and errors are
// strings; errors read back keep their text, and not their type.
type Report struct {
	Command    Command           `json:"command"`            // the one that began it
	Requests   []Command         `json:"requests"`           // all of them, that one first
	ForcedBy   *Command          `json:"forcedBy,omitempty"` // who would not wait, if somebody would not
	State      State             `json:"state"`              // Terminated in a final report
	Edge       Transition        `json:"-"`                  // the edge that led to Terminated
	Began      time.Time         `json:"began"`              // when the request took effect; zero before
	Deadline   time.Time         `json:"deadline,omitzero"`  // the moment of the alarm; zero before the request
	Took       time.Duration     `json:"-"`                  // from there to the end, or to now
	Components []ComponentReport `json:"components"`         // in the order of their registration
	Events     []Event           `json:"events"`
}

// report describes the shutdown as of now. The caller holds mu.
func (o *Orchestrator) report(now time.Time) *Report {
	r := &Report{
		ForcedBy: o.force, State: o.state, Edge: o.edge, Began: o.began,
		Requests: make([]Command, 0, len(o.requests)), Components: make([]ComponentReport, 0, len(o.index)),
	}
	for _, command := range o.requests {
		r.Requests = append(r.Requests, *command)
	}
	if r.State != Running {
		r.Command, r.Took, r.Deadline = r.Requests[0], now.Sub(o.began), o.clock.alarm
	}
	if r.Events, _ = o.log.after(0); r.Events == nil {
		r.Events = []Event{}
	}
	for _, c := range o.components {
		if c != nil {
			r.Components = append(r.Components, o.componentReport(c, now))
		}
	}
	return r
}

func (o *Orchestrator) componentReport(c *component, now time.Time) ComponentReport {
	i := c.index
	at := o.core.nodes[i].phase
	line := ComponentReport{
		ID: c.id, Withdraws: c.withdraws, Strict: c.strict, BestEffort: c.bestEffort, Last: c.last, After: o.orderedAfter(i),
		Outcome: c.outcome(at, o.core.state == Terminated), Insisted: o.core.nodes[i].insisted,
		WaitedOn: c.waitedOn, Err: c.err, QuiesceErr: c.quiesceErr, Died: c.died, Stack: c.stack, Inner: c.inner,
	}
	switch {
	case at == running:
		line.Waited, line.Ran = c.started.Sub(o.began), now.Sub(c.started)
	case at == done:
		line.Waited, line.Ran, line.Stack = c.started.Sub(o.began), c.ended.Sub(c.started), ""
	case o.core.state != Running && o.requests[0] != o.force: // a force that came first lets nobody wait
		line.Waited, line.WaitedOn = now.Sub(o.began), o.ids(o.core.outstanding(i))
	}
	if c.panicked != nil && line.Stack == "" {
		line.Stack = string(c.panicked.Stack)
	}
	return line
}

// orderedAfter lists those ordered before a component, in the order of their registration.
func (o *Orchestrator) orderedAfter(i int) []ID {
	var before []int
	for _, p := range o.core.graph.prev[i] {
		before = append(before, p.of)
	}
	slices.Sort(before)
	return o.ids(before)
}

// outcome does not look into the errors: what is inside of them is other
// people's code, which must not run while the orchestrator is locked.
func (c *component) outcome(at phase, final bool) Outcome {
	switch {
	case at == waiting && final:
		return OutcomeSkipped
	case at == waiting:
		return OutcomeWaiting
	case at == running && final:
		return OutcomeHung
	case at == running:
		return OutcomeStopping
	case c.panicked != nil:
		return OutcomePanicked
	case c.err != nil || c.quiesceErr != nil && !c.quiesceLate:
		return OutcomeFailed
	}
	return OutcomeAcked
}

// ExitCode returns what the process should exit with: the first that fits of
// 128+n, forced by signal n; [ExitAlarm]; [ExitImpolite]; [ExitFailure]; [ExitOK].
// What is only BestEffort does not count, even if the alarm had to end it. A
// report that is not final has ExitAlarm: whoever exits now does not wait.
func (r *Report) ExitCode() int {
	switch {
	case r.ForcedBy != nil && r.ForcedBy.Signal != 0:
		return 128 + int(r.ForcedBy.Signal)
	case r.State != Terminated || r.cutShort():
		return ExitAlarm
	case len(r.culprits()) > 0:
		return ExitImpolite
	case len(r.requestErrs()) > 0:
		return ExitFailure
	}
	return ExitOK
}

// cutShort reports whether the shutdown was ended from outside, and not only for
// the sake of what is BestEffort.
func (r *Report) cutShort() bool {
	counted, indulged := false, false
	for _, l := range r.Components {
		if l.Outcome == OutcomeHung || l.Outcome == OutcomeSkipped {
			counted, indulged = counted || !l.BestEffort, indulged || l.BestEffort
		}
	}
	return r.ForcedBy != nil || r.Edge.On == Timeout && (counted || !indulged)
}

// culprits are those that did not leave in time and without being told twice.
func (r *Report) culprits() (culprits []*ComponentReport) {
	for i := range r.Components {
		if l := &r.Components[i]; !l.BestEffort && (l.Outcome != OutcomeAcked || l.Insisted) {
			culprits = append(culprits, l)
		}
	}
	return culprits
}

// requestErrs are the errors that the requests carried.
func (r *Report) requestErrs() (errs []error) {
	requests := r.Requests
	if len(requests) == 0 { // as older versions wrote it
		requests = []Command{r.Command}
	}
	for _, command := range requests {
		if command.Err != nil {
			errs = append(errs, command.Err)
		}
	}
	return errs
}

// Outstanding lists those that are shutting down and have not acked: whom the
// shutdown waits for.
func (r *Report) Outstanding() []ID { return r.those(OutcomeStopping, OutcomeHung) }

func (r *Report) those(outcomes ...Outcome) (ids []ID) {
	for _, l := range r.Components {
		if slices.Contains(outcomes, l.Outcome) {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// Error says which component did not leave politely, and why.
func (l *ComponentReport) Error() string {
	text := fmt.Sprintf("fsm: component %q: %s", string(l.ID), l.Outcome)
	if err := l.Unwrap(); err != nil {
		text += ": " + plain(errorText(err))
	}
	return text
}

// Unwrap returns what its Quiesce and Shutdown returned, and [ErrInsist] if it
// was insisted upon.
func (l *ComponentReport) Unwrap() error {
	if l.Insisted {
		return errors.Join(ErrInsist, l.QuiesceErr, l.Err)
	}
	return errors.Join(l.QuiesceErr, l.Err)
}

// Err returns nil exactly if the exit code is 0. Otherwise it joins [ErrForced],
// [ErrAlarm] or [ErrNotOver], the [*ComponentReport] of each component that did
// not leave politely, and the errors of the requests; errors.Is and errors.As
// find them all.
func (r *Report) Err() error { return errors.Join(r.errs()...) }

func (r *Report) errs() (errs []error) {
	switch {
	case r.ForcedBy != nil:
		errs = append(errs, ErrForced, r.ForcedBy.Err)
	case r.State != Terminated:
		errs = append(errs, ErrNotOver)
	case r.cutShort():
		errs = append(errs, ErrAlarm)
	}
	if r.State == Terminated {
		for _, l := range r.culprits() {
			errs = append(errs, l)
		}
	}
	return append(errs, r.requestErrs()...)
}

// standing says where the shutdown stands, and since when or how it came there.
func (r *Report) standing() string {
	switch r.State {
	case Running:
		return r.State.String()
	case Terminated:
		return fmt.Sprintf("%s by %s after %s", r.State, r.Edge.On, round(r.Took))
	}
	return fmt.Sprintf("%s for %s", r.State, round(r.Took))
}

// Summary returns the report in one line, for logs.
func (r *Report) Summary() string {
	var counts []string
	for u := range Outcome(len(outcomeNames)) {
		ids := plainIDs(r.those(u))
		switch {
		case len(ids) == 0:
		case u == OutcomeAcked:
			counts = append(counts, fmt.Sprintf("%d acked", len(ids)))
		default:
			counts = append(counts, fmt.Sprintf("%d %s: %s", len(ids), u, strings.Join(ids, ", ")))
		}
	}
	text := r.standing()
	if r.State != Running {
		text = fmt.Sprintf("shutdown (%s) %s", said(r.Command.Reason), text)
	}
	if r.State == Terminated {
		counts = append(counts, fmt.Sprintf("exit code %d", r.ExitCode()))
	}
	return strings.TrimSuffix(text+": "+strings.Join(counts, "; "), ": ")
}

// String returns the report as a table for people, with the stacks below it.
func (r *Report) String() string {
	var b strings.Builder
	if r.State != Running {
		fmt.Fprintf(&b, "Shutdown requested by %s: %s\n", said(r.Command.By), said(r.Command.Reason))
	}
	if r.ForcedBy != nil {
		fmt.Fprintf(&b, "Forced by %s: %s\n", said(r.ForcedBy.By), said(r.ForcedBy.Reason))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tOUTCOME\tWAITED\tON\tRAN\tREMARKS")
	for _, l := range r.Components {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
			plain(string(l.ID)), l.Outcome, round(l.Waited), l.waitedOn(), round(l.Ran), l.remarks())
	}
	_ = w.Flush() // a strings.Builder does not fail
	b.WriteString(r.standing())
	if r.State == Terminated {
		fmt.Fprintf(&b, "; exit code %d", r.ExitCode())
	}
	b.WriteString("\n")
	for _, l := range r.Components {
		if l.Stack != "" {
			fmt.Fprintf(&b, "\n%s %s:\n%s", plain(string(l.ID)), l.Outcome, plainLines(l.Stack))
		}
		if l.Inner != nil {
			inside := strings.ReplaceAll(strings.TrimSpace(l.Inner.String()), "\n", "\n  ")
			fmt.Fprintf(&b, "\ninside %s:\n  %s\n", plain(string(l.ID)), inside)
		}
	}
	return b.String()
}

func (l *ComponentReport) waitedOn() string {
	names := plainIDs(l.WaitedOn)
	if slices.Contains(l.WaitedOn, l.ID) {
		names = []string{"own Quiesce"}
	}
	return cmp.Or(strings.Join(names, ", "), "-")
}

func (l *ComponentReport) remarks() string {
	var remarks []string
	say := func(so bool, text string) {
		if so {
			remarks = append(remarks, text)
		}
	}
	say(!l.Died.IsZero(), "died while running")
	say(l.Insisted, "insisted upon")
	say(l.BestEffort, "best effort")
	text := plain(errorText(errors.Join(l.QuiesceErr, l.Err)))
	say(text != "", text)
	return cmp.Or(strings.Join(remarks, "; "), "-")
}

// plain keeps what others wrote from breaking the line or the terminal.
func plain(text string) string {
	return plainLines(strings.ReplaceAll(text, "\n", "; ")) // as errors.Join has it
}

// plainLines is for a stack: a report may come from another process.
func plainLines(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\n' {
			return ' '
		}
		return r
	}, text)
}

func plainIDs(ids []ID) (names []string) {
	for _, id := range ids {
		names = append(names, plain(string(id)))
	}
	return names
}

func said(text string) string { return cmp.Or(plain(text), "(not said)") }

// round shortens a duration to what a person reads.
func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}
