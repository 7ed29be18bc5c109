package core

import (
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Settled makes a Core that has long been started and knows everything: each neighbor that root lists has its stream up,
// nothing is due, and nothing new has been heard for a while. It is where simulations of large networks begin.
// addresses are those of the neighbors.
func Settled(cfg Config, now time.Time, root *wire.Record, own *wire.Address,
	others []*wire.Record, addresses []*wire.Address,
) *Core {
	c := New(cfg)
	c.started, c.now, c.root, c.address, c.flags = true, now, root, own, root.Flags
	entries := make([]entry, len(others))
	c.records = make(map[identity.PublicKey]*entry, len(others))
	for i, r := range others {
		if r.Key != c.self {
			entries[i] = entry{record: r}
			c.records[r.Key] = &entries[i]
		}
	}
	for _, a := range addresses {
		c.peers[a.Key] = &peer{
			key: a.Key, neighbor: true, listedUs: true, address: a,
			pending: make(map[identity.PublicKey]struct{}),
		}
	}
	for _, t := range c.sought {
		t.reached, t.since = true, now
	}
	c.look()
	return c
}

// What follows is cheaper than View, for those who look after every step.

// Root is the own record, nil before Start.
func (c *Core) Root() *wire.Record { return c.root }

// Held is the record held of another node, nil if it is unknown.
func (c *Core) Held(key identity.PublicKey) *wire.Record {
	if e := c.records[key]; e != nil {
		return e.record
	}
	return nil
}

// Remembered are the last full neighbors, the newest first, beside those that are configured.
func (c *Core) Remembered() []Target { return c.remembered() }

// Known counts the records held of others.
func (c *Core) Known() int { return len(c.records) }

// Taken counts the records taken, new or changed, since the start.
func (c *Core) Taken() uint64 { return c.stats.Taken }

// Places counts the neighbors there are and those for whom a place is kept.
func (c *Core) Places() int {
	places := len(c.root.Neighbors)
	for key := range c.outstanding {
		if !c.root.Lists(key) {
			places++
		}
	}
	return places
}
