package fsm

import "slices"

// core is one shutdown as a value: who waits for whom, who runs, who has acked,
// and what follows from that. It starts nothing, blocks on nothing and reads no
// clock, so that it can be copied and every interleaving of it explored.
// The shell feeds it inputs one at a time and carries out what it emits.
type core struct {
	graph    *graph // shared between copies; fixed once the shutdown has begun
	state    State
	lastCall bool // what still waits no longer does
	nodes    []node
	unacked  int // nodes that are not done
	early    int // those of them that are not Last
	leaving  int // Withdraws nodes that have not passed
	out      []effect
}

// graph is what registration decides about the components, by index.
type graph struct {
	traits   []traits
	leavers  []int    // those that withdraw
	lasts    []int    // those that are Last
	next     [][]edge // those that begin after i
	prev     [][]edge // those after which i begins
	startup  int      // the one all others wait for, or nobody
	departed int      // indexes of those that have gone
}

type traits struct{ withdraws, quiesces, strict, last bool }

// edge is one end of an order: of is at the other end, whose own list has the
// edge back at place at. So one component can go without a search in the lists
// of those that many are ordered against.
type edge struct{ of, at int }

type node struct {
	phase     phase
	quiescing bool // its own Quiesce is still waited for
	insisted  bool
	passed    bool // those ordered after it no longer wait for it, unless they are Strict
	waits     int  // nodes ordered before it that have not passed; not done, if it is Strict
}

type phase uint8

const (
	waiting phase = iota
	running
	done
	departed
)

// input is something that happened outside, to component who where it has one.
type input struct {
	kind inputKind
	who  int
}

type inputKind uint8

const (
	requested       inputKind = iota
	quiesceEnded              // who's Quiesce returned
	quiesceOver               // the time for Quiesce is over
	acked                     // who's Shutdown returned
	graceOver                 // who's own limit is over
	graceLastCall             // and so is the time that others still wait for who's ack
	politeOver                // the polite time is over
	lastCallReached           // and so is the time that anybody waits for an ack
	lateOver                  // the time of those who started late is over
	alarmFired
	forced

	// What means nothing to the core.
	sampledLate
	runEnded
)

// effect is an event to record. Those of kind Started and Insisted also say
// what the shell must do to who. cause says on account of whom a component
// starts only now: the one that passed, itself (its Quiesce), or nobody.
type effect struct {
	kind       Kind
	who, cause int
}

const nobody = -1

func newCore() core { return core{graph: &graph{startup: nobody}} }

// add appends a component that waits for prev and that next waits for.
func (c *core) add(t traits, prev, next []int) {
	g, i := c.graph, len(c.nodes)
	g.traits = append(g.traits, t)
	g.prev, g.next = append(g.prev, nil), append(g.next, nil)
	c.nodes = append(c.nodes, node{quiescing: t.quiesces})
	for _, p := range prev {
		c.order(p, i)
	}
	for _, n := range next {
		c.order(i, n)
	}
	c.unacked++
	if t.withdraws {
		g.leavers = append(g.leavers, i)
		c.leaving++
	}
	if t.last {
		g.lasts = append(g.lasts, i)
	} else {
		c.early++
	}
}

func (c *core) order(first, then int) {
	g := c.graph
	g.next[first] = append(g.next[first], edge{then, len(g.prev[then])})
	g.prev[then] = append(g.prev[then], edge{first, len(g.next[first]) - 1})
	c.nodes[then].waits++
}

// remove forgets who, and each of its edges in constant time. Its index stays
// empty until the next compact.
func (c *core) remove(who int) {
	g := c.graph
	for _, p := range g.prev[who] {
		cut(g.next, g.prev, p)
	}
	for _, n := range g.next[who] {
		cut(g.prev, g.next, n)
		c.nodes[n.of].waits--
	}
	c.unacked--
	if g.traits[who].withdraws {
		c.leaving--
	}
	if !g.traits[who].last {
		c.early--
	}
	if g.startup == who {
		g.startup = nobody
	}
	g.departed++
	g.prev[who], g.next[who], g.traits[who], c.nodes[who] = nil, nil, traits{}, node{phase: departed}
}

// cut takes an edge out of the list at its other end; the last one there takes
// its place, and the list that has that one back is told.
func cut(lists, back [][]edge, e edge) {
	list := lists[e.of]
	moved := list[len(list)-1]
	list[e.at] = moved
	back[moved.of][moved.at].at = e.at
	lists[e.of] = list[:len(list)-1]
}

