package fsm

import (
	"context"
	"errors"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"
)

// tell feeds a message to the core, or leaves it to whoever is feeding it.
func (o *Orchestrator) tell(m *message) {
	if o.inbox.post(m) {
		o.deliver()
	}
}

// call feeds a message to the core, has it processed when it returns, and
// reports whether it was the one of its kind that counted.
func (o *Orchestrator) call(m *message) bool {
	o.inbox.post(m)
	o.deliver()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.command == m.command || o.force == m.command
}

// deliver feeds the core until the inbox is empty, and logs what came too late.
func (o *Orchestrator) deliver() {
	o.mu.Lock()
	late := o.drain()
	o.mu.Unlock()
	for _, m := range late {
		id := string(o.components[m.who].id)
		o.logger.Warn("fsm: component returned after the end", "id", id, "error", m.err)
	}
}

// drain returns the acks that came after the end. The caller holds mu.
func (o *Orchestrator) drain() (late []*message) {
	for m := o.inbox.take(); m != nil; m = o.inbox.take() {
		for now := time.Now(); m != nil; m = m.next {
			if o.final == nil {
				o.feed(m, now)
			} else if m.kind == acked || m.kind == quiesceEnded {
				late = append(late, m)
			}
		}
	}
	return late
}

// feed gives the core one input and carries out what it emits.
func (o *Orchestrator) feed(m *message, now time.Time) {
	o.note(m, now)
	for _, e := range o.core.step(m.input) {
		o.carryOut(e, m, now)
	}
	if m.kind == politeOver && o.final == nil {
		o.armLate(now)
	}
}

// note keeps what a message says beside its input.
func (o *Orchestrator) note(m *message, now time.Time) {
	if o.core.state == Running && m.command != nil {
		o.begin(m.command, now)
	}
	switch m.kind {
	case acked:
		o.components[m.who].ended, o.components[m.who].err = now, m.err
	case quiesceEnded:
		c := o.components[m.who]
		c.quiesceErr = errors.Join(c.quiesceErr, m.err)
	case forced:
		o.force = m.command
	case quiesceOver:
		o.quiescing.end()
	case politeOver:
		o.endPolite(now)
	case lateOver:
		o.tooLate.end()
	}
	if m.panicked != nil {
		o.components[m.who].panicked = m.panicked
	}
	if m.stacks != nil { // to iterate over none would cost more than all the rest
		o.keep(m.stacks)
	}
}

