package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// settleTime is how long after NATS is back it is believed that nobody has come back:
// processes join again within a second of it.
const settleTime = 3 * time.Second

// answerTime is how long NATS may take to answer before it counts as away. What is
// asked once more for nothing, because it was just busy, does no harm.
const answerTime = 500 * time.Millisecond

// message is what Run is told by others: an input of the core, or what becomes one.
type message struct {
	kind   messageKind
	input  input
	news   remote.News
	report *fsm.Report
	err    error
}

type messageKind uint8

const (
	aboutMember   messageKind = iota // the input
	aboutRegistry                    // the news
	aboutLease                       // it may be held or not, look
	relisting                        // the registry is about to be told from its beginning
	blind                            // the registry cannot be watched
)

// inbox takes messages without making the senders wait.
type inbox struct {
	mu       sync.Mutex
	messages []message
	filled   chan struct{} // has something when messages does; of one place
}

func (b *inbox) post(m message) {
	b.mu.Lock()
	b.messages = append(b.messages, m)
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

func (b *inbox) take() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages := b.messages
	b.messages = nil
	return messages
}

// putBack undoes a take.
func (b *inbox) putBack(messages []message) {
	b.mu.Lock()
	b.messages = append(messages, b.messages...)
	filled := len(b.messages) > 0
	b.mu.Unlock()
	if filled {
		b.signal()
	}
}

// Run asks the instances, and blocks until all have left, or until the drain is
// stopped and those that were asked are done. It is stopped when more than MaxFailed
// have failed, when ctx ends, or when the lease is lost for good; [Report.Stopped] says
// so, and the error is nil. While NATS is away, or the lease cannot be renewed, nobody
// is asked and nothing is decided. In the end the lease is given back. It is called
// once.
func (d *Drain) Run(ctx context.Context) (*Report, error) {
	if !d.claimed.CompareAndSwap(false, true) {
		return nil, fmt.Errorf("fleet: run: %w: the drain has been run, or abandoned", ErrInvalid)
	}
	d.run(ctx)
	if d.core.stopped != abandoned {
		d.finish()
	}
	d.conclude()
	d.giveBack()
	d.end()
	return d.Report(), nil
}

// Abandon ends the drain without waiting for those that were asked: they go on by
// themselves. Run returns in two seconds or so, when the lease is given back; if nobody
// has called it, Abandon does that. It can be called again, and does nothing after the
// end. The drain can be taken up again.
func (d *Drain) Abandon() {
	d.abandon()
	if d.claimed.CompareAndSwap(false, true) {
		d.core.stopped = abandoned
		d.conclude()
		d.giveBack()
		d.end()
	}
}

// run is the loop that owns the core.
func (d *Drain) run(ctx context.Context) {
	d.lookForAbsent()
	if d.core.failed > d.core.maxFailed { // as it was stopped before
		d.apply(input{kind: stopping, stop: tooManyFailed}, message{})
	}
	d.keepPlaces()
	interruption := ctx.Done()
	if ctx.Err() != nil {
		d.interrupt(ctx)
		interruption = nil
	}
	d.lookAtLease()
	for !d.core.over() && d.core.stopped != disconnected { // then nobody can be followed any more
		select {
		case <-d.inbox.filled:
			for _, m := range d.inbox.take() {
				d.take(m)
			}
		case <-interruption:
			interruption = nil
			d.interrupt(ctx)
		case <-d.leaving:
			d.apply(input{kind: stopping, stop: abandoned}, message{})
			d.core.stopped = abandoned // also if it was stopped before
			d.cancel(errStopped)
			return
		}
	}
}

// keepPlaces has those that were asked in an earlier run, have failed and are to come
// back take their places, so that no more are away than may be.
func (d *Drain) keepPlaces() {
	if d.record.Plan.Back == 0 || d.core.stopped != notStopped || d.core.waiting == 0 {
		return
	}
	for who := range d.lines {
		if l := &d.lines[who]; l.State == Failed && l.ExitCode != fsm.ExitOK && !l.Asked.IsZero() {
			d.core.keepPlace(who)
			d.await(who)
		}
	}
}

func (d *Drain) interrupt(ctx context.Context) {
	d.apply(input{kind: stopping, stop: interrupted}, message{err: context.Cause(ctx)})
}

// lookForAbsent tells the core who of the plan is not there any more.
func (d *Drain) lookForAbsent() {
	for name, who := range d.index {
		kind := present
		if d.present[name] != d.lines[who].Instance.Incarnation {
			kind = departed
		}
		d.apply(input{kind: kind, who: who}, message{})
	}
}

