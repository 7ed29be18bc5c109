package fsm

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
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
	ExitFailure  = 1 // the command carried an error
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
	// Logger is told of recovered panics, at error level with their stack, and of
	// components that return after the end; slog.Default() if nil. Everything
	// else is told by [Orchestrator.Events].
	Logger *slog.Logger
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

	// mu is held by whoever feeds the core.
	mu         sync.Mutex
	machine    *Machine
	state      State      // of the machine, which is slower to ask
	edge       Transition // the one into Terminated
	core       core
	index      map[ID]int
	components []*component
	command    *Command
	force      *Command
	began      time.Time
	base       context.Context // carries the command
	onTime     group           // the contexts of those who start in the polite time
	tooLate    group           // of those who start after it
	quiescing  group
	timers     []*time.Timer
	final      *Report

	profile     func() map[string]string // labelledStacks, but in a test of a slow one
	profileCost atomic.Int64             // of the last goroutine profile, in ns; 0 before there is one
}

// group is a context that many components share, and when its time is up.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	until  time.Time
}

func newGroup(base context.Context, until time.Time) group {
	ctx, cancel := context.WithCancelCause(base)
	return group{ctx, cancel, until}
}

func (g group) end() {
	if g.cancel != nil {
		g.cancel(ErrInsist)
	}
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
	return &Orchestrator{
		alarm: alarm, polite: polite, logger: cmp.Or(config.Logger, slog.Default()),
		done: make(chan struct{}), machine: NewMachine(), core: core{graph: &graph{}}, index: map[ID]int{},
		profile: labelledStacks,
	}, nil
}

// mostOf is the share of a time after which one stops being polite: 80 %.
func mostOf(d time.Duration) time.Duration { return d - d/5 }

// Register adds a component under an ID of its own; [Before], [After],
// [Withdraws] and [Grace] say how it takes part. Those that the order names must
// be registered already, so registration follows start-up order.
//
// It does not block. What is refused is not applied at all, and the error wraps
// one of the sentinels: [ErrShutdownBegun] once a shutdown has begun, when the
// caller has to stop what it started itself.
func (o *Orchestrator) Register(id ID, shutdown Component, options ...Option) error {
	c, err := newComponent(id, shutdown, options)
	if err == nil {
		err = o.register(c)
	}
	if err != nil {
		return fmt.Errorf("fsm: register %q: %w", string(id), err)
	}
	return nil
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
	if c.withdraws && !c.graced {
		c.grace = o.polite / 2
	}
	c.index = len(o.components)
	o.index[c.id] = c.index
	o.components = append(o.components, c)
	o.core.add(c.withdraws, c.quiescer != nil, prev, next)
	return nil
}

// legal refuses what would make a component wait for itself, or the withdrawal
// for those who wait for it.
func (o *Orchestrator) legal(c *component, prev, next []int) error {
	g := o.core.graph
	for _, p := range prev {
		if c.withdraws && !g.withdraws[p] {
			return ErrWithdrawsLate
		}
	}
	for _, n := range next {
		if !c.withdraws && g.withdraws[n] {
			return ErrWithdrawsLate
		}
		for _, p := range prev {
			if g.reaches(n, p) {
				return ErrCycle
			}
		}
	}
	return nil
}

// Request asks for a shutdown and returns at once, without waiting for it. It
// reports whether this request began it: the first one wins, the others join.
func (o *Orchestrator) Request(command Command) bool {
	return o.call(&message{input: input{kind: requested}, command: &command})
}

// Force ends the shutdown now: what a second signal does. The machine takes the
// Timeout edge, nothing is waited for, and what still runs is reported as hung.
// In [Running] it is a request first, and no component is told anything. It
// reports whether it ended the shutdown. It first takes a goroutine profile, to
// say where the components hang, and waits 50 ms for that at most.
func (o *Orchestrator) Force(command Command) bool {
	stacks, _ := o.stacksWithin(forcePatience)
	return o.call(&message{input: input{kind: forced}, command: &command, stacks: stacks})
}

// Wait blocks until the machine is terminated and returns the final report, the
// same one to every caller; or an error that wraps ctx's cause when ctx ends
// first, which harms nobody else. It does not ask for a shutdown. What is being
// shut down must not wait: a handler of a registered http.Server that did would
// wait for itself until it is insisted upon. There, call Request alone.
func (o *Orchestrator) Wait(ctx context.Context) (*Report, error) {
	select {
	case <-o.done:
	default:
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("fsm: wait: %w", context.Cause(ctx))
		}
	}
	return o.final, nil
}

// Shutdown is [Orchestrator.Request] and [Orchestrator.Wait], with what is said
// there of those who must not wait.
func (o *Orchestrator) Shutdown(ctx context.Context, command Command) (*Report, error) {
	o.Request(command)
	return o.Wait(ctx)
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
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final != nil {
		return o.final
	}
	return o.report(time.Now())
}
