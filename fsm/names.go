package fsm

import (
	"fmt"
	"slices"
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

// String returns the state's name, as the diagrams have it.
func (s State) String() string { return nameOf(stateNames[:], s) }

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses other names.
func (s *State) UnmarshalText(text []byte) error { return parseName(stateNames[:], "state", s, text) }

// String returns the event's name, as the diagrams have it.
func (k Kind) String() string { return nameOf(kindNames[:], k) }

// MarshalText implements [encoding.TextMarshaler].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses other names.
func (k *Kind) UnmarshalText(text []byte) error { return parseName(kindNames[:], "kind", k, text) }

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
