package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// On the real scheduler, with everything at once: components of all kinds in a
// random order, requests, forces, readers, late registrations and snapshots. What
// takes how long is not looked at, but that it ends, and that the log is whole.
func TestEverythingAtOnce(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { everythingAtOnce(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func everythingAtOnce(t *testing.T, random *rand.Rand) {
	o, err := New(Config{Alarm: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	defer close(over)
	registered := random.IntN(12)
	for i := range registered {
		c := Component(Func(anything(random, over)))
		if random.IntN(3) == 0 {
			c = quiescing{c.(Func), anything(random, over)}
		}
		var options []Option
		for j := range i {
			if random.IntN(4) == 0 {
				options = append(options, After(ID(fmt.Sprint(j))))
			}
		}
		if random.IntN(4) == 0 {
			options = append(options, Grace(time.Duration(1+random.IntN(int(10*ms)))))
		}
		register(t, o, ID(fmt.Sprint(i)), c, options...)
	}
	var all sync.WaitGroup
	reports := make([]*Report, 4)
	for i := range reports {
		force := random.IntN(8) == 0
		all.Go(func() {
			o.Request(Command{Reason: "test"})
			if force {
				o.Force(Command{Reason: "test"})
			}
			o.Report()
			_ = o.Register(ID(fmt.Sprint("late", i)), returns(nil))
			reports[i], _ = o.Wait(context.Background())
		})
		all.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			read := 0
			for e := range o.Events(ctx) {
				if read++; e.Seq != read-1 {
					t.Errorf("event %d comes as number %d", e.Seq, read-1)
				}
				if i == 0 && read == 3 {
					cancel()
				}
			}
		})
	}
	all.Wait()
	for _, r := range reports {
		if r == nil || r != reports[0] {
			t.Fatal("not all got the same report")
		}
	}
	acked := 0
	for _, e := range reports[0].Events {
		if e.Kind == Acked {
			acked++
		}
	}
	for _, l := range reports[0].Components {
		switch l.Outcome {
		case OutcomeAcked, OutcomeFailed, OutcomePanicked:
			acked--
		case OutcomeHung, OutcomeSkipped:
		default:
			t.Errorf("%s is %s in a final report", l.ID, l.Outcome)
		}
	}
	if acked != 0 || reports[0].State != Terminated || len(reports[0].Components) != registered {
		t.Errorf("%d acks too many in\n%s", acked, reports[0])
	}
}

// anything is what a component may do.
func anything(random *rand.Rand, over <-chan struct{}) Func {
	d := time.Duration(random.IntN(int(3 * ms)))
	return [...]Func{
		returns(nil), returns(errBroken), takes(d), sleeps(d), takes(time.Hour),
		func(context.Context) error { panic("anything") },
		func(context.Context) error { runtime.Goexit(); return nil },
		func(context.Context) error { <-over; return nil },
	}[random.IntN(8)]
}
