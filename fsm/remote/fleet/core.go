package fleet

import "slices"

// core is one rolling leave as a value: who waits, who is asked, who is away, how
// many have failed, and whether it was stopped. It asks nobody, blocks on nothing and
// reads no clock, so that it can be copied and tried with everything that can happen.
// The shell feeds it inputs one at a time and carries out the effects.
type core struct {
	atOnce    int
	maxFailed int
	back      bool // who has left is to come back

	members []member // in the order in which they are asked
	next    int      // before it nobody waits any more
	waiting int      // members that wait to be asked
	busy    int      // members whose outcome is not decided and written down, though they do not wait
	out     int      // members that take a place
	failed  int
	held    bool // the lease is ours
	stopped stop
}

// member is one instance.
type member struct {
	state     InstanceState
	place     bool // it takes one of the places
	recording bool // its outcome is being written down
	away      bool // it is to come back
	departed  bool // it was not in the registry any more before it was asked
}

// stop is why nobody else is asked.
type stop uint8

const (
	notStopped stop = iota
	tooManyFailed
	interrupted
	leaseLost
	abandoned
	disconnected
)

// input is something that happened outside, to member who where it has one.
type input struct {
	kind    inputKind
	who     int
	verdict verdict // of answered and leftAlone
	stop    stop    // of stopping
}

type inputKind uint8

const (
	leaseHeld inputKind = iota
	leaseDoubtful
	stopping
	departed  // who is not in the registry any more
	present   // who is in the registry (again)
	leftAlone // there is a report of who
	answered  // what asking who has come to
	unasked   // who was not asked after all
	returned  // another incarnation of who's name is in the registry
	overdue   // who was to be back by now
	recorded  // who's outcome is written down
)

// verdict is what is known of how a member has left.
type verdict uint8

const (
	leftWell verdict = iota
	leftBadly
	leftBefore // well, and not because it was asked
	silent     // it has not answered, nobody is there, and there is no report
	fellSilent // it has answered, or is there, and there is no report
)

// effect is what the shell has to do about a member.
type effect struct {
	kind effectKind
	who  int
}

type effectKind uint8

const (
	toAsk    effectKind = iota
	toAwait             // for as long as it may be away
	toRecord            // its state is its outcome
	toSkip              // its state is its outcome, and nothing is written down
)

// newCore has everybody in the state that is known of him: waiting, or at an end.
func newCore(atOnce, maxFailed int, back bool, states []InstanceState) core {
	c := core{atOnce: atOnce, maxFailed: maxFailed, back: back, members: make([]member, len(states))}
	for i, state := range states {
		c.members[i].state = state
		if state == Waiting {
			c.waiting++
		}
	}
	return c
}

// keepPlace has one that has failed in an earlier run go on taking its place until it
// is back or overdue. It is called before the first input.
func (c *core) keepPlace(who int) {
	m := &c.members[who]
	m.place, m.away = true, true
	c.out++
}

// over reports whether nothing more will happen that counts: all are done, and back if
// they have to be.
func (c *core) over() bool { return c.busy == 0 && c.waiting == 0 && c.out == 0 }

// complete reports whether everybody has an outcome, so that it does not matter that
// nobody else is to be asked.
func (c *core) complete() bool {
	return c.stopped != abandoned && !slices.ContainsFunc(c.members, func(m member) bool { return !m.state.recorded() })
}

// apply takes what happened, and returns what follows from it. What cannot be, or
// comes too late, changes nothing.
func (c *core) apply(in input) (out []effect) {
	switch in.kind {
	case leaseHeld, leaseDoubtful:
		c.held = in.kind == leaseHeld
	case stopping:
		out = c.stop(out, in.stop)
	default:
		if in.who >= 0 && in.who < len(c.members) {
			out = c.about(out, &c.members[in.who], in)
		}
	}
	return c.fill(out)
}

func (c *core) about(out []effect, m *member, in input) []effect {
	switch in.kind {
	case departed, present:
		if m.state == Waiting { // whoever is asked withdraws
			m.departed = in.kind == departed
		}
	case leftAlone:
		if m.state == Waiting {
			c.waiting--
			c.busy++
			out = c.settle(out, in.who, alone(in.verdict))
		}
	case answered:
		if m.state == Asked {
			out = c.answer(out, m, in)
		}
	case unasked:
		if m.state == Asked && c.stopped != notStopped {
			m.state = Skipped
			c.busy--
			c.release(m)
			out = append(out, effect{toSkip, in.who})
		}
	case returned:
		if m.state == Waiting {
			m.departed = true
		}
		out = c.comeBack(out, m, in.who, Back)
	case overdue:
		out = c.comeBack(out, m, in.who, Failed)
	case recorded:
		if m.recording {
			m.recording = false
			c.busy--
			c.release(m)
		}
	}
	return out
}

// alone is the outcome of one that had left before it was asked.
func alone(v verdict) InstanceState {
	if v == leftBadly {
		return Failed
	}
	return Gone
}

func (c *core) answer(out []effect, m *member, in input) []effect {
	switch in.verdict {
	case leftBefore:
		return c.settle(out, in.who, Gone)
	case silent:
		if m.departed {
			return c.settle(out, in.who, Gone)
		}
		return c.settle(out, in.who, Unreachable)
	case fellSilent:
		return c.settle(out, in.who, Unreachable)
	case leftBadly:
		if c.back { // it has failed now, and keeps its place
			m.away = true
			out = append(out, effect{toAwait, in.who})
		}
		return c.settle(out, in.who, Failed)
	}
	if !c.back {
		return c.settle(out, in.who, Left)
	}
	m.state, m.away = Away, true
	return append(out, effect{toAwait, in.who})
}

// comeBack ends that one is away; its outcome may be decided already.
func (c *core) comeBack(out []effect, m *member, who int, state InstanceState) []effect {
	if !m.away {
		return out
	}
	m.away = false
	if m.state == Away {
		return c.settle(out, who, state)
	}
	c.release(m)
	return out
}

// settle decides an outcome. The place is free when that is written down: who takes
// the drain up again must not find more asked and not done than may be.
func (c *core) settle(out []effect, who int, state InstanceState) []effect {
	m := &c.members[who]
	m.state, m.recording = state, true
	out = append(out, effect{toRecord, who})
	if state.failure() {
		if c.failed++; c.failed > c.maxFailed {
			out = c.stop(out, tooManyFailed)
		}
	}
	return out
}

func (c *core) release(m *member) {
	if m.place && !m.recording && !m.away {
		m.place = false
		c.out--
	}
}

// stop decides that nobody else is asked. The first reason stays.
func (c *core) stop(out []effect, why stop) []effect {
	if c.stopped != notStopped {
		return out
	}
	c.stopped = why
	for i := range c.members {
		if m := &c.members[i]; m.state == Waiting {
			m.state = Skipped
			out = append(out, effect{toSkip, i})
		}
	}
	c.waiting = 0
	return out
}

// fill asks the next ones, as many as there are places.
func (c *core) fill(out []effect) []effect {
	for c.held && c.stopped == notStopped && c.out < c.atOnce && c.waiting > 0 {
		if m := &c.members[c.next]; m.state == Waiting {
			m.state, m.place = Asked, true
			c.waiting--
			c.busy++
			c.out++
			out = append(out, effect{toAsk, c.next})
		}
		c.next++
	}
	return out
}
