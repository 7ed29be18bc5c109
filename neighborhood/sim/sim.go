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
	"slices"
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
	Killed    int    `json:"killed"`    // nodes that vanish without a farewell, for good
	Hub       Hub    `json:"hub"`       // whom the others are configured with
	Pace      Pace   `json:"pace"`      // of those who go
	Settled   bool   `json:"settled"`   // a small network too starts as one that has long been there
}

// Hub says whom the nodes are configured with.
type Hub string

// The hubs.
const (
	NoHub    Hub = ""      // each with one of those that were there before, or two
	HubStays Hub = "stays" // all with the first node, which stays
	HubGoes  Hub = "goes"  // all with the first node, which is the first to leave, crash or be killed
)

// Pace is how those who leave, crash or are killed follow each other.
type Pace string

// The paces.
const (
	Apart Pace = ""     // mostly when the network is silent again
	InRow Pace = "row"  // each up to 1.5 s after the one before
	Once  Pace = "once" // all in the same instant
)

func (cfg Config) check() error {
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return fmt.Errorf("sim: %w: %d nodes, want 1 to %d", ErrConfig, cfg.Nodes, MaxNodes)
	}
	if min(cfg.Leavers, cfg.Crashers, cfg.Byzantine, cfg.Faults, cfg.Killed) < 0 {
		return fmt.Errorf("sim: %w: a negative number", ErrConfig)
	}
	if cfg.Leavers+cfg.Crashers+cfg.Byzantine+cfg.Killed > cfg.Nodes {
		return fmt.Errorf("sim: %w: more leavers, crashers, killed and liars than nodes", ErrConfig)
	}
	if !slices.Contains([]Hub{NoHub, HubStays, HubGoes}, cfg.Hub) {
		return fmt.Errorf("sim: %w: hub %q is neither %s nor %s", ErrConfig, cfg.Hub, HubStays, HubGoes)
	}
	if !slices.Contains([]Pace{Apart, InRow, Once}, cfg.Pace) {
		return fmt.Errorf("sim: %w: pace %q is neither %s nor %s", ErrConfig, cfg.Pace, InRow, Once)
	}
	return nil
}

// String is the command line that repeats the run.
func (cfg Config) String() string {
	text := fmt.Sprintf("farewell simulate --nodes %d --seed %d --leavers %d --crashers %d --byzantine %d --faults %d",
		cfg.Nodes, cfg.Seed, cfg.Leavers, cfg.Crashers, cfg.Byzantine, cfg.Faults)
	if cfg.Killed > 0 {
		text += fmt.Sprintf(" --killed %d", cfg.Killed)
	}
	if cfg.Hub != NoHub {
		text += " --hub " + string(cfg.Hub)
	}
	if cfg.Pace != Apart {
		text += " --pace " + string(cfg.Pace)
	}
	if cfg.Settled {
		text += " --settled"
	}
	return text
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
	if len(s.blocked) > 0 {
		s.measure(ctx, "heal", func() { s.runUntil(ctx, s.now.Add(longestFault)) })
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
	looking bool          // into how many parts the network is in
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
