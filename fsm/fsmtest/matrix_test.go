package fsmtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmtest"
)

type server struct{ fsm.Component }

func (server) Quiesce(context.Context) error { return nil }

// register is what a program's start-up code looks like.
func register(r fsmtest.Registrar) error {
	return errors.Join(
		r.Register("neighborhood", nil, fsm.Withdraws()),
		r.Register("db", nil),
		r.Register("pool", server{}, fsm.Before("db"), fsm.Grace(500*time.Millisecond)),
		r.Register("http", nil, fsm.Before("pool")),
	)
}

func TestMatrixOfAllCombinations(t *testing.T) {
	seen := map[string]bool{}
	outcomes := map[fsm.Outcome]int{}
	cases := fsmtest.Matrix{Setup: register, Invariants: []func(fsmtest.Case) error{
		func(c fsmtest.Case) error {
			seen[c.String()] = true
			for _, l := range c.Report.Components {
				outcomes[l.Outcome]++
			}
			return nil
		},
	}}.Test(t)
	if cases != 6*6*6*6 || len(seen) != cases {
		t.Errorf("%d cases, %d of them different; want %d", cases, len(seen), 6*6*6*6)
	}
	for _, outcome := range []fsm.Outcome{fsm.OutcomeAcked, fsm.OutcomeFailed, fsm.OutcomePanicked, fsm.OutcomeHung} {
		if outcomes[outcome] == 0 {
			t.Errorf("no component was %s", outcome)
		}
	}
}

func TestMatrixSamplesFromASeed(t *testing.T) {
	draw := func(seed uint64) (drawn []string) {
		cases := fsmtest.Matrix{Setup: register, MaxCases: 50, Seed: seed, Invariants: []func(fsmtest.Case) error{
			func(c fsmtest.Case) error { drawn = append(drawn, c.String()); return nil },
		}}.Test(t)
		if cases != 50 || len(drawn) != 50 {
			t.Errorf("%d cases, %d seen, want 50", cases, len(drawn))
		}
		return drawn
	}
	a, again, b := draw(1), draw(1), draw(2)
	same := 0
	for i := range a {
		if a[i] != again[i] {
			t.Fatalf("the same seed drew %q and %q", a[i], again[i])
		}
		if a[i] == b[i] {
			same++
		}
	}
	if same == len(a) {
		t.Error("different seeds draw the same cases")
	}
}

func TestMatrixOfNobody(t *testing.T) {
	if cases := (fsmtest.Matrix{Setup: func(fsmtest.Registrar) error { return nil }}).Test(t); cases != 1 {
		t.Errorf("%d cases", cases)
	}
}
