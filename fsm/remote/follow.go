package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/farewell-node/farewell/fsm"
)

const (
	// A command, or that it is insisted upon, is sent again after resendFirst, then after twice as long, and so on to
	// resend. Once it was taken that asks how things stand: after resend, then after
	// twice as long, and so on to resendTaken, since the report comes by itself, and a
	// fleet that is asked all the time has no time to leave.
	resendFirst = 20 * time.Millisecond
	resend      = 500 * time.Millisecond
	resendTaken = 2 * time.Second
	// absence is for how long nobody may answer, and nothing be known of the process,
	// until it is given up: more than nats.go waits before it reconnects.
	absence = 3 * time.Second
	// validity is for how long a command may take effect that does not say how long
	// the shutdown may take, and how long its receiver may say nothing.
	validity = 30 * time.Second
	// endMargin is how long before the alarm here a component that was insisted upon
	// returns, to say what it has heard.
	endMargin = 50 * time.Millisecond
	// reportTime is how much earlier the alarm rings there than here, at most, so that
	// the final report is here in time.
	reportTime = 500 * time.Millisecond
)

// Component returns a process elsewhere, "group/name", as a component: of whichever
// incarnation it is that answers when Shutdown is called.
//
// Shutdown asks it to leave, within the time that is left until the alarm here (a
// tenth less, half a second at most), and blocks until its report is there: its error is that
// of the report, less what the command carried, and the report is the component's
// Inner. Insisting here insists there. A process that has left already is an ack,
// whoever asked it to. One that would wait for itself over this one fails with
// [fsm.ErrCycle]. One that does not answer by the time it is insisted upon, or that
// nobody has known for three seconds, or that falls silent without a report, fails
// with [ErrUnreachable]; Inner then is what was heard last.
//
// Component is nil, for Register to refuse, if nc is or target is not a name.
func Component(nc *nats.Conn, target string) fsm.Component { return newComponent(nc, target, nil) }

func newComponent(nc *nats.Conn, target string, member *Member) fsm.Component {
	to, err := parseName(target)
	if nc == nil || err != nil {
		return nil
	}
	return &component{nc: nc, to: to, member: member}
}

type component struct {
	nc     *nats.Conn
	to     Instance
	member *Member // nil if this process is none
	heard  atomic.Pointer[fsm.Report]
}

// Report returns what was heard last of the shutdown there. It does not block.
func (c *component) Report() *fsm.Report { return c.heard.Load() }

// Shutdown implements [fsm.Component].
func (c *component) Shutdown(ctx context.Context) error {
	command, _ := fsm.CommandFrom(ctx)
	f := &follower{
		nc: c.nc, to: c.to, id: nuid.Next(), command: command, heard: &c.heard,
		via: func() []string { return nil },
		left: func() time.Duration {
			left, _ := fsm.TimeLeft(ctx)
			return left
		},
		insist: ctx.Done(),
	}
	if c.member != nil {
		f.via, f.command.By = c.member.waitedForBy, by(command.By, c.member.self)
	}
	_, err := f.follow(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("remote: %s: %w", c.to, err)
	}
	return nil
}

// by appends a process to who asked: "signal > edge/edge-1".
func by(asked string, self Instance) string {
	return cmp.Or(asked, "(not said)") + " > " + self.String()
}

// Shutdown asks one instance, as [List] or [Ask] returns it, to leave, and blocks
// until its report is there. Only that incarnation takes the command, and only once:
// who calls it again with the same id, also after a restart of its own, follows the
// shutdown that is going on and does not ask for another. An empty id is a new one.
// A deadline of ctx is the command's Within, less a tenth of what is left or half a
// second.
//
// The report is what the process says; its Err, its exit code and its culprits are
// not this function's error. The error wraps [ErrUnreachable] if there is no report,
// the cause of ctx when that ends first, [ErrAway] in it if NATS is away, at once if nc
// is closed, or [ErrInvalid]. With an error the report is what was heard last, and may be nil.
// Where neither ctx nor command says until when, a process that is there and says
// nothing, such as one that was stopped in a debugger, is unreachable three seconds
// after the alarm that it has told of, or 30 s after its last word.
func Shutdown(ctx context.Context, nc *nats.Conn, to Instance, id string, command fsm.Command) (*fsm.Report, error) {
	f, err := newFollower(nc, to, id, command)
	if err == nil {
		f.until(ctx)
		return f.finish(f.follow(ctx))
	}
	return nil, fmt.Errorf("remote: shut %s down: %w", to, err)
}

