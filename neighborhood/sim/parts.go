package sim

import (
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
)

// anchors are the nodes that a node must be able to reach: by its configuration, or because it remembers them.
func (n *node) anchors() []core.Target {
	return slices.Concat(n.targets, n.core.Remembered())
}

// forest is a union-find over the nodes, by number.
type forest []int

func (f forest) root(i int) int {
	for f[i] != i {
		f[i] = f[f[i]]
		i = f[i]
	}
	return i
}

func (f forest) join(a, b *node) { f[f.root(a.number)] = f.root(b.number) }

// trees counts those that honest nodes are in.
func (f forest) trees(all []*node) int {
	roots := make(map[int]bool)
	for _, n := range all {
		if n.honest() {
			roots[f.root(n.number)] = true
		}
	}
	return len(roots)
}

// parts counts the parts that full neighborships leave the honest nodes in, and how many there have to be: nodes that
// are configured with each other or remember each other, and can dial each other, need not be in different ones. A liar
// connects those who list it.
func (s *simulation) parts() (are, must int) {
	f := make(forest, len(s.nodes))
	for i := range f {
		f[i] = i
	}
	for _, n := range s.nodes {
		if !n.alive || n.withdrawing || n.core == nil {
			continue
		}
		for _, key := range n.core.Root().Neighbors {
			other := s.byKey[key]
			if other.honest() && other.core.Root().Lists(n.key) || other.byzantine && (n.byzantine || n.honest()) {
				f.join(n, other)
			}
		}
	}
	are = f.trees(s.nodes)
	for _, n := range s.nodes {
		if !n.honest() {
			continue
		}
		for _, t := range n.anchors() {
			if other := s.byKey[t.Key]; other.honest() && !s.blocked[pairOf(n, other)] {
				f.join(n, other)
			}
		}
	}
	return are, f.trees(s.nodes)
}

func (s *simulation) inNeedlessParts() bool {
	are, must := s.parts()
	return are > must
}

func (s *simulation) checkWhole() {
	if are, must := s.parts(); are > must {
		s.violate("whole", "%s: %d parts, which %d need be", s.tally.event.Name, are, must)
	}
}

// partsSeen is how exactly it is known when a network is whole.
const partsSeen = 50 * time.Millisecond

// lookAtParts looks into how many parts the network is in, soon after something has changed.
func (s *simulation) lookAtParts() {
	if s.looking {
		return
	}
	s.looking = true
	s.after(partsSeen, func() {
		s.looking = false
		parted := s.inNeedlessParts()
		if s.tally.parted && !parted {
			s.tally.whole = s.now
		}
		s.tally.parted = parted
	})
}