func (d *Drain) lookAtLease() {
	kind := leaseDoubtful
	if d.lease.holds() {
		kind = leaseHeld
	}
	d.apply(input{kind: kind}, message{})
	if err := d.lease.err(); err != nil {
		d.apply(input{kind: stopping, stop: leaseLost}, message{err: err})
	}
}

// take makes inputs of what has come in.
func (d *Drain) take(m message) {
	// Looked at before each step, since nobody's timer is punctual.
	if d.core.held && !d.lease.holds() || d.core.stopped == notStopped && d.lease.err() != nil {
		d.lookAtLease()
	}
	switch m.kind {
	case aboutMember:
		d.apply(m.input, m)
	case aboutRegistry:
		d.takeNews(m.news)
	case aboutLease:
		d.lookAtLease()
	case relisting:
		d.present = map[string]string{}
	case blind:
		if d.nc.IsClosed() {
			d.apply(input{kind: stopping, stop: disconnected}, message{err: m.err})
			d.core.stopped = disconnected // also if it was stopped before
		}
		d.logger.Warn("fleet: the registry cannot be watched", "error", m.err)
	}
}

func (d *Drain) takeNews(n remote.News) {
	if n.Kind == remote.Listed {
		d.lookForAbsent()
		return
	}
	name := n.Instance.Name
	if n.Kind == remote.Joined {
		d.present[name] = n.Instance.Incarnation
	} else if d.present[name] == n.Instance.Incarnation {
		delete(d.present, name)
	}
	who, planned := d.index[name]
	if !planned {
		return
	}
	same := d.lines[who].Instance.Incarnation == n.Instance.Incarnation
	switch {
	case n.Kind == remote.Joined && same:
		d.apply(input{kind: present, who: who}, message{})
	case n.Kind == remote.Joined:
		d.apply(input{kind: returned, who: who}, message{})
	case n.Kind == remote.Left && same:
		d.apply(input{kind: leftAlone, who: who, verdict: verdictOf(n.Report)}, message{report: n.Report, err: n.Report.Err()})
	case same:
		d.apply(input{kind: departed, who: who}, message{})
	}
}

func verdictOf(r *fsm.Report) verdict {
	if r.ExitCode() != fsm.ExitOK {
		return leftBadly
	}
	return leftWell
}

// apply feeds the core, and carries out what follows.
func (d *Drain) apply(in input, m message) {
	before := d.core.stopped
	effects := d.core.apply(in)
	if d.core.stopped != before {
		d.sayStopped(m.err)
	}
	for _, e := range effects {
		about := message{} // what is known is about the one it came with
		if in.kind != stopping && e.who == in.who {
			about = m
		}
		d.carryOut(e, in.kind, about)
	}
}

func (d *Drain) carryOut(e effect, because inputKind, m message) {
	state := d.core.members[e.who].state
	switch e.kind {
	case toAsk:
		d.note(e.who, state, func(l *Line) { l.Asked = time.Now() })
		d.started.Go(func() { d.ask(e.who) })
	case toSkip:
		d.note(e.who, state, func(*Line) {})
	case toAwait:
		if state == Away {
			d.note(e.who, state, func(l *Line) { l.learn(m) })
		}
		d.await(e.who)
	case toRecord:
		if because == overdue {
			m.err = fmt.Errorf("it has left, and was not back after %s", d.record.Plan.Back)
		}
		l := d.note(e.who, state, func(l *Line) { l.learn(m) })
		d.done.Add(1)
		if state.failure() {
			d.failed.Add(1)
			d.logger.Warn("fleet: an instance has failed", "instance", l.Instance.Name, "state", state.String(), "code", l.ExitCode,
				"culprits", strings.Join(l.Culprits, ", "), "error", l.Err)
		}
		d.started.Go(func() { d.writeOutcome(e.who, l) })
	}
}

// learn adds what is known of how the instance has left.
func (l *Line) learn(m message) {
	if m.report != nil {
		l.ExitCode, l.Culprits = m.report.ExitCode(), culpritsOf(m.report)
		if l.ExitCode != fsm.ExitOK {
			l.Report = m.report
		}
		l.last = m.report
	}
	if m.err != nil {
		l.Err = m.err
	}
}

// note sets an instance's state, tells the readers, and returns its line.
func (d *Drain) note(who int, state InstanceState, change func(*Line)) Line {
	d.mu.Lock()
	l := &d.lines[who]
	l.State = state
	change(l)
	if !l.Asked.IsZero() && state != Asked {
		l.Took = time.Since(l.Asked)
	}
	now := *l
	l.last = nil
	d.mu.Unlock()
	d.log.append(Progress{At: time.Now(), Instance: now.Instance, State: state, Report: now.last, Culprits: now.Culprits, Err: now.Err, Took: now.Took})
	return now
}

