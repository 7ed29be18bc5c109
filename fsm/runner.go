package fsm

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"
)

// Serve makes a [Component] of what runs until it is stopped, as a server does:
// run is called in a goroutine of its own when the component is registered, and
// stop is its Shutdown; the component has acked when both have returned. A stop
// that is a [Quiescer] makes it one; one that Serve made is refused.
//
// Once stop has been called an error of run is part of the ack, unless it only
// says that it was stopped: http.ErrServerClosed, net.ErrClosed,
// grpc.ErrServerStopped, context.Canceled, [ErrShutdownBegun] (a start-up that
// passes on that it came too late to register), or anything that wraps nothing else.
// Before that, an error or a panic is a death: it requests a shutdown, with the
// error and the component's name; stop is called all the same when its turn
// comes. Returning nil before is a departure, as [Orchestrator.Deregister] is,
// and harms nobody.
func Serve(run func() error, stop Component) Component {
	if _, twice := stop.(*served); run == nil || stop == nil || twice {
		return nil // for Register to refuse
	}
	return &served{run, stop}
}

// served is taken apart by newComponent.
type served struct {
	run  func() error
	stop Component
}

// Shutdown is not called: a component that is registered is its stop.
func (s *served) Shutdown(ctx context.Context) error { return s.stop.Shutdown(ctx) }

// Serves tells package fsmtest what this is.
func (s *served) Serves() (stop Component) { return s.stop }

func (s *served) runner() *runner {
	return &runner{run: func(context.Context) error { return s.run() }, ended: make(chan struct{})}
}

// runner is the part of a component that runs before it is shut down.
type runner struct {
	run    func(context.Context) error
	ctx    context.Context
	cancel context.CancelCauseFunc // stops it, if it has no stop of its own
	ended  chan struct{}           // closed when failure is set; nil if cancel stops it
	over   bool                    // it has ended, as the orchestrator was told

	// What its error means, found out where other people's code may run:
	failure error // once it was stopped; nil if it says no more than that
	death   error // before
}

// Go registers a component that one function is: run is called in a goroutine
// of its own, its ctx ends when its turn to stop comes, and its return is its
// ack. What [Serve] says of errors, panics and returning nil is true of it. Its
// ctx ends once, with a departure too; insisting cannot tell it more. It does not
// block, and a run whose registration is refused is never started; errors are
// those of [Orchestrator.Register].
func (o *Orchestrator) Go(id ID, run func(ctx context.Context) error, options ...Option) error {
	return o.add(id, func() (*component, error) { return newGo(id, run, options) })
}

func newGo(id ID, run func(context.Context) error, options []Option) (*component, error) {
	if run == nil {
		return nil, fmt.Errorf("%w: it needs a function", ErrInvalid)
	}
	c, err := newComponent(id, Func(func(context.Context) error { return nil }), options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c.runner = &runner{run: run, ctx: &begunContext{ctx, c.labels}, cancel: cancel}
	return c, nil
}

// live runs the component until it ends, however that comes.
func (o *Orchestrator) live(c *component) {
	pprof.SetGoroutineLabels(c.labels)
	r := c.runner
	contain(func() error { return r.run(r.ctx) }, func(err error) {
		if panicked, ok := err.(*PanicError); ok {
			o.logPanic(c, panicked)
		}
		if err != nil {
			r.judge(c.id, err)
		}
		m := &c.ack // of its own, if it is its run's end
		if r.ended != nil {
			m = new(message)
			close(r.ended)
		}
		m.input, m.of, m.err = input{kind: runEnded}, c, err
		o.tell(m)
	})
}

// judge says what the run's error means. It calls the error's methods, which may
// panic.
func (r *runner) judge(id ID, err error) {
	r.death, r.failure = fmt.Errorf("fsm: component %q died: %w", string(id), err), err
	defer func() { _ = recover() }()
	if stopped(err) {
		r.failure = nil
	}
}

// runEnded makes of the end of a run what it means: an ack if the run was asked
// to stop, a departure, or a death that requests a shutdown.
func (o *Orchestrator) runEnded(m *message, now time.Time) {
	c := m.of
	c.runner.over = true
	switch {
	case c.index == nobody: // deregistered before
	case o.core.nodes[c.index].phase == running:
		if c.runner.cancel != nil { // else the stop acks
			m.input, m.err = input{acked, c.index}, c.runner.failure
			m.panicked, _ = m.err.(*PanicError)
			// A start-up that was interrupted in time may well fail of that.
			c.bestEffort = c.bestEffort || c.startup && m.err != nil && m.panicked == nil && !o.core.nodes[c.index].insisted
		}
	case o.core.nodes[c.index].phase == done: // by its stop
	case m.err != nil && (o.core.state == Running || c.runner.failure != nil):
		c.died = now
		m.command = &Command{
			Reason: fmt.Sprintf("component %q died", string(c.id)), By: string(c.id),
			Err: c.runner.death,
		}
		m.kind = requested
	case o.core.state == Running:
		o.depart(c)
	}
}

// stop is the Shutdown of a component, and the end of its run.
func (c *component) stop(ctx context.Context) error {
	err := c.shutdown.Shutdown(ctx)
	if c.runner == nil {
		return err
	}
	<-c.runner.ended
	if !c.died.IsZero() { // which the request has told
		return err
	}
	return errors.Join(err, c.runner.failure)
}

// stoppedTexts are of errors that mean no more than that somebody was stopped.
// They are compared by text, because their packages are too large to import for
// that; tests hold them against the real ones, that of gRPC in docs/recipes.
var stoppedTexts = []string{
	"http: Server closed", "use of closed network connection", "grpc: the server has been stopped",
}

// stopped reports whether err is nil or says nothing but that somebody was stopped.
func stopped(err error) bool {
	switch e := err.(type) {
	case nil, *begunError:
		return true
	case *PanicError:
		return false
	case interface{ Unwrap() []error }:
		wrapped := e.Unwrap()
		return len(wrapped) > 0 && !slices.ContainsFunc(wrapped, func(err error) bool { return !stopped(err) })
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return stopped(inner)
		}
	}
	return errors.Is(err, context.Canceled) || err == ErrInsist || err == ErrShutdownBegun || slices.Contains(stoppedTexts, errorText(err))
}

// contain calls f and then, in any case, then: with f's error, or with one made
// of its panic. After Goexit nothing else of the goroutine is run.
func contain(f func() error, then func(error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = newPanicError(recover())
		}
		then(err)
	}()
	err = f()
	returned = true
}

// newPanicError makes the error of a panic; recover() returns nil only for Goexit.
func newPanicError(value any) error {
	stack := debug.Stack()
	return &PanicError{Value: value, Stack: stack[:min(len(stack), maxStack)]}
}

// begunContext ends with a begunError as its cause, and then knows the command.
type begunContext struct {
	context.Context
	labels context.Context // nil, or with the pprof label of a component
}

func (c *begunContext) Value(key any) any {
	if key == (commandKey{}) {
		if begun, ok := context.Cause(c.Context).(*begunError); ok {
			return begun.asked
		}
	}
	value := c.Context.Value(key)
	if value == nil && c.labels != nil {
		value = c.labels.Value(key)
	}
	return value
}

// begunError is the cause of a context that ends because a shutdown has begun.
type begunError struct{ asked *asked }

func (e *begunError) Error() string {
	return fmt.Sprintf("fsm: %v by %s: %s", ErrShutdownBegun, said(e.asked.command.By), said(e.asked.command.Reason))
}

func (e *begunError) Unwrap() []error {
	return []error{ErrShutdownBegun, context.Canceled, e.asked.command.Err}
}
