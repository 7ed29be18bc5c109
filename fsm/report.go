package fsm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
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
	// OutcomeFailed: Shutdown or Quiesce returned an error.
	OutcomeFailed
	// OutcomePanicked: Shutdown or Quiesce panicked or called Goexit.
	OutcomePanicked
	// OutcomeHung: started, and had not acked at the alarm or at a force.
	OutcomeHung
	// OutcomeSkipped: not even started at the alarm or at a force.
	OutcomeSkipped
)

var outcomeNames = [...]string{"waiting", "stopping", "acked", "failed", "panicked", "hung", "skipped"}

func (u Outcome) String() string               { return nameOf(outcomeNames[:], u) }
func (u Outcome) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
func (u *Outcome) UnmarshalText(text []byte) error {
	return parseName(outcomeNames[:], "outcome", u, text)
}

// ComponentReport is one component's line in a [Report], and as an error what
// names a component that did not leave politely.
type ComponentReport struct {
	ID         ID
	Outcome    Outcome
	Insisted   bool          // its context was cancelled before it was done
	Waited     time.Duration // from the request to its start, or to the end if skipped
	WaitedOn   []ID          // whom for; its own ID stands for its Quiesce
	Ran        time.Duration // from its start to its ack, or to the end if it hung
	Err        error         // of Shutdown
	QuiesceErr error         // of Quiesce; ErrQuiesceLate alone is no failure
	Stack      string        // where it hung or panicked; at most 16 KiB
}

// Report says how a shutdown went, or goes. It is immutable. Errors read back
// from JSON keep their text, and not their type.
type Report struct {
	Command    Command
	ForcedBy   *Command   // who would not wait, if somebody would not
	State      State      // Terminated in a final report
	Edge       Transition // the edge that led to Terminated
	Began      time.Time  // when the request took effect; zero before
	Took       time.Duration
	Events     []Event
	Components []ComponentReport // in the order of their registration
}

// report describes the shutdown as of now. The caller holds mu.
func (o *Orchestrator) report(now time.Time) *Report {
	r := &Report{
		ForcedBy: o.force, State: o.machine.State(), Began: o.began,
		Components: make([]ComponentReport, 0, len(o.components)),
	}
	if r.State != Running {
		r.Command, r.Took = *o.command, now.Sub(o.began)
	}
	r.Events, _ = o.log.after(0)
	r.Edge = lastEdge(r.Events)
	for i, c := range o.components {
		r.Components = append(r.Components, o.componentReport(c, o.core.nodes[i].phase, now))
	}
	return r
}

// lastEdge returns the edge into Terminated, or nothing if it was not taken.
func lastEdge(events []Event) Transition {
	n := len(events)
	if n < 2 || events[n-1].State != Terminated {
		return Transition{}
	}
	return Transition{From: events[n-2].State, On: events[n-1].Kind, To: Terminated}
}

func (o *Orchestrator) componentReport(c *component, phase phase, now time.Time) ComponentReport {
	line := ComponentReport{
		ID: c.id, Insisted: c.insisted, WaitedOn: c.waitedOn, Err: c.err, QuiesceErr: c.quiesceError(), Stack: c.stack,
	}
	switch phase {
	case waiting:
		if !o.began.IsZero() {
			line.Waited = now.Sub(o.began)
		}
	case running:
		line.Waited, line.Ran = c.started.Sub(o.began), now.Sub(c.started)
	case done:
		line.Waited, line.Ran = c.started.Sub(o.began), c.ended.Sub(c.started)
		line.Stack = ""
	}
	line.Outcome = c.outcome(phase, o.core.state == Terminated)
	if panicked, ok := errors.AsType[*PanicError](line.failure()); ok && line.Stack == "" {
		line.Stack = string(panicked.Stack)
	}
	return line
}

func (c *component) outcome(phase phase, final bool) Outcome {
	failure := errors.Join(c.quiesceErr, c.err)
	_, panicked := errors.AsType[*PanicError](failure)
	switch {
	case phase == waiting && final:
		return OutcomeSkipped
	case phase == waiting:
		return OutcomeWaiting
	case phase == running && final:
		return OutcomeHung
	case phase == running:
		return OutcomeStopping
	case panicked:
		return OutcomePanicked
	case failure != nil:
		return OutcomeFailed
	}
	return OutcomeAcked
}

