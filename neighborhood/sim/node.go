package sim

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// window is a Neighborhood's.
const window = 20 * time.Millisecond

// node is one process of the network: a core, its streams, and what the checks need to know of it.
type node struct {
	number      int
	id          *identity.Identity
	key         identity.PublicKey
	at          netip.AddrPort
	core        *core.Core
	life        int           // counts restarts: what was meant for a former life is lost
	skew        time.Duration // of its clock
	alive       bool
	withdrawing bool
	byzantine   bool
	targets     []core.Target
	remembered  []core.Target // by a former life
	wake        time.Time
	links       map[identity.PublicKey]*link
	underWay    map[uint64]core.Delivery

	said       []*wire.Record             // every record it has signed, over all its lives
	debuted    map[identity.PublicKey]int // to whom, and how many answers may come
	named      map[identity.PublicKey]int // by these answers, and how often it may be dialed
	farewells  map[identity.PublicKey]int // messages sent while withdrawing
	dismissing []identity.PublicKey       // the neighbors it had when it withdrew
}

// newNode makes a node; its key and its address follow from the seed and its number.
func (s *simulation) newNode() *node {
	number := len(s.nodes)
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], s.cfg.Seed)
	binary.BigEndian.PutUint64(seed[8:], uint64(number))
	id := identity.FromSeed(seed)
	n := &node{
		number: number, id: id, key: id.PublicKey(), alive: true,
		at: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(number >> 8), byte(number)}), 4000),
	}
	n.skew = s.between(-time.Minute, time.Minute)
	n.reset()
	s.nodes = append(s.nodes, n)
	s.byKey[n.key] = n
	return n
}

// reset forgets what a process forgets when it ends. What it has said others remember.
func (n *node) reset() {
	n.life++
	n.wake = time.Time{}
	n.links = make(map[identity.PublicKey]*link)
	n.underWay = make(map[uint64]core.Delivery)
	n.debuted = make(map[identity.PublicKey]int)
	n.named = make(map[identity.PublicKey]int)
	n.farewells = make(map[identity.PublicKey]int)
}

// says notes a record that the node has signed, and reports whether it is a new one.
func (n *node) says(r *wire.Record) bool {
	if n.hasSaid(r) {
		return false
	}
	n.said = append(n.said, r)
	return true
}

func (n *node) hasSaid(r *wire.Record) bool {
	for _, said := range slices.Backward(n.said) { // mostly it is the last
		if said.Compare(r) == 0 {
			return true
		}
	}
	return false
}

func (s *simulation) coreConfig(n *node) core.Config {
	return core.Config{
		Identity: n.id, Neighbors: n.targets, Remembered: n.remembered, Window: window, MaxRecords: s.maxRecords(),
		Verify: s.verify,
	}
}

// verify knows the signatures that were seen when they were made: most of the time of a simulation would go into
// checking each of them in every core.
func (s *simulation) verify(r *wire.Record) bool {
	owner := s.byKey[r.Key]
	return owner != nil && owner.hasSaid(r) || r.Verify()
}

// maxRecords leaves little more than the network needs, so that floods meet the bound.
func (s *simulation) maxRecords() int { return s.cfg.Nodes + 50 }

// start begins a life: the node knows nothing but whom to debut to.
func (s *simulation) start(n *node) {
	n.core = core.New(s.coreConfig(n))
	s.step(n, core.Start{At: n.at})
}

// step has something happen to a node, and what follows from it to the network.
func (s *simulation) step(n *node, happened core.Event) {
	if !n.alive {
		return
	}
	if f, ok := happened.(core.Frame); ok {
		s.heard(n, f)
	}
	taken := n.core.Taken()
	out := n.core.Step(s.now.Add(n.skew), happened)
	if n.core.Taken() != taken {
		s.tally.lastTaken = s.now
	}
	s.saw(n, out)
	if f, ok := happened.(core.Frame); ok {
		s.checkHeeded(n, f)
	}
	for _, d := range out.Deliver {
		s.deliver(n, d)
	}
	for _, t := range out.Dial {
		s.dial(n, t.Key)
	}
	for _, key := range out.Remove {
		if l := n.links[key]; l != nil {
			s.shut(l, n)
		}
	}
	if out.Withdrawn {
		s.gone(n)
		return
	}
	if !out.Wake.IsZero() {
		s.wakeAt(n, out.Wake.Add(-n.skew))
	}
}

func (s *simulation) wakeAt(n *node, when time.Time) {
	if when.Equal(n.wake) {
		return
	}
	if when.Before(s.now) {
		when = s.now
	}
	n.wake = when
	life := n.life
	s.at(when, func() {
		if n.life == life && n.wake.Equal(when) {
			n.wake = time.Time{}
			s.step(n, core.Tick{})
		}
	})
}

// peers are the other ends of its streams, in order.
func (n *node) peers() []*link {
	all := make([]*link, 0, len(n.links))
	for _, l := range n.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *link) int { return a.other(n).number - b.other(n).number })
	return all
}
