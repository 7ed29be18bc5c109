package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ScaleDowns is what many networks, of which a part goes, have shown: 5 to a given number of nodes, of which 1 to 90 %
// leave politely, are killed, or both, at once or one by one, with and without the node that all are configured with.
type ScaleDowns struct {
	Runs       int
	Parted     int           // that were in needless parts after the last departure
	Apart      int           // that ended in parts which nothing connects any more
	Median     time.Duration // from the last departure until they were whole, of those that were parted
	Worst      time.Duration
	WorstRun   Config
	Violations []Violation
}

const fewestNodes = 5

// RunScaleDowns simulates runs scale-downs, drawn from seed, on as many goroutines as there are processors. Errors wrap
// ErrConfig or are ctx's.
func RunScaleDowns(ctx context.Context, runs, mostNodes int, seed uint64) (*ScaleDowns, error) {
	if runs < 1 || mostNodes < fewestNodes || mostNodes > MaxNodes {
		return nil, fmt.Errorf("sim: %w: %d scale-downs of %d nodes, want at least one of %d to %d",
			ErrConfig, runs, mostNodes, fewestNodes, MaxNodes)
	}
	var mutex sync.Mutex
	var times []time.Duration
	all := &ScaleDowns{Runs: runs}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range uint64(runs) {
		group.Go(func() error {
			cfg := drawScaleDown(seed+i, mostNodes)
			r, err := Run(ctx, cfg)
			if err != nil {
				return err
			}
			mutex.Lock()
			defer mutex.Unlock()
			if whole := all.add(r); whole > 0 {
				times = append(times, whole)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(times)
	if all.Parted = len(times); all.Parted > 0 {
		all.Median = times[len(times)/2]
	}
	return all, nil
}

// add takes one run in, and returns how long its network took to be whole.
func (all *ScaleDowns) add(r *Result) time.Duration {
	all.Violations = append(all.Violations, r.Violations...)
	end := r.Events[len(r.Events)-1]
	if end.Components > 1 {
		all.Apart++
	}
	if end.Whole > all.Worst {
		all.Worst, all.WorstRun = end.Whole, r.Config
	}
	return end.Whole
}

// drawScaleDown draws small networks as often as large ones: as many below 50 nodes as above.
func drawScaleDown(seed uint64, mostNodes int) Config {
	rng := rand.New(rand.NewPCG(seed, 0x7363616c65))
	nodes := int(math.Round(fewestNodes * math.Pow(float64(mostNodes)/fewestNodes, rng.Float64())))
	going := max(1, nodes*(1+rng.IntN(90))/100)
	cfg := Config{Nodes: nodes, Seed: seed, Pace: []Pace{InRow, Once}[rng.IntN(2)]}
	cfg.Hub = []Hub{NoHub, HubStays, HubGoes}[rng.IntN(3)]
	cfg.Settled = nodes > grownUpTo/3 && rng.IntN(5) > 0 // growing takes most of the time
	switch rng.IntN(3) {
	case 0:
		cfg.Leavers = going
	case 1:
		cfg.Killed = going
	default:
		cfg.Leavers = rng.IntN(going + 1)
		cfg.Killed = going - cfg.Leavers
	}
	return cfg
}

// MarshalJSON implements json.Marshaler, durations in milliseconds.
func (all *ScaleDowns) MarshalJSON() ([]byte, error) {
	violations := make([]violationJSON, len(all.Violations))
	for i, v := range all.Violations {
		violations[i] = violationJSON{v.Rule, milliseconds(v.At), v.What, v.Reproduce}
	}
	return json.Marshal(struct {
		Runs       int             `json:"runs"`
		Parted     int             `json:"parted"`
		Apart      int             `json:"apart"`
		Median     float64         `json:"medianMs"`
		Worst      float64         `json:"worstMs"`
		WorstRun   string          `json:"worstRun"`
		Violations []violationJSON `json:"violations"`
	}{all.Runs, all.Parted, all.Apart, milliseconds(all.Median), milliseconds(all.Worst), all.WorstRun.String(), violations})
}

// Err is an error that names the violations; nil if there are none.
func (all *ScaleDowns) Err() error {
	if len(all.Violations) == 0 {
		return nil
	}
	return errors.New("sim: " + violationsInWords(all.Violations))
}

// String is a few lines for people.
func (all *ScaleDowns) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d scale-downs: %d fell into parts and were whole again, after %v (median) and %v (worst)\n",
		all.Runs, all.Parted, all.Median.Round(time.Millisecond), all.Worst.Round(time.Millisecond))
	if all.Parted > 0 {
		fmt.Fprintf(&text, "the worst: %v\n", all.WorstRun)
	}
	fmt.Fprintf(&text, "%d ended in parts that no configured or remembered address connects\n", all.Apart)
	for _, v := range all.Violations[:min(len(all.Violations), maxViolations)] {
		fmt.Fprintln(&text, v)
	}
	return text.String()
}

func violationsInWords(all []Violation) string {
	return fmt.Sprintf("%d violations, the first: %v", len(all), all[0])
}