func (c *component) quiesceError() error {
	switch {
	case !c.quiesceLate:
		return c.quiesceErr
	case c.quiesceErr == nil:
		return ErrQuiesceLate
	}
	return errors.Join(ErrQuiesceLate, c.quiesceErr)
}

// failure is what the component has to say for itself, nil if nothing.
func (l *ComponentReport) failure() error {
	switch {
	case l.QuiesceErr == nil:
		return l.Err
	case l.Err == nil:
		return l.QuiesceErr
	}
	return errors.Join(l.QuiesceErr, l.Err)
}

// polite reports whether the component left in time and without being told twice.
func (l *ComponentReport) polite() bool { return l.Outcome == OutcomeAcked && !l.Insisted }

// ExitCode returns what the process should exit with: the first that fits of
// 128+n, forced by signal n; [ExitAlarm]; [ExitImpolite]; [ExitFailure]; [ExitOK].
// It means nothing before the report is final.
func (r *Report) ExitCode() int {
	switch {
	case r.ForcedBy != nil && r.ForcedBy.Signal != 0:
		return 128 + int(r.ForcedBy.Signal)
	case r.Edge.On == Timeout:
		return ExitAlarm
	case len(r.culprits()) > 0:
		return ExitImpolite
	case r.Command.Err != nil:
		return ExitFailure
	}
	return ExitOK
}

func (r *Report) culprits() (culprits []*ComponentReport) {
	for i := range r.Components {
		if !r.Components[i].polite() {
			culprits = append(culprits, &r.Components[i])
		}
	}
	return culprits
}

// Error says which component did not leave politely, and why.
func (l *ComponentReport) Error() string {
	text := fmt.Sprintf("fsm: component %q: %s", string(l.ID), l.Outcome)
	if err := l.Unwrap(); err != nil {
		text += ": " + plain(err.Error())
	}
	return text
}

// Unwrap returns what its Quiesce and Shutdown returned, and [ErrInsist] if it
// was insisted upon.
func (l *ComponentReport) Unwrap() error {
	if !l.Insisted {
		return l.failure()
	}
	return errors.Join(ErrInsist, l.failure())
}

// Err returns nil exactly if the exit code is 0. Otherwise it joins [ErrForced]
// or [ErrAlarm], the [*ComponentReport] of each component that did not leave
// politely, and the command's error; errors.Is and errors.As find them all.
func (r *Report) Err() error {
	var errs []error
	switch {
	case r.ForcedBy != nil:
		errs = append(errs, ErrForced)
	case r.Edge.On == Timeout:
		errs = append(errs, ErrAlarm)
	}
	for _, l := range r.culprits() {
		errs = append(errs, l)
	}
	return errors.Join(append(errs, r.Command.Err)...)
}

// Summary returns the report in one line, for logs.
func (r *Report) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "shutdown (%s) %s by %s after %s: ", plain(r.Command.Reason), r.State, r.Edge.On, round(r.Took))
	for u := range Outcome(len(outcomeNames)) {
		var ids []string
		for _, l := range r.Components {
			if l.Outcome == u {
				ids = append(ids, plain(string(l.ID)))
			}
		}
		switch {
		case len(ids) == 0:
		case u == OutcomeAcked:
			fmt.Fprintf(&b, "%d acked; ", len(ids))
		default:
			fmt.Fprintf(&b, "%d %s: %s; ", len(ids), u, strings.Join(ids, ", "))
		}
	}
	fmt.Fprintf(&b, "exit code %d", r.ExitCode())
	return b.String()
}

// String returns the report as a table for people, with the stacks below it.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Shutdown requested by %s: %s\n", plain(r.Command.By), plain(r.Command.Reason))
	if r.ForcedBy != nil {
		fmt.Fprintf(&b, "Forced by %s: %s\n", plain(r.ForcedBy.By), plain(r.ForcedBy.Reason))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COMPONENT\tOUTCOME\tWAITED\tON\tRAN\tREMARKS")
	for _, l := range r.Components {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n",
			plain(string(l.ID)), l.Outcome, round(l.Waited), l.waitedOn(), round(l.Ran), l.remarks())
	}
	_ = w.Flush() // a strings.Builder does not fail
	if r.State == Terminated {
		fmt.Fprintf(&b, "%s by %s after %s; exit code %d\n", r.State, r.Edge.On, round(r.Took), r.ExitCode())
	} else {
		fmt.Fprintf(&b, "%s for %s\n", r.State, round(r.Took))
	}
	for _, l := range r.Components {
		if l.Stack != "" {
			fmt.Fprintf(&b, "\n%s %s:\n%s", plain(string(l.ID)), l.Outcome, l.Stack)
		}
	}
	return b.String()
}

