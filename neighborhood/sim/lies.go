package sim

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// lie has one of the byzantine nodes do everything it can think of, in an order of its own. Between its lies it goes on
// as a real node, so that it is somebody's neighbor.
func (s *simulation) lie() {
	var liars []*node
	for _, n := range s.nodes {
		if n.byzantine && n.alive && n.core != nil && len(n.links) > 0 {
			liars = append(liars, n)
		}
	}
	if len(liars) == 0 {
		return
	}
	liar := liars[s.rng.IntN(len(liars))]
	lies := []func(*node, *link){
		s.forge, s.replay, s.echo, s.equivocate, s.enormous, s.unsolicited, s.flood, s.invent, s.babble,
	}
	when := s.now
	for range 2 * len(lies) {
		l := liar.peers()[s.rng.IntN(len(liar.links))]
		lie := lies[s.rng.IntN(len(lies))]
		s.at(when, func() {
			if !l.closed {
				lie(liar, l)
			}
		})
		when = when.Add(s.between(0, 3*time.Second))
	}
}

func (s *simulation) say(liar *node, l *link, kind wire.Kind, entries ...wire.Entry) {
	s.put(liar, l, wire.Message{Kind: kind, Entries: entries}.Encode())
}

func (s *simulation) put(liar *node, l *link, frame []byte) {
	s.tally.versions++ // what it changes may be passed on like any change
	s.tell(l, l.other(liar), core.Frame{Peer: liar.key, Bytes: frame}, l.latency)
}

// victim draws somebody to lie about, preferring the one lied to.
func (s *simulation) victim(to *node) *node {
	if s.rng.IntN(3) == 0 {
		return to
	}
	return s.nodes[s.rng.IntN(len(s.nodes))]
}

// newestOf is what somebody has said last, by the liar's knowledge of everything.
func newestOf(n *node) *wire.Record {
	if len(n.said) == 0 {
		return nil
	}
	return n.said[len(n.said)-1]
}

// forge changes somebody's record without being able to sign it.
func (s *simulation) forge(liar *node, l *link) {
	r := newestOf(s.victim(l.other(liar)))
	if r == nil {
		return
	}
	s.put(liar, l, wire.Forged(r, r.Version+uint64(s.rng.IntN(1000))+1, []identity.PublicKey{liar.key}))
}

// replay tells what somebody said once, be it gone or not.
func (s *simulation) replay(liar *node, l *link) {
	if n := s.victim(l.other(liar)); len(n.said) > 0 {
		s.say(liar, l, wire.Standard, wire.Entry{Record: n.said[s.rng.IntN(len(n.said))]})
	}
}

// echo tells one of its neighbors what it knows.
func (s *simulation) echo(liar *node, l *link) {
	for range 20 {
		n := s.victim(l.other(liar))
		if r := newestOf(n); r != nil && n.alive {
			s.say(liar, l, wire.Standard, wire.Entry{Record: r})
		}
	}
}

// equivocate tells two stories under one version, to different neighbors.
func (s *simulation) equivocate(liar *node, _ *link) {
	version := s.nextVersion(liar)
	for i, l := range liar.peers() {
		list := []identity.PublicKey{l.other(liar).key}
		s.say(liar, l, wire.Standard, wire.Entry{Record: wire.SignRecord(liar.id, version, wire.Flags(i), list)})
	}
}

// nextVersion goes past what the liar's own core has said, which will go past it in turn when it hears of it.
func (s *simulation) nextVersion(liar *node) uint64 {
	return liar.core.Root().Version + 1 + uint64(s.rng.IntN(3))
}

// enormous uses a version after which there is none, and one that is refused.
func (s *simulation) enormous(liar *node, l *link) {
	list := []identity.PublicKey{l.other(liar).key}
	s.say(liar, l, wire.Standard, wire.Entry{Record: wire.SignRecord(liar.id, math.MaxUint64, 0, list)})
	if s.rng.IntN(4) == 0 {
		id := invented()[s.rng.IntN(inventedCount)]
		s.say(liar, l, wire.Standard, wire.Entry{Record: wire.SignRecord(id, wire.MaxVersion, 0, list)})
	}
}

// unsolicited sends answers that nobody asked for, with addresses that nobody should dial.
func (s *simulation) unsolicited(liar *node, l *link) {
	id := invented()[s.rng.IntN(inventedCount)]
	r := wire.SignRecord(id, 1, wire.AcceptsConnections, []identity.PublicKey{l.other(liar).key})
	e := wire.Entry{Record: r, Address: wire.SignAddress(id, 1, netip.MustParseAddrPort("10.9.9.9:9"))}
	s.say(liar, l, wire.Pass, e)
	own := wire.Entry{Record: liar.core.Root(), Address: wire.SignAddress(liar.id, 1, liar.at)}
	s.say(liar, l, wire.Introduction, own, e)
	s.say(liar, l, wire.Standard, e)
}

// flood changes its own record as often as it can.
func (s *simulation) flood(liar *node, l *link) {
	version := s.nextVersion(liar)
	for i := range uint64(15) {
		r := wire.SignRecord(liar.id, version+i, 0, []identity.PublicKey{l.other(liar).key})
		s.say(liar, l, wire.Standard, wire.Entry{Record: r})
	}
}

// invent tells of nodes that do not exist, some of which it claims as its neighbors.
func (s *simulation) invent(liar *node, l *link) {
	ids := invented()
	first := s.rng.IntN(inventedCount - inventedTogether)
	entries := make([]wire.Entry, inventedTogether)
	for i := range entries {
		entries[i] = wire.Entry{Record: wire.SignRecord(ids[first+i], uint64(s.rng.IntN(10)), 0, nil)}
	}
	s.say(liar, l, wire.Standard, entries...)
	list := []identity.PublicKey{l.other(liar).key}
	if key := ids[first].PublicKey(); key.Compare(list[0]) > 0 {
		list = append(list, key)
	}
	s.say(liar, l, wire.Standard, wire.Entry{Record: wire.SignRecord(liar.id, s.nextVersion(liar), 0, list)})
}

// babble sends what is no message.
func (s *simulation) babble(liar *node, l *link) {
	if s.rng.IntN(3) > 0 {
		return // it costs the stream, and the other lies need one
	}
	frame := make([]byte, s.rng.IntN(100))
	for i := range frame {
		frame[i] = byte(s.rng.UintN(256))
	}
	s.put(liar, l, frame)
}

const (
	inventedCount    = 2000
	inventedTogether = 25 // in one message: half of what a node has room for beside the real ones
)

// invented are identities that no node has; they are made once, since that takes a while.
var invented = sync.OnceValue(func() []*identity.Identity {
	ids := make([]*identity.Identity, inventedCount)
	for i := range ids {
		seed := [32]byte{0: 'i', 1: 'n', 2: 'v'}
		binary.BigEndian.PutUint32(seed[28:], uint32(i))
		ids[i] = identity.FromSeed(seed)
	}
	return ids
})