// Insist is [Shutdown] of which the polite time is over at once, as
// [fsm.Orchestrator.Insist] has it: what runs there is insisted upon. Given the id of a Shutdown that is going on it insists upon that.
func Insist(ctx context.Context, nc *nats.Conn, to Instance, id string, command fsm.Command) (*fsm.Report, error) {
	f, err := newFollower(nc, to, id, command)
	if err == nil {
		f.until(ctx)
		now := make(chan struct{})
		close(now)
		f.insist, f.patient = now, true
		return f.finish(f.follow(ctx))
	}
	return nil, fmt.Errorf("remote: insist upon %s: %w", to, err)
}

func newFollower(nc *nats.Conn, to Instance, id string, command fsm.Command) (*follower, error) {
	if nc == nil || command.Within < 0 || len(id) > maxID {
		return nil, fmt.Errorf("%w: it needs a connection, a Within that is not negative, and an ID of at most %d bytes", ErrInvalid, maxID)
	}
	if err := firstErr(to.valid(), validIncarnation(to.Incarnation)); err != nil {
		return nil, err
	}
	return &follower{
		nc: nc, to: to, id: cmp.Or(id, nuid.Next()), command: command,
		heard: new(atomic.Pointer[fsm.Report]), via: func() []string { return nil },
	}, nil
}

// until makes the shutdown end by ctx's deadline.
func (f *follower) until(ctx context.Context) {
	within := f.command.Within
	began := time.Now()
	deadline, ok := ctx.Deadline()
	f.left = func() time.Duration {
		left := within
		if within > 0 {
			left = max(1, within-time.Since(began))
		}
		if ok && (left == 0 || time.Until(deadline) < left) {
			left = max(1, time.Until(deadline))
		}
		return left
	}
}

// finish is for those who are told the report apart from the error.
func (f *follower) finish(r *fsm.Report, err error) (*fsm.Report, error) {
	if inside := (*reportError)(nil); err == nil || errors.As(err, &inside) {
		return r, nil
	}
	return f.heard.Load(), fmt.Errorf("remote: %s: %w", f.to, err)
}

// reportError is the error of a report.
type reportError struct{ error }

func (e *reportError) Unwrap() error { return e.error }

// follower sends one command and follows what comes of it. All but heard belongs to
// the goroutine of follow.
type follower struct {
	nc      *nats.Conn
	to      Instance // of no incarnation until one has answered
	id      string
	command fsm.Command
	via     func() []string
	left    func() time.Duration // until everything must be over; 0 if nobody says
	insist  <-chan struct{}
	patient bool // being told to insist is no reason to give up
	heard   *atomic.Pointer[fsm.Report]

	inbox    string
	messages chan *nats.Msg
	subs     []*nats.Subscription
	found    chan lookup

	sent      time.Time     // the last ask
	clock     time.Time     // when that was to which the answer came, and …
	uptime    time.Duration // … what the other one's clock read then, or a round trip later
	answered  bool
	told      bool // the command was sent; it may have been taken without our knowing
	accepted  bool
	insisting bool
	insisted  bool // that was taken
	looking   bool
	silent    time.Time // since when nobody answers; zero if somebody does
	word      time.Time // the last one that was heard, or could not be while NATS was away
	due       time.Time // when the alarm there rings, as far as it has said
	why       error     // what is known of that
}

// lookup is what the registry says of the process.
type lookup struct {
	of      Instance
	present bool
	report  *fsm.Report
	err     error
}

// follow returns the report, and its error; or what came in between.
func (f *follower) follow(ctx context.Context) (*fsm.Report, error) {
	f.messages, f.found = make(chan *nats.Msg, 64), make(chan lookup, 1)
	f.inbox = f.nc.NewInbox()
	defer f.unsubscribe()
	if err := f.subscribe(f.inbox); err != nil {
		return nil, errors.Join(ErrUnreachable, err)
	}
	if f.to.Incarnation != "" {
		if err := f.subscribe(reportPrefix + f.to.runKey()); err != nil {
			return nil, errors.Join(ErrUnreachable, err)
		}
	}
	f.word = time.Now()
	pause := resendFirst
	tick := time.NewTimer(pause)
	defer tick.Stop()
	var end <-chan time.Time
	for f.send(); ; {
		var over bool
		var err error
		select {
		case m := <-f.messages:
			over, err = f.take(ctx, m)
		case l := <-f.found:
			over, err = f.learn(l)
		case <-tick.C:
			if f.nc.IsClosed() { // for good
				f.why = ErrAway
				return nil, f.unreachable()
			}
			if left := f.left(); left == 1 || left == 0 && f.mute(time.Now()) {
				return nil, f.unreachable()
			}
			f.send()
			pause = f.pauseAfter(pause)
			tick.Reset(pause)
		case <-f.insist:
			f.insist, f.insisting = nil, true
			if !f.accepted && !f.patient {
				return nil, f.unreachable()
			}
			if left := f.left(); left > 0 {
				end = time.After(left - min(left/2, endMargin))
			}
			f.send()
			pause = resendFirst
			tick.Reset(pause)
		case <-end:
			return nil, f.unreachable()
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.reason())
		}
		if over || err != nil {
			return f.heard.Load(), err
		}
	}
}

