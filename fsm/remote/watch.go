package remote

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
)

// NewsKind says what a [News] is. It marshals as its name.
type NewsKind uint8

const (
	// Joined: the instance is in the registry.
	Joined NewsKind = iota
	// Listed: all that were there at the beginning have been told. It is about nobody.
	Listed
	// Withdrawn: the instance has taken itself off the registry.
	Withdrawn
	// Expired: the instance fell silent, and its entry has expired.
	Expired
	// Happened: an event of the instance's shutdown.
	Happened
	// Left: the instance has left, with its report.
	Left
)

var newsNames = [...]string{"joined", "listed", "withdrawn", "expired", "happened", "left"}

// String returns the kind's name, in lower case.
func (k NewsKind) String() string {
	if int(k) < len(newsNames) {
		return newsNames[k]
	}
	return fmt.Sprintf("unknown(%d)", uint8(k))
}

// MarshalText implements [encoding.TextMarshaler].
func (k NewsKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// News is what [Watch] tells.
type News struct {
	Kind     NewsKind    `json:"kind"`
	Instance Instance    `json:"instance,omitzero"`
	Event    fsm.Event   `json:"event,omitzero"`   // of Happened
	Report   *fsm.Report `json:"report,omitempty"` // of Left
}

// Watch tells of a group, or of all groups if group is empty: first who is there, and
// after [Listed] what happens. It needs the registry to be there, and then goes on
// over interruptions: what joined, left or expired meanwhile is told when NATS is
// back; events that were published meanwhile are lost, the report has them. A reader
// who is 64 Ki events behind loses some too. It blocks between news, and
// ends when ctx does, with its cause as the error, or with the error that keeps it
// from beginning. After an error there is nothing more.
func Watch(ctx context.Context, nc *nats.Conn, group string) iter.Seq2[News, error] {
	return watching(ctx, nc, group, true)
}

// WatchRegistry is [Watch] without the events: who is there, joins, withdraws, expires
// and has left. It costs a fraction where many leave.
func WatchRegistry(ctx context.Context, nc *nats.Conn, group string) iter.Seq2[News, error] {
	return watching(ctx, nc, group, false)
}

func watching(ctx context.Context, nc *nats.Conn, group string, events bool) iter.Seq2[News, error] {
	return func(yield func(News, error) bool) {
		if err := watch(ctx, nc, group, events, yield); err != nil {
			yield(News{}, fmt.Errorf("remote: watch: %w", err))
		}
	}
}

// watch returns nil if the reader has had enough.
func watch(ctx context.Context, nc *nats.Conn, group string, withEvents bool, yield func(News, error) bool) error {
	pattern, err := groupPattern(group)
	if err != nil {
		return err
	}
	b, err := openBuckets(ctx, nc, false)
	if err != nil {
		return err
	}
	var events chan *nats.Msg
	if withEvents {
		events = make(chan *nats.Msg, 64<<10)
		sub, err := nc.ChanSubscribe(eventPrefix+pattern, events)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }() // of a connection that may be closed
	}
	present, err := b.present.Watch(ctx, pattern)
	if err != nil {
		return err
	}
	defer stopWatcher(present)
	reports, err := b.reports.Watch(ctx, "report."+pattern, jetstream.UpdatesOnly())
	if err != nil {
		return err
	}
	defer stopWatcher(reports)

	w := watched{}
	for {
		var news News
		var open, tell bool
		select {
		case entry, ok := <-present.Updates():
			open = ok
			news, tell = w.entry(entry)
		case entry, ok := <-reports.Updates():
			open = ok
			news, tell = left(entry)
		case m := <-events:
			open = true
			news, tell = happened(m)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !open {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w: the connection was closed", ErrAway)
		}
		if tell && !yield(news, nil) {
			return nil
		}
	}
}

// watched are the instances that are there, by key.
type watched map[string]Instance

// entry makes news of a change in the registry; of a renewal none.
func (w watched) entry(entry jetstream.KeyValueEntry) (news News, tell bool) {
	if entry == nil {
		return News{Kind: Listed}, true
	}
	was, known := w[entry.Key()]
	if entry.Operation() != jetstream.KeyValuePut {
		delete(w, entry.Key())
		kind := Withdrawn
		if entry.Operation() == jetstream.KeyValuePurge {
			kind = Expired
		}
		return News{Kind: kind, Instance: was}, known
	}
	i, err := decodeEntry(entry.Key(), entry.Value())
	if err != nil {
		return News{}, false
	}
	if i.Born == 0 {
		i.Born = entry.Revision()
	}
	w[entry.Key()] = i
	return News{Kind: Joined, Instance: i}, !known || was.Incarnation != i.Incarnation
}

func left(entry jetstream.KeyValueEntry) (news News, tell bool) {
	if entry == nil || entry.Operation() != jetstream.KeyValuePut {
		return News{}, false
	}
	t, err := decodeTold(entry.Value())
	if err != nil || t.Report == nil || reportKey(t.Instance) != entry.Key() {
		return News{}, false
	}
	return News{Kind: Left, Instance: t.Instance, Report: t.Report}, true
}

func happened(m *nats.Msg) (news News, tell bool) {
	t, err := decodeTold(m.Data)
	if err != nil || t.Event == nil || t.Instance.runKey() != strings.TrimPrefix(m.Subject, eventPrefix) {
		return News{}, false
	}
	return News{Kind: Happened, Instance: t.Instance, Event: *t.Event}, true
}