func (o *Orchestrator) keep(stacks map[string]string) {
	for id, stack := range stacks {
		if i, ok := o.index[ID(id)]; ok && o.core.nodes[i].phase == running {
			o.components[i].stack = stack
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
	o.after(o.alarm, func() { o.tell(&message{input: input{kind: alarmFired}, stacks: o.alarmStacks()}) })
	o.after(o.polite, func() { o.timeUp(politeOver) })
	if slices.Contains(o.core.graph.quiesces, true) {
		o.quiescing = newGroup(o.base, now.Add(o.polite/10))
		o.after(o.polite/10, func() { o.tell(&message{input: input{kind: quiesceOver}, err: ErrQuiesceLate}) })
	}
}

func (o *Orchestrator) after(d time.Duration, f func()) {
	o.timers = append(o.timers, time.AfterFunc(d, f))
}

// endPolite makes what runs hear ErrInsist, and what starts from now on live on
// for most of what remains. It keeps whom those were waiting for.
func (o *Orchestrator) endPolite(now time.Time) {
	for i, c := range o.components {
		if o.core.nodes[i].phase == waiting {
			c.waitedOn = o.ids(o.core.outstanding(i))
		}
	}
	o.onTime.end()
	o.tooLate = newGroup(o.base, now.Add(mostOf(o.began.Add(o.alarm).Sub(now))))
}

// armLate sets the time at which those who started late are insisted upon.
func (o *Orchestrator) armLate(now time.Time) {
	late := func(n node) bool { return n.phase == running && !n.insisted }
	if slices.ContainsFunc(o.core.nodes, late) {
		o.after(o.tooLate.until.Sub(now), func() { o.timeUp(lateOver) })
	}
}

// timeUp tells the core that a time is over, with the stacks of those who hang.
// They are sampled first, while nobody has been cancelled; but in a process with
// a great many goroutines that takes long, and the insisting must not be late.
func (o *Orchestrator) timeUp(kind inputKind) {
	stacks, later := o.stacksWithin(time.Until(o.began.Add(o.alarm)) / 10)
	o.tell(&message{input: input{kind: kind}, stacks: stacks})
	if later != nil {
		o.tell(&message{input: input{kind: sampledLate}, stacks: <-later})
	}
}

// carryOut records an event and does what it stands for.
func (o *Orchestrator) carryOut(e effect, m *message, now time.Time) {
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
	if e.kind <= Timeout {
		o.move(e.kind)
	}
	event.State = o.state
	o.log.append(&event)

	switch e.kind {
	case ShutdownRequested:
		if m.kind == requested { // a force leaves no time for it
			o.quiesceAll()
		}
	case Started:
		o.start(o.components[e.who], e.cause, now)
	case Insisted:
		if c := o.components[e.who]; c.cancel != nil {
			c.cancel(ErrInsist)
		}
	case Quiesced:
		if m.kind == quiesceOver {
			c := o.components[e.who]
			c.quiesceErr, c.quiesceLate = ErrQuiesceLate, true
		}
	case AllAcked, Timeout:
		o.end(now)
	}
}

// move fires the engine.
func (o *Orchestrator) move(kind Kind) {
	taken, err := o.machine.Fire(kind)
	if err != nil { // a test proves that core and engine agree on every pair
		o.logger.Error("fsm: core and engine disagree", "error", err)
		return
	}
	if o.state = taken.To; o.state == Terminated {
		o.edge = taken
	}
}

// quiesceAll tells everybody to take no new work.
func (o *Orchestrator) quiesceAll() {
	for _, c := range o.components {
		if c.quiescer != nil {
			go o.run(c, &componentContext{o.quiescing.ctx, c.labels, o.quiescing.until}, quiesceEnded)
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
		o.after(c.grace, func() { o.tell(&message{input: input{graceOver, c.index}}) })
	}
	go o.run(c, &c.ctx, acked)
}

// run calls the component and turns its end, however it comes, into a message.
func (o *Orchestrator) run(c *component, ctx *componentContext, ended inputKind) {
	pprof.SetGoroutineLabels(c.labels)
	m, call := &c.ack, c.shutdown.Shutdown
	if ended == quiesceEnded {
		m, call = new(message), c.quiescer.Quiesce
	}
	m.input = input{ended, c.index}
	returned := false
	defer func() {
		if !returned {
			m.panicked = o.recovered(c, recover())
			m.err = m.panicked
		}
		o.tell(m)
	}()
	m.err = call(ctx)
	returned = true
}

// recovered makes the error of a panic; recover() returns nil only for Goexit.
// It is logged before the ack, so that the end of the process cannot lose it; but
// a log that is stuck, or a value that cannot be printed, does not keep the ack.
func (o *Orchestrator) recovered(c *component, value any) *PanicError {
	stack := debug.Stack()
	err := &PanicError{Value: value, Stack: stack[:min(len(stack), maxStack)]}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		o.logger.Error("fsm: component panicked", "id", string(c.id), "error", err, "stack", string(err.Stack))
	}()
	receiveWithin(o.polite/10, logged)
	return err
}

// end makes the report final. What still runs is told so, and left behind.
func (o *Orchestrator) end(now time.Time) {
	for _, timer := range o.timers {
		timer.Stop()
	}
	o.final = o.report(now)
	o.onTime.end()
	o.tooLate.end()
	o.quiescing.end()
	close(o.done)
}
