package fsmtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Machine is what a diagram can drive. Fire applies an event; an error says that
// it was refused, and then the state is what it was.
type Machine interface {
	State() string
	Fire(event string) error
}

// MaxPaths is how many paths [Diagram.Drive] walks at most.
const MaxPaths = 10_000

// Coverage says what [Diagram.Drive] has tried.
type Coverage struct {
	States, AllStates int // states that the machine was in, of those drawn
	Edges, AllEdges   int // edges that it took, of those drawn
	Refused           int // undrawn (state, event) pairs that it refused
	Paths             int // simple paths from the initial state that it walked to their ends
}

func (c Coverage) String() string {
	return fmt.Sprintf("%d of %d states, %d of %d edges, %d undrawn pairs refused, %d simple paths",
		c.States, c.AllStates, c.Edges, c.AllEdges, c.Refused, c.Paths)
}

// Test is [Diagram.Drive] that fails the test for each error, and logs the coverage.
func (d *Diagram) Test(t testing.TB, fresh func() Machine, also ...string) Coverage {
	t.Helper()
	coverage, err := d.Drive(fresh, also...)
	t.Log("fsmtest: ", coverage)
	if err != nil {
		t.Error(err)
	}
	return coverage
}

// Drive compares machines with the diagram. fresh has to return a new machine in
// the initial state at every call; events that the diagram does not know but the
// machine might are named in also.
//
// Every event is fired in every state: a drawn one has to lead where its edge
// points, every other has to be refused, to change nothing, and to leave the
// drawn ones possible. Then every simple path is walked from the initial state,
// shortest first, up to [MaxPaths]. The error joins all that went wrong, each
// with the path that led there; a state that no path leads to is one of them. A
// panic of the machine is too. An edge that fails is reported once, with a
// shortest path to it, and no path is walked through it any more: what lies
// behind it may have to wait for the next run.
func (d *Diagram) Drive(fresh func() Machine, also ...string) (Coverage, error) {
	r := &run{fresh: fresh, states: map[string]bool{}, edges: map[Edge]bool{}, failed: map[Edge]bool{}}
	r.check(nil, d.Initial, "")
	shortest, events := d.shortest(), d.Events()
	for _, event := range also {
		if len(d.edges(event)) == 0 {
			events = append(events, event)
		}
	}
	for _, state := range d.States {
		path, reached := shortest[state]
		if !reached {
			r.errs = append(r.errs, fmt.Errorf("fsmtest: no path leads to state %s", state))
			continue
		}
		for _, event := range events {
			d.pair(r, path, state, event)
		}
	}
	walked := 0
	for _, path := range d.Paths(MaxPaths) {
		if r.walk(path) != nil {
			walked++
		}
	}
	return Coverage{
		States: len(r.states), AllStates: len(d.States), Edges: len(r.edges), AllEdges: len(d.Edges),
		Refused: r.refused, Paths: walked,
	}, errors.Join(r.errs...)
}

// Paths returns the simple paths from the initial state, those that visit no
// state twice, the shortest first and at most limit of them. A self-loop or an
// edge back to the path's own states is appended as its last step.
func (d *Diagram) Paths(limit int) (paths [][]Edge) {
	queue := [][]Edge{nil}
	for len(queue) > 0 && len(paths) < limit {
		path := queue[0]
		queue = queue[1:]
		at, visited := d.Initial, map[string]bool{d.Initial: true}
		for _, e := range path {
			at = e.To
			visited[at] = true
		}
		if len(path) > 0 {
			paths = append(paths, path)
		}
		if len(visited) <= len(path) {
			continue // its last step led back
		}
		for _, e := range d.Edges {
			if e.From == at && len(queue) < limit {
				queue = append(queue, append(path[:len(path):len(path)], e))
			}
		}
	}
	return paths
}

func (d *Diagram) edges(event string) (edges []Edge) {
	for _, e := range d.Edges {
		if e.On == event {
			edges = append(edges, e)
		}
	}
	return edges
}

