package remote

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/internal/kvwatch"
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
	w := &registryWatch{buckets: b, pattern: pattern, there: map[string]Instance{}}
	back := nc.StatusChanged(nats.CONNECTED) // before, so that no reconnection is missed
	defer nc.RemoveStatusListener(back)
	if err := w.open(ctx); err != nil {
		return err
	}
	defer w.stop()
	var again <-chan time.Time
	for {
		var news []News
		select {
		case entry, open := <-w.present.Updates():
			if !open {
				return ended(ctx)
			}
			if news = w.entry(entry); entry == nil && w.anew {
				again = time.After(rejoinTime)
			}
		case entry, open := <-w.reports.Updates():
			if !open {
				return ended(ctx)
			}
			news = w.left(entry)
		case m := <-events:
			news = happened(m)
		case _, open := <-back:
			if !open { // for good
				back = nil
				continue
			}
			again = time.After(0)
		case <-again:
			if again = nil; w.open(ctx) != nil { // the server may not be ready
				again = time.After(retry / 4)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for _, n := range news {
			if !yield(n, nil) {
				return nil
			}
		}
	}
}

func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: the connection was closed", ErrAway)
}

// rejoinTime is how long those who live have to join a registry again that was lost: they
// try once a second.
const rejoinTime = 2 * retry

// registryWatch is one reader's view of the registry.
type registryWatch struct {
	*buckets
	pattern          string
	present, reports jetstream.KeyWatcher
	there            map[string]Instance // by key
	listed           map[string]bool     // the keys that have been told since open; nil when all have been
	told             bool                // that all were
	anew             bool                // the registry was lost, and those who live may not have joined again
	report           uint64              // the revision before the next report, …
	made             time.Time           // … in the bucket that was made then; zero before the first open
}

// open begins to watch, or begins anew when NATS is back: the watchers would notice by
// themselves, but not for up to 20 s. It changes nothing if it fails.
func (w *registryWatch) open(ctx context.Context) error {
	report, made, err := w.begin(ctx)
	if err != nil {
		return err
	}
	present, err := w.buckets.present.Watch(ctx, w.pattern)
	if err != nil {
		return err
	}
	reports, err := w.buckets.reports.Watch(ctx, "report."+w.pattern, jetstream.ResumeFromRevision(report+1))
	if err != nil {
		kvwatch.End(present)
		return err
	}
	w.stop()
	w.present, w.reports, w.listed = present, reports, map[string]bool{}
	w.anew = !w.made.IsZero() && !w.made.Equal(made)
	w.report, w.made = report, made
	return nil
}

// begin returns the revision after which reports are news: that of the last one that
// was told, or at first of the last one that is there. In a bucket that was lost and
// made anew all are, and its revisions begin anew: a server asked for later ones would
// say nothing until it has as many.
func (w *registryWatch) begin(ctx context.Context) (report uint64, made time.Time, err error) {
	status, err := w.buckets.reports.Status(ctx)
	if err != nil {
		return 0, time.Time{}, err
	}
	s, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return w.report, w.made, nil
	}
	switch info := s.StreamInfo(); {
	case w.made.IsZero():
		return info.State.LastSeq, info.Created, nil
	case !w.made.Equal(info.Created):
		return 0, info.Created, nil
	default: // fewer than were told is what a crash has left of it
		return min(w.report, info.State.LastSeq), info.Created, nil
	}
}

func (w *registryWatch) stop() {
	if w.present != nil {
		kvwatch.End(w.present)
		kvwatch.End(w.reports)
	}
}

// entry makes news of a change in the registry; of a renewal none.
func (w *registryWatch) entry(entry jetstream.KeyValueEntry) []News {
	if entry == nil {
		return w.all()
	}
	key := entry.Key()
	was, known := w.there[key]
	if w.listed != nil {
		w.listed[key] = true
	}
	if entry.Operation() != jetstream.KeyValuePut {
		delete(w.there, key)
		if !known {
			return nil
		}
		if entry.Operation() == jetstream.KeyValuePurge {
			return []News{{Kind: Expired, Instance: was}}
		}
		return []News{{Kind: Withdrawn, Instance: was}}
	}
	i, err := decodeEntry(key, entry.Value())
	if err != nil {
		return nil
	}
	if i.Born == 0 {
		i.Born = entry.Revision()
	}
	w.there[key] = i
	if known && was.Incarnation == i.Incarnation {
		return nil
	}
	return []News{{Kind: Joined, Instance: i}}
}

// all is what follows when all that stand in the registry have been told. Who is not
// among them any more, and was before, has gone while NATS was away, however.
func (w *registryWatch) all() (news []News) {
	for key, was := range w.there {
		if !w.listed[key] && !w.anew {
			delete(w.there, key)
			news = append(news, News{Kind: Expired, Instance: was})
		}
	}
	w.listed = nil
	if !w.told {
		w.told = true
		news = append(news, News{Kind: Listed})
	}
	return news
}

func (w *registryWatch) left(entry jetstream.KeyValueEntry) []News {
	if entry == nil {
		return nil
	}
	w.report = entry.Revision()
	if entry.Operation() != jetstream.KeyValuePut {
		return nil
	}
	t, err := decodeTold(entry.Value())
	if err != nil || t.Report == nil || reportKey(t.Instance) != entry.Key() {
		return nil
	}
	return []News{{Kind: Left, Instance: t.Instance, Report: t.Report}}
}

func happened(m *nats.Msg) []News {
	t, err := decodeTold(m.Data)
	if err != nil || t.Event == nil || t.Instance.runKey() != strings.TrimPrefix(m.Subject, eventPrefix) {
		return nil
	}
	return []News{{Kind: Happened, Instance: t.Instance, Event: *t.Event}}
}