// pauseAfter returns how long to wait until the next sending.
func (f *follower) pauseAfter(pause time.Duration) time.Duration {
	switch {
	case !f.accepted, f.insisting && !f.insisted:
		return min(2*pause, resend)
	case !f.silent.IsZero(), !f.due.IsZero() && time.Now().After(f.due): // it may have died: look closely
		return resend
	}
	return min(max(2*pause, resend), resendTaken)
}

func (f *follower) subscribe(subject string) error {
	sub, err := f.nc.ChanSubscribe(subject, f.messages)
	if err != nil {
		return fmt.Errorf("%w: subscribe: %w", ErrAway, err)
	}
	f.subs = append(f.subs, sub)
	return nil
}

func (f *follower) unsubscribe() {
	for _, sub := range f.subs {
		_ = sub.Unsubscribe() // of a connection that may be closed
	}
}

// send sends what is to be said now: who are you, leave, or I insist.
func (f *follower) send() {
	if !f.nc.IsConnected() { // what is sent now would arrive when it is no longer meant
		f.why, f.word = ErrAway, time.Now()
		return
	}
	r, subject := request{ID: f.id, Incarnation: f.to.Incarnation, Via: f.via()}, commandPrefix+f.to.runKey()
	switch {
	case f.to.Incarnation == "":
		r.Action, subject = ask, askPrefix+f.to.key()
	case !f.answered:
		r.Action = ask
	case f.insisting && f.accepted:
		r.Action = insist
	default:
		r.Action = leave
	}
	if r.Action == ask {
		f.sent = time.Now()
	} else {
		f.fill(&r)
		f.told = true
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = f.nc.PublishRequest(subject, f.inbox, data)
	}
	if err != nil {
		f.why = err
	}
}

// fill adds the command, and by when, on the receiver's clock, it must take effect.
func (f *follower) fill(r *request) {
	r.Command = f.command
	valid := validity
	if left := f.left(); left > 0 { // the alarm here is not to ring before the one there
		r.Command.Within = max(1, left-min(left/10, reportTime))
		valid = r.Command.Within
	}
	now := f.uptime + time.Since(f.clock)
	r.Until = now + min(valid, math.MaxInt64-max(0, now)) // or all the time there is would be none
	if r.Action == insist {
		r.Command.Reason = "the one who asked insists: " + r.Command.Reason
	}
}

// take reads one message, and reports whether it was the last word.
func (f *follower) take(ctx context.Context, m *nats.Msg) (over bool, err error) {
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		return false, f.unanswered(ctx)
	case m.Subject != f.inbox:
		t, err := decodeTold(m.Data)
		if err != nil || t.Report == nil || t.Instance.runKey() != f.to.runKey() {
			return false, nil // somebody else's garbage
		}
		return f.hear(t.Report, t.Over)
	}
	r, err := decodeReply(m.Data)
	if err != nil || r.ID != f.id || r.Instance.key() != f.to.key() ||
		f.to.Incarnation != "" && r.Instance.Incarnation != f.to.Incarnation {
		return false, nil
	}
	return f.takeReply(r)
}

func (f *follower) takeReply(r reply) (over bool, err error) {
	f.silent, f.why, f.word = time.Time{}, nil, time.Now()
	switch {
	case r.Refused == refusedCycle:
		return true, fmt.Errorf("%w: %s", fsm.ErrCycle, clipped(r.Text))
	case r.Refused == refusedLate: // a new one may be in time
		f.answered = false
		return false, nil
	case r.Refused != "":
		return true, fmt.Errorf("%w: refused: %s", ErrInvalid, clipped(r.Text))
	case r.Action != ask:
		if !f.accepted && f.insisting {
			f.accepted = true
			f.send()
		}
		f.accepted, f.insisted = true, f.insisted || r.Action == insist
		return f.hear(r.Report, r.Over)
	case f.answered:
		return false, nil
	}
	f.answered, f.clock, f.uptime = true, f.sent, r.Uptime
	if f.to.Incarnation == "" {
		f.to = r.Instance
		if err := f.subscribe(reportPrefix + f.to.runKey()); err != nil {
			return true, err
		}
	}
	f.send()
	return false, nil
}

// hear keeps a report, and says what the last one means.
func (f *follower) hear(r *fsm.Report, over bool) (bool, error) {
	if r == nil {
		return false, nil
	}
	f.heard.Store(r)
	if !over {
		f.word, f.due = time.Now(), dueOf(r, time.Now())
		return false, nil
	}
	if err := f.errorOf(r); err != nil {
		return true, &reportError{err}
	}
	return true, nil
}

