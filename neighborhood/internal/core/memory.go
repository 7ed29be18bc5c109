package core

import (
	"slices"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
)

// maxRemembered bounds how many full neighbors are remembered when they are no neighbors any more.
const maxRemembered = 20

// rememberNeighbors keeps the addresses of the full neighbors, which they have shown themselves. They are dialed when
// nobody else leads back to them.
func (c *Core) rememberNeighbors() {
	changed := false
	for _, key := range c.root.Neighbors {
		p := c.peers[key]
		if !p.listedUs || p.address == nil || p.kept == p.address || !c.mayDial(p.address.At) {
			continue
		}
		p.kept = p.address
		changed = c.remember(Target{Key: key, Address: p.address.At.String()}) || changed
	}
	if changed {
		c.out.Remember = c.remembered()
	}
}

// remember puts a neighbor before those remembered longer, and forgets the last of these if there are too many.
func (c *Core) remember(target Target) bool {
	t := c.soughtFor(target.Key)
	if t != nil && t.configured {
		return false
	}
	if t == nil {
		t = newSought(target, false)
	}
	t.Target, t.left = target, false
	c.found(t, true)
	c.sought = slices.DeleteFunc(c.sought, func(other *sought) bool { return other == t })
	first := slices.IndexFunc(c.sought, func(other *sought) bool { return !other.configured })
	if first < 0 {
		first = len(c.sought)
	}
	c.sought = slices.Insert(c.sought, first, t)
	for i := len(c.sought) - 1; len(c.sought)-first > maxRemembered; i-- {
		if !c.root.Lists(c.sought[i].Key) {
			c.sought = slices.Delete(c.sought, i, i+1)
		}
	}
	return true
}

func (c *Core) remembered() []Target {
	all := []Target{}
	for _, t := range c.sought {
		if !t.configured {
			all = append(all, t.Target)
		}
	}
	return all
}

// heedLeave looks in a new record for a farewell. Who has left politely is not dialed on account of having been a
// neighbor once, until it is heard of again.
func (c *Core) heedLeave(r, before *wire.Record) {
	t := c.soughtFor(r.Key)
	switch {
	case t == nil:
	case len(r.Neighbors) == 0:
		t.left = t.left || before != nil && len(before.Neighbors) > 0
	case t.left:
		t.left = false
		if !t.reached {
			t.since = c.now
		}
	}
}
