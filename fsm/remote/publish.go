package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

const (
	// flushTime is what the last message may take to be written.
	flushTime = 100 * time.Millisecond
	// deliverAgain is how long after a failure the report is published again.
	deliverAgain = 100 * time.Millisecond
)

// publishReport is the component that publishes how all others fared, before the
// connection is closed and the process is gone.
func (m *Member) publishReport(ctx context.Context) error {
	m.waitForOthers(ctx)
	r := m.o.Report()
	report, over := m.lastWord(r)
	report = fit(report, m.limit())
	if over {
		m.keepLastWord(report) // who asks from here on is told
	}
	if !over { // the alarm is near, and then there may be no time
		m.publish(reportPrefix, told{Instance: m.Instance(), Report: report})
		return m.flush()
	}
	if err := m.deliver(ctx, report); err != nil {
		return fmt.Errorf("remote: publish the report: %w", err)
	}
	return nil
}

// deliver publishes the last word and writes it down. Where somebody waits for it,
// because he has asked, NATS has a while to come back.
func (m *Member) deliver(ctx context.Context, report *fsm.Report) error {
	ctx, cancel := context.WithTimeout(ctx, absence)
	defer cancel()
	for {
		if m.nc.IsConnected() {
			m.publish(reportPrefix, told{Instance: m.Instance(), Report: report, Over: true})
		}
		err := m.presence.keepReport(context.WithoutCancel(ctx), report)
		if err == nil || !m.wasAsked() || m.nc.IsClosed() {
			return err
		}
		select {
		case <-time.After(deliverAgain):
		case <-ctx.Done():
			return err
		}
	}
}

// wasAsked reports whether this process has taken a command from elsewhere.
func (m *Member) wasAsked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.taken) > 0
}

// publishFinal publishes the final report, unless it says nothing that has not been
// said: what was hung at the alarm, what a force has ended.
func (m *Member) publishFinal() {
	final, _ := m.o.Wait(context.Background()) // it is over
	if said := m.lastWordSaid(); said != nil && said.ExitCode() == final.ExitCode() {
		return
	}
	report := fit(final, m.limit())
	m.keepLastWord(report)
	m.publish(reportPrefix, told{Instance: m.Instance(), Report: report, Over: true})
	err := errors.Join(m.flush(), m.presence.keepReport(context.Background(), report))
	if err != nil {
		m.logger.Warn("remote: the final report was not published", "error", err)
	}
}

func (m *Member) flush() error {
	if !m.nc.IsConnected() {
		return ErrAway
	}
	return m.nc.FlushTimeout(flushTime)
}

func (m *Member) keepLastWord(r *fsm.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report = r
}

func (m *Member) lastWordSaid() *fsm.Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.report
}

// waitForOthers returns when everybody has acked but the one who waits and those who
// wait for it, or when it is insisted upon.
func (m *Member) waitForOthers(ctx context.Context) {
	r := m.o.Report()
	mine := m.ownLines(r)
	undecided := map[fsm.ID]bool{}
	for _, l := range r.Components {
		if !mine[l.ID] && !decided(l) {
			undecided[l.ID] = true
		}
	}
	if len(undecided) == 0 {
		return
	}
	for e := range m.o.Events(ctx) {
		if e.Kind == fsm.Acked {
			if delete(undecided, e.From); len(undecided) == 0 {
				return
			}
		}
	}
}

func decided(l fsm.ComponentReport) bool {
	return l.Outcome != fsm.OutcomeWaiting && l.Outcome != fsm.OutcomeStopping
}

// ownLines are the publisher and all who are ordered after it, directly or not.
func (m *Member) ownLines(r *fsm.Report) map[fsm.ID]bool {
	mine := map[fsm.ID]bool{m.id + reportSuffix: true}
	for found := true; found; {
		found = false
		for _, l := range r.Components {
			if !mine[l.ID] && slices.ContainsFunc(l.After, func(id fsm.ID) bool { return mine[id] }) {
				mine[l.ID], found = true, true
			}
		}
	}
	return mine
}

// lastWord makes of a report as it stands the one to publish: final if all others
// have acked, since then nothing follows but the ack of the one who publishes it.
func (m *Member) lastWord(r *fsm.Report) (report *fsm.Report, over bool) {
	if r.State == fsm.Terminated {
		return r, true
	}
	mine, last := m.ownLines(r), *r
	last.Components = slices.DeleteFunc(slices.Clone(r.Components), func(l fsm.ComponentReport) bool { return mine[l.ID] })
	if !slices.ContainsFunc(last.Components, func(l fsm.ComponentReport) bool { return !decided(l) }) {
		last.State = fsm.Terminated
		last.Edge = fsm.Transition{From: fsm.AwaitingAcks, On: fsm.AllAcked, To: fsm.Terminated}
		last.Events = append(slices.Clip(r.Events), fsm.Event{
			Seq: len(r.Events), At: r.Began.Add(r.Took), Kind: fsm.AllAcked, State: fsm.Terminated,
		})
		return &last, true
	}
	return &last, false
}
