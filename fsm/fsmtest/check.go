package fsmtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// check tells what in a case is not as package fsm promises.
func check(c Case) error {
	r, errs := c.Report, []error(nil)
	broken := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.State != fsm.Terminated || r.Took > c.Config.Alarm || r.Deadline.Sub(r.Began) != c.Config.Alarm {
		broken("%s after %v, with an alarm of %v", r.State, r.Took, c.Config.Alarm)
	}
	var reported, want []fsm.ID
	kinds := map[fsm.ID]kind{}
	for _, of := range c.registered {
		if kinds[of.id] = of.kind; c.Behaviors[of.id] != Departs {
			want = append(want, of.id)
		}
	}
	for i := range r.Components {
		l := &line{ComponentReport: r.Components[i], kind: kinds[r.Components[i].ID], behavior: c.Behaviors[r.Components[i].ID]}
		reported = append(reported, l.ID)
		errs = append(errs, checkOutcome(c, l), checkCounts(r, l), checkDeath(r, l), checkOrder(c, l), checkStart(c, l))
	}
	if !slices.Equal(reported, want) {
		broken("registered were %q, reported are %q", want, reported)
	}
	requests := len(deaths(r))
	if c.asked {
		requests++
	}
	if len(r.Requests) != requests || r.Requests[0].Reason != r.Command.Reason {
		broken("there were %d requests, reported are %d; %q began it", requests, len(r.Requests), r.Command.Reason)
	}
	return errors.Join(append(errs, checkBegun(c), checkWithdrawn(c), checkExitCode(r), checkLog(r))...)
}

// line is what the report says of a component, and what it was and did.
type line struct {
	fsm.ComponentReport
	kind     kind
	behavior Behavior
}

// never is when happens what does not.
var never = time.Unix(1<<40, 0)

// at is when somebody's first event of a kind was.
func at(r *fsm.Report, kind fsm.Kind, id fsm.ID) time.Time {
	if i := find(r, kind, id); i >= 0 {
		return r.Events[i].At
	}
	return never
}

// The moments of a shutdown that no request has hastened.
func (c Case) politeOver() time.Time { return c.Report.Began.Add(c.Config.InsistAfter) }
func (c Case) left() time.Duration   { return c.Config.Alarm - c.Config.InsistAfter }
func (c Case) lastCall() time.Time   { return c.politeOver().Add(c.left() / 4) }
func (c Case) lateOver() time.Time   { return c.politeOver().Add(c.left() - c.left()/5) }

// graceLastCall is when a component that its own Grace has insisted upon is no
// longer waited for: a quarter of the Grace later. What Grace it has is seen from
// when it was insisted upon.
func (c Case) graceLastCall(id fsm.ID) time.Time {
	insisted := at(c.Report, fsm.Insisted, id)
	if insisted == never || insisted.Equal(c.politeOver()) || insisted.Equal(c.lateOver()) {
		return never
	}
	return insisted.Add(insisted.Sub(at(c.Report, fsm.Started, id)) / 4)
}

// letsGo is when somebody begins to hold nobody who is not Strict, and as far as
// it is known: nobody at all.
func (c Case) letsGo(id fsm.ID, strict bool) time.Time {
	acked := at(c.Report, fsm.Acked, id)
	if call := c.graceLastCall(id); !strict && call.Before(acked) {
		return call
	}
	return acked
}

// first lists those that l has to wait for.
func first(r *fsm.Report, l *line) (ids []fsm.ID) {
	ids = slices.Clone(l.After)
	for _, other := range r.Components {
		if l.Last && !other.Last {
			ids = append(ids, other.ID)
		}
	}
	return ids
}

// checkOutcome: a component has the one outcome that it deserves.
func checkOutcome(c Case, l *line) error {
	if want := deserved(c, l); l.Outcome != want {
		return fmt.Errorf("%s %s, and its outcome is %s, not %s", l.ID, l.behavior, l.Outcome, want)
	}
	if l.kind == nested && l.Outcome != fsm.OutcomeSkipped {
		return checkInner(c, l)
	}
	told := l.behavior == Hangs && l.Outcome == fsm.OutcomeFailed ||
		l.behavior == AcksSlowly && l.Outcome == fsm.OutcomeAcked && l.Ran < c.Config.InsistAfter/4
	if told && !l.Insisted && l.kind != nested {
		return fmt.Errorf("%s was told after %v that its time is up, and it was not", l.ID, l.Ran)
	}
	return nil
}

