package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync"
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
	stacks     stackSampler
	final      *Report
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
	if config.Alarm == 0 {
		config.Alarm = DefaultAlarm
	}
	if config.InsistAfter == 0 {
		config.InsistAfter = mostOf(config.Alarm)
	}
	if config.InsistAfter >= config.Alarm {
		return nil, fmt.Errorf("fsm: config: insist after %v is not below the alarm of %v", config.InsistAfter, config.Alarm)
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Orchestrator{
		alarm: config.Alarm, polite: config.InsistAfter, logger: config.Logger,
		done: make(chan struct{}), machine: NewMachine(), core: core{graph: &graph{}}, index: map[ID]int{},
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
	return o.call(message{input: input{kind: requested}, command: &command})
}

// Force ends the shutdown now: what a second signal does. The machine takes the
// Timeout edge, nothing is waited for, and what still runs is reported as hung.
// In [Running] it is a request first, and no component is started. It reports
// whether it ended the shutdown. It takes as long as a goroutine profile.
func (o *Orchestrator) Force(command Command) bool {
	return o.call(message{input: input{kind: forced}, command: &command, stacks: o.sampleStacks()})
}

// Wait blocks until the machine is terminated and returns the final report, the
// same one to every caller; or ctx's error when ctx ends first, which harms
// nobody else. It does not ask for a shutdown.
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

// Shutdown is [Orchestrator.Request] and [Orchestrator.Wait].
func (o *Orchestrator) Shutdown(ctx context.Context, command Command) (*Report, error) {
	o.Request(command)
	return o.Wait(ctx)
}

// Done returns a channel that is closed when the report is final.
func (o *Orchestrator) Done() <-chan struct{} { return o.done }

// State returns the machine's state.
func (o *Orchestrator) State() State { return o.machine.State() }

// Report returns how things stand: outcomes are [Waiting] or [Stopping] for what
// is not decided yet. Once the machine is terminated it is the final report.
func (o *Orchestrator) Report() *Report {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.final != nil {
		return o.final
	}
	return o.report(time.Now())
}

// message is an input with what the core does not need to know.
type message struct {
	input
	err     error             // of a component
	command *Command          // of a request or a force
	stacks  map[string]string // by component, sampled before an insist or the end
}

// inbox takes messages without making the senders queue up: the first to arrive
// feeds them all to the core, the others leave theirs and go.
type inbox struct {
	mu      sync.Mutex
	pending []message
	taken   bool // somebody is on the way to feed the core
}

// post leaves a message and reports whether the caller has to deliver.
func (b *inbox) post(m message) (deliver bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = append(b.pending, m)
	deliver = !b.taken
	b.taken = true
	return deliver
}

// take returns what has come in; nothing means that the caller may go.
func (b *inbox) take(spare []message) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.pending
	b.pending = spare[:0]
	b.taken = len(batch) > 0
	return batch
}

// tell feeds a message to the core, or leaves it to whoever is feeding it.
func (o *Orchestrator) tell(m message) {
	if o.inbox.post(m) {
		o.mu.Lock()
		after := o.deliver()
		o.mu.Unlock()
		o.logLate(after)
	}
}

// call feeds a message to the core, has it processed when it returns, and
// reports whether it was the one of its kind that counted.
func (o *Orchestrator) call(m message) bool {
	o.inbox.post(m)
	o.mu.Lock()
	after := o.deliver()
	counted := o.command == m.command || o.force == m.command
	o.mu.Unlock()
	o.logLate(after)
	return counted
}

// deliver feeds the core until the inbox is empty. It returns the acks that
// came after the end. The caller holds mu.
func (o *Orchestrator) deliver() (after []message) {
	var spare []message
	for {
		batch := o.inbox.take(spare)
		if len(batch) == 0 {
			return after
		}
		for _, m := range batch {
			if o.final == nil {
				o.feed(m)
			} else if m.kind == acked {
				after = append(after, m)
			}
		}
		clear(batch)
		spare = batch
	}
}

// feed gives the core one input and carries out what it emits.
func (o *Orchestrator) feed(m message) {
	now := time.Now()
	o.note(m, now)
	for _, e := range o.core.step(m.input) {
		o.carryOut(e, m, now)
	}
	if m.kind == politeOver && o.final == nil {
		o.armLate(now)
	}
}

// note keeps what a message says beside its input.
func (o *Orchestrator) note(m message, now time.Time) {
	switch m.kind {
	case acked:
		c := o.components[m.who]
		c.ended, c.err = now, m.err
	case quiesceEnded:
		o.components[m.who].quiesceErr = m.err
	case requested:
		if o.core.state == Running {
			o.begin(m.command, now)
		}
	case forced:
		if o.core.state == Running {
			o.begin(m.command, now)
		}
		o.force = m.command
		o.noteWaits()
	case quiesceOver:
		o.quiescing.end()
	case politeOver:
		o.noteWaits()
		o.endPolite(now)
	case lateOver:
		o.tooLate.end()
	case alarmFired:
		o.noteWaits()
	}
	for id, stack := range m.stacks {
		if i, ok := o.index[ID(id)]; ok && o.core.nodes[i].phase == running {
			o.components[i].stack = stack
		}
	}
}

// noteWaits keeps whom everything that has not started is waiting for.
func (o *Orchestrator) noteWaits() {
	for i, c := range o.components {
		if o.core.nodes[i].phase == waiting && o.core.state != Running {
			c.waitedOn = o.ids(o.core.outstanding(i))
		}
	}
}

func (o *Orchestrator) ids(indexes []int) (ids []ID) {
	for _, i := range indexes {
		ids = append(ids, o.components[i].id)
	}
	return ids
}

