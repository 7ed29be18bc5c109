package fsmtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// Behavior is what a stand-in does when it is shut down.
type Behavior uint8

const (
	// AcksAtOnce returns nil at once.
	AcksAtOnce Behavior = iota
	// AcksSlowly returns nil after a quarter of the polite time, or when it is
	// insisted upon.
	AcksSlowly
	// Fails returns [ErrStandIn] at once.
	Fails
	// Panics panics with [ErrStandIn] at once.
	Panics
	// Hangs returns only when it is insisted upon, with the cause of that.
	Hangs
	// IgnoresInsist does not return before the shutdown is over.
	IgnoresInsist
)

var behaviorNames = [...]string{"acks at once", "acks slowly", "fails", "panics", "hangs", "ignores insist"}

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
}

// Case is one shutdown of a [Matrix].
type Case struct {
	Behaviors map[fsm.ID]Behavior // what each component did
	Config    fsm.Config          // with the defaults filled in
	Report    *fsm.Report         // the final one
}

func (c Case) String() string {
	var b strings.Builder
	for _, l := range c.Report.Components {
		fmt.Fprintf(&b, "%s %s; ", l.ID, c.Behaviors[l.ID])
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
// has exactly one outcome, the one that what it did deserves; nobody started
// before those ordered before it were done, insisted upon, or out of polite time,
// nor before the withdrawal was over; all who ask get the same report; the exit
// code is the documented one.
type Matrix struct {
	// Setup registers the components, as the program does at its start. It is
	// called once to learn their IDs and then for every case, each time in a
	// bubble. Stand-ins take the places of the components, which are never called;
	// a stand-in for an [fsm.Quiescer] is one, and quiesces at once. A component
	// may be nil, so that a test need not make it, although the orchestrator
	// refuses that; a nil [fsm.Func] is refused here too. IDs and options must be
	// the same every time.
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
	var ids []fsm.ID
	if synctest.Test(t, func(t *testing.T) { ids, err = m.components() }); err != nil {
		t.Fatal(err)
	}
	failures := 0
	for behaviors := range m.combinations(len(ids)) {
		cases++
		synctest.Test(t, func(t *testing.T) {
			if err := m.run(ids, behaviors); err != nil {
				failures++
				t.Error(err)
			}
		})
		if failures == 10 {
			break
		}
	}
	t.Logf("fsmtest: %d components, %d cases", len(ids), cases)
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
func (m Matrix) components() ([]fsm.ID, error) {
	o, err := fsm.New(m.Config)
	if err != nil {
		return nil, err
	}
	r := &substitute{o: o}
	if err := m.Setup(r); err != nil {
		return nil, fmt.Errorf("fsmtest: setup: %w", err)
	}
	return r.ids, nil
}

// combinations yields what each of n components does: all, or so many at random.
func (m Matrix) combinations(n int) func(yield func([]Behavior) bool) {
	base := len(behaviorNames)
	return func(yield func([]Behavior) bool) {
		behaviors := make([]Behavior, n)
		if all := math.Pow(float64(base), float64(n)); all > float64(m.MaxCases) {
			random := rand.New(rand.NewPCG(m.Seed, 0))
			for range m.MaxCases {
				for i := range behaviors {
					behaviors[i] = Behavior(random.IntN(base))
				}
				if !yield(slices.Clone(behaviors)) {
					return
				}
			}
			return
		}
		for more := true; more; {
			if !yield(slices.Clone(behaviors)) {
				return
			}
			more = false
			for i := 0; i < n && !more; i++ { // count up by one
				behaviors[i] = (behaviors[i] + 1) % Behavior(base)
				more = behaviors[i] != 0
			}
		}
	}
}

// run shuts one combination down and checks it.
func (m Matrix) run(ids []fsm.ID, behaviors []Behavior) error {
	o, err := fsm.New(m.Config)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	c := Case{Behaviors: map[fsm.ID]Behavior{}, Config: m.Config}
	for i, id := range ids {
		c.Behaviors[id] = behaviors[i]
	}
	slow := m.Config.InsistAfter / 4
	if err := m.Setup(&substitute{o: o, behaviors: c.Behaviors, slow: slow, over: over}); err != nil {
		return fmt.Errorf("fsmtest: setup: %w", err)
	}
	command := fsm.Command{Reason: "test", By: "fsmtest"}
	c.Report, err = o.Shutdown(context.Background(), command)
	again, err2 := o.Shutdown(context.Background(), command)
	errs := []error{err, err2, check(c, ids)}
	if again != c.Report || o.Report() != c.Report {
		errs = append(errs, errors.New("not everybody got the same report"))
	}
	for _, invariant := range m.Invariants {
		errs = append(errs, invariant(c))
	}
	close(over) // whatever still hangs is released, and its ack changes nothing
	synctest.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("fsmtest: case: %s:\n%w\n%s", c, err, c.Report)
	}
	return nil
}

// substitute registers stand-ins.
type substitute struct {
	o         *fsm.Orchestrator
	ids       []fsm.ID
	behaviors map[fsm.ID]Behavior
	slow      time.Duration
	over      <-chan struct{}
}

func (s *substitute) Register(id fsm.ID, component fsm.Component, options ...fsm.Option) error {
	if f, isFunc := component.(fsm.Func); isFunc && f == nil {
		return s.o.Register(id, component, options...) // which says why not
	}
	s.ids = append(s.ids, id)
	standIn := fsm.Component(&standIn{s.behaviors[id], s.slow, s.over})
	if _, quiesces := component.(fsm.Quiescer); quiesces {
		standIn = quiescer{standIn}
	}
	return s.o.Register(id, standIn, options...)
}

type standIn struct {
	behavior Behavior
	slow     time.Duration
	over     <-chan struct{}
}

func (s *standIn) Shutdown(ctx context.Context) error {
	switch s.behavior {
	case AcksSlowly:
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
		}
	case Fails:
		return ErrStandIn
	case Panics:
		panic(ErrStandIn)
	case Hangs:
		<-ctx.Done()
		return context.Cause(ctx)
	case IgnoresInsist:
		<-s.over
	}
	return nil
}

type quiescer struct{ fsm.Component }

func (quiescer) Quiesce(context.Context) error { return nil }
