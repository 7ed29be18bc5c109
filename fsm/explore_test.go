package fsm

import (
	"fmt"
	"math/bits"
	"slices"
)

// This file explores the core: it feeds every input in every reachable state of
// every graph, and checks what is promised against a log of its own. It knows
// nothing of testing, because it is also compiled against mutants of the core.

const maxNodes = 4

// shape is a graph of components as bits.
type shape struct {
	n         int
	edges     uint16 // bit from*maxNodes+to: to begins after from
	withdraws uint8
	quiesces  uint8
	strict    uint8
	last      uint8
	startup   bool // component 0 is start-up
}

func (s shape) all() uint8 { return uint8(1)<<s.n - 1 }

func (s shape) edge(from, to int) bool { return s.edges&(1<<(from*maxNodes+to)) != 0 }

func bit(mask uint8, i int) bool { return mask&(1<<i) != 0 }

// legal is what registration accepts: no cycle, nobody who withdraws after one
// who does not, nobody who is not Last after one who is, and no contradiction.
func (s shape) legal() bool {
	if s.withdraws&(s.strict|s.last) != 0 || s.startup && (!bit(s.withdraws, 0) || s.before(0) != 0) {
		return false
	}
	left := s.all()
	for range s.n { // take away those that wait for nobody
		for i := range s.n {
			if bit(left, i) && s.before(i)&left == 0 {
				left &^= 1 << i
			}
		}
	}
	for from := range s.n {
		for to := range s.n {
			if s.edge(from, to) && (bit(s.withdraws, to) && !bit(s.withdraws, from) || bit(s.last, from) && !bit(s.last, to)) {
				return false
			}
		}
	}
	return left == 0
}

// before is the set of those ordered before i.
func (s shape) before(i int) (set uint8) {
	for p := range s.n {
		if s.edge(p, i) {
			set |= 1 << p
		}
	}
	return set
}

// digraphs yields every graph of n components, legal or not, without quiesces.
func digraphs(n int, yield func(shape)) {
	var pairs []int
	for from := range n {
		for to := range n {
			if from != to {
				pairs = append(pairs, from*maxNodes+to)
			}
		}
	}
	for withdraws := range uint8(1) << n {
		for subset := range 1 << len(pairs) {
			s := shape{n: n, withdraws: withdraws}
			for i, pair := range pairs {
				if subset&(1<<i) != 0 {
					s.edges |= 1 << pair
				}
			}
			yield(s)
		}
	}
}

func legalGraphs(n int) (shapes []shape) {
	digraphs(n, func(s shape) {
		if s.legal() {
			shapes = append(shapes, s)
		}
	})
	return shapes
}

// variants yields the shape with every set of those that are Strict and of those
// that are Last, with and without start-up, legal or not.
func (s shape) variants(yield func(shape)) {
	for s.strict = range s.all() + 1 {
		for s.last = range s.all() + 1 {
			s.startup = false
			yield(s)
			if s.startup = true; s.n > 0 {
				yield(s)
			}
		}
	}
}

// holders are those that i waits for, as long as nothing else ends that.
func (s shape) holders(i int, log *seen) (set uint8) {
	set = s.before(i) &^ log.passed()
	if bit(s.strict, i) {
		set = s.before(i) &^ log.acked
	}
	if bit(s.last, i) {
		set |= s.all() &^ (s.last | log.acked)
	}
	if s.startup && i != 0 {
		set |= 1 &^ log.acked
	}
	return set
}

// core registers the components of the shape one by one.
func (s shape) core() core {
	c := newCore()
	for i := range s.n {
		var prev, next []int
		for j := range i {
			if s.edge(j, i) {
				prev = append(prev, j)
			}
			if s.edge(i, j) {
				next = append(next, j)
			}
		}
		c.add(traits{bit(s.withdraws, i), bit(s.quiesces, i), bit(s.strict, i), bit(s.last, i)}, prev, next)
	}
	if s.startup {
		c.graph.startup = 0
	}
	return c
}

