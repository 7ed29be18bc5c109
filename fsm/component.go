package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// ID names a component, in the log and in the report.
type ID string

// Component is anything that can be shut down: http.Server, an OpenTelemetry
// provider and most Go servers are components as they stand.
//
// Shutdown is called at most once, in a goroutine of its own. Returning from it
// is the component's okay-I'm-done; an error, a panic or Goexit is an ack too,
// and is reported. When the component has had its time ctx is cancelled, with
// cause [ErrInsist]: it should then cut its work short and return. ctx's
// deadline is informative: only the orchestrator cancels.
//
// An http.Server that is insisted upon returns and leaves the connections open
// that are still busy; package fsmhttp closes them.
//
// A component that has a method Report() *Report is a shutdown of its own, as
// [Orchestrator.Component] is: what it returns stands in [ComponentReport.Inner].
// It must not block; what it says after 20 ms is not waited for.
type Component interface {
	Shutdown(ctx context.Context) error
}

// Quiescer is a [Component] that can be told to take no new work. Quiesce is
// called on all components at once when a shutdown begins, each in a goroutine
// of its own. The component's Shutdown starts when its Quiesce has returned, or
// after a tenth of the polite time, when ctx is cancelled. Shutdown must not
// rely on Quiesce having been called.
type Quiescer interface {
	Component
	Quiesce(ctx context.Context) error
}

// Func makes a [Component] of a function.
type Func func(ctx context.Context) error

// Shutdown calls f.
func (f Func) Shutdown(ctx context.Context) error { return f(ctx) }

// Closer makes a [Component] of something that closes. Close cannot be told
// that time is up: one that blocks is reported as hung.
func Closer(c io.Closer) Component {
	if c == nil {
		return nil // for Register to refuse
	}
	return Func(func(context.Context) error { return c.Close() })
}

// Stopper makes a [Component] of what has two ways to stop, as a gRPC server has:
// graceful is called first and may take as long as it likes; when the component
// is insisted upon forced is called, which must make graceful return. Shutdown
// returns when graceful does.
func Stopper(graceful, forced func()) Component {
	if graceful == nil || forced == nil {
		return nil // for Register to refuse
	}
	return Func(func(ctx context.Context) error {
		ended := make(chan error, 1)
		go contain(func() error { graceful(); return nil }, func(err error) { ended <- err })
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			forced()
			return <-ended
		}
	})
}

// Command says why a process is asked to leave, and who asked.
type Command struct {
	Reason string         `json:"reason"`           // for people: "signal terminated", "deploy 42"
	By     string         `json:"by"`               // who asked: "signal", "ui 127.0.0.1:50312"
	Signal syscall.Signal `json:"signal,omitempty"` // the signal that asked, or 0
	Err    error          `json:"-"`                // the failure that is the reason, if one is; exit code 1

	// Within is how long the shutdown may take from this request on, if that is
	// nearer than the alarm; the polite time shrinks with it. Nothing is said if it
	// is zero; negative it is refused.
	Within time.Duration `json:"-"`
}

type commandKey struct{}

// CommandFrom returns the command that began the shutdown, from the context
// that a component's Shutdown or Quiesce was given; and from
// [Orchestrator.Context] and the context of [Orchestrator.Go] once they have
// ended. It reports false for any other context.
func CommandFrom(ctx context.Context) (Command, bool) {
	asked, ok := ctx.Value(commandKey{}).(*asked)
	if !ok {
		return Command{}, false
	}
	return asked.command, true
}

// TimeLeft returns how long it is until the alarm, at least 1 ns, from a context
// that [CommandFrom] takes a command from: what a component passes on that asks
// others to leave. The deadline of its ctx is that of the component, which is
// nearer. It reports false for any other context.
func TimeLeft(ctx context.Context) (left time.Duration, ok bool) {
	asked, ok := ctx.Value(commandKey{}).(*asked)
	if !ok {
		return 0, false
	}
	return max(1, time.Until(*asked.alarm.Load())), true
}

// asked is what the contexts of a shutdown know of it.
type asked struct {
	command Command
	alarm   atomic.Pointer[time.Time]
}

var (
	// ErrInsist is the cause of a component's context being cancelled: its time
	// is over, the alarm is near.
	ErrInsist = errors.New("fsm: time is up: the component is insisted upon")
	// ErrQuiesceLate: a Quiesce had not returned after a tenth of the polite time.
	ErrQuiesceLate = errors.New("fsm: quiesce: not back in time, no longer waited for")
	// ErrAlarm: the shutdown was ended by the alarm.
	ErrAlarm = errors.New("fsm: shutdown: the alarm fired")
	// ErrForced: the shutdown was ended by a force.
	ErrForced = errors.New("fsm: shutdown: forced")
	// ErrNotOver: the report is not final, the shutdown goes on or has not begun.
	ErrNotOver = errors.New("fsm: shutdown: not over")

	// ErrShutdownBegun refuses a registration: stop what you started yourself. It is
	// also in the cause of [Orchestrator.Context]'s end.
	ErrShutdownBegun = errors.New("a shutdown has begun")
	// ErrDuplicate refuses an ID that is registered or named twice.
	ErrDuplicate = errors.New("registered or named twice")
	// ErrUnknown refuses an order that names a component not registered before.
	ErrUnknown = errors.New("not registered")
	// ErrCycle refuses an order in which a component would wait for itself.
	ErrCycle = errors.New("the order is a cycle")
	// ErrWithdrawsLate refuses a Withdraws component after one that is not.
	ErrWithdrawsLate = errors.New("a Withdraws component cannot wait for one that is not")
	// ErrContradiction refuses options that contradict each other or the order: a
	// Strict or Last component that Withdraws, one that is Last before one that is not.
	ErrContradiction = errors.New("the options contradict each other")
	// ErrInvalid refuses an empty ID, a nil component, and a duration that is
	// negative or that the alarm cannot give.
	ErrInvalid = errors.New("invalid")
)

