package fsm

import "slices"

// core is one shutdown as a value: who waits for whom, who runs, who has acked,
// and what follows from that. It starts nothing, blocks on nothing and reads no
// clock, so that it can be copied and every interleaving of it explored.
// The shell feeds it inputs one at a time and carries out what it emits.
type core struct {
	graph   *graph // shared between copies; fixed once the shutdown has begun
	state   State
	late    bool // the polite time is over
	nodes   []node
	unacked int // nodes that are not done
	leaving int // Withdraws nodes that have not passed
	out     []effect
}

// graph is what registration decides about the components, by index.
type graph struct {
	withdraws []bool
	leavers   []int // those that withdraw
	quiesces  []bool
	next      [][]int // next[i] begin after i
	prev      [][]int // i begins after prev[i]
}

type node struct {
	phase     phase
	quiescing bool // its own Quiesce is still waited for
	insisted  bool
	passed    bool // those ordered after it no longer wait for it
	waits     int  // nodes in prev that have not passed
}

type phase uint8

const (
	waiting phase = iota
	running
	done
)

// input is something that happened outside, to component who where it has one.
type input struct {
	kind inputKind
	who  int
}

type inputKind uint8

const (
	requested    inputKind = iota
	quiesceEnded           // who's Quiesce returned
	quiesceOver            // the time for Quiesce is over
	acked                  // who's Shutdown returned
	graceOver              // who's own limit is over
	politeOver             // the polite time is over
	lateOver               // the time of those who started late is over
	alarmFired
	forced
	sampledLate // means nothing to the core
)

// effect is an event to record. Those of kind Started and Insisted also say
// what the shell must do to who. cause says on account of whom a component
// starts only now: the one that passed, itself (its Quiesce), or nobody.
type effect struct {
	kind       Kind
	who, cause int
}

const nobody = -1

// add appends a component that waits for prev and that next waits for.
func (c *core) add(withdraws, quiesces bool, prev, next []int) {
	g, i := c.graph, len(c.nodes)
	g.withdraws = append(g.withdraws, withdraws)
	g.quiesces = append(g.quiesces, quiesces)
	g.prev = append(g.prev, prev)
	g.next = append(g.next, next)
	for _, p := range prev {
		g.next[p] = append(g.next[p], i)
	}
	for _, n := range next {
		g.prev[n] = append(g.prev[n], i)
		c.nodes[n].waits++
	}
	c.nodes = append(c.nodes, node{quiescing: quiesces, waits: len(prev)})
	c.unacked++
	if withdraws {
		g.leavers = append(g.leavers, i)
		c.leaving++
	}
}

// reaches reports whether to begins, directly or not, after from (or is it).
func (g *graph) reaches(from, to int) bool {
	seen := make([]bool, len(g.next))
	for stack := []int{from}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if at == to {
			return true
		}
		if !seen[at] {
			seen[at] = true
			stack = append(stack, g.next[at]...)
		}
	}
	return false
}

// step applies one input and returns what follows, in order. The slice is valid
// until the next step. Inputs that no longer mean anything change nothing.
func (c *core) step(in input) []effect {
	c.out = c.out[:0]
	if c.state == Terminated || (c.state == Running && in.kind != requested && in.kind != forced) {
		return nil
	}
	switch in.kind {
	case requested:
		c.begin()
	case quiesceEnded:
		c.emit(Quiesced, in.who, nobody)
		c.quiesced(in.who)
	case quiesceOver:
		c.endQuiesce()
	case acked:
		c.ack(in.who)
	case graceOver:
		c.insist(in.who)
	case politeOver:
		c.endPolite()
	case lateOver:
		c.insistUponAll()
	case alarmFired:
		c.move(Timeout)
	case forced:
		c.force()
	}
	c.settle()
	return c.out
}

func (c *core) emit(kind Kind, who, cause int) { c.out = append(c.out, effect{kind, who, cause}) }

