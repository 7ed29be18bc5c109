package fsm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultAlarm is how long a shutdown may take if nothing is said: what MASQ
	// Node's design asks for.
	DefaultAlarm = 5 * time.Second
	// Label is the key of the pprof label that the goroutines of a component carry;
	// its value is the component's ID. Workers started under
	// pprof.Do(ctx, pprof.Labels(fsm.Label, "db"), …) show up in the stack that the
	// report gives for a hung "db". The labels are those of the process: components
	// of two orchestrators that share an ID share their stacks.
	Label = "farewell.component"

	// What a process that shut down exits with, as [Report.ExitCode] says. A
	// shutdown forced by signal n has 128+n instead, as shells report it.
	ExitOK       = 0
	ExitFailure  = 1 // a request carried an error
	ExitAlarm    = 3 // the alarm fired, or a force without a signal ended it
	ExitImpolite = 4 // in time, but a component failed, panicked or was insisted upon
)

// Config configures an [Orchestrator]. Its zero value is valid.
type Config struct {
	// Alarm is how long a whole shutdown may take; [DefaultAlarm] if zero.
	Alarm time.Duration
	// InsistAfter is the polite time: when it is over, what still runs is
	// insisted upon. Below Alarm; 80 % of it if zero.
	InsistAfter time.Duration
	// Logger is told of recovered panics, at error level with their stack, of
	// requests that are refused or carry an error and join another, and of
	// components that return after the end; slog.Default() if nil. Everything else
	// is told by [Orchestrator.Events].
	Logger *slog.Logger
	// Signals are those that [Main] takes as [Orchestrator.HandleSignals] does; if
	// there are none, SIGINT, SIGTERM and SIGHUP. Nothing else looks at them.
	Signals []os.Signal
}

// Orchestrator owns the shutdown of one process: it drives the [Machine] and
// runs the components. All its methods are safe for concurrent use. Outside a
// shutdown it has no goroutine and no timer.
type Orchestrator struct {
	alarm, polite time.Duration
	logger        *slog.Logger
	log           eventLog
	inbox         inbox
	done          chan struct{} // closed when the report is final

	context begunContext // ends when a shutdown begins
	begun   context.CancelCauseFunc

	// mu is held by whoever feeds the core.
	mu         sync.Mutex
	machine    *Machine
	state      State      // of the machine, which is slower to ask
	edge       Transition // the one into Terminated
	core       core
	index      map[ID]*component
	components []*component // by index; nil where one has departed
	startup    *component   // while it goes on
	requests   []*Command
	force      *Command
	began      time.Time
	clock      clock
	late       bool // the polite time is over
	asked      *asked
	base       context.Context // carries it
	onTime     *group          // the contexts of those who start in the polite time
	tooLate    *group          // of those who start after it
	atLast     *group          // of those who start after these too have been insisted upon
	quiescing  *group
	final      *Report

	profile     func() map[string]string // labelledStacks, but in a test of a slow one
	profileCost atomic.Int64             // of the last goroutine profile, in ns; 0 before there is one
}

// New returns an orchestrator in state [Running]. It fails if a duration is
// negative or InsistAfter is not below Alarm.
func New(config Config) (*Orchestrator, error) {
	if config.Alarm < 0 || config.InsistAfter < 0 {
		return nil, fmt.Errorf("fsm: config: negative duration: alarm %v, insist after %v", config.Alarm, config.InsistAfter)
	}
	alarm := cmp.Or(config.Alarm, DefaultAlarm)
	polite := cmp.Or(config.InsistAfter, mostOf(alarm))
	if polite >= alarm {
		return nil, fmt.Errorf("fsm: config: insist after %v is not below the alarm of %v", polite, alarm)
	}
	o := &Orchestrator{
		alarm: alarm, polite: polite, logger: cmp.Or(config.Logger, slog.Default()),
		done: make(chan struct{}), machine: NewMachine(), core: newCore(), index: map[ID]*component{},
		profile: labelledStacks,
	}
	o.context.Context, o.begun = context.WithCancelCause(context.Background())
	return o, nil
}

// Register adds a component under an ID of its own; the options say how it takes
// part. Those that the order names must be registered already, so registration
// follows start-up order. What [Serve] made begins to run.
//
// It does not block. What is refused is not applied at all, and the error wraps
// one of the sentinels: [ErrShutdownBegun] once a shutdown has begun, when the
// caller has to stop what it started itself.
func (o *Orchestrator) Register(id ID, shutdown Component, options ...Option) error {
	return o.add(id, func() (*component, error) { return newComponent(id, shutdown, options) })
}

