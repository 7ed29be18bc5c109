package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	looplab "github.com/looplab/fsm"
	"golang.org/x/sync/errgroup"
)

// Each benchmark runs its floor beside it, turn by turn, so that both see the
// same machine: the same work by hand with errgroup, or looplab/fsm without us.
// What is reported of both is the first quartile, because others use the machine
// too. Set-up is not timed:
//
//	go test ./fsm -run - -bench . -benchtime 3s
//
// B/op and ns/op of the testing package mean nothing here: they include set-up.

// sample is one timed run.
type sample struct {
	took   time.Duration
	allocs uint64
}

// timed runs f, whose set-up is done.
func timed(f func()) sample {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	f()
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	return sample{took, after.Mallocs - before.Mallocs}
}

// quartile is taken of the times and of the allocations apart.
func quartile(samples []sample) sample {
	byTime := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return int(a.took - b.took) })
	byAllocs := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return int(a.allocs) - int(b.allocs) })
	return sample{byTime[len(samples)/4].took, byAllocs[len(samples)/4].allocs}
}

// compare runs both in turn; each call of a prepare sets one run up.
func compare(b *testing.B, prepare, prepareFloor func() func()) (ours, floor sample) {
	b.Helper()
	var a, z []sample
	for b.Loop() {
		a = append(a, timed(prepare()))
		z = append(z, timed(prepareFloor()))
	}
	b.ReportMetric(0, "ns/op")
	return quartile(a), quartile(z)
}

func quiet(b *testing.B, config Config) *Orchestrator {
	b.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	o, err := New(config)
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// finish is what is timed: from the request to the report.
func finish(b *testing.B, o *Orchestrator, code int) func() {
	return func() {
		r, err := o.Shutdown(context.Background(), Command{Reason: "benchmark"})
		if err != nil || r.ExitCode() != code {
			b.Fatalf("%v\n%s", err, r)
		}
	}
}

// BenchmarkAtOnce: components that stop at once. The goal is 10 µs and 40
// allocations over the floor for 3, and 1 µs and 3 allocations each for many.
func BenchmarkAtOnce(b *testing.B) {
	for _, n := range []int{3, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := returns(nil)
			ids := make([]ID, n)
			for i := range ids {
				ids[i] = ID(fmt.Sprint(i))
			}
			ours, floor := compare(b, func() func() {
				o := quiet(b, Config{Alarm: time.Hour})
				for _, id := range ids {
					register(b, o, id, c)
				}
				return finish(b, o, ExitOK)
			}, func() func() {
				return func() {
					g, ctx := errgroup.WithContext(context.Background())
					for range n {
						g.Go(func() error { return c.Shutdown(ctx) })
					}
					if err := g.Wait(); err != nil {
						b.Fatal(err)
					}
				}
			})
			over := float64(ours.took - floor.took)
			b.ReportMetric(float64(ours.took)/1e3, "µs")
			b.ReportMetric(float64(floor.took)/1e3, "floor-µs")
			b.ReportMetric(over/1e3, "over-µs")
			b.ReportMetric(over/float64(n), "over-ns/component")
			b.ReportMetric(float64(ours.allocs)-float64(floor.allocs), "over-allocs")
			b.ReportMetric((float64(ours.allocs)-float64(floor.allocs))/float64(n), "over-allocs/component")
		})
	}
}

func sleeps(d time.Duration) Func { return func(context.Context) error { time.Sleep(d); return nil } }

// BenchmarkOrder: how near a shutdown comes to its critical path. The goals are
// 1.05 for layers and chains, 1.06 for independent components.
func BenchmarkOrder(b *testing.B) {
	for name, test := range map[string]struct {
		critical time.Duration
		register func(o *Orchestrator)
		floor    func()
	}{
		"3 layers of 10": {60 * time.Millisecond, func(o *Orchestrator) {
			var above, layer []ID
			for i := range 30 {
				id := ID(fmt.Sprint(i))
				register(b, o, id, sleeps(20*time.Millisecond), After(above...))
				if layer = append(layer, id); len(layer) == 10 {
					above, layer = layer, nil
				}
			}
		}, func() {
			for range 3 {
				var g errgroup.Group
				for range 10 {
					g.Go(func() error { time.Sleep(20 * time.Millisecond); return nil })
				}
				_ = g.Wait()
			}
		}},
		"9 chains of 3": {80 * time.Millisecond, func(o *Orchestrator) {
			for i := range 9 {
				var after []ID
				for j := range 3 {
					id := ID(fmt.Sprint(i, j))
					register(b, o, id, sleeps(link(i, j)), After(after...))
					after = []ID{id}
				}
			}
		}, func() {
			var g errgroup.Group
			for i := range 9 {
				g.Go(func() error {
					for j := range 3 {
						time.Sleep(link(i, j))
					}
					return nil
				})
			}
			_ = g.Wait()
		}},
		"50 independent": {20 * time.Millisecond, func(o *Orchestrator) {
			for i := range 50 {
				register(b, o, ID(fmt.Sprint(i)), sleeps(20*time.Millisecond))
			}
		}, func() {
			var g errgroup.Group
			for range 50 {
				g.Go(func() error { time.Sleep(20 * time.Millisecond); return nil })
			}
			_ = g.Wait()
		}},
	} {
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			ours, floor := compare(b, func() func() {
				o := quiet(b, Config{Alarm: time.Hour})
				test.register(o)
				return finish(b, o, ExitOK)
			}, func() func() { return test.floor })
			b.ReportMetric(float64(ours.took)/1e6, "ms")
			b.ReportMetric(float64(ours.took)/float64(test.critical), "x-critical-path")
			b.ReportMetric(float64(floor.took)/float64(test.critical), "floor-x-critical-path")
		})
	}
}

