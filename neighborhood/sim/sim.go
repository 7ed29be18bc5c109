// Package sim runs whole networks of real neighborhood cores in one process, under a clock of its own: nodes join,
// leave, crash and come back, links stall and break, networks fall apart and heal, and some members lie. Everything is
// drawn from one seed, so a run that shows a violation shows it again.
//
// What must hold is checked in every run; see Violation.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// MaxNodes bounds a simulated network: every node holds the record of every other one.
const MaxNodes = 2000

// grownUpTo is the largest network that grows by Debuts from an empty one; larger ones start settled.
const grownUpTo = 100

// ErrConfig is wrapped by Run's error about a Config.
var ErrConfig = errors.New("bad configuration")

// Config says what is simulated. The same Config always gives the same Result.
type Config struct {
	Nodes     int    `json:"nodes"`     // 1 to MaxNodes; up to 100 of them grow by Debuts from an empty network
	Seed      uint64 `json:"seed"`      // of everything that is drawn
	Leavers   int    `json:"leavers"`   // nodes that withdraw
	Crashers  int    `json:"crashers"`  // nodes that vanish without a farewell; every second one comes back with its key
	Byzantine int    `json:"byzantine"` // nodes that lie, once each
	Faults    int    `json:"faults"`    // links that stall or break, and partitions that heal
}

func (cfg Config) check() error {
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return fmt.Errorf("sim: %w: %d nodes, want 1 to %d", ErrConfig, cfg.Nodes, MaxNodes)
	}
	if cfg.Leavers < 0 || cfg.Crashers < 0 || cfg.Byzantine < 0 || cfg.Faults < 0 {
		return fmt.Errorf("sim: %w: a negative number", ErrConfig)
	}
	if cfg.Leavers+cfg.Crashers+cfg.Byzantine > cfg.Nodes {
		return fmt.Errorf("sim: %w: more leavers, crashers and liars than nodes", ErrConfig)
	}
	return nil
}

// String is the command line that repeats the run.
func (cfg Config) String() string {
	return fmt.Sprintf("farewell simulate --nodes %d --seed %d --leavers %d --crashers %d --byzantine %d --faults %d",
		cfg.Nodes, cfg.Seed, cfg.Leavers, cfg.Crashers, cfg.Byzantine, cfg.Faults)
}

// Run simulates one network. A violation is no error: it stands in the Result. Errors wrap ErrConfig or are ctx's.
// Run uses one goroutine, the caller's; 2,000 nodes take some 1.3 GB.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := newSimulation(cfg)
	s.raise(ctx)
	for _, group := range s.plan() {
		if ctx.Err() != nil {
			break
		}
		s.happen(ctx, group)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sim: %w", context.Cause(ctx))
	}
	s.result.Elapsed = s.now.Sub(epoch)
	return &s.result, nil
}

// epoch is when every simulation begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// simulation is one network under its clock.
type simulation struct {
	cfg     Config
	rng     *rand.Rand
	now     time.Time
	queue   schedule
	nodes   []*node // in the order of their birth
	byKey   map[identity.PublicKey]*node
	links   map[pair]*link
	blocked map[pair]bool // who cannot dial each other
	result  Result
	tally   tally
}

func newSimulation(cfg Config) *simulation {
	return &simulation{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6661726577656c6c)), now: epoch,
		byKey: make(map[identity.PublicKey]*node), links: make(map[pair]*link), blocked: make(map[pair]bool),
		result: Result{Config: cfg},
	}
}

// between draws a duration, evenly.
func (s *simulation) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)))
}
