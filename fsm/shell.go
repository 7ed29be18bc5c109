package fsm

import (
	"context"
	"errors"
	"log/slog"
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
	return m.counted
}

// deliver feeds the core until the inbox is empty. What only the log is told of
// is logged in a goroutine of its own, because whoever reads the log may not.
func (o *Orchestrator) deliver() {
	o.mu.Lock()
	lines := o.drain()
	o.mu.Unlock()
	if lines != nil {
		go func() {
			for _, log := range lines {
				log()
			}
		}()
	}
}

// drain returns what is to be logged. The caller holds mu.
func (o *Orchestrator) drain() (lines []func()) {
	for m := o.inbox.take(); m != nil; m = o.inbox.take() {
		for now := time.Now(); m != nil; m = m.next {
			if m.kind == runEnded {
				o.runEnded(m, now)
			}
			if line := o.untold(m); line != nil {
				lines = append(lines, line)
			}
			if o.final == nil {
				o.feed(m, now)
			}
		}
	}
	return lines
}

// untold returns what logs that which no event and no report will tell in time.
func (o *Orchestrator) untold(m *message) func() {
	command, err := m.command, m.err
	switch {
	case m.of != nil && m.kind == requested:
		return func() { o.logger.Error("fsm: component died", "id", string(m.of.id), "error", err) }
	case m.kind == requested && command.Err != nil && o.core.state != Running:
		return func() {
			o.logger.Error("fsm: a request with an error comes after another",
				"reason", command.Reason, "by", command.By, "error", command.Err)
		}
	case o.final != nil && (m.kind == acked || m.kind == quiesceEnded):
		id := string(o.components[m.who].id)
		return func() { o.logger.Warn("fsm: component returned after the end", "id", id, "error", err) }
	}
	return nil
}

func errorAttr(err error) slog.Attr { return slog.Any("error", err) }

// feed gives the core one input and carries out what it emits.
func (o *Orchestrator) feed(m *message, now time.Time) {
	o.note(m, now)
	for _, e := range o.core.step(m.input) {
		o.carryOut(e, m, now)
	}
}

// note keeps what a message says beside its input.
func (o *Orchestrator) note(m *message, now time.Time) {
	if m.command != nil {
		o.heed(m, now)
	}
	switch m.kind {
	case acked:
		c := o.components[m.who]
		c.ended, c.err = now, m.err
		if m.inner != nil {
			c.inner = m.inner
		}
	case quiesceEnded:
		c := o.components[m.who]
		c.quiesceErr = errors.Join(c.quiesceErr, m.err)
	case quiesceOver:
		o.quiescing.insist()
	case politeOver:
		o.notePoliteOver(m, now)
	case lastCallReached:
		o.keepWaitedOn()
	case lateOver:
		o.tooLate.insist()
		o.atLast = newGroup(o.base, o.clock.alarm)
	}
	if m.panicked != nil {
		o.components[m.who].panicked = m.panicked
	}
	if m.sample != nil { // to iterate over none would cost more than all the rest
		o.keep(m.sample)
	}
}

// heed keeps a command, and begins the shutdown if it is the first.
func (o *Orchestrator) heed(m *message, now time.Time) {
	first := o.core.state == Running
	if m.kind == forced {
		o.force, m.counted = m.command, true
	}
	if m.kind == requested || first {
		o.requests = append(o.requests, m.command)
	}
	if first {
		m.counted = true
		o.begin(m.command, now)
	} else if m.kind == requested {
		o.hasten(m.command.Within, now)
	}
}

func (o *Orchestrator) notePoliteOver(m *message, now time.Time) {
	if o.late || o.core.state == Running {
		m.kind = sampledLate
		return
	}
	m.counted = true
	o.endPolite(now)
}