// situation is a core, and what the log of the explorer says about it.
type situation struct {
	core core
	seen seen
}

type seen struct {
	state                             State
	started, acked, insisted          uint8
	quiesced                          uint8 // those whose Quiesce is no longer waited for
	graceCalled                       uint8 // those that were running and insisted upon at the last call of their Grace
	quiesceTimeOver, lastCall, forced bool
}

// key is a situation in two words: two have the same future if their keys are
// the same. Whether one that has acked had been insisted upon makes no difference.
type key [2]uint64

func (s *situation) key() key {
	var k key
	word := 0
	put := func(bits int, value int) { k[word] = k[word]<<bits | uint64(value)&(1<<bits-1) }
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	c := &s.core
	put(2, int(c.state))
	put(1, flag(c.lastCall))
	put(3, c.unacked)
	put(3, c.early)
	put(3, c.leaving)
	for _, n := range c.nodes {
		put(2, int(n.phase))
		put(1, flag(n.quiescing))
		put(1, flag(n.insisted && n.phase != done))
		put(1, flag(n.passed))
		put(2, n.waits)
	}
	word = 1
	put(2, int(s.seen.state))
	alive := ^s.seen.acked
	for _, mask := range []uint8{
		s.seen.started, s.seen.acked, s.seen.insisted & alive, s.seen.quiesced, s.seen.graceCalled & alive,
	} {
		put(maxNodes, int(mask))
	}
	for _, b := range []bool{s.seen.quiesceTimeOver, s.seen.lastCall, s.seen.forced} {
		put(1, flag(b))
	}
	return k
}

// copyInto makes an independent copy, in memory that is there already.
func (s *situation) copyInto(to *situation) {
	nodes, out := to.core.nodes, to.core.out
	*to = *s
	to.core.nodes, to.core.out = append(nodes[:0], s.core.nodes...), out[:0]
}

// explorer counts what it has seen of one or of many graphs.
type explorer struct {
	graphs, states, steps int
	edges                 map[Transition]bool // taken by some core
	only                  []inputKind         // if not nil, no other inputs are fed

	visited map[key]bool
	queue   []situation
	next    situation
}

// explore feeds every input in every reachable situation of one graph. It
// returns the first promise that is broken, with the inputs of the last step.
func (x *explorer) explore(s shape) (err error) {
	if x.visited == nil {
		x.visited, x.edges = map[key]bool{}, map[Transition]bool{}
	}
	clear(x.visited)
	x.queue = append(x.queue[:0], situation{core: s.core()})
	x.graphs++
	defer func() { // a core that panics is a broken one
		if value := recover(); value != nil {
			err = fmt.Errorf("panic: %v: graph %+v", value, s)
		}
	}()
	x.visited[x.queue[0].key()] = true
	for len(x.queue) > 0 {
		now := x.queue[len(x.queue)-1]
		x.queue = x.queue[:len(x.queue)-1]
		x.states++
		for kind := requested; kind <= forced; kind++ {
			if x.only != nil && !slices.Contains(x.only, kind) {
				continue
			}
			for who := range max(1, s.n) {
				if who > 0 && !kind.aboutOne() {
					break
				}
				if err := x.try(s, &now, input{kind, who}); err != nil {
					return fmt.Errorf("%w: input %+v in graph %+v, in situation %+v", err, input{kind, who}, s, now)
				}
			}
		}
	}
	return nil
}

// try feeds one input, and queues where it leads if nobody was there.
func (x *explorer) try(s shape, now *situation, in input) error {
	if s.n == 0 && in.kind.aboutOne() || !possible(s, now, in) {
		return nil
	}
	x.steps++
	next := &x.next
	now.copyInto(next)
	effects := next.core.step(in)
	if err := x.observe(s, next, in, effects); err != nil {
		return fmt.Errorf("%w (effects %v)", err, effects)
	}
	if err := answered(s, &now.seen, &next.seen, in); err != nil {
		return fmt.Errorf("%w (effects %v)", err, effects)
	}
	if err := settled(s, next); err != nil {
		return fmt.Errorf("%w (effects %v)", err, effects)
	}
	if now.seen.state == Terminated && (len(effects) > 0 || next.core.state != Terminated) {
		return fmt.Errorf("something follows the end: %v", effects)
	}
	if k := next.key(); !x.visited[k] {
		x.visited[k] = true
		x.queue = append(x.queue, situation{})
		next.copyInto(&x.queue[len(x.queue)-1])
	}
	return nil
}