func deserved(c Case, l *line) fsm.Outcome {
	out := func(id fsm.ID) bool { return at(c.Report, fsm.Acked, id) == never }
	switch {
	case l.Strict && slices.ContainsFunc(first(c.Report, l), out):
		return fsm.OutcomeSkipped
	case l.kind == nested:
		if l.Inner != nil && exitCode(l.Inner) != fsm.ExitOK && exitCode(l.Inner) != fsm.ExitFailure {
			return fsm.OutcomeFailed // ExitFailure: the outer shutdown's own reason
		}
		return fsm.OutcomeAcked
	case (l.behavior == Dies || l.behavior == DiesWaiting) && l.Died.IsZero():
		return fsm.OutcomeFailed // its turn had come: the error is part of the ack
	}
	return c.outcome(l)
}

// outcome is that of a behavior. The alarm leaves only those behind that do not
// listen, or that could not be told because they were Strict and began too late.
func (c Case) outcome(l *line) fsm.Outcome {
	deaf := l.kind == goes || !at(c.Report, fsm.Started, l.ID).Before(c.lateOver()) && !l.Insisted
	switch l.behavior {
	case Fails:
		return fsm.OutcomeFailed
	case Panics:
		return fsm.OutcomePanicked
	case IgnoresInsist:
		return fsm.OutcomeHung
	case Hangs:
		if deaf {
			return fsm.OutcomeHung
		}
		return fsm.OutcomeFailed
	case AcksSlowly:
		slow := c.Config.InsistAfter / 4
		if raced := l.Ran == slow && l.Outcome == fsm.OutcomeHung; deaf && (l.Ran < slow || raced) {
			return fsm.OutcomeHung // raced: it would have acked at the very alarm
		}
	}
	return fsm.OutcomeAcked
}

// checkInner: an inner shutdown was over in time, what it says is in the report,
// and who insists upon it insists inside.
func checkInner(c Case, l *line) error {
	switch r := l.Inner; {
	case r == nil:
		return fmt.Errorf("%s has no report of its own", l.ID)
	case r.State != fsm.Terminated:
		return fmt.Errorf("%s: the inner shutdown is in %s", l.ID, r.State)
	case len(r.Components) != 1:
		return fmt.Errorf("%s: %d components in the inner report", l.ID, len(r.Components))
	default:
		inside := &line{ComponentReport: r.Components[0], behavior: l.behavior}
		end := Case{Report: r, Config: fsm.Config{Alarm: r.Deadline.Sub(r.Began), InsistAfter: r.Deadline.Sub(r.Began)}}
		if want := end.outcome(inside); inside.Outcome != want && l.behavior != AcksSlowly {
			return fmt.Errorf("%s %s inside, where its outcome is %s, not %s", l.ID, l.behavior, inside.Outcome, want)
		}
		told := at(c.Report, fsm.Insisted, l.ID)
		if at(r, fsm.Acked, inside.ID).After(told) && at(r, fsm.Insisted, inside.ID).After(told) {
			return fmt.Errorf("%s was insisted upon, and nobody inside", l.ID)
		}
		return errors.Join(checkCounts(r, inside), checkExitCode(r), checkLog(r))
	}
}

// checkCounts: nobody starts, acks or is insisted upon twice, and the events are
// those of the outcome.
func checkCounts(r *fsm.Report, l *line) error {
	started, acked := count(r, fsm.Started, l.ID), count(r, fsm.Acked, l.ID)
	insisted, starts, acks := count(r, fsm.Insisted, l.ID), 1, 1
	switch l.Outcome {
	case fsm.OutcomeHung:
		acks = 0
	case fsm.OutcomeSkipped:
		starts, acks = 0, 0
	}
	if started != starts || acked != acks || insisted > 1 || (insisted == 1) != l.Insisted {
		return fmt.Errorf("%s is %s: started %d times, insisted upon %d times, acked %d times",
			l.ID, l.Outcome, started, insisted, acked)
	}
	return nil
}

// deaths are the requests that died components have made, by who.
func deaths(r *fsm.Report) map[fsm.ID]int {
	died := map[fsm.ID]int{}
	for _, request := range r.Requests {
		if errors.Is(request.Err, ErrStandIn) {
			died[fsm.ID(request.By)]++
		}
	}
	return died
}

// checkBegun: the first that dies before the shutdown is who has begun it.
func checkBegun(c Case) error {
	want := []fsm.ID{"fsmtest"}
	for _, of := range c.registered {
		if c.Behaviors[of.id] == Dies {
			want = append(want, of.id)
		}
	}
	if len(want) > 1 {
		want = want[1:]
	}
	if by := fsm.ID(c.Report.Command.By); !slices.Contains(want, by) {
		return fmt.Errorf("%q has begun it, and not one of %q", by, want)
	}
	return nil
}

