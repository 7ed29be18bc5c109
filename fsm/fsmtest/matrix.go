package fsmtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// Behavior is what a stand-in does when it is shut down, or, if it runs as
// [fsm.Serve] and [fsm.Orchestrator.Go] have it, before that.
type Behavior uint8

const (
	// AcksAtOnce returns nil at once.
	AcksAtOnce Behavior = iota
	// AcksSlowly returns nil after a quarter of the polite time, or when it is
	// insisted upon.
	AcksSlowly
	// Fails returns [ErrStandIn] at once; from its run, if it has one.
	Fails
	// Panics panics with [ErrStandIn] at once.
	Panics
	// Hangs returns only when it is insisted upon, with the cause of that. It is not
	// tried on what Go runs, which cannot be told.
	Hangs
	// IgnoresInsist does not return before the shutdown is over; its run does not, if
	// it has one.
	IgnoresInsist
	// Dies is a run that fails with [ErrStandIn] before the shutdown, and so is the
	// reason of it.
	Dies
	// DiesWaiting is a run that fails with [ErrStandIn] when the shutdown begins:
	// before its turn to stop has come, or just then.
	DiesWaiting
	// Departs is a run that returns nil before the shutdown.
	Departs
)

var behaviorNames = [...]string{
	"acks at once", "acks slowly", "fails", "panics", "hangs", "ignores insist", "dies", "dies waiting", "departs",
}

func (b Behavior) String() string {
	if int(b) < len(behaviorNames) {
		return behaviorNames[b]
	}
	return fmt.Sprintf("unknown(%d)", b)
}

// ErrStandIn is what a stand-in fails or panics with.
var ErrStandIn = errors.New("fsmtest: a stand-in fails")

// Registrar is the part of an [fsm.Orchestrator] that start-up code needs.
type Registrar interface {
	Register(id fsm.ID, component fsm.Component, options ...fsm.Option) error
	Go(id fsm.ID, run func(ctx context.Context) error, options ...fsm.Option) error
	Alarm() time.Duration
	Polite() time.Duration
}

// Case is one shutdown of a [Matrix].
type Case struct {
	Behaviors map[fsm.ID]Behavior // what each component did
	Config    fsm.Config          // with the defaults filled in
	Report    *fsm.Report         // the final one

	registered []registered
	asked      bool // it was not over before the request: by a death, and all at once
}

