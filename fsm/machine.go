package fsm

import (
	"context"
	"fmt"
	"slices"
	"sync"

	looplab "github.com/looplab/fsm"
)

// State is where a shutdown stands. It marshals as its name.
type State uint8

const (
	// Running: components can be registered; nobody has asked for a shutdown.
	Running State = iota
	// Withdrawing: everybody stops taking new work, and the components
	// registered with [Withdraws] tell the world that the process is leaving.
	Withdrawing
	// AwaitingAcks: the others finish what was begun, and close.
	AwaitingAcks
	// Terminated: the report is final. Nothing leaves this state.
	Terminated
)

// Kind says what an [Event] is. It marshals as its name.
type Kind uint8

const (
	// ShutdownRequested moves Running to Withdrawing. It carries the [Command].
	ShutdownRequested Kind = iota
	// Withdrawn moves Withdrawing to AwaitingAcks: every Withdraws component has
	// acked or was insisted upon, or the polite time is over.
	Withdrawn
	// AllAcked moves AwaitingAcks to Terminated: nobody is left to wait for.
	AllAcked
	// Timeout ends a shutdown from the outside: the alarm, or a force.
	Timeout
	// Started: the component's Shutdown was called.
	Started
	// Acked: the component's Shutdown returned, panicked or called Goexit.
	Acked
	// Quiesced: the component's Quiesce returned or failed, or, with
	// [ErrQuiesceLate], is no longer waited for.
	Quiesced
	// Insisted: the context of the component's Shutdown was cancelled.
	Insisted
	// Forced: somebody would not wait any longer. It carries the [Command].
	Forced
)

var (
	stateNames = [...]string{"Running", "Withdrawing", "AwaitingAcks", "Terminated"}
	kindNames  = [...]string{
		"ShutdownRequested", "Withdrawn", "AllAcked", "Timeout",
		"Started", "Acked", "Quiesced", "Insisted", "Forced",
	}
)

func (s State) String() string               { return nameOf(stateNames[:], s) }
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s *State) UnmarshalText(text []byte) error {
	return parseName(stateNames[:], "state", s, text)
}

func (k Kind) String() string               { return nameOf(kindNames[:], k) }
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
func (k *Kind) UnmarshalText(text []byte) error {
	return parseName(kindNames[:], "kind", k, text)
}

func nameOf[T ~uint8](names []string, value T) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("unknown(%d)", value)
}

func parseName[T ~uint8](names []string, what string, to *T, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("fsm: %s: unknown name %q", what, text)
	}
	*to = T(i)
	return nil
}

// Transition is one line of the table: in state From, event On leads to To.
type Transition struct {
	From State `json:"from"`
	On   Kind  `json:"on"`
	To   State `json:"to"`
}

// Table is a machine as the list of its transitions.
type Table []Transition

// table is the whole machine. The engine, the core, the diagrams and the tests
// are all made from it.
var table = Table{
	{Running, ShutdownRequested, Withdrawing},
	{Withdrawing, Withdrawn, AwaitingAcks},
	{AwaitingAcks, AllAcked, Terminated},
	{Withdrawing, Timeout, Terminated},
	{AwaitingAcks, Timeout, Terminated},
}

// Transitions returns the machine's table, a copy of it.
func Transitions() Table { return slices.Clone(table) }

// TransitionError is returned for an event that the table does not draw in the
// current state. The machine is then where it was.
type TransitionError struct {
	State State
	Event Kind
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("fsm: transition: no %s in state %s", e.Event, e.State)
}

// Machine is the bare state machine, without components, clock or log: the
// table on the looplab/fsm engine. An [Orchestrator] drives one; state-diagram
// tests can drive one directly. It is safe for concurrent use and never blocks.
type Machine struct {
	mu     sync.Mutex
	engine *looplab.FSM
	state  State // what the engine's current state is called here
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
func (m *Machine) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Fire applies an event and returns the transition taken. An event that is not
// drawn in the current state returns a [*TransitionError] and changes nothing.
func (m *Machine) Fire(event Kind) (Transition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A context that can be cancelled could wedge the engine in mid-transition.
	if err := m.engine.Event(context.Background(), event.String()); err != nil {
		return Transition{}, &TransitionError{State: m.state, Event: event}
	}
	taken := Transition{From: m.state, On: event}
	_ = parseName(stateNames[:], "state", &taken.To, []byte(m.engine.Current()))
	m.state = taken.To
	return taken, nil
}