// checkDeath: who dies before its turn to stop is named in a request, with the
// error; nobody else is.
func checkDeath(r *fsm.Report, l *line) error {
	died, requests := !l.Died.IsZero(), deaths(r)[l.ID]
	may := l.behavior == Dies || l.behavior == DiesWaiting
	if died && !may || died != (requests == 1) || requests > 1 {
		return fmt.Errorf("%s %s: died %v, in %d requests", l.ID, l.behavior, died, requests)
	}
	return nil
}

// checkOrder: nobody starts before those ordered before it have let go of it.
func checkOrder(c Case, l *line) error {
	i := find(c.Report, fsm.Started, l.ID)
	if i < 0 {
		return nil
	}
	before, now := c.Report.Events[:i], c.Report.Events[i].At
	if !l.Withdraws && !has(before, fsm.Withdrawn, "") {
		return fmt.Errorf("%s started before the withdrawal was over", l.ID)
	}
	for _, id := range first(c.Report, l) {
		called := !now.Before(c.lastCall()) || slices.Contains(l.After, id) && !now.Before(c.graceLastCall(id))
		if !has(before, fsm.Acked, id) && (l.Strict || !called) {
			return fmt.Errorf("%s started before %s was done", l.ID, id)
		}
	}
	return nil
}

// checkStart: everybody starts as soon as it may, and at last call the latest.
func checkStart(c Case, l *line) error {
	may := c.Report.Began
	wait := func(until time.Time) {
		if until.After(may) {
			may = until
		}
	}
	for _, id := range l.After {
		wait(c.letsGo(id, l.Strict))
	}
	for _, id := range first(c.Report, l)[len(l.After):] { // those that are not Last
		wait(at(c.Report, fsm.Acked, id))
	}
	if called := c.lastCall(); !l.Strict && may.After(called) {
		may = called
	}
	if !l.Withdraws {
		wait(at(c.Report, fsm.Withdrawn, ""))
	}
	if started := at(c.Report, fsm.Started, l.ID); !started.Equal(may) {
		return fmt.Errorf("%s started %v after the request, and could have %v after it",
			l.ID, started.Sub(c.Report.Began), may.Sub(c.Report.Began))
	}
	return nil
}

// checkWithdrawn: the withdrawal is over when all who withdraw have let go, or at
// last call.
func checkWithdrawn(c Case) error {
	i := find(c.Report, fsm.Withdrawn, "")
	if i < 0 {
		return errors.New("the withdrawal was never over")
	}
	may, called := c.Report.Began, c.lastCall()
	for _, l := range c.Report.Components {
		if l.Withdraws {
			if until := c.letsGo(l.ID, false); until.After(may) {
				may = until
			}
		}
	}
	if may.After(called) {
		may = called
	}
	if over := c.Report.Events[i].At; !over.Equal(may) {
		return fmt.Errorf("the withdrawal was over %v after the request, and not %v after it",
			over.Sub(c.Report.Began), may.Sub(c.Report.Began))
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

// checkExitCode: the exit code is the documented one, and 0 if there is no error.
func checkExitCode(r *fsm.Report) error {
	code := exitCode(r)
	if r.ExitCode() != code {
		return fmt.Errorf("the exit code is %d, documented is %d", r.ExitCode(), code)
	}
	if err := r.Err(); (err == nil) != (code == fsm.ExitOK) {
		return fmt.Errorf("the exit code is %d, and Err is %v", code, err)
	}
	return nil
}

// exitCode is what the documentation of fsm.Report.ExitCode says of a shutdown
// that nobody has forced.
func exitCode(r *fsm.Report) int {
	cutShort, impolite, failure := false, false, false
	for _, l := range r.Components {
		left := l.Outcome == fsm.OutcomeHung || l.Outcome == fsm.OutcomeSkipped
		cutShort = cutShort || left && !l.BestEffort
		impolite = impolite || (l.Outcome != fsm.OutcomeAcked || l.Insisted) && !l.BestEffort
	}
	for _, request := range r.Requests {
		failure = failure || request.Err != nil
	}
	switch {
	case r.Edge.On == fsm.Timeout && cutShort:
		return fsm.ExitAlarm
	case impolite:
		return fsm.ExitImpolite
	case failure:
		return fsm.ExitFailure
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