func (k inputKind) aboutOne() bool {
	return k == quiesceEnded || k == acked || k == graceOver || k == graceLastCall
}

// possible excludes what the shell never sends. Acks, grace and requests that
// mean nothing any more are not excluded: they have to change nothing.
func possible(s shape, now *situation, in input) bool {
	begun := now.seen.state != Running
	switch in.kind {
	case quiesceEnded:
		return begun && bit(s.quiesces, in.who) && (now.seen.quiesceTimeOver || !bit(now.seen.quiesced, in.who))
	case quiesceOver:
		return begun && s.quiesces != 0 && !now.seen.quiesceTimeOver
	case lastCallReached:
		return begun && !now.seen.lastCall
	case politeOver, lateOver, alarmFired:
		return begun
	}
	return true
}

// observe writes the effects of a step into the log, each of which has to be
// allowed at its place in it.
func (x *explorer) observe(s shape, at *situation, in input, effects []effect) error {
	log := &at.seen
	if log.state != Terminated {
		log.quiesceTimeOver = log.quiesceTimeOver || in.kind == quiesceOver
		log.lastCall = log.lastCall || in.kind == lastCallReached
		if in.kind == graceLastCall && log.state != Running {
			log.graceCalled |= 1 << in.who & log.started & log.insisted &^ log.acked
		}
	}
	for _, e := range effects {
		var why string
		switch e.kind {
		case Started:
			why = log.start(s, in, e)
		case Acked:
			if in != (input{acked, e.who}) || !bit(log.started&^log.acked, e.who) {
				why = "an ack that nobody gave"
			}
			log.acked |= 1 << e.who
		case Insisted:
			meant := in == (input{graceOver, e.who}) || in.kind == politeOver || in.kind == lateOver
			if !meant || !bit(log.started&^(log.acked|log.insisted), e.who) {
				why = "nobody to insist upon"
			}
			log.insisted |= 1 << e.who
		case Quiesced:
			over := in.kind == quiesceOver && !bit(log.quiesced, e.who)
			if in != (input{quiesceEnded, e.who}) && !over || !bit(s.quiesces, e.who) {
				why = "a Quiesce that did not end"
			}
			log.quiesced |= 1 << e.who
		case Forced:
			if in.kind != forced || log.forced {
				why = "nobody forced it, or twice"
			}
			log.forced = true
		default:
			why = x.edge(s, log, in, e)
		}
		if why != "" {
			return fmt.Errorf("%v: %s", e, why)
		}
	}
	if log.state != at.core.state {
		return fmt.Errorf("the core is in %s, its effects lead to %s", at.core.state, log.state)
	}
	return nil
}

// passed are those whom nobody waits for any more who is not Strict.
func (log *seen) passed() uint8 { return log.acked | log.graceCalled }

func (log *seen) start(s shape, in input, e effect) (why string) {
	withdraws, held := bit(s.withdraws, e.who), s.holders(e.who, log) != 0
	quiescing := bit(s.quiesces&^log.quiesced, e.who)
	switch {
	case bit(log.started, e.who):
		why = "started twice"
	case log.state != Withdrawing && log.state != AwaitingAcks:
		why = "started before or after the shutdown"
	case log.state == Withdrawing && !withdraws:
		why = "started before the withdrawal is over"
	case held && (!log.lastCall || bit(s.strict, e.who)) || quiescing && !log.lastCall:
		why = "started too early"
	case in.kind == alarmFired || in.kind == forced:
		why = "started at the end"
	case !log.causes(s, in, e):
		why = "started on account of the wrong one"
	}
	log.started |= 1 << e.who
	return why
}

