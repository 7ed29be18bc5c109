package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// tried is a core with what it has said so far.
type tried struct {
	core
	asks     []int // how often each member was asked
	outcomes []int // how many outcomes each had
}

func newTried(n, atOnce, maxFailed int, back bool) *tried {
	return &tried{newCore(atOnce, maxFailed, back, make([]InstanceState, n)), make([]int, n), make([]int, n)}
}

func (t *tried) clone() *tried {
	c := *t
	c.members, c.asks, c.outcomes = slices.Clone(t.members), slices.Clone(t.asks), slices.Clone(t.outcomes)
	return &c
}

// triedKey is what makes one of at most two members another one than before.
type triedKey struct {
	members        [2]member
	asks, outcomes [2]int
	next, failed   int
	held           bool
	stopped        stop
}

func (t *tried) key() (k triedKey) {
	copy(k.members[:], t.members)
	copy(k.asks[:], t.asks)
	copy(k.outcomes[:], t.outcomes)
	k.next, k.failed, k.held, k.stopped = t.next, t.failed, t.held, t.stopped
	return k
}

// feed applies one input, and says what must not have happened.
func (t *tried) feed(in input) error {
	was := t.clone()
	for _, e := range t.apply(in) {
		state := t.members[e.who].state
		switch e.kind {
		case toAsk:
			t.asks[e.who]++
			switch {
			case was.stopped != notStopped || t.stopped != notStopped:
				return fmt.Errorf("%d is asked after it was stopped", e.who)
			case !t.held:
				return fmt.Errorf("%d is asked without the lease", e.who)
			case t.asks[e.who] > 1:
				return fmt.Errorf("%d is asked twice", e.who)
			case e.who > 0 && slices.ContainsFunc(t.members[:e.who], func(m member) bool { return m.state == Waiting }):
				return fmt.Errorf("%d is asked before one that is before it", e.who)
			}
		case toRecord:
			t.outcomes[e.who]++
			if !state.recorded() || state == Gone && in.kind == leftAlone && t.asks[e.who] > 0 {
				return fmt.Errorf("%d is written down as %s", e.who, state)
			}
		case toSkip:
			t.outcomes[e.who]++
			if state != Skipped {
				return fmt.Errorf("%d is skipped, and %s", e.who, state)
			}
		}
	}
	return t.check(was)
}

// check compares the counters with what they count.
func (t *tried) check(was *tried) error {
	waiting, busy, out, failed := 0, 0, 0, 0
	for i, m := range t.members {
		if m.state == Waiting {
			waiting++
		}
		if m.state == Asked || m.state == Away || m.recording {
			busy++
		}
		if m.place {
			out++
		}
		if m.state.failure() {
			failed++
		}
		asked := m.state == Asked || m.state == Away || m.away || m.recording && t.asks[i] > 0
		if asked != m.place {
			return fmt.Errorf("%d takes a place: %v; %+v", i, m.place, m)
		}
		if ended := m.state.recorded() || m.state == Skipped; ended != (t.outcomes[i] == 1) {
			return fmt.Errorf("%d is %s with %d outcomes", i, m.state, t.outcomes[i])
		}
		if before := was.members[i].state; (before.recorded() && !m.state.recorded() || before == Skipped) && m.state != before {
			return fmt.Errorf("%d was %s, and is %s", i, before, m.state)
		}
	}
	switch {
	case waiting != t.waiting || busy != t.busy || out != t.out || failed != t.failed:
		return fmt.Errorf("it counts %d waiting, %d busy, %d out, %d failed: %d, %d, %d, %d", t.waiting, t.busy, t.out, t.failed, waiting, busy, out, failed)
	case out > t.atOnce:
		return fmt.Errorf("%d are out, of at most %d", out, t.atOnce)
	case failed > t.maxFailed && t.stopped == notStopped:
		return fmt.Errorf("%d have failed, and it goes on", failed)
	case was.stopped != notStopped && t.stopped != was.stopped:
		return fmt.Errorf("it was stopped for another reason")
	case t.stopped != notStopped && waiting > 0:
		return fmt.Errorf("it was stopped, and %d wait", waiting)
	case t.held && t.stopped == notStopped && out < t.atOnce && waiting > 0:
		return fmt.Errorf("a place is free, and nobody is asked")
	case t.over() && slices.Contains(t.outcomes, 0):
		return fmt.Errorf("it is over, and not everybody has an outcome")
	case t.over() && out > 0: // the next drain of the group would have more away than may be
		return fmt.Errorf("it is over, and %d are out", out)
	}
	return nil
}