// PanicError is the error of a component that panicked or called
// [runtime.Goexit] instead of returning.
type PanicError struct {
	Value any    // what it panicked with; nil after Goexit
	Stack []byte // where, at most 16 KiB
}

// Error says what it panicked with, or that it was Goexit.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "fsm: component: called runtime.Goexit"
	}
	return fmt.Sprintf("fsm: component: panic: %v", e.Value)
}

// Unwrap returns the error it panicked with, if it was one.
func (e *PanicError) Unwrap() error { err, _ := e.Value.(error); return err }

// Option says how one component takes part in a shutdown.
type Option func(*component)

// Before says that the component is done before those named begin.
func Before(ids ...ID) Option { return func(c *component) { c.before = append(c.before, ids...) } }

// After says that the component begins when those named are done.
func After(ids ...ID) Option { return func(c *component) { c.after = append(c.after, ids...) } }

// Withdraws says that the component's Shutdown tells the world that the process
// is leaving. It runs in [Withdrawing]; the components without it begin when all
// that have it are done.
func Withdraws() Option { return func(c *component) { c.withdraws = true } }

// Grace is the component's own limit, counted from its start. When it is over
// the component is insisted upon; those ordered after it go on waiting for its
// ack, for a quarter of the Grace more. It must be positive, and no longer than
// the polite time. Without it a [Withdraws] component has half the polite time.
func Grace(d time.Duration) Option {
	return func(c *component) { c.grace, c.graced = d, true }
}

// Strict says that the component begins only when all ordered before it have
// really acked: last call does not start it. If they never do it is skipped, and
// the report says on whom it waited. For what is worse done too early than not
// at all: giving up a lease or a lock, unmapping a file.
func Strict() Option { return func(c *component) { c.strict = true } }

// BestEffort says that how the component fares is reported, and never counts in
// the exit code or in [Report.Err]: the last push of spans, a log's Sync.
func BestEffort() Option { return func(c *component) { c.bestEffort = true } }

// Last says that the component begins when everything that is not Last is done,
// or at last call: telemetry, the log. Those that are can be ordered among
// themselves.
func Last() Option { return func(c *component) { c.last = true } }

// component is one registration, and later how it went.
type component struct {
	id            ID
	index         int // nobody once it has departed
	shutdown      Component
	quiescer      Quiescer                      // nil if it is none
	reporter      interface{ Report() *Report } // nil if it is none
	runner        *runner                       // nil if it does not run before it is shut down
	before, after []ID
	traits
	bestEffort bool
	startup    bool
	graced     bool
	grace      time.Duration   // 0: none of its own; set at its start if nothing is said
	labels     context.Context // carries the pprof label

	ack         message // what its goroutine will tell
	ctx         componentContext
	started     time.Time
	ended       time.Time
	waitedOn    []ID
	err         error
	panicked    *PanicError // of its Shutdown or its Quiesce
	quiesceErr  error
	quiesceLate bool
	died        time.Time // when its run failed before it was stopped
	stack       string
	inner       *Report
}

func newComponent(id ID, shutdown Component, options []Option) (*component, error) {
	c := &component{id: id}
	if served, ok := shutdown.(*served); ok {
		c.runner = served.runner()
		shutdown = served.stop
	}
	if f, isFunc := shutdown.(Func); id == "" || shutdown == nil || isFunc && f == nil {
		return nil, fmt.Errorf("%w: it needs an ID and a component", ErrInvalid)
	}
	for _, option := range options {
		if option == nil {
			return nil, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		option(c)
	}
	switch {
	case c.graced && c.grace <= 0:
		return nil, fmt.Errorf("%w: grace %v is not positive", ErrInvalid, c.grace)
	case c.withdraws && (c.strict || c.last):
		return nil, fmt.Errorf("%w: what Withdraws is neither Strict nor Last", ErrContradiction)
	}
	c.shutdown = shutdown
	c.quiescer, _ = shutdown.(Quiescer)
	c.quiesces = c.quiescer != nil
	c.reporter, _ = shutdown.(interface{ Report() *Report })
	c.labels = pprof.WithLabels(context.Background(), pprof.Labels(Label, string(id)))
	return c, nil
}

// componentContext is what a component is given. Cancellation comes from a
// context that many share; the deadline and the pprof label are its own.
type componentContext struct {
	context.Context
	labels context.Context
	shared *group
	own    *group // inside of shared, or nil
}

func (c *componentContext) Deadline() (time.Time, bool) {
	until := *c.shared.until.Load()
	if c.own != nil && c.own.until.Load().Before(until) {
		until = *c.own.until.Load()
	}
	return until, true
}

func (c *componentContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.labels.Value(key)
}

// order resolves the names of an option, each of which must be known and new.
func order(self ID, names []ID, known map[ID]*component) ([]int, error) {
	var indexes []int
	for _, name := range names {
		c, ok := known[name]
		switch {
		case name == self:
			return nil, fmt.Errorf("%w: ordered against itself", ErrCycle)
		case !ok:
			return nil, fmt.Errorf("order: %q: %w", string(name), ErrUnknown)
		case slices.Contains(indexes, c.index):
			return nil, fmt.Errorf("order: %q: %w", string(name), ErrDuplicate)
		}
		indexes = append(indexes, c.index)
	}
	return indexes, nil
}
