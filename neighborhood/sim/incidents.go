package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
)

// incident is one thing that happens to the network.
type incident struct {
	name string
	do   func()
}

// plan draws what happens in which order. Some incidents come on the heels of others: these are measured together.
func (s *simulation) plan() [][]incident {
	var all []incident
	add := func(times int, name string, do func()) {
		for range times {
			all = append(all, incident{name, do})
		}
	}
	add(s.cfg.Leavers, "leave", s.leave)
	add(s.cfg.Crashers, "crash", s.crash)
	add(s.cfg.Killed, "kill", s.kill)
	add(s.cfg.Byzantine, "lie", s.lie)
	for range s.cfg.Faults {
		fault := []incident{{"stall", s.stall}, {"break", s.breakLink}, {"part", s.part}}[s.rng.IntN(3)]
		all = append(all, fault)
	}
	s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var groups [][]incident
	for _, i := range all {
		if len(groups) > 0 && (s.cfg.Pace != Apart || s.rng.IntN(3) == 0) {
			groups[len(groups)-1] = append(groups[len(groups)-1], i)
		} else {
			groups = append(groups, []incident{i})
		}
	}
	return groups
}

// happen has a group of incidents happen, each soon after the one before, lets the network settle, and checks it.
func (s *simulation) happen(ctx context.Context, group []incident) {
	s.measure(ctx, nameOf(group), func() {
		when := s.now
		for _, one := range group {
			s.at(when, one.do)
			if s.cfg.Pace != Once {
				when = when.Add(s.between(0, 1500*time.Millisecond))
			}
		}
	})
}

// fewNames is how many incidents are named one by one.
const fewNames = 6

func nameOf(group []incident) string {
	var names []string
	count := make(map[string]int)
	for _, one := range group {
		names = append(names, one.name)
		count[one.name]++
	}
	if len(names) > fewNames {
		names = names[:0]
		for _, name := range slices.Sorted(maps.Keys(count)) {
			names = append(names, fmt.Sprintf("%d %s", count[name], name))
		}
	}
	return strings.Join(names, "+")
}

// draw draws one of the honest nodes that are there.
func (s *simulation) draw() *node {
	var there []*node
	for _, n := range s.nodes {
		if n.alive && !n.withdrawing && !n.byzantine && n.core != nil {
			there = append(there, n)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return there[s.rng.IntN(len(there))]
}

// drawToGo draws one that leaves, crashes or is killed.
func (s *simulation) drawToGo() *node {
	hub := s.nodes[0]
	n := s.draw()
	switch {
	case s.cfg.Hub == HubGoes && hub.honest():
		n = hub
	case s.cfg.Hub == HubStays && n == hub:
		n = s.drawLast()
	}
	if n != nil {
		s.tally.lastGone = s.now
	}
	return n
}

// drawLast takes the youngest that is there, beside the hub.
func (s *simulation) drawLast() *node {
	for _, n := range slices.Backward(s.nodes[1:]) {
		if n.honest() {
			return n
		}
	}
	return nil
}

func (s *simulation) drawLink() *link {
	n := s.draw()
	if n == nil || len(n.links) == 0 {
		return nil
	}
	links := n.peers()
	return links[s.rng.IntN(len(links))]
}

// leave is a node that withdraws. What is not written when its time is over has failed.
func (s *simulation) leave() {
	n := s.drawToGo()
	if n == nil {
		return
	}
	n.withdrawing = true
	n.dismissing = n.core.Root().Neighbors
	s.tally.event.Neighbors += len(n.dismissing)
	s.tally.event.Naive += len(n.dismissing) * (len(n.dismissing) - 1) / 2
	s.step(n, core.Withdraw{})
	life := n.life
	s.after(farewellTimeout, func() {
		for _, l := range n.dismissing {
			for _, d := range n.underWay {
				if d.Peer == l {
					s.giveUp(n, life, d)
				}
			}
		}
	})
}

// gone is the end of a withdrawal: the process ends, and its streams with it.
func (s *simulation) gone(n *node) {
	s.checkWithdrawal(n)
	for _, l := range n.peers() {
		s.shut(l, n)
	}
	n.alive = false
	s.tally.lastGone = s.now
	s.lookAtParts()
}

// kill is a node that vanishes for good.
func (s *simulation) kill() {
	if n := s.drawToGo(); n != nil {
		s.vanish(n)
	}
}

// vanish leaves nothing behind but what is remembered beside the key.
func (s *simulation) vanish(n *node) {
	for _, l := range n.peers() {
		s.sever(l)
	}
	n.alive = false
	n.remembered = n.core.Remembered()
	n.reset()
	s.lookAtParts()
}

// crash is a node that vanishes. Every second one comes back under its old key, with its clock set back, mostly: its
// first record then is older than those that others hold of it.
func (s *simulation) crash() {
	n := s.drawToGo()
	if n == nil {
		return
	}
	s.vanish(n)
	if s.rng.IntN(2) == 0 {
		return
	}
	s.after(s.between(0, 20*time.Second), func() {
		n.alive = true
		n.skew = s.between(-time.Hour, time.Minute)
		if len(n.targets) == 0 {
			n.targets = s.drawTargets(len(s.nodes))
			n.targets = withoutKey(n.targets, n)
		}
		s.start(n)
	})
}

func withoutKey(targets []core.Target, n *node) []core.Target {
	var others []core.Target
	for _, t := range targets {
		if t.Key != n.key {
			others = append(others, t)
		}
	}
	return others
}

// stall is a node that does not read what one other sends: for a moment, or for longer than anybody waits.
func (s *simulation) stall() {
	if l := s.drawLink(); l != nil {
		l.stalled[s.rng.IntN(2)] = s.now.Add(s.between(0, 20*time.Second))
	}
}

// breakLink ends a stream, and the two cannot dial each other for a while.
func (s *simulation) breakLink() {
	l := s.drawLink()
	if l == nil {
		return
	}
	p := pairOf(l.ends[0], l.ends[1])
	s.sever(l)
	s.blocked[p] = true
	s.after(s.between(0, time.Minute), func() { s.unblock(p) })
}

// part cuts the network in two, which heal after a while.
func (s *simulation) part() {
	here := make(map[*node]bool)
	for _, n := range s.nodes {
		here[n] = s.rng.IntN(2) == 0
	}
	var cut []pair
	for i, a := range s.nodes {
		for _, b := range s.nodes[i+1:] {
			p := pairOf(a, b)
			if here[a] == here[b] || s.blocked[p] {
				continue
			}
			s.blocked[p] = true
			cut = append(cut, p)
			if l := s.links[p]; l != nil {
				s.sever(l)
			}
		}
	}
	s.after(s.between(0, longestFault), func() { s.unblock(cut...) })
}

// longestFault is how long two nodes may be unable to dial each other.
const longestFault = 2 * time.Minute

func (s *simulation) unblock(pairs ...pair) {
	for _, p := range pairs {
		delete(s.blocked, p)
	}
	s.lookAtParts()
}