func (c Case) String() string {
	var b strings.Builder
	for _, r := range c.registered {
		fmt.Fprintf(&b, "%s %s; ", r.id, c.Behaviors[r.id])
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// MaxCases is how many combinations a [Matrix] tries if nothing is said.
const MaxCases = 10_000

// leastGap is how far InsistAfter must be below Alarm, for a fifth of it to be
// a whole nanosecond.
const leastGap = 5 * time.Nanosecond

// Matrix shuts a set of components down in every combination of [Behavior], each
// in a testing/synctest bubble of its own, and checks what the documentation of
// package fsm promises: the machine is Terminated by the alarm; every component
// has exactly one outcome, the one that what it did deserves; each starts in the
// very moment in which the last of those ordered before it has acked, or at last
// call, that of the shutdown or of a Grace, but what is Strict at neither; what is
// Last after all that is not; nobody before the withdrawal is over; whoever dies is
// named in a request with the error, and whoever departs holds nobody; an inner
// shutdown is over first, and its report in the outer one; all who ask get the
// same report; the exit code is the documented one.
type Matrix struct {
	// Setup registers the components, as the program does at its start. It is
	// called once to learn their IDs and then for every case, each time in a
	// bubble. Stand-ins take the places of the components, which are never called;
	// a stand-in for an [fsm.Quiescer] is one, and quiesces at once; one for what
	// [fsm.Serve] or Go runs is run; one for an orchestrator is an orchestrator, of
	// one component that does what is tried. A component or a run may be nil, so that
	// a test need not make it, although the orchestrator refuses that; a nil
	// [fsm.Func] is refused here too. IDs and options must be the same every time.
	Setup func(r Registrar) error
	// Config is that of each orchestrator. If it has no Logger, nothing is logged.
	// InsistAfter must be at least 5 ns below Alarm: of the time between them a
	// fifth, in whole nanoseconds, is left to those who start late and are
	// insisted upon, and without it they race the alarm.
	Config fsm.Config
	// MaxCases bounds the number of cases; [MaxCases] if zero. If there are more
	// combinations, so many of them are drawn at random.
	MaxCases int
	// Seed begins the random draw: the same seed draws the same cases.
	Seed uint64
	// Invariants are checked too, after each case and in its bubble.
	Invariants []func(c Case) error
}

// Test runs the cases, each of which fails the test if an invariant does not
// hold; it gives up after ten. It returns how many it has run.
func (m Matrix) Test(t *testing.T) (cases int) {
	t.Helper()
	m, err := m.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var all []registered
	if synctest.Test(t, func(t *testing.T) { all, err = m.components() }); err != nil {
		t.Fatal(err)
	}
	failures := 0
	for behaviors := range m.combinations(all) {
		cases++
		synctest.Test(t, func(t *testing.T) {
			if err := m.run(all, behaviors); err != nil {
				failures++
				t.Error(err)
			}
		})
		if failures == 10 {
			break
		}
	}
	t.Logf("fsmtest: %d components, %d cases", len(all), cases)
	return cases
}

func (m Matrix) withDefaults() (Matrix, error) {
	if m.Setup == nil {
		return m, errors.New("fsmtest: matrix: no Setup")
	}
	if m.MaxCases <= 0 {
		m.MaxCases = MaxCases
	}
	if m.Config.Alarm == 0 {
		m.Config.Alarm = fsm.DefaultAlarm
	}
	if m.Config.InsistAfter == 0 {
		m.Config.InsistAfter = m.Config.Alarm - m.Config.Alarm/5
	}
	// What is not below the alarm at all fsm.New refuses.
	if gap := m.Config.Alarm - m.Config.InsistAfter; gap > 0 && gap < leastGap {
		return m, fmt.Errorf("fsmtest: matrix: insist after %v is less than %v below the alarm of %v: "+
			"whoever is insisted upon races the alarm", m.Config.InsistAfter, leastGap, m.Config.Alarm)
	}
	if m.Config.Logger == nil {
		m.Config.Logger = slog.New(slog.DiscardHandler)
	}
	return m, nil
}

// components asks Setup whom it registers, in order.
func (m Matrix) components() ([]registered, error) {
	o, err := fsm.New(m.Config)
	if err != nil {
		return nil, err
	}
	s := m.substitute(o, nil)
	defer s.release()
	if err := m.Setup(s); err != nil {
		return nil, fmt.Errorf("fsmtest: setup: %w", err)
	}
	return s.registered, nil
}

// combinations yields what each component does: all, or so many at random.
func (m Matrix) combinations(of []registered) func(yield func([]Behavior) bool) {
	all := 1.0
	for _, r := range of {
		all *= float64(len(r.kind.behaviors()))
	}
	pick := func(choose func(n int) int) (behaviors []Behavior) {
		for _, r := range of {
			possible := r.kind.behaviors()
			behaviors = append(behaviors, possible[choose(len(possible))])
		}
		return behaviors
	}
	return func(yield func([]Behavior) bool) {
		if all > float64(m.MaxCases) {
			random := rand.New(rand.NewPCG(m.Seed, 0))
			for range m.MaxCases {
				if !yield(pick(random.IntN)) {
					return
				}
			}
			return
		}
		for number := range int(all) { // whose digits they are
			rest := number
			if !yield(pick(func(n int) int { digit := rest % n; rest /= n; return digit })) {
				return
			}
		}
	}
}

// run shuts one combination down and checks it.
func (m Matrix) run(all []registered, behaviors []Behavior) error {
	o, err := fsm.New(m.Config)
	if err != nil {
		return err
	}
	c := Case{Behaviors: map[fsm.ID]Behavior{}, Config: m.Config, registered: all}
	for i, r := range all {
		c.Behaviors[r.id] = behaviors[i]
	}
	s := m.substitute(o, c.Behaviors)
	defer s.release() // whatever still hangs is, and its ack changes nothing
	if err := m.Setup(s); err != nil {
		return fmt.Errorf("fsmtest: setup: %w", err)
	}
	for _, gate := range []chan struct{}{s.departing, s.dying} {
		close(gate)
		synctest.Wait()
	}
	command := fsm.Command{Reason: "test", By: "fsmtest"}
	c.asked = o.State() != fsm.Terminated
	c.Report, err = o.Shutdown(context.Background(), command)
	again, err2 := o.Shutdown(context.Background(), command)
	errs := []error{err, err2, check(c)}
	if again != c.Report || o.Report() != c.Report {
		errs = append(errs, errors.New("not everybody got the same report"))
	}
	for _, invariant := range m.Invariants {
		errs = append(errs, invariant(c))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fsmtest: case: %s:\n%w\n%s", c, err, c.Report)
	}
	return nil
}
