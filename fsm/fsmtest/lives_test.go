package fsmtest_test

import (
	"context"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmtest"
)

// lifeCases is small because the race detector makes them slow; 100,000 are all.
var lifeCases = flag.Int("lives", 600, "how many cases of each program are tried")

// lives are the ways to live and to be shut down, each in a program of its own.
var lives = map[string]func(r fsmtest.Registrar) error{
	"runs": func(r fsmtest.Registrar) error {
		return errors.Join(
			r.Register("db", fsm.Serve(func() error { return nil }, server{})),
			r.Go("consumer", nil, fsm.Before("db"), fsm.Grace(r.Polite()/2)),
			r.Register("http", fsm.Serve(func() error { return nil }, fsm.Func(func(context.Context) error { return nil })), fsm.Before("consumer")),
			r.Go("ticker", nil, fsm.Withdraws()),
		)
	},
	"options": func(r fsmtest.Registrar) error {
		return errors.Join(
			r.Register("lease", nil, fsm.Strict()),
			r.Go("worker", nil, fsm.Before("lease")),
			r.Register("traces", nil, fsm.Last(), fsm.BestEffort()),
			r.Register("log", nil, fsm.Last(), fsm.Strict(), fsm.After("traces")),
			r.Register("leave", nil, fsm.Withdraws(), fsm.BestEffort()),
		)
	},
	"nested": func(r fsmtest.Registrar) error {
		inner, err := fsm.New(fsm.Config{Alarm: r.Alarm()})
		return errors.Join(err,
			r.Register("db", nil),
			r.Register("tenant", inner.Component(), fsm.Before("db"), fsm.Grace(r.Polite()/2)),
			r.Register("plugin", inner.Component(), fsm.BestEffort(), fsm.After("db")),
			r.Go("feed", nil, fsm.Before("tenant")),
		)
	},
	"best effort": func(r fsmtest.Registrar) error {
		return errors.Join(
			r.Register("push", nil, fsm.BestEffort()),
			r.Go("sync", nil, fsm.BestEffort(), fsm.After("push")),
			r.Register("db", nil, fsm.Before("push")),
		)
	},
	"strict late": func(r fsmtest.Registrar) error {
		return errors.Join(
			r.Register("a", server{}, fsm.Grace(3*r.Polite()/4)),
			r.Go("b", nil, fsm.After("a"), fsm.Strict()),
			r.Register("c", nil, fsm.After("b"), fsm.Grace(r.Polite()/4)),
			r.Register("d", nil, fsm.After("c"), fsm.Strict()),
		)
	},
}

func TestMatrixOfLives(t *testing.T) {
	for name, setup := range lives {
		t.Run(name, func(t *testing.T) {
			outcomes, behaviors, codes := map[fsm.Outcome]int{}, map[fsmtest.Behavior]int{}, map[int]int{}
			fsmtest.Matrix{Setup: setup, MaxCases: *lifeCases, Invariants: []func(fsmtest.Case) error{
				func(c fsmtest.Case) error {
					codes[c.Report.ExitCode()]++
					for _, l := range c.Report.Components {
						outcomes[l.Outcome]++
					}
					for _, b := range c.Behaviors {
						behaviors[b]++
					}
					return nil
				},
			}}.Test(t)
			t.Log(outcomes, behaviors, codes)
			for _, code := range []int{fsm.ExitOK, fsm.ExitImpolite, fsm.ExitFailure, fsm.ExitAlarm} {
				if codes[code] == 0 {
					t.Errorf("no case had exit code %d", code)
				}
			}
		})
	}
}

// An alarm that is not round, and a polite time that is short.
func TestMatrixOfLivesInOddTimes(t *testing.T) {
	for name, setup := range lives {
		t.Run(name, func(t *testing.T) {
			config := fsm.Config{Alarm: 1234567891 * time.Nanosecond, InsistAfter: 98765433 * time.Nanosecond}
			fsmtest.Matrix{Setup: setup, MaxCases: *lifeCases / 3, Seed: 7, Config: config}.Test(t)
		})
	}
}
