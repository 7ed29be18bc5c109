package fsm

import (
	"errors"
	"testing"
)

func TestEveryPairOfStateAndEvent(t *testing.T) {
	for state := Running; state <= Terminated; state++ {
		for kind := ShutdownRequested; kind <= Forced; kind++ {
			m := machineIn(t, state)
			want, drawn := state, false
			for _, edge := range Transitions() {
				if edge.From == state && edge.On == kind {
					want, drawn = edge.To, true
				}
			}
			taken, err := m.Fire(kind)
			if m.State() != want {
				t.Errorf("%s in %s leads to %s, want %s", kind, state, m.State(), want)
			}
			if drawn {
				if err != nil || taken != (Transition{state, kind, want}) {
					t.Errorf("%s in %s took %v, %v", kind, state, taken, err)
				}
				continue
			}
			if refused, ok := errors.AsType[*TransitionError](err); !ok || *refused != (TransitionError{state, kind}) {
				t.Errorf("%s in %s is not drawn, yet answered %v", kind, state, err)
			}
		}
	}
}

func machineIn(t *testing.T, state State) *Machine {
	t.Helper()
	m := NewMachine()
	for _, kind := range []Kind{ShutdownRequested, Withdrawn, AllAcked}[:state] {
		if _, err := m.Fire(kind); err != nil {
			t.Fatal(err)
		}
	}
	return m
}