func inputs(n int) (all []input) {
	all = append(all, input{kind: leaseHeld}, input{kind: leaseDoubtful}, input{kind: stopping, stop: interrupted}, input{kind: stopping, stop: leaseLost})
	for who := range n {
		for kind := departed; kind <= recorded; kind++ {
			for v := leftWell; v <= fellSilent; v++ {
				if in := (input{kind: kind, who: who, verdict: v}); kind == answered || v == leftWell || kind == leftAlone && v == leftBadly {
					all = append(all, in)
				}
			}
		}
	}
	return all
}

// TestCoreExhaustively tries everything that can happen, in every order, to up to
// two instances.
func TestCoreExhaustively(t *testing.T) {
	t.Parallel()
	states := 0
	for _, size := range []struct{ n, atOnce, maxFailed int }{{0, 1, 0}, {1, 1, 0}, {2, 1, 0}, {2, 1, 1}, {2, 2, 1}} {
		for _, back := range []bool{false, true} {
			seen := map[triedKey]bool{}
			first := newTried(size.n, size.atOnce, size.maxFailed, back)
			all := inputs(size.n)
			for queue := []*tried{first}; len(queue) > 0; {
				at := queue[len(queue)-1]
				queue = queue[:len(queue)-1]
				for _, in := range all {
					next := at.clone()
					if err := next.feed(in); err != nil {
						t.Fatalf("%+v, back %v: after %+v in %+v: %v", size, back, in, at, err)
					}
					if key := next.key(); !seen[key] {
						seen[key] = true
						queue = append(queue, next)
					}
				}
			}
			states += len(seen)
		}
	}
	t.Logf("%d states", states)
}

// TestCoreAtRandom has larger groups leave in a world in which what is asked is
// answered some time, and checks that it always comes to an end.
func TestCoreAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 7))
		n := random.IntN(40)
		c := newTried(n, 1+random.IntN(8), random.IntN(6), random.IntN(2) == 0)
		all := inputs(n)
		err := c.feed(input{kind: leaseHeld})
		for step := 0; err == nil && !c.over(); step++ {
			in := all[random.IntN(len(all))]
			if in.kind == stopping && random.IntN(50) > 0 {
				continue
			}
			if err = c.feed(in); step > 100_000 {
				err = fmt.Errorf("it does not end: %+v", c)
			}
			if random.IntN(4) == 0 { // the lease comes back
				err = c.feed(input{kind: leaseHeld})
			}
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// One that has failed keeps its place until it is back, and is a failure at once.
func TestCoreWhoHasFailedIsAwayToo(t *testing.T) {
	t.Parallel()
	c := newCore(1, 5, true, make([]InstanceState, 2))
	c.apply(input{kind: leaseHeld})
	c.apply(input{kind: answered, who: 0, verdict: leftBadly})
	if effects := c.apply(input{kind: recorded, who: 0}); c.failed != 1 || len(effects) > 0 {
		t.Errorf("%d have failed, and then: %v", c.failed, effects)
	}
	if effects := c.apply(input{kind: returned, who: 0}); !slices.Equal(effects, []effect{{toAsk, 1}}) {
		t.Errorf("it is back, and then: %v", effects)
	}
}
