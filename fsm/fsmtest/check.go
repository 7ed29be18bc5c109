package fsmtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// check tells what in a case is not as package fsm promises.
func check(c Case, ids []fsm.ID) error {
	r, errs := c.Report, []error(nil)
	broken := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.State != fsm.Terminated || r.Took > c.Config.Alarm {
		broken("%s after %v, with an alarm of %v", r.State, r.Took, c.Config.Alarm)
	}
	var reported []fsm.ID
	for _, l := range r.Components {
		reported = append(reported, l.ID)
		errs = append(errs, checkOutcome(c, l), checkOrder(c, l))
	}
	if !slices.Equal(reported, ids) {
		broken("registered were %q, reported are %q", ids, reported)
	}
	if code := exitCode(r); r.ExitCode() != code {
		broken("the exit code is %d, documented is %d", r.ExitCode(), code)
	}
	return errors.Join(append(errs, checkLog(r))...)
}

// deserved is the outcome of each behavior. The alarm leaves only those behind
// that do not listen, and by then everybody was started.
var deserved = map[Behavior]fsm.Outcome{
	AcksAtOnce: fsm.OutcomeAcked, AcksSlowly: fsm.OutcomeAcked, Fails: fsm.OutcomeFailed,
	Panics: fsm.OutcomePanicked, Hangs: fsm.OutcomeFailed, IgnoresInsist: fsm.OutcomeHung,
}

// checkOutcome: a component has the one outcome that it deserves.
func checkOutcome(c Case, l fsm.ComponentReport) error {
	started, acked := count(c.Report, fsm.Started, l.ID), count(c.Report, fsm.Acked, l.ID)
	insisted, acks := count(c.Report, fsm.Insisted, l.ID), 1
	if l.Outcome == fsm.OutcomeHung {
		acks = 0
	}
	switch {
	case l.Outcome != deserved[c.Behaviors[l.ID]]:
		return fmt.Errorf("%s %s, and its outcome is %s", l.ID, c.Behaviors[l.ID], l.Outcome)
	case started != 1 || acked != acks || insisted > 1 || (insisted == 1) != l.Insisted:
		return fmt.Errorf("%s is %s: started %d times, insisted upon %d times, acked %d times",
			l.ID, l.Outcome, started, insisted, acked)
	}
	return nil
}

// checkOrder: nobody starts before those ordered before it have let go.
func checkOrder(c Case, l fsm.ComponentReport) error {
	at := find(c.Report, fsm.Started, l.ID)
	if at < 0 {
		return nil
	}
	before := c.Report.Events[:at]
	if !l.Withdraws && !has(before, fsm.Withdrawn, "") {
		return fmt.Errorf("%s started before the withdrawal was over", l.ID)
	}
	if c.Report.Events[at].At.Sub(c.Report.Began) >= c.Config.InsistAfter {
		return nil
	}
	for _, id := range l.After {
		if !has(before, fsm.Acked, id) && !has(before, fsm.Insisted, id) {
			return fmt.Errorf("%s started before %s was done", l.ID, id)
		}
	}
	return nil
}

// checkLog: the log is in order, and its edges are those of the table.
func checkLog(r *fsm.Report) error {
	state, last := fsm.Running, time.Time{}
	for i, e := range r.Events {
		if e.Seq != i || e.At.Before(last) {
			return fmt.Errorf("event %d is number %d, at %v after %v", i, e.Seq, e.At, last)
		}
		edge := fsm.Transition{From: state, On: e.Kind, To: e.State}
		if e.State != state && !slices.Contains(fsm.Transitions(), edge) {
			return fmt.Errorf("event %d took an edge that is not drawn: %v", i, edge)
		}
		state, last = e.State, e.At
	}
	if state != fsm.Terminated || len(r.Events) == 0 || r.Events[len(r.Events)-1].Kind != r.Edge.On {
		return fmt.Errorf("the log ends in state %s, the edge is %v", state, r.Edge)
	}
	return nil
}

// exitCode is what the documentation of fsm.Report.ExitCode says.
func exitCode(r *fsm.Report) int {
	if r.Edge.On == fsm.Timeout {
		return fsm.ExitAlarm
	}
	for _, l := range r.Components {
		if l.Outcome != fsm.OutcomeAcked || l.Insisted {
			return fsm.ExitImpolite
		}
	}
	return fsm.ExitOK
}

func find(r *fsm.Report, kind fsm.Kind, id fsm.ID) int {
	return slices.IndexFunc(r.Events, func(e fsm.Event) bool { return e.Kind == kind && e.From == id })
}

func has(events []fsm.Event, kind fsm.Kind, id fsm.ID) bool {
	return slices.ContainsFunc(events, func(e fsm.Event) bool { return e.Kind == kind && e.From == id })
}

func count(r *fsm.Report, kind fsm.Kind, id fsm.ID) (n int) {
	for _, e := range r.Events {
		if e.Kind == kind && e.From == id {
			n++
		}
	}
	return n
}