// dueOf is when the alarm rings there, by the clock here: how long it has still is a
// duration on the other one's.
func dueOf(r *fsm.Report, now time.Time) time.Time {
	if r.Deadline.IsZero() {
		return time.Time{}
	}
	return now.Add(r.Deadline.Sub(r.Began.Add(r.Took)))
}

// mute reports whether a process is given up that is there and says nothing.
func (f *follower) mute(now time.Time) bool {
	if !f.due.IsZero() {
		return now.Sub(f.word) >= absence && now.Sub(f.due) >= absence
	}
	return now.Sub(f.word) >= validity
}

// errorOf is the report's error, less what came with the command.
func (f *follower) errorOf(r *fsm.Report) error {
	own := *r
	own.Requests = slices.Clone(r.Requests)
	for i, c := range own.Requests {
		if f.command.Err != nil && c.Err != nil && c.By == clipped(f.command.By) && c.Reason == clipped(f.command.Reason) {
			own.Requests[i].Err = nil
		}
	}
	return own.Err()
}

// unanswered is what follows when nobody listens: the process is gone, or its
// connection is. The registry knows more.
func (f *follower) unanswered(ctx context.Context) error {
	if f.silent.IsZero() {
		f.silent = time.Now()
	}
	if f.looking {
		return nil
	}
	f.looking = true
	go func(to Instance) { f.found <- look(ctx, f.nc, to) }(f.to) // there is room for the one
	return nil
}

func look(ctx context.Context, nc *nats.Conn, to Instance) (l lookup) {
	l.of = to
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, err := openBuckets(ctx, nc, false)
	if err != nil {
		l.err = err
		return l
	}
	if l.present, l.err = b.isPresent(ctx, to); l.err != nil || l.present {
		return l
	}
	if l.report, l.err = b.report(ctx, to); errors.Is(l.err, ErrNotFound) || errors.Is(l.err, ErrInvalid) {
		l.err = nil
	}
	return l
}

// learn draws the conclusion. Who had left before it was told is an ack; who was not found for a while is unreachable.
func (f *follower) learn(l lookup) (over bool, err error) {
	f.looking = false
	switch {
	case l.of.Incarnation != f.to.Incarnation: // somebody has answered meanwhile
	case l.report != nil:
		if f.told {
			return f.hear(l.report, true)
		}
		f.heard.Store(l.report)
		return true, nil
	case f.silent.IsZero():
		return false, nil
	case l.err != nil:
		f.why = l.err
	case l.present:
		f.why = errors.New("it is in its group and nobody answers")
	default:
		f.why = errors.New("nobody answers, it is not in its group, and there is no report")
		if time.Since(f.silent) >= absence {
			return true, f.unreachable()
		}
	}
	return false, nil
}

func (f *follower) unreachable() error { return fmt.Errorf("%w: %w", ErrUnreachable, f.reason()) }

// reason is what is known of the silence, and of those who were waited for there.
func (f *follower) reason() error {
	err := f.silence()
	if heard := f.heard.Load(); heard != nil && len(heard.Outstanding()) > 0 {
		err = fmt.Errorf("%w; when last heard of it waited for %q", err, heard.Outstanding())
	}
	return err
}

func (f *follower) silence() error {
	switch {
	case f.why != nil && f.accepted:
		return fmt.Errorf("it took the command, and then: %w", f.why)
	case f.why != nil:
		return f.why
	case f.accepted:
		return errors.New("it took the command; there is no report")
	}
	return errors.New("no answer")
}

// Status is how a process stands.
type Status struct {
	Instance Instance
	State    fsm.State
	Report   *fsm.Report // of a shutdown that has begun; else nil
}

// Ask asks a process, "group/name", how it stands, whether or not it is in the
// registry. It blocks until it has answered or ctx ends, and for a second at most.
// The error wraps [ErrUnreachable], [ErrAway] or [ErrInvalid].
func Ask(ctx context.Context, nc *nats.Conn, target string) (Status, error) {
	status, err := askOnce(ctx, nc, target)
	if err != nil {
		return Status{}, fmt.Errorf("remote: ask %s: %w", target, err)
	}
	return status, nil
}

func askOnce(ctx context.Context, nc *nats.Conn, target string) (Status, error) {
	to, err := parseName(target)
	switch {
	case err != nil:
		return Status{}, err
	case nc == nil:
		return Status{}, fmt.Errorf("%w: it needs a connection", ErrInvalid)
	case !nc.IsConnected():
		return Status{}, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	data, err := json.Marshal(request{Action: ask, ID: nuid.Next()})
	if err != nil {
		return Status{}, err
	}
	m, err := nc.RequestWithContext(ctx, askPrefix+to.key(), data)
	if err != nil {
		return Status{}, errors.Join(ErrUnreachable, err)
	}
	r, err := decodeReply(m.Data)
	if err != nil {
		return Status{}, err
	}
	return Status{Instance: r.Instance, State: r.State, Report: r.Report}, nil
}
