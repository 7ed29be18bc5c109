package fsm

import (
	"context"
	"fmt"
	"slices"
	"sync"

	looplab "github.com/looplab/fsm"
)

// TransitionError is returned for an event that the table does not draw in the
// current state. The machine is then where it was.
type TransitionError struct {
	State State
	Event Kind
}

// Error names the event and the state.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("fsm: transition: no %s in state %s", e.Event, e.State)
}

// Machine is the bare state machine, without components, clock or log: the
// table on the looplab/fsm engine. An [Orchestrator] drives one; state-diagram
// tests can drive one directly. It is made by [NewMachine], is safe for
// concurrent use and never waits for anything.
type Machine struct {
	mu     sync.Mutex // one event at a time
	engine *looplab.FSM
}

var engineTable = func() (rows looplab.Events) {
	for _, t := range table {
		rows = append(rows, looplab.EventDesc{Name: t.On.String(), Src: []string{t.From.String()}, Dst: t.To.String()})
	}
	return rows
}()

// NewMachine returns a machine in state [Running].
func NewMachine() *Machine {
	return &Machine{engine: looplab.NewFSM(Running.String(), engineTable, nil)}
}

// State returns the current state.
func (m *Machine) State() State { return State(slices.Index(stateNames[:], m.engine.Current())) }

// Fire applies an event and returns the transition taken. An event that is not
// drawn in the current state returns a [*TransitionError] and changes nothing.
func (m *Machine) Fire(event Kind) (Transition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := m.State()
	// A context that can be cancelled could wedge the engine in mid-transition.
	if err := m.engine.Event(context.Background(), event.String()); err != nil {
		return Transition{}, &TransitionError{State: from, Event: event}
	}
	return Transition{From: from, On: event, To: m.State()}, nil
}