// begin sets the one clock of this shutdown, for a request or a force.
func (o *Orchestrator) begin(command *Command, now time.Time) {
	o.command, o.began = command, now
	o.base = context.WithValue(context.Background(), commandKey{}, command)
	o.onTime = newGroup(o.base, now.Add(o.polite))
	// request, withdrawn and the end, with room for a force; two for each component
	o.log.reserve(2*len(o.components) + 4)
	o.after(o.alarm, func() { o.tell(message{input: input{kind: alarmFired}, stacks: o.resampleStacks()}) })
	o.after(o.polite, func() { o.tell(message{input: input{kind: politeOver}, stacks: o.sampleStacks()}) })
	if slices.Contains(o.core.graph.quiesces, true) {
		o.quiescing = newGroup(o.base, now.Add(o.polite/10))
		o.after(o.polite/10, func() { o.tell(message{input: input{kind: quiesceOver}, err: ErrQuiesceLate}) })
	}
}

func (o *Orchestrator) after(d time.Duration, f func()) {
	o.timers = append(o.timers, time.AfterFunc(d, f))
}

// endPolite makes what runs hear ErrInsist, and what starts from now on live on
// for most of what remains.
func (o *Orchestrator) endPolite(now time.Time) {
	o.onTime.end()
	o.tooLate = newGroup(o.base, now.Add(mostOf(o.began.Add(o.alarm).Sub(now))))
}

// armLate sets the time at which those who started late are insisted upon.
func (o *Orchestrator) armLate(now time.Time) {
	if len(o.core.running()) > 0 {
		o.after(o.tooLate.until.Sub(now), func() {
			o.tell(message{input: input{kind: lateOver}, stacks: o.sampleStacks()})
		})
	}
}

// carryOut records an event and does what it stands for.
func (o *Orchestrator) carryOut(e effect, m message, now time.Time) {
	event := Event{At: now, Kind: e.kind}
	if e.who != nobody {
		event.From = o.components[e.who].id
	}
	switch e.kind {
	case ShutdownRequested, Forced:
		event.Command = m.command
	case Acked, Quiesced:
		event.Err = m.err
	}
	event.State = o.move(e.kind)
	o.log.append(event)

	switch e.kind {
	case ShutdownRequested:
		o.quiesceAll(m.kind)
	case Started:
		o.start(o.components[e.who], e.cause, now)
	case Insisted:
		o.insist(o.components[e.who])
	case Quiesced:
		o.components[e.who].quiesceLate = o.components[e.who].quiesceLate || m.kind == quiesceOver
	case AllAcked, Timeout:
		o.end(now)
	}
}

// move fires the engine if the event is one that moves the machine, and returns
// the state it is in.
func (o *Orchestrator) move(kind Kind) State {
	if kind > Timeout {
		return o.machine.State()
	}
	taken, err := o.machine.Fire(kind)
	if err != nil { // a test proves that core and engine agree on every pair
		o.logger.Error("fsm: core and engine disagree", "error", err)
	}
	return taken.To
}

// quiesceAll tells everybody to take no new work, unless there is no time left.
func (o *Orchestrator) quiesceAll(why inputKind) {
	if why == forced {
		return
	}
	for _, c := range o.components {
		if c.quiescer != nil {
			ctx := &componentContext{o.quiescing.ctx, c.labels, o.quiescing.until}
			go o.run(c, ctx, c.quiescer.Quiesce, quiesceEnded)
		}
	}
}

func (o *Orchestrator) start(c *component, cause int, now time.Time) {
	c.started = now
	if cause != nobody && c.waitedOn == nil {
		c.waitedOn = []ID{o.components[cause].id}
	}
	shared := o.onTime
	if o.core.late {
		shared = o.tooLate
	}
	c.ctx = componentContext{shared.ctx, c.labels, shared.until}
	if limit := now.Add(c.grace); c.grace > 0 && limit.Before(shared.until) {
		c.ctx.Context, c.cancel = context.WithCancelCause(shared.ctx)
		c.ctx.deadline = limit
		c.timer = time.AfterFunc(c.grace, func() { o.tell(message{input: input{graceOver, c.index}}) })
	}
	go o.run(c, &c.ctx, c.shutdown.Shutdown, acked)
}

func (o *Orchestrator) insist(c *component) {
	c.insisted = true
	if c.cancel != nil {
		c.cancel(ErrInsist)
	}
}

// run calls what a component implements and turns its end, however it comes,
// into a message.
func (o *Orchestrator) run(c *component, ctx context.Context, call func(context.Context) error, ended inputKind) {
	pprof.SetGoroutineLabels(c.labels)
	m, returned := message{input: input{ended, c.index}}, false
	defer func() {
		if !returned {
			m.err = o.recovered(c, recover())
		}
		o.tell(m)
	}()
	m.err = call(ctx)
	returned = true
}

// recovered makes the error of a panic; recover() returns nil only for Goexit.
// It is logged before the ack, so that the end of the process cannot lose it.
func (o *Orchestrator) recovered(c *component, value any) error {
	stack := debug.Stack()
	err := &PanicError{Value: value, Stack: stack[:min(len(stack), maxStack)]}
	o.logger.Error("fsm: component panicked", "id", string(c.id), "error", err, "stack", string(err.Stack))
	return err
}

func (o *Orchestrator) logLate(acks []message) {
	for _, m := range acks {
		c := o.components[m.who]
		o.logger.Warn("fsm: component returned after the end", "id", string(c.id), "error", m.err)
	}
}

// end makes the report final. What still runs is told so, and left behind.
func (o *Orchestrator) end(now time.Time) {
	for _, timer := range o.timers {
		timer.Stop()
	}
	for _, c := range o.components {
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	o.final = o.report(now)
	o.onTime.end()
	o.tooLate.end()
	o.quiescing.end()
	close(o.done)
}