// link is how long the j-th of the i-th chain takes: the long one is elsewhere in
// each of three.
func link(i, j int) time.Duration {
	if i%3 == j {
		return 60 * time.Millisecond
	}
	return 10 * time.Millisecond
}

// BenchmarkCulprit: 10 components, one of which never stops, an alarm of 200 ms
// and 1,000 other goroutines. The goal is 1.02 times the alarm, with the culprit
// named and its stack. The floor is a timer and a channel.
func BenchmarkCulprit(b *testing.B) {
	const alarm = 200 * time.Millisecond
	others := make(chan struct{})
	defer close(others)
	for range 1000 {
		go func() { <-others }()
	}
	ours, floor := compare(b, func() func() {
		o, never := quiet(b, Config{Alarm: alarm}), make(chan struct{})
		for i := range 9 {
			register(b, o, ID(fmt.Sprint(i)), returns(nil))
		}
		register(b, o, "culprit", Func(func(context.Context) error { <-never; return nil }))
		return func() {
			r, err := o.Shutdown(context.Background(), Command{Reason: "benchmark"})
			l := line(b, r, "culprit")
			if err != nil || l.Outcome != OutcomeHung || !strings.Contains(l.Stack, "BenchmarkCulprit") ||
				len(r.culprits()) != 1 {
				b.Fatalf("%v\n%s", err, r)
			}
			close(never)
		}
	}, func() func() {
		return func() { <-time.After(alarm) }
	})
	b.ReportMetric(float64(ours.took)/1e6, "ms")
	b.ReportMetric(float64(ours.took)/float64(alarm), "x-alarm")
	b.ReportMetric(float64(floor.took)/float64(alarm), "floor-x-alarm")
}

// BenchmarkRuns: 10,000 functions that run until they are told to stop, from the
// first Go to the report. The goal is 1.5 times an errgroup whose context is
// cancelled.
func BenchmarkRuns(b *testing.B) {
	const n = 10_000
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = ID(fmt.Sprint(i))
	}
	run := func(ctx context.Context) error { <-ctx.Done(); return nil }
	ours, floor := compare(b, func() func() {
		o := quiet(b, Config{Alarm: time.Hour})
		return func() {
			for _, id := range ids {
				if err := o.Go(id, run); err != nil {
					b.Fatal(err)
				}
			}
			finish(b, o, ExitOK)()
		}
	}, func() func() {
		return func() {
			parent, cancel := context.WithCancel(context.Background())
			g, ctx := errgroup.WithContext(parent)
			for range n {
				g.Go(func() error { return run(ctx) })
			}
			cancel()
			_ = g.Wait()
		}
	})
	b.ReportMetric(float64(ours.took)/n, "ns/run")
	b.ReportMetric(float64(floor.took)/n, "floor-ns/run")
	b.ReportMetric(float64(ours.took)/float64(floor.took), "x-floor")
	b.ReportMetric(float64(ours.allocs)/n, "allocs/run")
}

// BenchmarkDeregister: one goes, of 100,000 that are all ordered against one
// other. The goal is 1 µs.
func BenchmarkDeregister(b *testing.B) {
	const n = 100_000
	ids, c := make([]ID, n), returns(nil)
	for i := range ids {
		ids[i] = ID(fmt.Sprint(i))
	}
	var took []sample
	for b.Loop() {
		o := quiet(b, Config{})
		register(b, o, "db", c)
		for _, id := range ids {
			register(b, o, id, c, Before("db"))
		}
		runtime.GC()
		took = append(took, timed(func() {
			for _, id := range ids {
				if err := o.Deregister(id); err != nil {
					b.Fatal(err)
				}
			}
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(quartile(took).took)/n, "ns/deregister")
}

// BenchmarkTransition: one transition of the bare engine, through our Machine,
// and recorded in the log with its time. The goals are 1.3 and 1.7 times the
// engine.
func BenchmarkTransition(b *testing.B) {
	const batch = 1000 // a transition is too short to be timed alone
	var bare, machine, logged []sample
	for b.Loop() {
		engines, machines, orchestrators := [batch]*looplab.FSM{}, [batch]*Machine{}, [batch]*Orchestrator{}
		for i := range batch {
			engines[i] = looplab.NewFSM(Running.String(), engineTable, nil)
			machines[i] = NewMachine()
			orchestrators[i] = quiet(b, Config{})
			orchestrators[i].log.reserve(4)
		}
		runtime.GC()
		ctx := context.Background()
		bare = append(bare, timed(func() {
			for _, e := range engines {
				if err := e.Event(ctx, ShutdownRequested.String()); err != nil {
					b.Fatal(err)
				}
			}
		}))
		machine = append(machine, timed(func() {
			for _, m := range machines {
				if _, err := m.Fire(ShutdownRequested); err != nil {
					b.Fatal(err)
				}
			}
		}))
		m := new(message)
		logged = append(logged, timed(func() {
			for _, o := range orchestrators {
				o.carryOut(effect{ShutdownRequested, nobody, nobody}, m, time.Now())
			}
		}))
	}
	b.ReportMetric(0, "ns/op")
	floor := float64(quartile(bare).took)
	b.ReportMetric(floor/batch, "floor-ns")
	b.ReportMetric(float64(quartile(machine).took)/batch, "machine-ns")
	b.ReportMetric(float64(quartile(machine).took)/floor, "machine-x-floor")
	b.ReportMetric(float64(quartile(logged).took)/batch, "logged-ns")
	b.ReportMetric(float64(quartile(logged).took)/floor, "logged-x-floor")
}