// causes: a component starts on account of the one that the input is about, if
// that one let go, of itself if its Quiesce is over, or of nobody in particular.
func (log *seen) causes(s shape, in input, e effect) bool {
	switch in.kind {
	case acked, graceLastCall:
		implied := in.kind == acked && (bit(s.last, e.who) && !bit(s.last, e.cause) || s.startup && e.cause == 0)
		return e.cause == in.who && (s.edge(e.cause, e.who) || bit(s.withdraws, e.cause) || implied)
	case quiesceEnded, quiesceOver:
		return e.cause == e.who
	}
	return e.cause == nobody
}

// edge: the machine moves as the table says, when what the event stands for is so.
func (x *explorer) edge(s shape, log *seen, in input, e effect) (why string) {
	i := slices.IndexFunc(table, func(t Transition) bool { return t.From == log.state && t.On == e.kind })
	if i < 0 {
		return "not drawn in " + log.state.String()
	}
	x.edges[table[i]] = true
	log.state = table[i].To
	so := map[Kind]bool{
		ShutdownRequested: in.kind == requested || in.kind == forced,
		Withdrawn:         s.withdraws&^log.passed() == 0 || in.kind == lastCallReached,
		AllAcked:          log.acked == s.all(),
		Timeout:           in.kind == alarmFired || in.kind == forced,
	}
	if !so[e.kind] {
		return "it is not so"
	}
	return ""
}

// answered: an input that means something has its consequence.
func answered(s shape, before, after *seen, in input) error {
	running := before.started &^ before.acked
	open := before.state == Withdrawing || before.state == AwaitingAcks
	var lost bool
	switch in.kind {
	case requested:
		lost = before.state == Running && after.state == Running
	case forced:
		ended := after.state == Terminated && after.started == before.started
		lost = !ended || before.state != Terminated && !after.forced
	case alarmFired:
		lost = open && after.state != Terminated
	case acked:
		lost = open && bit(running, in.who) && !bit(after.acked, in.who)
	case graceOver:
		lost = open && bit(running, in.who) && !bit(after.insisted, in.who)
	case politeOver, lateOver:
		lost = open && (running&^after.insisted != 0 || after.started != before.started)
	case lastCallReached:
		lost = open && after.state == Withdrawing
	case quiesceEnded:
		lost = open && !bit(after.quiesced, in.who)
	case quiesceOver:
		lost = open && s.quiesces&^after.quiesced != 0
	}
	if lost {
		return fmt.Errorf("no answer")
	}
	return nil
}

// settled: nothing that could happen was left undone, and the core's counters
// say what its log says.
func settled(s shape, at *situation) error {
	c, log := &at.core, &at.seen
	unacked, early, leaving := 0, 0, 0
	for i := range s.n {
		if !bit(log.acked, i) {
			unacked++
		}
		if !bit(log.acked|s.last, i) {
			early++
		}
		if bit(s.withdraws&^log.passed(), i) {
			leaving++
		}
		if err := settledNode(s, at, i); err != nil {
			return err
		}
	}
	if c.unacked != unacked || c.early != early || c.leaving != leaving || c.lastCall != log.lastCall {
		return fmt.Errorf("%d unacked, %d early and %d leaving: the core says %d, %d and %d", unacked, early, leaving, c.unacked, c.early, c.leaving)
	}
	awaited := log.started&^log.acked | s.quiesces&^log.quiesced
	switch {
	case log.state == Running && log.started != 0:
		return fmt.Errorf("started in Running")
	case log.state == Withdrawing && leaving == 0:
		return fmt.Errorf("still in Withdrawing")
	case log.state == AwaitingAcks && log.acked == s.all():
		return fmt.Errorf("still in AwaitingAcks")
	case (log.state == Withdrawing || log.state == AwaitingAcks) && awaited == 0:
		return fmt.Errorf("nobody is awaited, only the alarm can end this")
	}
	return nil
}