// ask asks one instance, and says what came of it. What NATS being away has come to is
// nothing: it asks again, with the same command.
func (d *Drain) ask(who int) {
	if d.lease.await(d.ctx, d.stopping) != nil {
		d.inbox.post(message{input: input{kind: unasked, who: who}})
		return
	}
	to, id := d.lines[who].Instance, d.commandID(who) // that of a line never changes
	for again := false; ; {
		began := d.reconnects()
		report, err := d.shutdown(to, id)
		if d.ctx.Err() != nil {
			return
		}
		if err != nil && (errors.Is(err, errDoubtful) || errors.Is(err, remote.ErrAway) || d.wasAway(began)) {
			if d.connected() != nil {
				return
			}
			if d.lease.await(d.ctx, nil) != nil && d.isRunning(to) { // and now it is somebody else's
				d.inbox.post(message{input: input{kind: unasked, who: who}})
				return
			}
			continue
		}
		if err != nil { // perhaps only its last word was not heard
			if kept, _ := remote.LastReport(d.ctx, d.nc, to); kept != nil {
				report, err = kept, nil
			} else if !again && d.isRunning(to) { // nor has it heard
				again = true
				continue
			}
		}
		m := message{input: input{kind: answered, who: who, verdict: silent}, report: report, err: err}
		switch {
		case err != nil && (report != nil || d.isThere(to)):
			m.input.verdict = fellSilent
		case err == nil:
			m.input.verdict, m.err = verdictOf(report), report.Err()
			if m.input.verdict == leftWell && !d.hasAsked(report) {
				m.input.verdict = leftBefore
			}
		}
		d.inbox.post(m)
		return
	}
}

// shutdown asks for as long as the lease is relied upon: what has not arrived by then
// must not arrive when somebody else has the group. When it is lost there is nothing to
// be held again, and those that were asked are waited for.
func (d *Drain) shutdown(to remote.Instance, id string) (*fsm.Report, error) {
	ctx, cancel := context.WithCancelCause(d.ctx)
	defer cancel(nil)
	if d.lease.err() == nil {
		d.started.Go(func() { cancel(d.lease.until(ctx)) })
	}
	return remote.Shutdown(ctx, d.nc, to, id, d.record.Plan.Command)
}

// isRunning reports whether an instance says that it has not been asked to leave.
func (d *Drain) isRunning(to remote.Instance) bool {
	status, err := remote.Ask(d.ctx, d.nc, to.String())
	return err == nil && status.Instance.Incarnation == to.Incarnation && status.State == fsm.Running
}

// isThere reports whether one that says nothing may be there all the same: frozen, or
// cut off. NATS knows whether it is connected.
func (d *Drain) isThere(to remote.Instance) bool {
	status, err := remote.Ask(d.ctx, d.nc, to.String())
	if err != nil {
		return !errors.Is(err, nats.ErrNoResponders)
	}
	return status.Instance.Incarnation == to.Incarnation
}

// commandID is the same for one instance in one drain, however often that is taken up.
func (d *Drain) commandID(who int) string { return fmt.Sprint(d.record.ID, "-", who) }

// hasAsked reports whether it was this drain's command, among others, that an instance
// has obeyed.
func (d *Drain) hasAsked(r *fsm.Report) bool {
	own := d.record.Plan.Command
	for _, c := range r.Requests {
		if c.Reason == own.Reason && c.By == own.By {
			return true
		}
	}
	return false
}

func (d *Drain) reconnects() uint64 { return d.nc.Stats().Reconnects }

// wasAway reports whether NATS is away, or was since there were so many reconnections:
// then it means nothing that nothing was heard. That a wire is cut may show on it in
// minutes only, so NATS is asked.
func (d *Drain) wasAway(reconnects uint64) bool {
	return !d.nc.IsConnected() || d.reconnects() != reconnects || d.nc.FlushTimeout(answerTime) != nil
}

// connected blocks until NATS is there, and fails if that will not be.
func (d *Drain) connected() error {
	changed := d.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer d.nc.RemoveStatusListener(changed)
	for !d.nc.IsConnected() {
		if d.nc.IsClosed() {
			return remote.ErrAway
		}
		select {
		case <-changed:
		case <-d.ctx.Done():
			return context.Cause(d.ctx)
		}
	}
	return nil
}