func (o *Orchestrator) add(id ID, made func() (*component, error)) error {
	c, err := made()
	if err == nil {
		err = o.registerOutside(c)
	}
	if err != nil {
		return fmt.Errorf("fsm: register %q: %w", string(id), err)
	}
	return nil
}

// registerOutside registers a component that o is not itself inside of. Two
// orchestrators that register each other at the same moment both find out after.
func (o *Orchestrator) registerOutside(c *component) error {
	n, ok := c.shutdown.(*nested)
	if !ok {
		return o.register(c)
	}
	if n.contains(o, deepest) {
		return ErrCycle
	}
	err := o.register(c)
	if err == nil && n.contains(o, deepest) {
		return errors.Join(ErrCycle, o.Deregister(c.id))
	}
	return err
}

func (o *Orchestrator) register(c *component) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.core.state != Running {
		return ErrShutdownBegun
	}
	if _, known := o.index[c.id]; known {
		return ErrDuplicate
	}
	prev, err := order(c.id, c.after, o.index)
	if err != nil {
		return err
	}
	next, err := order(c.id, c.before, o.index)
	if err != nil {
		return err
	}
	if err := o.legal(c, prev, next); err != nil {
		return err
	}
	c.index = len(o.components)
	o.index[c.id] = c
	o.components = append(o.components, c)
	o.core.add(c.traits, prev, next)
	if c.startup {
		o.startup, o.core.graph.startup = c, c.index
	}
	if c.runner != nil {
		go o.live(c)
	}
	return nil
}

// legal refuses what would make a component wait for itself, the withdrawal for
// those who wait for it, or what is not Last for what is; and a Grace that the
// alarm does not give.
func (o *Orchestrator) legal(c *component, prev, next []int) error {
	g := o.core.graph
	for _, p := range prev {
		if c.withdraws && !g.traits[p].withdraws {
			return ErrWithdrawsLate
		}
		if g.traits[p].last && !c.last {
			return fmt.Errorf("%w: after %q, which is Last", ErrContradiction, string(o.components[p].id))
		}
	}
	for _, n := range next {
		if !c.withdraws && g.traits[n].withdraws {
			return ErrWithdrawsLate
		}
		if c.last && !g.traits[n].last {
			return fmt.Errorf("%w: Last, and before %q, which is not", ErrContradiction, string(o.components[n].id))
		}
		if n == g.startup {
			return fmt.Errorf("%w: everything waits for start-up", ErrCycle)
		}
		for _, p := range prev {
			if g.reaches(n, p) {
				return ErrCycle
			}
		}
	}
	if c.grace > o.polite {
		return fmt.Errorf("%w: a grace of %v is longer than the polite time of %v, of an alarm of %v",
			ErrInvalid, c.grace, o.polite, o.alarm)
	}
	return nil
}

// Deregister forgets a component that has come and gone: a tenant, a connection.
// Nobody waits for it any more, and its ID is free again. It is not shut down;
// the ctx of one that [Orchestrator.Go] started ends. It does not block, and takes
// time in proportion to the orders the component is part of. The error wraps
// [ErrUnknown], or [ErrShutdownBegun] once a shutdown has begun, in which the
// component takes part.
func (o *Orchestrator) Deregister(id ID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, known := o.index[id]
	switch {
	case o.core.state != Running:
		return fmt.Errorf("fsm: deregister %q: %w", string(id), ErrShutdownBegun)
	case !known || c == o.startup: // which ends by itself
		return fmt.Errorf("fsm: deregister %q: %w", string(id), ErrUnknown)
	}
	o.depart(c)
	return nil
}

// depart forgets a component, and ends the ctx of its run. The caller holds mu.
func (o *Orchestrator) depart(c *component) {
	o.core.remove(c.index)
	o.components[c.index] = nil
	delete(o.index, c.id)
	c.index = nobody
	if c.runner != nil && c.runner.cancel != nil {
		c.runner.cancel(nil)
	}
	if c == o.startup {
		o.startup = nil
	}
	if gone := o.core.graph.departed; gone > 32 && gone > len(o.components)/2 {
		o.compact()
	}
}

// compact closes the gaps that those who departed have left.
func (o *Orchestrator) compact() {
	left := make([]*component, 0, len(o.index))
	for i, to := range o.core.compact() {
		if to != nobody {
			left = append(left, o.components[i])
			o.components[i].index = to
		}
	}
	o.components = left
}

// Request asks for a shutdown and returns at once, without waiting for it. It
// reports whether this request began it. The first one does; the others join:
// [Report.Requests] has them all, an error that any of them carries counts, and
// the nearest of their Within is kept. One with a negative Within is refused, and
// that is logged.
func (o *Orchestrator) Request(command Command) bool {
	if err := command.valid(); err != nil {
		o.logger.Error("fsm: request refused", "error", err, "reason", command.Reason, "by", command.By)
		return false
	}
	return o.call(&message{input: input{kind: requested}, command: &command})
}

