package core

import (
	"container/heap"
	"errors"
	"slices"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// entry is one record held. There are up to thousands of them in each of thousands of simulated cores, so it is small:
// times are in Unix nanoseconds.
type entry struct {
	record   *wire.Record
	shownBy  []*peer // while it is isolated: who has shown it in this version since
	taken    int64   // when its last change was taken
	isolated int64   // since when it cannot be reached from root; 0: it can
	seen     uint32
	linked   uint32
}

// deferred is the newest change of an owner that has changed a moment ago, and who has shown it.
type deferred struct {
	record  *wire.Record
	shownBy []*peer
}

// take merges a record that p has shown, and reports whether it may be relied upon. Only a record that would change
// something has its signature checked: what is known is not verified again, what is older is dropped anyway.
func (c *Core) take(p *peer, r *wire.Record) bool {
	if r.Key == c.self {
		c.seeSelf(r)
		return true
	}
	e := c.records[r.Key]
	if held := c.newest(e); held != nil {
		switch order := r.Compare(held); {
		case order < 0:
			c.stale(p, r, held)
			return true
		case order == 0:
			c.shownAgain(p, e)
			return true
		}
	}
	if !c.cfg.Verify(r) {
		c.reject(RejectedSignature)
		return false
	}
	if held := c.newest(e); held != nil && held.Version == r.Version {
		c.stats.Equivocations++
	}
	if e == nil {
		return c.insert(p, r)
	}
	if c.tooSoon(e) && !c.farewell(p, r) {
		c.postpone(p, e, r)
		return true
	}
	c.accept(e, r, []*peer{p})
	return true
}

// newest is what is held of an owner, whether it counts already or not.
func (c *Core) newest(e *entry) *wire.Record {
	if e == nil {
		return nil
	}
	if d, ok := c.deferred[e.record.Key]; ok {
		return d.record
	}
	return e.record
}

// stale drops an older record. If its own owner has shown it, that one has lost its memory: it is shown its newer
// record, the one exception to never telling a node about itself, so that it can go past it.
func (c *Core) stale(p *peer, r, held *wire.Record) {
	c.reject(RejectedOld)
	if held.Version == r.Version && c.cfg.Verify(r) {
		c.stats.Equivocations++
	}
	if r.Key == p.key {
		p.pending[r.Key] = struct{}{}
		c.scheduleRound()
	}
}

func (c *Core) shownAgain(p *peer, e *entry) {
	key := e.record.Key
	delete(p.pending, key)
	if d, ok := c.deferred[key]; ok {
		d.shownBy = addPeer(d.shownBy, p)
		c.deferred[key] = d
	} else if e.isolated != 0 {
		e.shownBy = addPeer(e.shownBy, p)
	}
}

func addPeer(list []*peer, p *peer) []*peer {
	if slices.Contains(list, p) {
		return list
	}
	return append(list, p)
}

// insert takes an owner's first record. It counts as isolated until the next walk over the graph finds it.
func (c *Core) insert(p *peer, r *wire.Record) bool {
	if len(c.records) >= c.cfg.MaxRecords && !c.evict() {
		c.reject(RejectedFull)
		return false
	}
	now := c.now.UnixNano()
	c.records[r.Key] = &entry{record: r, shownBy: []*peer{p}, taken: now, isolated: now}
	c.expectCull(r.Key, now)
	c.heedLeave(r, nil)
	c.stats.Taken++
	c.noteChange()
	c.scheduleRound()
	return true
}

// accept puts a newer record in the place of an older one. An isolated record is told to nobody: it will be when it is
// found to be reachable again.
func (c *Core) accept(e *entry, r *wire.Record, shownBy []*peer) {
	delete(c.deferred, r.Key)
	c.heedLeave(r, e.record)
	e.record, e.shownBy, e.taken = r, shownBy, c.now.UnixNano()
	c.stats.Taken++
	c.noteChange()
	c.scheduleRound()
	if e.isolated == 0 {
		c.tellNeighbors(e)
	}
	c.heedClaim(r)
}

// heedClaim looks at what a neighbor's new record says of us. One that no longer lists us, though it did, has left:
// the half-neighborship to it goes at once, in the round that passes its record on.
func (c *Core) heedClaim(r *wire.Record) {
	p := c.peers[r.Key]
	if p == nil || !p.neighbor {
		return
	}
	lists := r.Lists(c.self)
	if p.listedUs && !lists {
		c.dropNeighbor(p, "neighbor left")
		return
	}
	p.listedUs = lists
}

// tellNeighbors marks a record as unknown to every neighbor but its owner and those who have shown it.
func (c *Core) tellNeighbors(e *entry) {
	key := e.record.Key
	for _, neighbor := range c.root.Neighbors {
		if neighbor != key {
			c.peers[neighbor].pending[key] = struct{}{}
		}
	}
	for _, p := range e.shownBy {
		delete(p.pending, key)
	}
	e.shownBy = nil
}

func (c *Core) tooSoon(e *entry) bool { return c.now.UnixNano() < e.taken+int64(changeEvery) }

// farewell recognizes a neighbor that leaves us, telling so itself. That cannot be repeated without a new Debut, so it
// need not wait, and must not: the stream is about to close.
func (c *Core) farewell(p *peer, r *wire.Record) bool {
	return r.Key == p.key && p.neighbor && !r.Lists(c.self)
}

// postpone keeps the newest change of an owner until a second after its last one.
func (c *Core) postpone(p *peer, e *entry, r *wire.Record) {
	if _, ok := c.deferred[r.Key]; !ok {
		heap.Push(&c.changes, appointment{at: e.taken + int64(changeEvery), key: r.Key})
	}
	c.stats.Deferred++
	c.deferred[r.Key] = deferred{record: r, shownBy: []*peer{p}}
	delete(p.pending, r.Key)
	if owner := c.peers[r.Key]; owner != nil && owner.neighbor && r.Lists(c.self) {
		owner.listedUs = true // known already, so that its farewell will be recognized
	}
}

func (c *Core) takeDeferred(key identity.PublicKey) {
	d, ok := c.deferred[key]
	e := c.records[key]
	if !ok || c.tooSoon(e) {
		return
	}
	c.accept(e, d.record, d.shownBy)
}

// seeSelf looks at the own record as others have it. An echo does nothing. One that is ahead of us, by an earlier life
// of this node or another with our key, is gone past, once a second at most: two nodes with one key would never stop.
func (c *Core) seeSelf(r *wire.Record) {
	if r.Version < c.root.Version || r.Compare(c.root) == 0 {
		return
	}
	if r.Version >= wire.MaxVersion { // there is no going past it
		c.reject(RejectedMalformed)
		return
	}
	if r.Version <= c.selfSeen && r.Version > c.root.Version {
		return // known already, and about to be gone past
	}
	if !c.cfg.Verify(r) {
		c.reject(RejectedSignature)
		return
	}
	c.selfSeen = max(c.selfSeen, r.Version)
	if at := c.wentPast.Add(changeEvery); c.now.Before(at) {
		heap.Push(&c.changes, appointment{at: at.UnixNano(), key: c.self})
		return
	}
	c.goPast()
}

var errForeign = errors.New("this process did not sign it: either another one runs with the same key, which must end, " +
	"or this one was restarted with its clock set back")

func (c *Core) goPast() {
	if c.selfSeen < c.root.Version {
		return
	}
	c.wentPast = c.now
	c.out.Notes = append(c.out.Notes, Note{Text: "own record seen ahead of us", Peer: c.self, Err: errForeign, Another: c.foreign})
	c.foreign = true
	c.seal(c.selfSeen+1, c.root.Neighbors)
}

// evict makes a place by dropping the record that has been isolated longest. Reachable ones stay: when there are only
// such, the newcomer is refused.
func (c *Core) evict() bool {
	for len(c.culls) > 0 {
		if c.cull(heap.Pop(&c.culls).(appointment)) {
			return true
		}
	}
	return false
}

func (c *Core) expectCull(key identity.PublicKey, isolated int64) {
	heap.Push(&c.culls, appointment{at: isolated + int64(isolatedKept), key: key})
}

// cull forgets a record unless it has been reachable since the appointment was made.
func (c *Core) cull(a appointment) bool {
	e := c.records[a.key]
	if e == nil || e.isolated == 0 || e.isolated+int64(isolatedKept) != a.at {
		return false
	}
	c.forget(a.key)
	return true
}

func (c *Core) forget(key identity.PublicKey) {
	c.stats.Culled++
	delete(c.records, key)
	delete(c.deferred, key)
	for _, p := range c.peers {
		delete(p.pending, key)
	}
}

// walk finds out which records can be reached from root. A record that has become unreachable will be culled, unless it
// is found again; then everybody is told anew, since others may have culled it meanwhile.
func (c *Core) walk() {
	c.graphChanged = false
	c.generation++
	queue := c.reach(make([]*entry, 0, len(c.records)), c.root)
	for i := 0; i < len(queue); i++ {
		e := queue[i]
		queue = c.reach(queue, e.record)
		if e.isolated != 0 {
			e.isolated = 0
			c.tellNeighbors(e)
		}
	}
	for key, e := range c.records {
		if e.seen != c.generation && e.isolated == 0 {
			e.isolated = c.now.UnixNano()
			c.expectCull(key, e.isolated)
		}
	}
}

// reach adds those that a record lists and that were not reached before.
func (c *Core) reach(queue []*entry, from *wire.Record) []*entry {
	for _, key := range from.Neighbors {
		if e := c.records[key]; e != nil && e.seen != c.generation {
			e.seen = c.generation
			queue = append(queue, e)
		}
	}
	return queue
}
