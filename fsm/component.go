package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
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
// that are still busy: they end with the process, or a [Func] calls Close too.
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

// Command says why a process is asked to leave, and who asked.
type Command struct {
	Reason string         `json:"reason"`           // for people: "signal terminated", "deploy 42"
	By     string         `json:"by"`               // who asked: "signal", "ui 127.0.0.1:50312"
	Signal syscall.Signal `json:"signal,omitempty"` // the signal that asked, or 0
	Err    error          `json:"-"`                // the failure that is the reason, if one is; exit code 1
}

type commandKey struct{}

// CommandFrom returns the command that began the shutdown, from the context
// that a component's Shutdown or Quiesce was given. It reports false for any
// other context.
func CommandFrom(ctx context.Context) (Command, bool) {
	command, ok := ctx.Value(commandKey{}).(*Command)
	if !ok {
		return Command{}, false
	}
	return *command, true
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

	// ErrShutdownBegun refuses a registration: stop what you started yourself.
	ErrShutdownBegun = errors.New("a shutdown has begun")
	// ErrDuplicate refuses an ID that is registered or named twice.
	ErrDuplicate = errors.New("registered or named twice")
	// ErrUnknown refuses an order that names a component not registered before.
	ErrUnknown = errors.New("not registered")
	// ErrCycle refuses an order in which a component would wait for itself.
	ErrCycle = errors.New("the order is a cycle")
	// ErrWithdrawsLate refuses a Withdraws component after one that is not.
	ErrWithdrawsLate = errors.New("a Withdraws component cannot wait for one that is not")
	// ErrInvalid refuses an empty ID, a nil component or a negative duration.
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
// the component is insisted upon, and those ordered after it begin. It must be
// positive; a longer one than what is left of the polite time has no effect.
// Without it a [Withdraws] component has half the polite time.
func Grace(d time.Duration) Option {
	return func(c *component) { c.grace, c.graced = d, true }
}

// component is one registration, and later how it went.
type component struct {
	id            ID
	index         int
	shutdown      Component
	quiescer      Quiescer // nil if it is none
	before, after []ID
	withdraws     bool
	graced        bool
	grace         time.Duration   // 0: none of its own
	labels        context.Context // carries the pprof label

	ack         message // what its goroutine will tell
	ctx         componentContext
	cancel      context.CancelCauseFunc // of a context of its own, else nil
	started     time.Time
	ended       time.Time
	waitedOn    []ID
	err         error
	panicked    *PanicError // of its Shutdown or its Quiesce
	quiesceErr  error
	quiesceLate bool
	stack       string
}

func newComponent(id ID, shutdown Component, options []Option) (*component, error) {
	c := &component{id: id, shutdown: shutdown}
	if f, isFunc := shutdown.(Func); id == "" || shutdown == nil || isFunc && f == nil {
		return nil, fmt.Errorf("%w: it needs an ID and a component", ErrInvalid)
	}
	for _, option := range options {
		if option == nil {
			return nil, fmt.Errorf("%w: nil option", ErrInvalid)
		}
		option(c)
	}
	if c.graced && c.grace <= 0 {
		return nil, fmt.Errorf("%w: grace %v is not positive", ErrInvalid, c.grace)
	}
	c.quiescer, _ = shutdown.(Quiescer)
	c.labels = pprof.WithLabels(context.Background(), pprof.Labels(Label, string(id)))
	return c, nil
}

// componentContext is what a component is given. Cancellation comes from a
// context that many share; the deadline and the pprof label are its own.
type componentContext struct {
	context.Context
	labels   context.Context
	deadline time.Time
}

func (c *componentContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *componentContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.labels.Value(key)
}

// order resolves the names of an option, each of which must be known and new.
func order(self ID, names []ID, known map[ID]int) ([]int, error) {
	var indexes []int
	for _, name := range names {
		i, ok := known[name]
		switch {
		case name == self:
			return nil, fmt.Errorf("%w: ordered against itself", ErrCycle)
		case !ok:
			return nil, fmt.Errorf("order: %q: %w", string(name), ErrUnknown)
		case slices.Contains(indexes, i):
			return nil, fmt.Errorf("order: %q: %w", string(name), ErrDuplicate)
		}
		indexes = append(indexes, i)
	}
	return indexes, nil
}
