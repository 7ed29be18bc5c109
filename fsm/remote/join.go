package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/farewell-node/farewell/fsm"
)

const (
	// DefaultID is the component that withdraws a process from its group.
	DefaultID fsm.ID = "remote"
	// reportSuffix is appended to the ID of the one that publishes the report.
	reportSuffix fsm.ID = "-report"
	// maxCommands is how many commands a process takes. They all stay in its report.
	maxCommands = 256
	// answerTime is how long a command waits, at most, for its answer to be on its way.
	answerTime = 10 * time.Millisecond
)

// Config says who joins. Group and Instance are needed.
type Config struct {
	Group    string // 1 to 64 of A-Z a-z 0-9 _ -
	Instance string // unique in the group; up to 128 of these, and single dots inside: a host name will do

	// ID is the component that withdraws; [DefaultID] if empty. The one that publishes
	// the report has "-report" appended to it. Whoever joins two groups names both.
	ID fsm.ID
	// Logger is told of joining, of NATS being away and back, and of commands, also
	// refused ones; slog.Default() if nil.
	Logger *slog.Logger
}

// Member is a process in its group. Its methods are safe for concurrent use.
type Member struct {
	nc     *nats.Conn
	o      *fsm.Orchestrator
	self   Instance // all but Born
	id     fsm.ID
	logger *slog.Logger
	began  time.Time // where its uptime is counted from

	presence *presence
	subs     []*nats.Subscription
	insists  sync.WaitGroup
	done     chan struct{}

	mu     sync.Mutex
	taken  map[takenKey]bool
	via    []string // the processes that wait for this one to leave
	report *fsm.Report
}

type takenKey struct {
	id     string
	action action
}

// Join makes the process of o known in its group until a shutdown begins, lets it be
// asked to leave by [Shutdown] and [Component], and publishes its events and its
// report. It does not block, and does not need NATS to be there: while it is away
// the process works as if alone, says so once, and joins again by itself. A
// connection that gives up for good, as nats.go's do after two minutes unless made
// with nats.MaxReconnects(-1), ends that; Join warns of it.
//
// It registers two components. "remote" Withdraws: it takes the process off the
// registry before anything closes. "remote-report" is Last: it waits for all others,
// to 96 % of the alarm at most, and publishes how they fared. Both are BestEffort: with
// NATS away they fail, and nobody is to blame.
//
// Leave closing nc to the end of the process, or to after [Member.Done]. As a component
// it would have to be Last, Strict, BestEffort and [fsm.After] "remote-report", or last
// call would close the connection under a report that names a culprit; and what is
// ordered after "remote-report" is not in the report that it publishes.
//
// An instance is one process: of two that use a name at once the newer one is
// listed, and the older says so. Errors wrap [ErrInvalid] or are those of
// [fsm.Orchestrator.Register] and of a closed nc; nothing is left behind then.
func Join(nc *nats.Conn, config Config, o *fsm.Orchestrator) (*Member, error) {
	m, err := join(nc, config, o)
	if err != nil {
		return nil, fmt.Errorf("remote: join: %w", err)
	}
	return m, nil
}

func join(nc *nats.Conn, config Config, o *fsm.Orchestrator) (*Member, error) {
	self := Instance{Group: config.Group, Name: config.Instance, Incarnation: nuid.Next(), Since: time.Now()}
	if err := self.valid(); err != nil {
		return nil, err
	}
	if nc == nil || o == nil {
		return nil, fmt.Errorf("%w: it needs a connection and an orchestrator", ErrInvalid)
	}
	m := &Member{
		nc: nc, o: o, self: self, id: cmp.Or(config.ID, DefaultID), began: self.Since,
		logger: cmp.Or(config.Logger, slog.Default()).With("instance", self.String()),
		done:   make(chan struct{}), taken: map[takenKey]bool{},
	}
	m.presence = newPresence(nc, self, m.logger)
	if err := m.subscribe(); err != nil {
		return nil, err
	}
	if err := m.register(); err != nil {
		m.unsubscribe()
		return nil, err
	}
	if nc.Opts.MaxReconnect >= 0 {
		m.logger.Warn("remote: this connection gives up one day: make it with nats.MaxReconnects(-1)")
	}
	go m.presence.keep()
	go m.tell()
	return m, nil
}

func (m *Member) register() error {
	if err := m.o.Register(m.id, fsm.Func(m.presence.withdraw), fsm.Withdraws(), fsm.BestEffort()); err != nil {
		return err
	}
	err := m.o.Register(m.id+reportSuffix, fsm.Func(m.publishReport), fsm.Last(), fsm.BestEffort())
	if err != nil {
		if m.o.Deregister(m.id) != nil { // a shutdown has begun, and waits for it
			m.presence.idle()
		}
	}
	return err
}

func (m *Member) subscribe() error {
	for _, subject := range []string{askPrefix + m.self.key(), commandPrefix + m.self.runKey()} {
		sub, err := m.nc.Subscribe(subject, m.handle)
		if err != nil {
			m.unsubscribe()
			return fmt.Errorf("subscribe: %w", err)
		}
		m.subs = append(m.subs, sub)
	}
	return nil
}

func (m *Member) unsubscribe() {
	for _, sub := range m.subs {
		_ = sub.Unsubscribe() // of a connection that may be closed
	}
}

