package core

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// stage is one core on which a test plays all the others. Frames are delivered at once unless hold is set.
type stage struct {
	t    *testing.T
	core *Core
	id   *identity.Identity
	now  time.Time
	hold bool

	sent    []sent
	held    []Delivery
	dialed  []Target
	removed []identity.PublicKey
	left    bool
}

type sent struct {
	to      identity.PublicKey
	message wire.Message
}

// actor is one of the others: it signs what a test has it say.
type actor struct {
	*identity.Identity
	version uint64
	at      netip.AddrPort
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newStage(t *testing.T, window time.Duration, targets ...Target) *stage {
	s := &stage{t: t, id: identity.FromSeed([32]byte{0xff}), now: epoch}
	s.core = New(Config{Identity: s.id, Neighbors: targets, Window: window, MaxRecords: 100})
	s.step(Start{At: netip.MustParseAddrPort("192.0.2.1:4000")})
	return s
}

func newActor(n byte) *actor {
	return &actor{
		Identity: identity.FromSeed([32]byte{n}), version: 1000,
		at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, n + 1}), 4000),
	}
}

func (a *actor) key() identity.PublicKey { return a.PublicKey() }
func (a *actor) target() Target          { return Target{Key: a.key(), Address: a.at.String()} }

// lists makes a's next record.
func (a *actor) lists(others ...identity.PublicKey) *wire.Record {
	a.version++
	slices.SortFunc(others, identity.PublicKey.Compare)
	return wire.SignRecord(a.Identity, a.version, wire.AcceptsConnections, others)
}

func (a *actor) shown(r *wire.Record) wire.Entry {
	return wire.Entry{Record: r, Address: wire.SignAddress(a.Identity, 1, a.at)}
}

func (s *stage) self() identity.PublicKey { return s.id.PublicKey() }

func (s *stage) step(e Event) Output {
	s.t.Helper()
	out := s.core.Step(s.now, e)
	s.dialed = append(s.dialed, out.Dial...)
	s.removed = append(s.removed, out.Remove...)
	s.left = s.left || out.Withdrawn
	for _, d := range out.Deliver {
		m, err := wire.Decode(d.Frame)
		if err != nil {
			s.t.Fatalf("sent what cannot be read: %v", err)
		}
		s.sent = append(s.sent, sent{d.Peer, m})
		if s.hold {
			s.held = append(s.held, d)
			continue
		}
		s.step(Delivered{Peer: d.Peer, ID: d.ID})
	}
	return out
}

func (s *stage) after(d time.Duration) {
	s.t.Helper()
	s.now = s.now.Add(d)
	s.step(Tick{})
}

func (s *stage) says(a *actor, kind wire.Kind, entries ...wire.Entry) {
	s.t.Helper()
	s.step(Frame{Peer: a.key(), Bytes: wire.Message{Kind: kind, Entries: entries}.Encode()})
}

// tells is a Standard of records alone.
func (s *stage) tells(a *actor, records ...*wire.Record) {
	s.t.Helper()
	entries := make([]wire.Entry, len(records))
	for i, r := range records {
		entries[i] = wire.Entry{Record: r}
	}
	s.says(a, wire.Standard, entries...)
}

// join makes a a full neighbor of the core: its stream comes up, it debuts, is introduced, and lists the core.
func (s *stage) join(actors ...*actor) {
	s.t.Helper()
	for _, a := range actors {
		s.step(PeerUp{Peer: a.key()})
		s.says(a, wire.Debut, a.shown(a.lists()))
		s.after(2 * time.Second)
		s.tells(a, a.lists(s.self()))
		s.after(2 * time.Second)
	}
	s.forget()
}

func (s *stage) forget() { s.sent, s.dialed, s.removed = nil, nil, nil }

// sentTo are the messages to a, oldest first.
func (s *stage) sentTo(a *actor) []wire.Message {
	var all []wire.Message
	for _, m := range s.sent {
		if m.to == a.key() {
			all = append(all, m.message)
		}
	}
	return all
}

func (s *stage) lists(actors ...*actor) {
	s.t.Helper()
	want := make([]identity.PublicKey, 0, len(actors))
	for _, a := range actors {
		want = append(want, a.key())
	}
	slices.SortFunc(want, identity.PublicKey.Compare)
	if got := s.core.View().Root.Neighbors; !slices.Equal(got, want) {
		s.t.Errorf("root lists %v, want %v", got, want)
	}
}

func (s *stage) rejected(why Reason, want uint64) {
	s.t.Helper()
	if got := s.core.View().Stats.Rejected[why]; got != want {
		s.t.Errorf("%d rejected as %q, want %d (%v)", got, why, want, s.core.View().Stats.Rejected)
	}
}

func keysOf(m wire.Message) []identity.PublicKey {
	keys := make([]identity.PublicKey, len(m.Entries))
	for i, e := range m.Entries {
		keys[i] = e.Record.Key
	}
	return keys
}

var mustAddrPort = netip.MustParseAddrPort