// Insist ends the polite time now: the step between asking and forcing. What
// runs is insisted upon, and whatever is ordered after it goes on in order, as at
// the end of the polite time. In [Running] it is a request first. It reports
// whether it ended the polite time. Like Force it looks first where the
// components hang, and waits 50 ms for that at most.
func (o *Orchestrator) Insist(command Command) bool {
	if err := command.valid(); err != nil {
		o.logger.Error("fsm: insist refused", "error", err, "reason", command.Reason, "by", command.By)
		return false
	}
	o.call(&message{input: input{kind: requested}, command: &command})
	taken, later := o.sampleWithin(forcePatience, true)
	m := &message{input: input{kind: politeOver}, sample: taken}
	ended := o.call(m)
	o.tellLater(later)
	return ended
}

// Force ends the shutdown now: what a second signal does. The machine takes the
// Timeout edge, nothing is waited for, and what still runs is reported as hung.
// In [Running] it is a request first, and no component is told anything. It
// reports whether it ended the shutdown. It first takes a goroutine profile, to
// say where the components hang, and waits 50 ms for that at most.
func (o *Orchestrator) Force(command Command) bool {
	taken, _ := o.sampleWithin(forcePatience, true)
	return o.call(&message{input: input{kind: forced}, command: &command, sample: taken})
}

// Wait blocks until the machine is terminated and returns the final report, the
// same one to every caller; or, when ctx ends first, the report so far and an
// error that wraps ctx's cause, which harms nobody else. It does not ask for a
// shutdown. What is being shut down must not wait: a handler of a registered
// http.Server that did would wait for itself until it is insisted upon. There,
// call Request alone.
func (o *Orchestrator) Wait(ctx context.Context) (*Report, error) {
	select {
	case <-o.done:
	default:
		select {
		case <-o.done:
		case <-ctx.Done():
			return o.Report(), fmt.Errorf("fsm: wait: %w", context.Cause(ctx))
		}
	}
	return o.final, nil
}

// Shutdown is [Orchestrator.Request] and [Orchestrator.Wait], with what is said
// there of those who must not wait. A deadline of ctx is the command's Within,
// less a twentieth of what is left or 250 ms: the report is final before ctx
// ends. A ctx that has ended already says nothing of time. The error of a Within
// that is refused wraps [ErrInvalid].
func (o *Orchestrator) Shutdown(ctx context.Context, command Command) (*Report, error) {
	if err := command.valid(); err != nil {
		return o.Report(), fmt.Errorf("fsm: shutdown: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil {
		command.notBeyond(deadline)
	}
	o.Request(command)
	return o.Wait(ctx)
}

// notBeyond makes the shutdown end a little before a deadline.
func (c *Command) notBeyond(deadline time.Time) {
	left := time.Until(deadline)
	left = max(1, left-min(left/20, 250*time.Millisecond))
	if c.Within == 0 || left < c.Within {
		c.Within = left
	}
}

func (c *Command) valid() error {
	if c.Within < 0 {
		return fmt.Errorf("%w: within %v is negative", ErrInvalid, c.Within)
	}
	return nil
}

// Context returns a context that ends when a shutdown begins, for whatever waits
// and is not a component: start-up code, streams of events. [CommandFrom] takes
// the command from it then, and its cause wraps [ErrShutdownBegun].
func (o *Orchestrator) Context() context.Context { return &o.context }

// Ready reports whether the process can be sent work: no shutdown has begun, and
// start-up, if [Main] runs it, is over.
func (o *Orchestrator) Ready() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.core.state == Running && o.startup == nil
}

// Done returns a channel that is closed when the report is final.
func (o *Orchestrator) Done() <-chan struct{} { return o.done }

// Alarm returns how long a shutdown may take.
func (o *Orchestrator) Alarm() time.Duration { return o.alarm }

// Polite returns how long after the request what still runs is insisted upon.
func (o *Orchestrator) Polite() time.Duration { return o.polite }

// State returns the machine's state.
func (o *Orchestrator) State() State { return o.machine.State() }

// Report returns how things stand: outcomes are [OutcomeWaiting] or
// [OutcomeStopping] for what is not decided yet. Once the machine is terminated
// it is the final report. It does not block.
func (o *Orchestrator) Report() *Report {
	inner := o.innerReports()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final != nil {
		return o.final
	}
	o.keep(&snapshot{inner: inner})
	return o.report(time.Now())
}