// Instance returns who this process is, as [List] does where it is in the registry.
func (m *Member) Instance() Instance {
	self := m.self
	self.Born = m.presence.born.Load()
	return self
}

// Done returns a channel that is closed when nothing more will be published: soon
// after the orchestrator's report is final, 2 s at most. Who exits at the alarm and
// wants the others to have the final report, rather than the one of a moment before,
// waits for it.
func (m *Member) Done() <-chan struct{} { return m.done }

// Component returns what the function of that name does, for a process that is a
// member itself: it appears among those who asked, and a process that would wait for
// itself, over however many others, is noticed.
func (m *Member) Component(target string) fsm.Component {
	return newComponent(m.nc, target, m)
}

// handle answers one request. NATS calls it for one message of a subject at a time.
func (m *Member) handle(msg *nats.Msg) {
	r, err := decodeRequest(msg.Data)
	if err != nil {
		m.logger.Warn("remote: garbage", "subject", msg.Subject, "error", err)
		m.answer(msg, r, refusedInvalid, err.Error())
		return
	}
	if r.Incarnation != "" && r.Incarnation != m.self.Incarnation {
		return
	}
	if r.Action == ask {
		m.answer(msg, r, "", "")
		return
	}
	anew, refused, why := m.take(r)
	if refused != "" {
		m.logger.Warn("remote: command refused", "id", r.ID, "reason", r.Command.Reason, "by", r.Command.By, "why", why)
	}
	m.answer(msg, r, refused, why)
	if anew {
		_ = m.nc.FlushTimeout(answerTime) // who asked knows, before this process has better things to do
		m.obey(r)
	}
}

// take decides what becomes of a command: whether it is obeyed now, and if not
// because it has been already, why.
func (m *Member) take(r request) (anew bool, refused refusal, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(r.Via, m.self.String()) {
		return false, refusedCycle, fmt.Sprintf("%s waits for itself, over %q", m.self, r.Via)
	}
	for _, via := range r.Via {
		if !slices.Contains(m.via, via) && len(m.via) < maxVia-1 {
			m.via = append(m.via, via)
		}
	}
	key := takenKey{r.ID, r.Action}
	switch {
	case m.taken[key]:
		return false, "", ""
	case m.uptime() > r.Until:
		return false, refusedLate, fmt.Sprintf("it came %v too late", m.uptime()-r.Until)
	case len(m.taken) >= maxCommands:
		return false, refusedInvalid, fmt.Sprintf("more than %d commands", maxCommands)
	}
	m.taken[key] = true
	return true, "", ""
}

// obey does what a command says, in the time that is left of what it gave.
func (m *Member) obey(r request) {
	command := clean(r.Command)
	if command.Within > 0 {
		command.Within = max(1, min(command.Within, r.Until-m.uptime()))
	}
	if r.Action == leave {
		m.o.Request(command)
	} else {
		m.insists.Go(func() { m.o.Insist(command) }) // it looks for the culprits first
	}
	m.logger.Info("remote: asked to "+string(r.Action), "id", r.ID, "reason", command.Reason, "by", command.By)
}

// waitedForBy returns the processes that wait for this one, and itself.
func (m *Member) waitedForBy() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(slices.Clone(m.via), m.self.String())
}

func (m *Member) uptime() time.Duration { return time.Since(m.began) }

// answer replies. Who asks again after its command was taken is told how it stands.
func (m *Member) answer(msg *nats.Msg, r request, refused refusal, why string) {
	if msg.Reply == "" {
		return
	}
	a := reply{
		ID: r.ID, Action: r.Action, Instance: m.Instance(), Uptime: m.uptime(), State: m.o.State(),
		Refused: refused, Text: clipped(why),
	}
	if refused == "" && a.State != fsm.Running {
		a.Report, a.Over = m.standing()
	}
	if data, err := json.Marshal(a); err == nil {
		_ = m.nc.Publish(msg.Reply, data) // who asked asks again
	}
}

// standing is the report as it stands, or the last word that was published.
func (m *Member) standing() (report *fsm.Report, over bool) {
	m.mu.Lock()
	last := m.report
	m.mu.Unlock()
	if last != nil {
		return last, true
	}
	r := m.o.Report()
	return fit(r, m.limit()), r.State == fsm.Terminated
}

// limit is what a report may take of a message.
func (m *Member) limit() int {
	most := int(m.nc.MaxPayload())
	if most == 0 { // not known before the first connection
		most = 1 << 20
	}
	return most - headroom
}

// tell publishes the events, and what becomes of the report after the end.
func (m *Member) tell() {
	defer close(m.done)
	for e := range m.o.Events(context.Background()) {
		m.publish(eventPrefix, told{Instance: m.Instance(), Event: &e})
	}
	<-m.o.Done() // its event comes a moment before the report
	m.publishFinal()
	_ = m.flush() // the last events, of a process that may be gone in a moment
	m.unsubscribe()
	m.insists.Wait()
	_ = m.presence.withdraw(context.Background()) // after a force nobody has; the entry expires
}

func (m *Member) publish(prefix string, t told) {
	data, err := json.Marshal(t)
	if err == nil {
		err = m.nc.Publish(prefix+m.self.runKey(), data)
	}
	if err != nil && m.nc.IsConnected() {
		m.logger.Warn("remote: cannot publish", "error", err)
	}
}
