package fsm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// plain is what a core knows about its graph, without where the edges are kept.
func (c *core) plain() string {
	var text string
	for i := range c.nodes {
		var next, prev []int
		for _, e := range c.graph.next[i] {
			next = append(next, e.of)
			if back := c.graph.prev[e.of][e.at]; back.of != i || c.graph.next[i][back.at] != e {
				text += fmt.Sprintf("the edge %d to %d does not lead back; ", i, e.of)
			}
		}
		for _, e := range c.graph.prev[i] {
			prev = append(prev, e.of)
		}
		slices.Sort(next)
		slices.Sort(prev)
		text += fmt.Sprintln(i, c.graph.traits[i], c.nodes[i], next, prev)
	}
	slices.Sort(c.graph.leavers)
	slices.Sort(c.graph.lasts)
	return text + fmt.Sprintln(c.unacked, c.early, c.leaving, c.graph.leavers, c.graph.lasts, c.graph.startup, c.graph.departed)
}

// A core from which some have gone is the core in which they never were.
func TestRemovedIsAsIfNeverAdded(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0))
		n := 1 + random.IntN(12)
		kept := make([]bool, n)
		traitsOf := make([]traits, n)
		edges := map[[2]int]bool{}
		for i := range n {
			kept[i] = random.IntN(2) == 0
			traitsOf[i] = traits{withdraws: random.IntN(3) == 0, quiesces: random.IntN(3) == 0}
			if !traitsOf[i].withdraws {
				traitsOf[i].strict, traitsOf[i].last = random.IntN(3) == 0, random.IntN(3) == 0
			}
			for j := range i {
				edges[[2]int{j, i}] = random.IntN(3) == 0
			}
		}
		build := func(with func(int) bool) (core, []int) {
			c, index := newCore(), make([]int, n)
			for i := range n {
				if !with(i) {
					continue
				}
				index[i] = len(c.nodes)
				var prev []int
				for j := range i {
					if edges[[2]int{j, i}] && with(j) {
						prev = append(prev, index[j])
					}
				}
				c.add(traitsOf[i], prev, nil)
			}
			return c, index
		}
		all, _ := build(func(int) bool { return true })
		for _, i := range random.Perm(n) {
			if !kept[i] {
				all.remove(i)
			}
		}
		to := all.compact()
		want, index := build(func(i int) bool { return kept[i] })
		if all.plain() != want.plain() {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, all.plain(), want.plain())
		}
		for i := range n {
			if kept[i] && to[i] != index[i] || !kept[i] && to[i] != nobody {
				t.Fatalf("seed %d: %d has moved to %d", seed, i, to[i])
			}
		}
	}
}
