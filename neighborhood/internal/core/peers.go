package core

import (
	"errors"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// peer is one stream that is up. Everything remembered here ends with the stream.
type peer struct {
	key      identity.PublicKey
	neighbor bool // root lists it
	listedUs bool // since it is a neighbor, it has listed us
	address  *wire.Address
	kept     *wire.Address // the address that is remembered
	shown    int           // introducees, for taking turns

	inFlight uint64 // the ID of the Delivery under way; 0: free
	debut    bool   // a Debut is to be sent
	answer   bool   // its Debut is to be answered
	due      bool   // a Standard is to be sent
	// pending names the records that this stream has not carried, from the peer or to it, in the version that is held.
	// A stream is ordered and reliable, so the difference is exact, and it is computed only when a frame is made of it.
	pending map[identity.PublicKey]struct{}

	debutAt    time.Time // when its last Debut was answered
	guestUntil time.Time // zero for neighbors, and for whom a Debut is outstanding
}

func (c *Core) peerUp(key identity.PublicKey) {
	if c.peers[key] != nil {
		c.peerDown(key)
	}
	if key == c.self {
		return
	}
	p := &peer{key: key, pending: make(map[identity.PublicKey]struct{}), guestUntil: c.now.Add(guestTime)}
	c.peers[key] = p
	if c.outstanding[key] != nil || c.wantsNow(key) {
		c.sendDebut(p)
	}
}

// peerDown also is what a stream that dies without a farewell means: the half-neighborship is dropped, in one round. If
// the peer has said farewell before, nothing is left to change.
func (c *Core) peerDown(key identity.PublicKey) {
	p := c.peers[key]
	if p == nil {
		return
	}
	delete(c.peers, key)
	delete(c.outstanding, key)
	if p.neighbor {
		c.dropNeighbor(p, "neighbor lost")
	}
	if t := c.soughtFor(key); t != nil && !t.reached {
		t.postpone(c.now, c.self) // and not at once, while the old stream is still being closed
	}
}

// hangUp ends a stream from here. What the network says of it afterwards finds no peer and changes nothing.
func (c *Core) hangUp(p *peer, why string, err error) {
	c.out.Remove = append(c.out.Remove, p.key)
	c.note(why, p.key, err)
	c.peerDown(p.key)
}

// room reports whether key may become a neighbor: half-neighborships and outstanding Debuts together stay within the
// degree. A Debut to key itself has its place already.
func (c *Core) room(key identity.PublicKey) bool {
	taken := 0
	for _, n := range c.root.Neighbors {
		if n == key {
			return true
		}
		if c.outstanding[n] == nil {
			taken++
		}
	}
	if c.outstanding[key] != nil {
		return true
	}
	return taken+len(c.outstanding) < wire.MaxDegree
}

func (c *Core) addNeighbor(p *peer, listsUs bool) {
	p.listedUs = p.listedUs && p.neighbor || listsUs
	if p.neighbor {
		return
	}
	p.neighbor, p.guestUntil = true, time.Time{}
	for key, e := range c.records {
		if key != p.key && e.isolated == 0 {
			p.pending[key] = struct{}{}
		}
	}
	c.waitForNews()
	c.seal(c.root.Version+1, insert(c.root.Neighbors, p.key))
	c.note("neighbor joined", p.key, nil)
}

func (c *Core) dropNeighbor(p *peer, why string) {
	p.neighbor, p.listedUs, p.answer, p.due = false, false, false, false
	p.guestUntil = c.now.Add(guestTime)
	clear(p.pending)
	delete(c.outstanding, p.key) // an answer that is under way was given before
	c.seal(c.root.Version+1, remove(c.root.Neighbors, p.key))
	c.note(why, p.key, nil)
	c.fell()
}

// seal signs the own record anew and has it told to everybody it lists.
func (c *Core) seal(version uint64, neighbors []identity.PublicKey) {
	c.root = wire.SignRecord(c.cfg.Identity, version, c.flags, neighbors)
	for _, key := range neighbors {
		c.peers[key].pending[c.self] = struct{}{}
	}
	c.noteChange()
	c.scheduleRound()
}

var errSilent = errors.New("it is no neighbor and nothing is expected of it")

// expireGuests closes the streams that lead to no neighborship: passed on, never introduced, gone quiet after leaving.
func (c *Core) expireGuests() {
	for _, p := range c.peersInOrder() {
		if p.guestUntil.IsZero() || c.now.Before(p.guestUntil) || c.outstanding[p.key] != nil {
			continue
		}
		c.hangUp(p, "stream closed", errSilent)
	}
}

// peersInOrder makes the order of what is done to several peers the same in every run.
func (c *Core) peersInOrder() []*peer {
	all := make([]*peer, 0, len(c.peers))
	for _, p := range c.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *peer) int { return a.key.Compare(b.key) })
	return all
}

// insert and remove leave the given list alone: records are immutable.
func insert(list []identity.PublicKey, key identity.PublicKey) []identity.PublicKey {
	at, found := slices.BinarySearchFunc(list, key, identity.PublicKey.Compare)
	if found {
		return list
	}
	return slices.Insert(slices.Clone(list), at, key)
}

func remove(list []identity.PublicKey, key identity.PublicKey) []identity.PublicKey {
	return slices.DeleteFunc(slices.Clone(list), func(k identity.PublicKey) bool { return k == key })
}
