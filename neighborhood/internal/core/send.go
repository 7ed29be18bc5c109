package core

import (
	"slices"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// pump gives the peer's stream its next frame, if it is free and there is one. What a frame says is decided only now, so
// that a slow peer is told the newest, and no queue grows.
func (c *Core) pump(p *peer) {
	if p.inFlight != 0 {
		return
	}
	if p.debut {
		p.debut = false
		c.send(p, wire.Debut, []wire.Entry{c.own()})
		return
	}
	if p.answer {
		p.answer = false
		if kind, entries := c.answerTo(p); len(entries) > 0 {
			c.send(p, kind, entries)
			return
		}
	}
	if p.due = p.due && len(p.pending) > 0; p.due {
		c.send(p, wire.Standard, c.lacking(p))
	}
}

func (c *Core) send(p *peer, kind wire.Kind, entries []wire.Entry) {
	for _, e := range entries {
		delete(p.pending, e.Record.Key)
	}
	p.due = p.due && len(p.pending) > 0
	c.deliver(p, kind, wire.Message{Kind: kind, Entries: entries}.Encode())
}

func (c *Core) deliver(p *peer, kind wire.Kind, frame []byte) {
	c.lastID++
	p.inFlight = c.lastID
	c.countSent(p.key, kind, len(frame))
	c.out.Deliver = append(c.out.Deliver, Delivery{ID: c.lastID, Peer: p.key, Kind: kind, Frame: frame})
}

// own is the own record with its address: for neighbors, and for those who are asked or accepted to be.
func (c *Core) own() wire.Entry { return wire.Entry{Record: c.root, Address: c.address} }

// answerTo answers a Debut: an Introduction if the debuter was taken in, otherwise a Pass to somebody else, if there is
// anybody.
func (c *Core) answerTo(p *peer) (wire.Kind, []wire.Entry) {
	if !p.neighbor {
		return wire.Pass, c.passTarget(p.key)
	}
	return wire.Introduction, append([]wire.Entry{c.own()}, c.introducee(p)...)
}

// introducee chooses whom the debuter is to meet: the neighbor with the fewest neighbors that has room; of one that asks
// again, the next. If none has room, the one that leads to it. It is chosen only for a debuter that has nobody else: a
// newcomer, or one that others have left. Every newcomer so makes two half-neighborships of its own accord, four ends
// for the five places it brings: however large the neighborhood grows, there is room for the next. (If everybody filled
// up all five, the first six nodes would be a full house for ever.)
func (c *Core) introducee(p *peer) []wire.Entry {
	debuter := c.newest(c.records[p.key])
	if debuter == nil || len(remove(debuter.Neighbors, c.self)) >= lonelyDebuter {
		return nil
	}
	var free []*entry
	for _, q := range c.introducible(p.key) {
		if e := c.records[q]; len(e.record.Neighbors) < wire.MaxDegree && !debuter.Lists(q) {
			free = append(free, e)
		}
	}
	if len(free) == 0 {
		if through, ok := c.towardsRoom(p.key); ok && !debuter.Lists(through) {
			c.passes++
			return []wire.Entry{c.shown(c.records[through])}
		}
		return nil
	}
	slices.SortStableFunc(free, func(a, b *entry) int { return len(a.record.Neighbors) - len(b.record.Neighbors) })
	p.shown++
	return []wire.Entry{c.shown(free[(p.shown-1)%len(free)])}
}

// passTarget chooses where one for whom there is no room may go: towards room, or to any neighbor if we know of none.
func (c *Core) passTarget(debuter identity.PublicKey) []wire.Entry {
	through, _ := c.towardsRoom(debuter)
	c.passes++
	if e := c.records[through]; e != nil {
		return []wire.Entry{c.shown(e)}
	}
	return nil
}

// towardsRoom returns the neighbor through which the nearest room that we know of can be found, so that each Pass leads
// closer to it; any neighbor and false if we know of none. Where several are as good they take turns: what we know of
// others' room is a little old, and newcomers often come in crowds.
func (c *Core) towardsRoom(debuter identity.PublicKey) (through identity.PublicKey, known bool) {
	first := c.introducible(debuter)
	if len(first) == 0 {
		return through, false
	}
	turn := c.passes % len(first)
	first = slices.Concat(first[turn:], first[:turn])
	type step struct{ at, through identity.PublicKey }
	seen := map[identity.PublicKey]bool{c.self: true, debuter: true}
	queue := make([]step, 0, len(first))
	for _, key := range first {
		queue = append(queue, step{key, key})
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		e := c.records[s.at]
		if e == nil || seen[s.at] {
			continue
		}
		seen[s.at] = true
		if len(e.record.Neighbors) < wire.MaxDegree && e.record.Flags&wire.AcceptsConnections != 0 {
			return s.through, true
		}
		for _, key := range e.record.Neighbors {
			queue = append(queue, step{key, s.through})
		}
	}
	return first[0], false
}

// introducible lists the neighbors whose record and address are known, except one.
func (c *Core) introducible(except identity.PublicKey) []identity.PublicKey {
	return slices.DeleteFunc(slices.Clone(c.root.Neighbors), func(key identity.PublicKey) bool {
		return key == except || c.peers[key].address == nil || c.records[key] == nil
	})
}

// shown is a neighbor's record with its address, for a debuter.
func (c *Core) shown(e *entry) wire.Entry {
	return wire.Entry{Record: e.record, Address: c.peers[e.record.Key].address}
}

// lacking are the records that the peer lacks, as many as fit into one message: the own one first, the others by key.
// The own one goes with its address: it goes only to neighbors.
func (c *Core) lacking(p *peer) []wire.Entry {
	keys := make([]identity.PublicKey, 0, len(p.pending))
	for key := range p.pending {
		if key != c.self {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, identity.PublicKey.Compare)
	entries := make([]wire.Entry, 0, min(len(p.pending), wire.MaxEntries))
	if _, ok := p.pending[c.self]; ok {
		entries = append(entries, c.own())
	}
	for _, key := range keys[:min(len(keys), wire.MaxEntries-len(entries))] {
		entries = append(entries, wire.Entry{Record: c.records[key].record})
	}
	return entries
}