// await has an instance be overdue after a while, in which NATS is there.
func (d *Drain) await(who int) {
	to := d.lines[who].Instance
	if other := d.present[to.Name]; other != "" && other != to.Incarnation {
		d.inbox.post(message{input: input{kind: returned, who: who}})
		return
	}
	d.started.Go(func() {
		for wait := d.record.Plan.Back; ; wait = min(wait, settleTime) {
			before := d.reconnects()
			if pause(d.ctx, wait) != nil {
				return
			}
			if !d.wasAway(before) {
				break
			}
			if d.connected() != nil {
				return
			}
		}
		kind := overdue
		if there, err := remote.Ask(d.ctx, d.nc, to.String()); err == nil && there.Instance.Incarnation != to.Incarnation {
			kind = returned // and the news of it is on its way
		}
		d.inbox.post(message{input: input{kind: kind, who: who}})
	})
}

// writeOutcome writes down how an instance fared, and says when that is done: before
// that nobody else takes its place, so that whoever takes the drain up again finds no
// more asked and not done than may be.
func (d *Drain) writeOutcome(who int, l Line) {
	o := outcome{State: l.State, ExitCode: l.ExitCode, Culprits: l.Culprits, Asked: l.Asked, Took: inMillis(l.Took)}
	if l.Err != nil {
		o.Error = clipped(strings.ToValidUTF8(errorText(l.Err), " "), maxText)
	}
	for d.lease.err() == nil {
		_, err := d.journal.write(d.ctx, doneKey(d.journal.group, d.record.ID, who), o, 0, 0)
		if err == nil || errors.Is(err, errConflict) { // an earlier attempt, or an earlier run, was there
			break
		}
		if d.nc.IsClosed() || pause(d.ctx, time.Second/4) != nil {
			break
		}
	}
	d.inbox.post(message{input: input{kind: recorded, who: who}})
}

// sayStopped notes why nobody else is asked.
func (d *Drain) sayStopped(err error) {
	close(d.stopping)
	why := ""
	switch d.core.stopped {
	case tooManyFailed:
		why = fmt.Sprintf("%d failed, of at most %d", d.core.failed, d.core.maxFailed)
	case interrupted:
		why = fmt.Sprintf("interrupted: %v", err)
	case leaseLost:
		why = fmt.Sprintf("the lease is lost: %v", err)
	case disconnected:
		why = fmt.Sprintf("the connection is closed: %v", err)
	case abandoned:
		why = "abandoned"
	}
	d.logger.Warn("fleet: nobody else is asked", "why", why)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = why
}

// finish writes down that the drain is over, or why it was stopped.
func (d *Drain) finish() {
	d.endKeep() // it writes there too
	d.kept.Wait()
	if d.lease.err() != nil {
		return
	}
	d.mu.Lock()
	if d.core.complete() {
		d.stopped = "" // it came too late to be of any consequence
	}
	d.record.Stopped, d.record.Took = clipped(d.stopped, maxText), inMillis(d.took+time.Since(d.begun))
	d.mu.Unlock()
	d.record.Finished = d.record.Stopped == ""
	d.record.Done, d.record.Failed = int(d.done.Load()), int(d.failed.Load())
	err := d.writeEnd()
	for range 2 { // what was on its way to a server that was killed is lost
		if err == nil || errors.Is(err, errConflict) {
			break
		}
		err = d.writeEnd()
	}
	if err != nil {
		d.logger.Warn("fleet: the end of the drain was not written down", "error", err)
	}
}

func (d *Drain) writeEnd() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.ctx), 2*time.Second)
	defer cancel()
	return d.writeRecord(ctx)
}

// conclude makes the report final.
func (d *Drain) conclude() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.core.stopped == abandoned {
		d.stopped = "abandoned: those that were asked go on by themselves"
	}
	d.took += time.Since(d.begun)
	d.over = true
}

// Report returns how the drain stands, or went. It does not block.
func (d *Drain) Report() *Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &Report{
		ID: d.record.ID, Group: d.record.Plan.Group, Operator: d.record.Operator, Plan: d.record.Plan,
		AtOnce: d.record.Plan.AtOnce.Of(len(d.lines)), Began: d.record.Began, Took: d.took, Resumed: d.record.Resumed,
		Replaced: d.record.Replaced, Lines: append(make([]Line, 0, len(d.lines)), d.lines...), Stopped: d.stopped,
	}
	if !d.over {
		r.Took += time.Since(d.begun)
		for i := range r.Lines {
			if l := &r.Lines[i]; l.State == Asked {
				l.Took = time.Since(l.Asked)
			}
		}
	}
	return r
}