// keepWaitedOn keeps whom those were waiting for that last call lets begin.
func (o *Orchestrator) keepWaitedOn() {
	for i, c := range o.components {
		if o.core.nodes[i].phase == waiting {
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
	if o.core.graph.departed > 0 {
		o.compact()
	}
	o.began = now
	o.startClock(command.Within, now)
	o.asked = &asked{command: *command}
	alarm := o.clock.alarm
	o.asked.alarm.Store(&alarm)
	o.base = context.WithValue(context.Background(), commandKey{}, o.asked)
	o.onTime = newGroup(o.base, o.clock.polite)
	// request, withdrawn and the end, with room for a force; two for each component
	o.log.reserve(2*len(o.components) + 4)
	o.begun(&begunError{o.asked})
}

// quiesceAll tells everybody to take no new work.
func (o *Orchestrator) quiesceAll(now time.Time) {
	if !slices.ContainsFunc(o.core.graph.traits, func(t traits) bool { return t.quiesces }) {
		return
	}
	d := o.clock.polite.Sub(o.began) / 10
	o.clock.quiesce = now.Add(d)
	o.quiescing = newGroup(o.base, o.clock.quiesce)
	o.clock.timers[4] = time.AfterFunc(d, func() { o.tell(&message{input: input{kind: quiesceOver}, err: ErrQuiesceLate}) })
	for _, c := range o.components {
		if c.quiescer != nil {
			go o.run(c, &componentContext{Context: o.quiescing.ctx, labels: c.labels, shared: o.quiescing}, quiesceEnded)
		}
	}
}

// timeUp tells the core that a time is over, with the stacks of those who hang.
// They are sampled first, while nobody has been cancelled; but in a process with
// a great many goroutines that takes long, and the insisting must not be late.
func (o *Orchestrator) timeUp(kind inputKind) {
	taken, later := o.sampleWithin(o.alarmLeft()/10, true)
	o.tell(&message{input: input{kind: kind}, sample: taken})
	o.tellLater(later)
}

// tellLater tells of a sample that was not there in time, when it comes.
func (o *Orchestrator) tellLater(later <-chan *snapshot) {
	if later != nil {
		go func() { o.tell(&message{input: input{kind: sampledLate}, sample: <-later}) }()
	}
}

// alarmOver tells the core of the alarm.
func (o *Orchestrator) alarmOver() {
	o.tell(&message{input: input{kind: alarmFired}, sample: o.alarmSample()})
}

func (o *Orchestrator) alarmLeft() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return time.Until(o.clock.alarm)
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
		if m.kind == requested && o.startup == nil { // a force leaves no time for it
			o.quiesceAll(now)
		}
	case Started:
		o.start(o.components[e.who], e.cause, now)
	case Acked:
		if o.components[e.who] == o.startup && !o.core.lastCall {
			o.quiesceAll(now)
		}
	case Insisted:
		o.insist(o.components[e.who], m.kind)
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

// start begins the component's shutdown.
func (o *Orchestrator) start(c *component, cause int, now time.Time) {
	c.started = now
	if cause != nobody && c.waitedOn == nil {
		c.waitedOn = []ID{o.components[cause].id}
	}
	shared := o.group()
	c.ctx = componentContext{Context: shared.ctx, labels: c.labels, shared: shared}
	if c.withdraws && !c.graced {
		c.grace = o.clock.polite.Sub(o.began) / 2
	}
	// The one that is set here can become the nearer limit later: see hasten.
	if limit := now.Add(c.grace); c.grace > 0 && (!c.graced || limit.Before(*shared.until.Load())) {
		c.ctx.own = newGroup(shared.ctx, limit)
		c.ctx.Context = c.ctx.own.ctx
		o.after(c.grace, func() { o.tell(&message{input: input{graceOver, c.index}}) })
	}
	if c.runner != nil && c.runner.cancel != nil {
		o.stopRun(c)
	} else {
		go o.run(c, &c.ctx, acked)
	}
}

// group is the one of those who start now.
func (o *Orchestrator) group() *group {
	switch {
	case o.atLast != nil:
		return o.atLast
	case o.late:
		return o.tooLate
	}
	return o.onTime
}

// insist tells a component that its time is over, and after its own Grace when
// those ordered after it stop waiting.
func (o *Orchestrator) insist(c *component, over inputKind) {
	c.ctx.own.insist()
	if over == graceOver {
		o.after(lastCallAfter(c.grace), func() { o.tell(&message{input: input{graceLastCall, c.index}}) })
	}
}

// stopRun ends the ctx of a run, whose end is the ack; one that is over acks now.
func (o *Orchestrator) stopRun(c *component) {
	c.runner.cancel(context.Cause(o.context.Context))
	if c.runner.over {
		o.tell(&message{input: input{acked, c.index}}) // left in the inbox, since this is what feeds the core
	}
}

// run calls the component and turns its end, however it comes, into a message.
func (o *Orchestrator) run(c *component, ctx *componentContext, ended inputKind) {
	pprof.SetGoroutineLabels(c.labels)
	m, call := &c.ack, c.stop
	if ended == quiesceEnded {
		m, call = new(message), c.quiescer.Quiesce
	}
	m.input = input{ended, c.index}
	contain(func() error {
		err := call(ctx)
		if c.reporter != nil && ended == acked {
			m.inner = c.reporter.Report()
		}
		return err
	}, func(err error) {
		m.err = err
		if m.panicked, _ = err.(*PanicError); m.panicked != nil {
			o.logPanic(c, m.panicked)
		}
		o.tell(m)
	})
}

// logPanic logs a panic before its ack, so that the end of the process cannot
// lose it; but a log that is stuck, or a value that cannot be printed, does not
// keep the ack.
func (o *Orchestrator) logPanic(c *component, err *PanicError) {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		o.logger.Error("fsm: component panicked", "id", string(c.id), "error", err, "stack", string(err.Stack))
	}()
	receiveWithin(o.polite/10, logged)
}

// end makes the report final. What still runs is told so, and left behind.
func (o *Orchestrator) end(now time.Time) {
	o.clock.stop()
	o.final = o.report(now)
	for i, c := range o.components {
		if c.runner != nil && c.runner.cancel != nil && o.core.nodes[i].phase == waiting {
			c.runner.cancel(context.Cause(o.context.Context))
		}
	}
	for _, g := range []*group{o.onTime, o.tooLate, o.atLast, o.quiescing} {
		g.insist()
	}
	close(o.done)
}