// move takes the edge that the table draws for kind in the current state.
func (c *core) move(kind Kind) {
	i := slices.IndexFunc(table, func(t Transition) bool { return t.From == c.state && t.On == kind })
	c.state = table[i].To
	c.emit(kind, nobody, nobody)
}

func (c *core) begin() {
	if c.state != Running {
		return // the first request wins
	}
	c.move(ShutdownRequested)
	c.startReady(nobody)
}

func (c *core) force() {
	if c.state == Running {
		c.move(ShutdownRequested) // and nobody starts: there is no time for them
	}
	c.emit(Forced, nobody, nobody)
	c.move(Timeout)
}

// settle takes the edges that the acks so far stand for.
func (c *core) settle() {
	if c.state == Withdrawing && c.leaving == 0 {
		c.leaveWithdrawing()
	}
	if c.state == AwaitingAcks && c.unacked == 0 {
		c.move(AllAcked)
	}
}

func (c *core) leaveWithdrawing() {
	last := nobody // the Withdraws component that the others waited for
	if n := len(c.out); n > 0 {
		last = c.out[n-1].who
	}
	c.move(Withdrawn)
	c.startReady(last)
}

// startReady starts everything that the state has just allowed to begin.
func (c *core) startReady(cause int) {
	for i := range c.nodes {
		c.start(i, cause)
	}
}

// start starts who unless something still holds it.
func (c *core) start(who, cause int) {
	n := &c.nodes[who]
	held := n.waits > 0 || n.quiescing || (c.state == Withdrawing && !c.graph.withdraws[who])
	if n.phase != waiting || (held && !c.late) {
		return
	}
	n.phase = running
	c.emit(Started, who, cause)
}

func (c *core) quiesced(who int) {
	if c.nodes[who].quiescing {
		c.nodes[who].quiescing = false
		c.start(who, who)
	}
}

func (c *core) endQuiesce() {
	for i := range c.nodes {
		if c.nodes[i].quiescing {
			c.emit(Quiesced, i, nobody)
			c.quiesced(i)
		}
	}
}

func (c *core) ack(who int) {
	n := &c.nodes[who]
	if n.phase != running {
		return
	}
	n.phase = done
	c.unacked--
	c.emit(Acked, who, nobody)
	c.pass(who)
}

func (c *core) insist(who int) {
	if n := &c.nodes[who]; n.phase == running && !n.insisted {
		n.insisted = true
		c.emit(Insisted, who, nobody)
		c.pass(who)
	}
}

// pass lets go of everything that waits for who, once.
func (c *core) pass(who int) {
	n := &c.nodes[who]
	if n.passed {
		return
	}
	n.passed = true
	if c.graph.withdraws[who] {
		c.leaving--
	}
	for _, next := range c.graph.next[who] {
		c.nodes[next].waits--
		c.start(next, who)
	}
}

// endPolite insists upon all that run, and starts what still waits. Only then
// is anybody late: those that others were waiting for begin in AwaitingAcks.
func (c *core) endPolite() {
	c.insistUponAll()
	c.late = true
	if c.state == Withdrawing {
		c.move(Withdrawn)
	}
	c.startReady(nobody)
}

// insistUponAll means those that run now, not those that start in consequence.
func (c *core) insistUponAll() {
	for _, who := range c.running() {
		c.insist(who)
	}
}

func (c *core) running() (begun []int) {
	for i := range c.nodes {
		if c.nodes[i].phase == running {
			begun = append(begun, i)
		}
	}
	return begun
}

// outstanding lists whom who would still wait for, for the report: those
// ordered before it, else those it lets withdraw first, else its own Quiesce.
func (c *core) outstanding(who int) (ids []int) {
	for _, p := range c.graph.prev[who] {
		if !c.nodes[p].passed {
			ids = append(ids, p)
		}
	}
	if len(ids) == 0 && c.nodes[who].quiescing {
		return []int{who}
	}
	if len(ids) > 0 || c.graph.withdraws[who] {
		return ids
	}
	for _, w := range c.graph.leavers {
		if !c.nodes[w].passed {
			ids = append(ids, w)
		}
	}
	return ids
}
