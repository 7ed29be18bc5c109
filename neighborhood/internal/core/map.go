package core

import (
	"errors"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// look finds out who of those sought can be reached over full neighborships in the own map, after every change of it.
// It ends when all are found: mostly they are close.
func (c *Core) look() {
	missing := 0
	for _, t := range c.sought {
		if t.matters() {
			missing++
		}
	}
	stop := func(e *entry) bool {
		if t := c.soughtFor(e.record.Key); t != nil && t.matters() {
			missing--
		}
		return missing == 0
	}
	if c.second.wanted {
		stop = func(*entry) bool { return false }
	}
	if missing > 0 || c.second.wanted {
		c.spreadOut(nil, stop)
	}
	for _, t := range c.sought {
		if t.matters() {
			c.found(t, c.isLinked(t.Key))
		}
	}
	c.rememberNeighbors()
	c.planSecond()
}

// spreadOut marks all that can be reached over full neighborships, without the edge to one neighbor if that is given,
// until stop has seen enough. It reports whether it has.
func (c *Core) spreadOut(without *identity.PublicKey, stop func(*entry) bool) bool {
	c.linked++
	var queue []*entry
	mark := func(key, from identity.PublicKey) {
		e := c.records[key]
		if e != nil && e.linked != c.linked && e.record.Lists(from) {
			e.linked = c.linked
			queue = append(queue, e)
		}
	}
	for _, key := range c.root.Neighbors {
		if without == nil || key != *without {
			mark(key, c.self)
		}
	}
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		if stop(e) {
			return true
		}
		for _, key := range e.record.Neighbors {
			mark(key, e.record.Key)
		}
	}
	return false
}

// isLinked reports whether the last spreadOut has come to a node.
func (c *Core) isLinked(key identity.PublicKey) bool {
	e := c.records[key]
	return e != nil && e.linked == c.linked
}

// reaches reports whether a node can be reached over full neighborships, without the edge to one neighbor if that is
// given.
func (c *Core) reaches(key identity.PublicKey, without *identity.PublicKey) bool {
	return c.spreadOut(without, func(e *entry) bool { return e.record.Key == key })
}

// makeRoomFor gives up a neighbor that stays reachable, for a debuter who is not, if no room is known of anywhere: a
// full house would otherwise be closed for ever. It does not do so more often than every few seconds.
func (c *Core) makeRoomFor(debuter identity.PublicKey) bool {
	if c.now.Before(c.madeRoom.Add(madeRoomAgain)) {
		return false
	}
	if _, room := c.towardsRoom(debuter); room || c.reaches(debuter, nil) {
		return false
	}
	for _, key := range c.root.Neighbors {
		if c.outstanding[key] == nil && c.reaches(key, &key) {
			c.giveUp(key)
			return true
		}
	}
	return false
}

// madeRoomAgain keeps strangers from turning a neighborhood over.
const madeRoomAgain = 10 * time.Second

// makeRoom gives up a neighbor, for somebody who is missing: one that stays reachable if there is one, and of several
// the one with the most neighbors. Whoever is cut off by that finds its way back by what it remembers.
func (c *Core) makeRoom() bool {
	var best *entry
	stays := false
	for _, key := range c.root.Neighbors {
		e := c.records[key]
		if e == nil || c.outstanding[key] != nil {
			continue
		}
		reachable := c.reaches(key, &key)
		better := best == nil || reachable && !stays ||
			reachable == stays && len(e.record.Neighbors) > len(best.record.Neighbors)
		if better {
			best, stays = e, reachable
		}
	}
	if best == nil {
		return false
	}
	c.giveUp(best.record.Key)
	return true
}

func (c *Core) giveUp(key identity.PublicKey) {
	p := c.peers[key]
	c.madeRoom = c.now
	c.dropNeighbor(p, "neighbor given up: its place is needed")
	c.out.Remove = append(c.out.Remove, key)
	delete(c.peers, key)
}

// second is the search for a second neighbor, by a node that others have left with less than two.
type second struct {
	wanted bool
	next   time.Time // zero: there is nobody to ask, or nothing to ask for
	tries  int       // since it was left
}

// secondTries bounds how often a node asks for a second neighbor until it is left again. A network in which nobody can
// be dialed must fall silent all the same.
const secondTries = 8

// short reports whether the own neighbors are fewer than everybody should have.
func (c *Core) short() bool { return len(c.root.Neighbors) < 2 }

// fell is told that a neighbor is gone.
func (c *Core) fell() {
	if c.short() {
		c.second = second{wanted: true}
	}
}

// planSecond looks, in a new map, whether asking makes sense: the only neighbor must be a full one, and somebody else
// must have room.
func (c *Core) planSecond() {
	s := &c.second
	if !c.short() {
		*s = second{}
	}
	if !s.wanted || len(c.root.Neighbors) == 0 || s.tries >= secondTries || !c.roomBeyond(c.root.Neighbors[0]) {
		s.next = time.Time{}
		return
	}
	if s.next.IsZero() {
		share := time.Duration(c.self[0])
		s.next = c.now.Add((firstRetry + firstRetry*share/256) << s.tries)
	}
}

// roomBeyond reports whether anybody but one neighbor can be reached who has room and can be dialed.
func (c *Core) roomBeyond(neighbor identity.PublicKey) bool {
	for key, e := range c.records {
		r := e.record
		if e.linked == c.linked && key != neighbor && len(r.Neighbors) < wire.MaxDegree && r.Flags&wire.AcceptsConnections != 0 {
			return true
		}
	}
	return false
}

// seekSecond asks the only neighbor for an Introduction, as a newcomer would: it shows the address of one other, as to
// any debuter.
func (c *Core) seekSecond() {
	s := &c.second
	if s.next.IsZero() || c.now.Before(s.next) {
		return
	}
	s.next = time.Time{}
	if !c.short() || len(c.root.Neighbors) == 0 {
		return
	}
	key := c.root.Neighbors[0]
	p := c.peers[key]
	if len(c.outstanding) == 0 && p.listedUs {
		s.tries++
		c.sendDebut(p)
	}
	if s.tries < secondTries {
		share := time.Duration(c.self[0])
		s.next = c.now.Add((firstRetry + firstRetry*share/256) << s.tries)
	}
}

// parted is whether the map is known to be in parts.
type parted struct {
	next  time.Time // when to say so; zero: it is whole, or it has been said
	noted bool
}

// partsGrace is how long a configured neighbor may be out of reach before the map is said to be in parts: until then
// what is heard of a change may be a part of it.
const partsGrace = 3 * time.Second

var errParts = errors.New("a configured neighbor can no longer be reached over the neighbors")

// lostSight reports whether a node makes a map one in parts. One that has said farewell does not.
func (t *sought) lostSight() bool { return t.configured && t.known && !t.reached && !t.left }

// noteParts says once when the map has come into parts, and when it is whole again.
func (c *Core) noteParts() {
	first := (*sought)(nil)
	for _, t := range c.sought {
		if t.lostSight() && (first == nil || t.since.Before(first.since)) {
			first = t
		}
	}
	c.parted.next = time.Time{}
	switch {
	case first == nil && c.parted.noted:
		c.parted.noted = false
		c.note("the map is whole again", c.self, nil)
	case first == nil || c.parted.noted:
	case c.now.Before(first.since.Add(partsGrace)):
		c.parted.next = first.since.Add(partsGrace)
	default:
		c.parted.noted = true
		c.out.Notes = append(c.out.Notes, Note{
			Text: "the map is in parts", Peer: first.Key, Err: errParts, Retry: later(first.next, c.now),
		})
	}
}
