package sim

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestScaleDowns has networks shrink in every manner: they end whole, or in parts that nothing connects.
func TestScaleDowns(t *testing.T) {
	all, err := RunScaleDowns(t.Context(), downs, 40, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := all.Err(); err != nil {
		t.Error(err)
	}
	if all.Parted == 0 && downs > 50 {
		t.Error("none of them fell into parts: nothing was tried")
	}
	t.Logf("\n%v", all)
}

// TestHalfOfThemLeave is the worst that a polite scale-down did: a seed that all name stays, has room, and is never asked.
func TestHalfOfThemLeave(t *testing.T) {
	for seed := range uint64(halves) {
		for _, cfg := range []Config{
			{Nodes: 25, Seed: seed, Leavers: 12, Hub: HubStays, Pace: InRow},
			{Nodes: 25, Seed: seed, Killed: 12, Hub: HubStays, Pace: Once},
		} {
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err(); err != nil {
				t.Error(err)
			}
			if e := r.Events[len(r.Events)-1]; e.Components != 1 || e.Nodes != 13 {
				t.Errorf("%v: %+v", cfg, e)
			}
		}
	}
}

// A check of parts that cannot fail would be none.
func TestPartsThatNeedNotBeAreSeen(t *testing.T) {
	s := newSimulation(Config{Nodes: 4, Seed: 1, Hub: HubStays})
	s.raise(t.Context())
	if are, must := s.parts(); are != 1 || must != 1 {
		t.Fatalf("%d parts, %d must be", are, must)
	}
	for _, l := range s.nodes[3].peers() {
		s.sever(l)
	}
	s.runUntil(t.Context(), s.now.Add(300*time.Millisecond))
	if are, must := s.parts(); are != 2 || must != 1 {
		t.Errorf("%d parts, %d must be, want 2 and 1", are, must)
	}
	s.checkWhole()
	if !slices.ContainsFunc(s.result.Violations, func(v Violation) bool { return v.Rule == "whole" }) {
		t.Error("a network in parts is no violation")
	}
	for _, other := range s.nodes[:3] {
		s.blocked[pairOf(s.nodes[3], other)] = true
	}
	if are, must := s.parts(); are != 2 || must != 2 {
		t.Errorf("nobody can dial it: %d parts, %d must be, want 2 and 2", are, must)
	}
}

func TestScaleDownsForPeopleAndMachines(t *testing.T) {
	all, err := RunScaleDowns(t.Context(), 3, 8, 5)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(all.String(), "3 scale-downs") {
		t.Error(all)
	}
	data, err := json.Marshal(all)
	if err != nil || !strings.Contains(string(data), `"runs":3`) {
		t.Errorf("%s %v", data, err)
	}
	for _, bad := range [][2]int{{0, 100}, {1, 4}, {1, MaxNodes + 1}} {
		if _, err := RunScaleDowns(t.Context(), bad[0], bad[1], 1); !errors.Is(err, ErrConfig) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := RunScaleDowns(ctx, 3, 8, 5); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The line that a violation is repeated with says all that the run depends on.
func TestConfigAsACommandLine(t *testing.T) {
	cfg := Config{Nodes: 9, Seed: 2, Leavers: 1, Killed: 3, Hub: HubGoes, Pace: Once, Settled: true}
	want := "farewell simulate --nodes 9 --seed 2 --leavers 1 --crashers 0 --byzantine 0 --faults 0" +
		" --killed 3 --hub goes --pace once --settled"
	if cfg.String() != want {
		t.Error(cfg)
	}
}

// BenchmarkWholeAfterLosingHalf1000 is a settled network of 1,000, of which half leave in one instant. What it reports is
// the simulated time from the last departure until the rest is whole.
func BenchmarkWholeAfterLosingHalf1000(b *testing.B) {
	var times []time.Duration
	for seed := uint64(1); b.Loop(); seed++ {
		r, err := Run(b.Context(), Config{Nodes: 1000, Seed: seed, Leavers: 500, Hub: HubStays, Pace: Once})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Err(); err != nil {
			b.Fatal(err)
		}
		times = append(times, r.Events[len(r.Events)-1].Whole)
	}
	slices.Sort(times)
	b.ReportMetric(times[len(times)/2].Seconds(), "s/whole-median")
	b.ReportMetric(times[len(times)-1].Seconds(), "s/whole-worst")
}
