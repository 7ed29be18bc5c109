package sim

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNetworks runs many small networks, in which everything that can go wrong does.
func TestNetworks(t *testing.T) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	var leaves, messages atomic.Int64
	for seed := range uint64(networks) {
		group.Go(func() error {
			r, err := Run(t.Context(), drawConfig(seed))
			if err != nil {
				return err
			}
			for _, v := range r.Violations {
				t.Error(v)
			}
			for _, e := range r.Events {
				leaves.Add(int64(e.Neighbors))
				messages.Add(int64(e.Messages))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d networks, %d farewells, %d messages", networks, leaves.Load(), messages.Load())
}

// drawConfig draws mostly small networks: what goes wrong in a large one goes wrong in a small one too, sooner.
func drawConfig(seed uint64) Config {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{Nodes: 3 + rng.IntN(6), Seed: seed}
	if rng.IntN(60) == 0 {
		cfg.Nodes += 15
	}
	share := func() int { return rng.IntN(cfg.Nodes/3 + 1) }
	cfg.Leavers, cfg.Crashers, cfg.Faults = share(), share(), rng.IntN(4)
	if rng.IntN(2) == 0 {
		cfg.Byzantine = share()
	}
	return cfg
}

func TestTheSameSeedShowsTheSame(t *testing.T) {
	cfg := Config{Nodes: 10, Seed: 7, Leavers: 2, Crashers: 2, Byzantine: 2, Faults: 3}
	first, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if again.String() != first.String() {
			t.Fatalf("first\n%vagain\n%v", first, again)
		}
	}
}

func TestLeavingALargeNetwork(t *testing.T) {
	r, err := Run(t.Context(), Config{Nodes: large, Seed: 1, Leavers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	e := r.Events[0]
	if e.FromLeavers != e.Neighbors || e.Nodes != large-1 || e.Components != 1 {
		t.Errorf("%+v", e)
	}
	t.Logf("\n%v", r)
}

func TestBadConfigs(t *testing.T) {
	for _, cfg := range []Config{
		{},
		{Nodes: -1},
		{Nodes: MaxNodes + 1},
		{Nodes: 5, Leavers: -1},
		{Nodes: 5, Leavers: 3, Crashers: 3},
		{Nodes: 5, Leavers: 3, Killed: 3},
		{Nodes: 5, Killed: -1},
		{Nodes: 5, Hub: "moves"},
		{Nodes: 5, Pace: "slow"},
	} {
		if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	if _, err := Run(ctx, Config{Nodes: 50, Leavers: 1}); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func TestResultForPeopleAndMachines(t *testing.T) {
	r, err := Run(t.Context(), Config{Nodes: 6, Seed: 3, Leavers: 1})
	if err != nil {
		t.Fatal(err)
	}
	r.Violations = append(r.Violations, Violation{Rule: "room", What: "none", Reproduce: r.Config.String()})
	for _, want := range []string{"6 nodes, seed 3", "grow", "leave", "farewell simulate --nodes 6 --seed 3 --leavers 1"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%q is missing in\n%v", want, r)
		}
	}
	if r.Err() == nil {
		t.Error("a violation is no error")
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Config Config
		Events []struct {
			Name   string
			Agreed float64
		}
		Violations []struct{ Reproduce string }
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Config != r.Config || len(back.Events) != 2 || len(back.Violations) != 1 || back.Events[1].Agreed <= 0 {
		t.Errorf("%s", data)
	}
}