// compact closes the gaps that remove has left, so that the core is as if those
// had never been there. It returns where each index has moved to.
func (c *core) compact() (to []int) {
	to = make([]int, len(c.nodes))
	left := newCore()
	for i, n := range c.nodes {
		if to[i] = len(left.nodes); n.phase == departed {
			to[i] = nobody
			continue
		}
		left.add(c.graph.traits[i], nil, nil)
	}
	for i := range c.nodes {
		for _, p := range c.graph.prev[i] {
			left.order(to[p.of], to[i])
		}
	}
	if c.graph.startup != nobody {
		left.graph.startup = to[c.graph.startup]
	}
	*c = left
	return to
}

// reaches reports whether to begins, directly or not, after from (or is it).
func (g *graph) reaches(from, to int) bool {
	seen := map[int]bool{}
	for stack := []int{from}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if at == to {
			return true
		}
		if !seen[at] {
			seen[at] = true
			for _, e := range g.next[at] {
				stack = append(stack, e.of)
			}
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
	case graceLastCall:
		c.stopWaitingFor(in.who)
	case politeOver, lateOver:
		c.insistUponAll()
	case lastCallReached:
		c.callLast()
	case alarmFired:
		c.move(Timeout)
	case forced:
		c.force()
	}
	c.settle(in)
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

// settle takes the edges that the acks so far stand for. What starts then does
// so on account of the one that in is about, if that let go of it.
func (c *core) settle(in input) {
	if c.state == Withdrawing && c.leaving == 0 {
		cause := nobody
		if in.kind == acked || in.kind == graceLastCall {
			cause = in.who
		}
		c.move(Withdrawn)
		c.startReady(cause)
	}
	if c.state == AwaitingAcks && c.unacked == 0 {
		c.move(AllAcked)
	}
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
	if n.phase != waiting || c.held(who) {
		return
	}
	n.phase = running
	c.emit(Started, who, cause)
}

// held reports whether who must not begin yet. Last call ends that for all but
// those that are Strict about whom they are ordered after.
func (c *core) held(who int) bool {
	n, t := &c.nodes[who], c.graph.traits[who]
	ordered := n.waits > 0 || t.last && c.early > 0 || c.startingUp(who)
	barred := c.state == Withdrawing && !t.withdraws
	return ordered && (t.strict || !c.lastCall) || (n.quiescing || barred) && !c.lastCall
}

// startingUp reports whether who has to wait for start-up.
func (c *core) startingUp(who int) bool {
	s := c.graph.startup
	return s != nobody && s != who && c.nodes[s].phase != done
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
	c.release(who, true)
	c.pass(who)
	if who == c.graph.startup {
		c.startReady(who)
	}
	if !c.graph.traits[who].last {
		c.endEarly(who)
	}
}

// endEarly counts one that is not Last as done; after it those that are may begin.
func (c *core) endEarly(who int) {
	if c.early--; c.early == 0 {
		for _, i := range c.graph.lasts {
			c.start(i, who)
		}
	}
}

func (c *core) insist(who int) {
	if n := &c.nodes[who]; n.phase == running && !n.insisted {
		n.insisted = true
		c.emit(Insisted, who, nobody)
	}
}

// stopWaitingFor lets go of those that still wait for the ack of one that has
// been insisted upon.
func (c *core) stopWaitingFor(who int) {
	if n := &c.nodes[who]; n.phase == running && n.insisted {
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
	if c.graph.traits[who].withdraws {
		c.leaving--
	}
	c.release(who, false)
}

// release lets those that are Strict go, or all the others, that wait for who.
func (c *core) release(who int, strict bool) {
	for _, next := range c.graph.next[who] {
		if c.graph.traits[next.of].strict == strict {
			c.nodes[next.of].waits--
			c.start(next.of, who)
		}
	}
}

// callLast starts what still waits, save those that are Strict.
func (c *core) callLast() {
	c.lastCall = true
	if c.state == Withdrawing {
		c.move(Withdrawn)
	}
	c.startReady(nobody)
}

// insistUponAll means those that run now.
func (c *core) insistUponAll() {
	for i := range c.nodes {
		c.insist(i)
	}
}

// outstanding lists whom who would still wait for, for the report: start-up,
// else those ordered before it, else those it lets go first as Last or lets
// withdraw first, else its own Quiesce.
func (c *core) outstanding(who int) (ids []int) {
	t := c.graph.traits[who]
	if c.startingUp(who) {
		return []int{c.graph.startup}
	}
	for _, p := range c.graph.prev[who] {
		if n := c.nodes[p.of]; !n.passed || t.strict && n.phase != done {
			ids = append(ids, p.of)
		}
	}
	switch {
	case len(ids) > 0:
		slices.Sort(ids)
	case c.nodes[who].quiescing:
		ids = []int{who}
	case c.early > 0 && t.last:
		for i, n := range c.nodes {
			if n.phase != done && !c.graph.traits[i].last {
				ids = append(ids, i)
			}
		}
	case !t.withdraws:
		for _, i := range c.graph.leavers {
			if !c.nodes[i].passed {
				ids = append(ids, i)
			}
		}
	}
	return ids
}