func (l *ComponentReport) waitedOn() string {
	var names []string
	for _, id := range l.WaitedOn {
		if id == l.ID {
			names = append(names, "own Quiesce")
		} else {
			names = append(names, plain(string(id)))
		}
	}
	return cmp.Or(strings.Join(names, ", "), "-")
}

func (l *ComponentReport) remarks() string {
	var remarks []string
	if l.Insisted {
		remarks = append(remarks, "insisted upon")
	}
	if err := l.failure(); err != nil {
		remarks = append(remarks, plain(err.Error()))
	}
	return strings.Join(remarks, "; ")
}

// plain keeps what others wrote from breaking the line or the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// round shortens a duration to what a person reads.
func round(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return d.Round(time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}

type commandJSON struct {
	Reason string         `json:"reason"`
	By     string         `json:"by"`
	Signal syscall.Signal `json:"signal,omitempty"`
	Error  string         `json:"error,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (c Command) MarshalJSON() ([]byte, error) {
	return json.Marshal(commandJSON{c.Reason, c.By, c.Signal, errorText(c.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Command) UnmarshalJSON(data []byte) error {
	var j commandJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*c = Command{j.Reason, j.By, j.Signal, textError(j.Error)}
	return nil
}

type reportJSON struct {
	Command    Command         `json:"command"`
	ForcedBy   *Command        `json:"forcedBy,omitempty"`
	State      State           `json:"state"`
	Edge       *Transition     `json:"edge,omitempty"`
	Began      time.Time       `json:"began"`
	Took       millis          `json:"tookMs"`
	ExitCode   *int            `json:"exitCode,omitempty"` // of a final report
	Components []componentJSON `json:"components"`
	Events     []Event         `json:"events"`
}

type componentJSON struct {
	ID         ID      `json:"id"`
	Outcome    Outcome `json:"outcome"`
	Insisted   bool    `json:"insisted"`
	Waited     millis  `json:"waitedMs"`
	WaitedOn   []ID    `json:"waitedOn,omitempty"`
	Ran        millis  `json:"ranMs"`
	Error      string  `json:"error,omitempty"`
	QuiesceErr string  `json:"quiesceError,omitempty"`
	Stack      string  `json:"stack,omitempty"`
}

// millis is a duration as a number of milliseconds.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(m) / float64(time.Millisecond))
}

func (m *millis) UnmarshalJSON(data []byte) error {
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return err
	}
	*m = millis(math.Round(ms * float64(time.Millisecond)))
	return nil
}

// MarshalJSON implements [json.Marshaler]: durations are numbers in
// milliseconds, errors strings. The exit code stands in a final report only.
func (r *Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{
		Command: r.Command, ForcedBy: r.ForcedBy, State: r.State, Began: r.Began, Took: millis(r.Took),
		Components: make([]componentJSON, 0, len(r.Components)), Events: r.Events,
	}
	if r.State == Terminated {
		j.Edge, j.ExitCode = &r.Edge, new(r.ExitCode())
	}
	for _, l := range r.Components {
		j.Components = append(j.Components, componentJSON{
			l.ID, l.Outcome, l.Insisted, millis(l.Waited), l.WaitedOn, millis(l.Ran),
			errorText(l.Err), errorText(l.QuiesceErr), l.Stack,
		})
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Report) UnmarshalJSON(data []byte) error {
	var j reportJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return fmt.Errorf("fsm: report: %w", err)
	}
	*r = Report{Command: j.Command, ForcedBy: j.ForcedBy, State: j.State, Began: j.Began, Took: time.Duration(j.Took), Events: j.Events}
	if j.Edge != nil {
		r.Edge = *j.Edge
	}
	for _, l := range j.Components {
		r.Components = append(r.Components, ComponentReport{
			l.ID, l.Outcome, l.Insisted, time.Duration(l.Waited), l.WaitedOn, time.Duration(l.Ran),
			textError(l.Error), textError(l.QuiesceErr), l.Stack,
		})
	}
	return nil
}
