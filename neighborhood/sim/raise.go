package sim

import (
	"context"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// raise makes the network that the rest happens to.
func (s *simulation) raise(ctx context.Context) {
	if s.cfg.Nodes > grownUpTo || s.cfg.Settled {
		s.raiseSettled()
		return
	}
	s.measure(ctx, "grow", func() {
		begin := s.now
		for i := range s.cfg.Nodes {
			n := s.newNode()
			n.byzantine = i > 0 && i <= s.cfg.Byzantine
			n.targets = s.drawTargets(i)
			s.at(begin, func() { s.start(n) })
			begin = begin.Add(s.between(0, 2*time.Second))
		}
	})
	s.checkEveryoneHasSomebody()
}

// drawTargets configures a newcomer with one of those before it, and sometimes with two.
func (s *simulation) drawTargets(before int) []core.Target {
	if before == 0 {
		return nil
	}
	if s.cfg.Hub != NoHub {
		return []core.Target{s.nodes[0].target()}
	}
	first := s.rng.IntN(before)
	targets := []core.Target{s.nodes[first].target()}
	if second := s.rng.IntN(before); second != first && s.rng.IntN(5) == 0 {
		targets = append(targets, s.nodes[second].target())
	}
	return targets
}

func (n *node) target() core.Target { return core.Target{Key: n.key, Address: n.at.String()} }

// raiseSettled makes a connected network of random neighborships that has nothing more to say.
func (s *simulation) raiseSettled() {
	for i := range s.cfg.Nodes {
		s.newNode().byzantine = i > 0 && i <= s.cfg.Byzantine
	}
	neighbors := s.drawGraph()
	records := make([]*wire.Record, len(s.nodes))
	addresses := make([]*wire.Address, len(s.nodes))
	for i, n := range s.nodes {
		var list []identity.PublicKey
		for _, j := range neighbors[i] {
			list = append(list, s.nodes[j].key)
		}
		slices.SortFunc(list, identity.PublicKey.Compare)
		version := uint64(s.now.Add(-time.Hour).UnixMilli())
		records[i] = wire.SignRecord(n.id, version, wire.AcceptsConnections, list)
		addresses[i] = wire.SignAddress(n.id, version, n.at)
		n.says(records[i])
	}
	for i, n := range s.nodes {
		n.targets = []core.Target{s.nodes[neighbors[i][0]].target()}
		if s.cfg.Hub != NoHub {
			n.targets = s.drawTargets(i)
		}
		var theirs []*wire.Address
		for _, j := range neighbors[i] {
			theirs = append(theirs, addresses[j])
			if i < j {
				s.join(n, s.nodes[j])
			}
		}
		n.core = core.Settled(s.coreConfig(n), s.now.Add(n.skew), records[i], addresses[i], records, theirs)
	}
	s.now = s.now.Add(time.Minute)
}

// join is a stream that both ends know of already.
func (s *simulation) join(a, b *node) {
	l := &link{ends: [2]*node{a, b}, latency: s.between(time.Millisecond, 80*time.Millisecond)}
	s.links[pairOf(a, b)] = l
	a.links[b.key], b.links[a.key] = l, l
}

// drawGraph draws a ring with random chords: four neighbors each on the average, five at most.
func (s *simulation) drawGraph() [][]int {
	neighbors := make([][]int, len(s.nodes))
	connect := func(i, j int) {
		neighbors[i] = append(neighbors[i], j)
		neighbors[j] = append(neighbors[j], i)
	}
	for i := range s.nodes {
		connect(i, (i+1)%len(s.nodes))
	}
	for range len(s.nodes) {
		i, j := s.rng.IntN(len(s.nodes)), s.rng.IntN(len(s.nodes))
		room := len(neighbors[i]) < wire.MaxDegree && len(neighbors[j]) < wire.MaxDegree
		if i != j && room && !slices.Contains(neighbors[i], j) {
			connect(i, j)
		}
	}
	return neighbors
}
