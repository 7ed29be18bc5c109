package fsmtest

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// kind is what a stand-in stands in for.
type kind uint8

const (
	stops  kind = iota // it is only shut down
	nested             // it is a shutdown of its own
	serves             // it runs, and has a stop: fsm.Serve
	goes               // it runs, and one function is both: Orchestrator.Go
)

// behaviors are those that are possible.
func (k kind) behaviors() []Behavior {
	switch k {
	case serves:
		return []Behavior{AcksAtOnce, AcksSlowly, Fails, Panics, Hangs, IgnoresInsist, Dies, DiesWaiting, Departs}
	case goes:
		return []Behavior{AcksAtOnce, AcksSlowly, Fails, Panics, IgnoresInsist, Dies, DiesWaiting, Departs}
	}
	return []Behavior{AcksAtOnce, AcksSlowly, Fails, Panics, Hangs, IgnoresInsist}
}

// registered is what is known of a component from its registration.
type registered struct {
	id   fsm.ID
	kind kind
}

// substitute registers stand-ins with an orchestrator.
type substitute struct {
	*fsm.Orchestrator
	config     fsm.Config
	registered []registered
	behaviors  map[fsm.ID]Behavior
	departing  chan struct{} // closed when those depart who do; then
	dying      chan struct{} // when those die who do, before the shutdown; and
	over       chan struct{} // when it is over
}

func (m Matrix) substitute(o *fsm.Orchestrator, behaviors map[fsm.ID]Behavior) *substitute {
	return &substitute{
		Orchestrator: o, config: m.Config, behaviors: behaviors,
		departing: make(chan struct{}), dying: make(chan struct{}), over: make(chan struct{}),
	}
}

// release ends everything that still runs.
func (s *substitute) release() {
	close(s.over)
	synctest.Wait()
}

// Register registers a stand-in.
func (s *substitute) Register(id fsm.ID, component fsm.Component, options ...fsm.Option) error {
	if f, isFunc := component.(fsm.Func); isFunc && f == nil {
		return s.Orchestrator.Register(id, component, options...) // which says why not
	}
	kind, standIn, err := s.standIn(s.behaviors[id], component)
	if err != nil {
		return err
	}
	s.registered = append(s.registered, registered{id, kind})
	return s.Orchestrator.Register(id, standIn, options...)
}

// Go runs a stand-in.
func (s *substitute) Go(id fsm.ID, _ func(ctx context.Context) error, options ...fsm.Option) error {
	s.registered = append(s.registered, registered{id, goes})
	b := s.behaviors[id]
	return s.Orchestrator.Go(id, func(ctx context.Context) error {
		if asked, err := s.run(b, ctx.Done()); !asked || err != nil {
			return err
		}
		return s.stop(inStop(b)).Shutdown(context.Background()) // nobody tells it more
	}, options...)
}

// standIn makes what behaves so in place of a component.
func (s *substitute) standIn(b Behavior, component fsm.Component) (kind, fsm.Component, error) {
	if running, ok := component.(interface{ Serves() fsm.Component }); ok {
		stop, stopped := s.stop(inStop(b)), make(chan struct{})
		stop.begins = func() { close(stopped) }
		run := func() error { _, err := s.run(b, stopped); return err }
		return serves, fsm.Serve(run, quiescing(running.Serves(), stop)), nil
	}
	if _, reports := component.(interface{ Report() *fsm.Report }); reports {
		inner, err := fsm.New(s.config)
		if err != nil {
			return nested, nil, err
		}
		return nested, inner.Component(), inner.Register(innerID, s.stop(b))
	}
	return stops, quiescing(component, s.stop(b)), nil
}

// innerID names the one component of a stand-in for an orchestrator.
const innerID fsm.ID = "stand-in"

// inStop is what the stop of a run does, when the run itself behaves so.
func inStop(b Behavior) Behavior {
	if b == AcksSlowly || b == Panics || b == Hangs {
		return b
	}
	return AcksAtOnce
}

// run behaves so until it is asked to stop, and tells whether it was.
func (s *substitute) run(b Behavior, stop <-chan struct{}) (asked bool, err error) {
	switch b {
	case Departs:
		s.await(s.departing)
		return false, nil
	case Dies:
		stop = s.dying
	case DiesWaiting:
		stop = s.Context().Done()
	}
	if !s.await(stop) {
		return false, nil
	}
	switch b {
	case Fails, Dies, DiesWaiting:
		return true, ErrStandIn
	case IgnoresInsist:
		<-s.over
	}
	return true, nil
}

// await reports whether something came before everything was over.
func (s *substitute) await(what <-chan struct{}) bool {
	select {
	case <-what:
		return true
	case <-s.over:
		return false
	}
}

func (s *substitute) stop(b Behavior) *standIn {
	return &standIn{behavior: b, slow: s.config.InsistAfter / 4, over: s.over}
}

// standIn behaves so when it is shut down.
type standIn struct {
	behavior Behavior
	slow     time.Duration
	over     <-chan struct{}
	begins   func() // nil: nothing
}

func (s *standIn) Shutdown(ctx context.Context) error {
	if s.begins != nil {
		s.begins()
	}
	switch s.behavior {
	case AcksSlowly:
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
		case <-s.over:
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

// quiescing makes a stand-in for a Quiescer one.
func quiescing(component fsm.Component, standIn *standIn) fsm.Component {
	if _, quiesces := component.(fsm.Quiescer); quiesces {
		return quiescer{standIn}
	}
	return standIn
}

type quiescer struct{ fsm.Component }

func (quiescer) Quiesce(context.Context) error { return nil }
