package core

import (
	"errors"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// receive handles one frame. A message that cannot be read is refused whole and costs its sender the stream: nobody
// knows any more which records that stream has carried.
func (c *Core) receive(key identity.PublicKey, frame []byte) {
	p := c.peers[key]
	if p == nil {
		c.reject(RejectedStranger)
		return
	}
	m, err := wire.Decode(frame)
	if err != nil {
		c.reject(reasonOf(err))
		c.hangUp(p, "gossip refused", err)
		return
	}
	c.countReceived(p.key, m.Kind, len(frame))
	for _, e := range m.Entries {
		if e.Err != nil {
			c.reject(reasonOf(e.Err))
		}
	}
	switch m.Kind {
	case wire.Debut:
		c.receiveDebut(p, m)
	case wire.Introduction:
		c.receiveIntroduction(p, m)
	case wire.Pass:
		c.receivePass(p, m)
	case wire.Standard:
		c.receiveStandard(p, m)
	}
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, wire.ErrTooBig), errors.Is(err, wire.ErrTooMany):
		return RejectedTooBig
	case errors.Is(err, wire.ErrUndecodable):
		return RejectedUndecodable
	default:
		return RejectedMalformed
	}
}

var errDebut = errors.New("not a Debut of its own record")

// receiveDebut takes the debuter in if there is room, and answers: an Introduction to a neighbor, a Pass to others.
// One second must lie between two Debuts on one stream. A guest whose Debut is malformed has lost its stream: nothing
// better is expected of it.
func (c *Core) receiveDebut(p *peer, m wire.Message) {
	own, ok := c.entryOf(p, m, 1)
	if !ok {
		if !p.neighbor {
			c.hangUp(p, "gossip refused", errDebut)
		}
		return
	}
	if c.now.Before(p.debutAt.Add(debutEvery)) {
		c.reject(RejectedTooOften)
		return
	}
	if !c.take(p, own.Record) {
		return
	}
	p.debutAt = c.now
	c.takeAddress(p, own.Address)
	if c.room(p.key) || c.makeRoomFor(p.key) {
		c.addNeighbor(p, false)
	}
	p.answer = true
	c.pump(p)
}

// receiveIntroduction adds the introducer, whose place the Debut has kept, and debuts to the introducee.
func (c *Core) receiveIntroduction(p *peer, m wire.Message) {
	if !c.solicited(p) {
		return
	}
	introducer, ok := c.entryOf(p, m, 2)
	if !ok {
		return
	}
	if !introducer.Record.Lists(c.self) {
		c.reject(RejectedMalformed)
		return
	}
	if !c.take(p, introducer.Record) {
		return
	}
	c.takeAddress(p, introducer.Address)
	c.addNeighbor(p, true)
	if len(m.Entries) == 2 {
		c.followEntry(p, m.Entries[1])
	}
}

// receivePass goes where it is sent, but not to the same place again within a minute, and not if nobody is missing by
// now: then others of our part were faster. The stream has then done what it was for: as long as it were up, its other
// end would not be asked again.
func (c *Core) receivePass(p *peer, m wire.Message) {
	if !c.solicited(p) {
		return
	}
	if len(m.Entries) != 1 || m.Entries[0].Record == nil {
		c.reject(RejectedMalformed)
		return
	}
	if t := c.soughtFor(p.key); t != nil {
		t.passed = true
	}
	if !p.neighbor && !p.answer && p.inFlight == 0 {
		p.guestUntil = c.now
	}
	for key, until := range c.passed {
		if !c.now.Before(until) {
			delete(c.passed, key)
		}
	}
	target := m.Entries[0].Record.Key
	if _, tried := c.passed[target]; tried || target == p.key || !c.short() && !c.misses() {
		return
	}
	if c.followEntry(p, m.Entries[0]) {
		c.passed[target] = c.now.Add(passedAgain)
	}
}

// solicited accepts an answer only where a Debut waits for one, and one answer for each.
func (c *Core) solicited(p *peer) bool {
	if d := c.outstanding[p.key]; d == nil || !d.sent {
		c.reject(RejectedUnsolicited)
		return false
	}
	delete(c.outstanding, p.key)
	if !p.neighbor {
		p.guestUntil = c.now.Add(guestTime)
	}
	return true
}

// followEntry debuts to the node that another one names.
func (c *Core) followEntry(p *peer, e wire.Entry) bool {
	if e.Record == nil || e.Address == nil || e.Record.Key == c.self || !c.take(p, e.Record) {
		return false
	}
	if !e.Address.Verify() {
		c.reject(RejectedSignature)
		return false
	}
	return c.follow(e.Record.Key, e.Address.At)
}

// receiveStandard merges what a neighbor tells. Only neighbors may: a stranger has to debut first. A node sends Standards
// only to those whom it lists, so a Standard in which its sender does not list us is its farewell, even if nothing was
// heard before of its ever having listed us.
func (c *Core) receiveStandard(p *peer, m wire.Message) {
	if !p.neighbor {
		c.reject(RejectedStranger)
		return
	}
	for _, e := range m.Entries {
		if e.Record == nil {
			continue
		}
		switch {
		case e.Address == nil:
		case e.Record.Key == p.key:
			c.takeAddress(p, e.Address)
		default: // we are not entitled to it
			c.reject(RejectedMisplaced)
		}
		c.take(p, e.Record)
		if p.neighbor && c.farewell(p, e.Record) {
			c.dropNeighbor(p, "neighbor left")
		}
		if !p.neighbor {
			return
		}
	}
}

// entryOf returns the sender's own entry, which must come first among at most limit.
func (c *Core) entryOf(p *peer, m wire.Message, limit int) (wire.Entry, bool) {
	if len(m.Entries) == 0 || len(m.Entries) > limit || m.Entries[0].Record == nil || m.Entries[0].Record.Key != p.key {
		c.reject(RejectedMalformed)
		return wire.Entry{}, false
	}
	return m.Entries[0], true
}

// takeAddress keeps where the peer itself says that it can be dialed, for as long as its stream is up.
func (c *Core) takeAddress(p *peer, a *wire.Address) {
	if a == nil || p.address != nil && p.address.Version >= a.Version {
		return
	}
	if !a.Verify() {
		c.reject(RejectedSignature)
		return
	}
	p.address = a
}

// delivered goes on with the next frame. A frame that failed has left a gap in what the stream carries: it is closed.
func (c *Core) delivered(e Delivered) {
	p := c.peers[e.Peer]
	if p == nil || p.inFlight != e.ID {
		return
	}
	p.inFlight = 0
	if e.Err != nil {
		c.hangUp(p, "gossip not written", e.Err)
		return
	}
	c.pump(p)
}

// scheduleRound has what changed told to the neighbors when the window is over.
func (c *Core) scheduleRound() {
	if c.roundAt.IsZero() {
		c.roundAt = c.now.Add(c.cfg.Window)
	}
}

// round sends each neighbor what it lacks, or notes that it is due when its stream is free again.
func (c *Core) round() {
	c.roundAt = time.Time{}
	if c.graphChanged {
		c.walk()
		c.look()
	}
	for _, key := range c.root.Neighbors {
		p := c.peers[key]
		p.due = p.due || len(p.pending) > 0
		c.pump(p)
	}
}