// shortest returns a shortest path to each state that has one.
func (d *Diagram) shortest() map[string][]Edge {
	paths := map[string][]Edge{d.Initial: nil}
	for queue := []string{d.Initial}; len(queue) > 0; queue = queue[1:] {
		path := paths[queue[0]]
		for _, e := range d.Edges {
			if _, known := paths[e.To]; e.From == queue[0] && !known {
				paths[e.To] = append(path[:len(path):len(path)], e)
				queue = append(queue, e.To)
			}
		}
	}
	return paths
}

// pair fires an event in a state that path leads to.
func (d *Diagram) pair(r *run, path []Edge, state, event string) {
	for _, e := range d.edges(event) {
		if e.From == state {
			r.walk(append(path[:len(path):len(path)], e))
			return
		}
	}
	if !r.refuses(r.walk(path), path, state, event) {
		return
	}
	r.refused++
	for _, e := range d.Edges {
		// An edge that fails anyway does not say that the refusal has broken it.
		if e.From != state || r.walk(append(path[:len(path):len(path)], e)) == nil {
			continue
		}
		m := r.walk(path)
		if !r.refuses(m, path, state, event) || !r.step(m, path, e) {
			return
		}
	}
}

// run collects what machines do.
type run struct {
	fresh   func() Machine
	states  map[string]bool
	edges   map[Edge]bool
	failed  map[Edge]bool // in a walk, and reported
	refused int
	errs    []error
}

// walk takes a new machine along a path, and returns it, or nil if it left the
// path or the path has an edge that failed before.
func (r *run) walk(path []Edge) Machine {
	if slices.ContainsFunc(path, func(e Edge) bool { return r.failed[e] }) {
		return nil
	}
	m := r.fresh()
	for i, e := range path {
		if !r.step(m, path[:i], e) {
			r.failed[e] = true
			return nil
		}
	}
	return m
}

func (r *run) step(m Machine, path []Edge, e Edge) bool {
	if err := fire(m, e.On); err != nil {
		return r.fail(path, "%s is drawn, and refused: %w", e, err)
	}
	if !r.check(m, e.To, trail(path)+" and "+e.On) {
		return false
	}
	r.edges[e] = true
	return true
}

func (r *run) refuses(m Machine, path []Edge, state, event string) bool {
	if m == nil {
		return false
	}
	err := fire(m, event)
	var panicked *panicError
	if errors.As(err, &panicked) { // it may hold a lock, and State would wait for it
		return r.fail(path, "%s in state %s: %w", event, state, err)
	}
	switch now, unread := stateOf(m); {
	case unread != nil:
		return r.fail(path, "%s in state %s: State: %w", event, state, unread)
	case err == nil:
		return r.fail(path, "undrawn transition %s", Edge{state, event, now})
	case now != state:
		return r.fail(path, "%s in state %s was refused, and led to %s", event, state, now)
	}
	return true
}

// check compares a machine's state, a new machine's if m is nil.
func (r *run) check(m Machine, want, after string) bool {
	if m == nil {
		m, after = r.fresh(), "the start"
	}
	now, err := stateOf(m)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("fsmtest: after %s: State: %w", after, err))
		return false
	}
	if now != want {
		r.errs = append(r.errs, fmt.Errorf("fsmtest: after %s: the state is %s, drawn is %s", after, now, want))
		return false
	}
	r.states[now] = true
	return true
}

func (r *run) fail(path []Edge, format string, args ...any) bool {
	r.errs = append(r.errs, fmt.Errorf("fsmtest: after %s: "+format, append([]any{trail(path)}, args...)...))
	return false
}

// trail writes a path in one line.
func trail(path []Edge) string {
	if len(path) == 0 {
		return "the start"
	}
	var b strings.Builder
	b.WriteString(path[0].From)
	for _, e := range path {
		b.WriteString(" --" + e.On + "--> " + e.To)
	}
	return b.String()
}

// panicError is what a machine panicked with.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func fire(m Machine, event string) (err error) {
	defer recovered(&err)
	return m.Fire(event)
}

func stateOf(m Machine) (state string, err error) {
	defer recovered(&err)
	return m.State(), nil
}

// recovered, when deferred, makes an error of a panic.
func recovered(err *error) {
	if value := recover(); value != nil {
		*err = &panicError{value}
	}
}
