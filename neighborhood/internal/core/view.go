package core

import (
	"maps"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Reason is why gossip was rejected.
type Reason string

// The reasons.
const (
	RejectedUndecodable Reason = "undecodable"
	RejectedTooBig      Reason = "too big"
	RejectedMalformed   Reason = "malformed"
	RejectedSignature   Reason = "bad signature"
	RejectedOld         Reason = "old version"
	RejectedStranger    Reason = "not from a neighbor"
	RejectedUnsolicited Reason = "unsolicited"
	RejectedTooOften    Reason = "debut too often"
	RejectedMisplaced   Reason = "address not for us"
	RejectedAddress     Reason = "address not to be dialed"
	RejectedDial        Reason = "too many dials"
	RejectedFull        Reason = "too many records"
	RejectedWithdrawing Reason = "withdrawing"
)

// Traffic counts messages and their bytes.
type Traffic struct{ Messages, Bytes uint64 }

// ByKind has one Traffic for each wire.Kind, under its number.
type ByKind [len(wire.Kinds) + 1]Traffic

// Stats are counted from the start.
type Stats struct {
	Sent, Received     ByKind
	Rejected           map[Reason]uint64
	Taken              uint64 // records, new or changed
	Deferred           uint64 // changes that had to wait for their owner's second to be over
	Culled             uint64 // records forgotten
	Equivocations      uint64 // two stories under one version
	Dials, DialsFailed uint64
}

// PeerGossip is what one peer and we have told each other, over all its streams.
type PeerGossip struct {
	Sent, Received ByKind
	Last           time.Time
}

// peersCounted bounds how many peers are remembered with their counts when their streams are gone.
const peersCounted = 256

func (c *Core) reject(why Reason) { c.stats.Rejected[why]++ }

func (c *Core) countSent(key identity.PublicKey, kind wire.Kind, bytes int) {
	g := c.gossipOf(key)
	g.Sent.add(kind, bytes)
	c.stats.Sent.add(kind, bytes)
}

func (c *Core) countReceived(key identity.PublicKey, kind wire.Kind, bytes int) {
	g := c.gossipOf(key)
	g.Received.add(kind, bytes)
	c.stats.Received.add(kind, bytes)
}

func (b *ByKind) add(kind wire.Kind, bytes int) {
	b[kind].Messages++
	b[kind].Bytes += uint64(bytes)
}

// gossipOf finds or makes the counts of a peer; when there are too many, the peer longest silent is forgotten.
func (c *Core) gossipOf(key identity.PublicKey) *PeerGossip {
	g := c.gossip[key]
	if g == nil {
		if len(c.gossip) >= peersCounted {
			delete(c.gossip, c.longestSilent())
		}
		g = new(PeerGossip)
		c.gossip[key] = g
	}
	g.Last = c.now
	return g
}

func (c *Core) longestSilent() identity.PublicKey {
	return slices.MinFunc(slices.Collect(maps.Keys(c.gossip)), func(a, b identity.PublicKey) int {
		if byTime := c.gossip[a].Last.Compare(c.gossip[b].Last); byTime != 0 {
			return byTime
		}
		return a.Compare(b)
	})
}

// View is a copy of what a Core knows. Records are shared, since they never change.
type View struct {
	Key         identity.PublicKey
	Root        *wire.Record // nil before Start
	Address     *wire.Address
	Records     []*wire.Record // of others, by key
	Streams     []identity.PublicKey
	Outstanding []identity.PublicKey // Debuts
	Missing     []Missing            // of those configured, for a while
	BeyondReach int                  // nodes that have a full neighborship, and nothing leads to from here, for a while
	Waiting     int                  // what is begun and not ended, see waiting
	Stats       Stats
	Gossip      map[identity.PublicKey]PeerGossip
	Withdrawing bool
	Farewells   []Farewell
}

// waiting counts what this node has yet to do by itself: changes that came less than a second after their owner's last,
// a round of gossip whose window is not over, frames that are due or under way.
func (c *Core) waiting() int {
	n := len(c.deferred)
	if !c.roundAt.IsZero() {
		n++
	}
	for _, p := range c.peers {
		if p.inFlight != 0 || p.due || p.debut || p.answer {
			n++
		}
	}
	return n
}

// Missing is a configured neighbor that cannot be reached over full neighborships in the own map.
type Missing struct {
	Target
	Since time.Time
	Next  time.Time // when it is dialed next; zero: it is being dialed, or asked
	Left  bool      // it has said farewell
	Known bool      // it has been reached before
}

// missing lists those that have been missing longer than a change takes to be heard of.
func (c *Core) missing() []Missing {
	var all []Missing
	for _, t := range c.sought {
		if !c.started || !t.configured || t.reached || c.now.Before(t.since.Add(partsGrace)) {
			continue
		}
		m := Missing{Target: t.Target, Since: t.since, Left: t.left, Known: t.known}
		if c.wants(t) {
			m.Next = t.next
		}
		all = append(all, m)
	}
	return all
}

// beyondReach counts the nodes of other parts, which nothing references from here for a while: a farewell or a crash
// leaves no full neighborship behind.
func (c *Core) beyondReach() int {
	n := 0
	for _, e := range c.records {
		if e.isolated != 0 && e.isolated+int64(partsGrace) <= c.now.UnixNano() && c.hasFull(e.record) {
			n++
		}
	}
	return n
}

func (c *Core) hasFull(r *wire.Record) bool {
	return slices.ContainsFunc(r.Neighbors, func(key identity.PublicKey) bool {
		other := c.records[key]
		return other != nil && other.record.Lists(r.Key)
	})
}

// View makes the copy; it costs time and memory in proportion to the records.
func (c *Core) View() View {
	v := View{
		Key: c.self, Root: c.root, Address: c.address,
		Streams:     slices.SortedFunc(maps.Keys(c.peers), identity.PublicKey.Compare),
		Outstanding: slices.SortedFunc(maps.Keys(c.outstanding), identity.PublicKey.Compare),
		Missing:     c.missing(),
		BeyondReach: c.beyondReach(),
		Waiting:     c.waiting(),
		Stats:       c.stats,
		Gossip:      make(map[identity.PublicKey]PeerGossip, len(c.gossip)),
	}
	v.Stats.Rejected = maps.Clone(c.stats.Rejected)
	for key, g := range c.gossip {
		v.Gossip[key] = *g
	}
	for _, e := range c.records {
		v.Records = append(v.Records, e.record)
	}
	slices.SortFunc(v.Records, func(a, b *wire.Record) int { return a.Key.Compare(b.Key) })
	if c.withdrawal != nil {
		v.Withdrawing, v.Farewells = true, slices.Clone(c.withdrawal.farewells)
	}
	return v
}
