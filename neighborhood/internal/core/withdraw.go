package core

import (
	"errors"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Farewell is what became of the one message to one neighbor.
type Farewell struct {
	Neighbor identity.PublicKey
	Done     bool
	Took     time.Duration // from the beginning of the withdrawal
	Err      error         // nil, once Done: it was written
}

// ErrGapBefore says that a farewell was not sent because the frame under way before it failed.
var ErrGapBefore = errors.New("the frame before it was not written")

type withdrawal struct {
	began     time.Time
	frame     []byte
	farewells []Farewell // the neighbors there were, ascending
	sent      map[uint64]bool
}

// withdraw leaves. The neighbors are listed before anything changes; then all half-neighborships go in one step, under
// one version and one signature, and each neighbor on the list is sent exactly one Standard. It carries the own record
// alone: whatever else a neighbor lacks, the others of its component have. A frame under way is waited for.
func (c *Core) withdraw() {
	w := &withdrawal{began: c.now, sent: make(map[uint64]bool)}
	for _, key := range c.root.Neighbors {
		w.farewells = append(w.farewells, Farewell{Neighbor: key})
	}
	c.withdrawal = w
	c.root = wire.SignRecord(c.cfg.Identity, c.root.Version+1, c.root.Flags, nil)
	w.frame = wire.Message{Kind: wire.Standard, Entries: []wire.Entry{{Record: c.root}}}.Encode()
	for _, f := range w.farewells {
		if p := c.peers[f.Neighbor]; p.inFlight == 0 {
			c.sendFarewell(p)
		}
	}
	c.out.Withdrawn = w.over()
}

func (c *Core) sendFarewell(p *peer) {
	c.deliver(p, wire.Standard, c.withdrawal.frame)
	c.withdrawal.sent[p.inFlight] = true
}

// whileWithdrawing listens to nothing but how the frames end. A stream that goes down ends its frame with an error.
func (c *Core) whileWithdrawing(happened Event) {
	switch e := happened.(type) {
	case Frame:
		c.reject(RejectedWithdrawing)
	case Delivered:
		c.farewellDelivered(e)
	}
}

func (c *Core) farewellDelivered(e Delivered) {
	w := c.withdrawal
	p := c.peers[e.Peer]
	i := slices.IndexFunc(w.farewells, func(f Farewell) bool { return f.Neighbor == e.Peer })
	if i < 0 || w.farewells[i].Done || p.inFlight != e.ID {
		return
	}
	if !w.sent[e.ID] && e.Err == nil {
		c.sendFarewell(p)
		return
	}
	if !w.sent[e.ID] {
		e.Err = errors.Join(ErrGapBefore, e.Err)
	}
	w.farewells[i] = Farewell{Neighbor: e.Peer, Done: true, Took: c.now.Sub(w.began), Err: e.Err}
	c.out.Withdrawn = w.over()
}

func (w *withdrawal) over() bool {
	return !slices.ContainsFunc(w.farewells, func(f Farewell) bool { return !f.Done })
}