func settledNode(s shape, at *situation, i int) error {
	c, log := &at.core, &at.seen
	want := node{phase: waiting, insisted: bit(log.insisted, i), passed: bit(log.passed(), i)}
	switch {
	case bit(log.acked, i):
		want.phase = done
	case bit(log.started, i):
		want.phase = running
	}
	want.quiescing = bit(s.quiesces&^log.quiesced, i)
	released := log.passed()
	if bit(s.strict, i) {
		released = log.acked
	}
	want.waits = bits.OnesCount8(s.before(i) &^ released)
	if c.nodes[i] != want {
		return fmt.Errorf("component %d is %+v, want %+v", i, c.nodes[i], want)
	}
	if want.phase != waiting || log.state == Running || log.state == Terminated {
		return nil
	}
	holders, barred := s.holders(i, log), log.state == Withdrawing && !bit(s.withdraws, i)
	if log.lastCall && (holders == 0 || !bit(s.strict, i)) || holders == 0 && !want.quiescing && !barred {
		return fmt.Errorf("component %d could have started", i)
	}
	if barred {
		holders |= s.withdraws &^ log.passed()
	}
	for _, whom := range c.outstanding(i) {
		if whom != i && !bit(holders, whom) || whom == i && !want.quiescing {
			return fmt.Errorf("component %d waits for %d in vain", i, whom)
		}
	}
	if len(c.outstanding(i)) == 0 {
		return fmt.Errorf("component %d waits for nobody", i)
	}
	return nil
}

// exploreVariants explores every legal graph of up to n components, with every
// set of those that are Strict or Last and with and without start-up, and with
// every set of those that have a Quiesce if there are at most so many components.
func (x *explorer) exploreVariants(n, quiescing int) (err error) {
	for n := range n + 1 {
		for _, s := range legalGraphs(n) {
			s.variants(func(s shape) {
				if err != nil || !s.legal() {
					return
				}
				sets := uint8(1)
				if n <= quiescing {
					sets = s.all() + 1
				}
				for s.quiesces = range sets {
					if err == nil {
						err = x.explore(s)
					}
				}
			})
		}
	}
	return err
}

// exploreUpTo explores every legal graph of up to n components, with every set
// of those that have a Quiesce.
func (x *explorer) exploreUpTo(n int) error {
	for n := range n + 1 {
		for _, s := range legalGraphs(n) {
			for s.quiesces = range uint8(1) << n {
				if err := x.explore(s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// exploreClasses explores the legal graphs of n components up to isomorphism,
// and returns how many there are, and how many graphs they stand for.
func (x *explorer) exploreClasses(n int, quiesces uint8) (classes, all int, err error) {
	for _, s := range legalGraphs(n) {
		orbit, least := s.orbit()
		if !least {
			continue
		}
		classes++
		all += orbit
		s.quiesces = quiesces
		if err := x.explore(s); err != nil {
			return classes, all, err
		}
	}
	return classes, all, nil
}

// orbit counts the different graphs that renaming the components gives, and
// reports whether this one is the least of them.
func (s shape) orbit() (size int, least bool) {
	different, least := map[shape]bool{}, true
	permute(s.n, nil, func(names []int) {
		renamed := shape{n: s.n}
		for from := range s.n {
			for to := range s.n {
				if s.edge(from, to) {
					renamed.edges |= 1 << (names[from]*maxNodes + names[to])
				}
			}
			if bit(s.withdraws, from) {
				renamed.withdraws |= 1 << names[from]
			}
		}
		different[renamed] = true
		if renamed.edges < s.edges || renamed.edges == s.edges && renamed.withdraws < s.withdraws {
			least = false
		}
	})
	return len(different), least
}

func permute(n int, names []int, yield func([]int)) {
	if len(names) == n {
		yield(names)
		return
	}
	for i := range n {
		if !slices.Contains(names, i) {
			permute(n, append(names[:len(names):len(names)], i), yield)
		}
	}
}
