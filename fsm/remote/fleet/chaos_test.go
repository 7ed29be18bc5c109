package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// TestWhateverHappensToTheOperators: operators die, give up and are interrupted at
// random moments, the server is killed and comes back, and others take the drain up
// until it is finished. Never more are away than may be, in no run and over none of
// the seams, and each has obeyed once.
func TestWhateverHappensToTheOperators(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 11))
			s := natstest.Start(t)
			nc := s.Connect()
			var g gauge
			all := members(t, nc, 12, func(context.Context) error {
				g.enter()
				defer g.leave()
				time.Sleep(20 * time.Millisecond)
				return nil
			})
			const atOnce = 3
			plan := Plan{AtOnce: Count(atOnce), Order: Order(random.IntN(len(orderNames)))}
			d := begin1(t, nc, plan, Options{Lease: time.Second})
			var fates []string
			var r *Report
			for runs := 1; ; runs++ {
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan *Report, 1)
				go func() {
					r, _ := d.Run(ctx)
					done <- r
				}()
				if runs < 6 {
					time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
					fates = append(fates, fateOf(random, s, d, cancel))
				}
				r = <-done
				cancel()
				if r.Stopped == "" && r.Count(Left) == len(all) {
					break
				}
				natstest.Eventually(t, func() (err error) { // the lease of one that has died has to expire
					d, err = Resume(t.Context(), nc, "api", Options{Lease: time.Second}.quiet())
					return err
				})
			}
			t.Log(strings.Join(fates, ", "))
			if g.most.Load() > atOnce {
				t.Errorf("%d were away at once", g.most.Load())
			}
			for _, p := range all {
				if c := p.requests(); len(c) != 1 {
					t.Errorf("%s obeyed %d times", p.member.Instance(), len(c))
				}
			}
			natstest.Eventually(t, func() error { // the server may be on its way back
				if st, err := Current(t.Context(), nc, "api"); err != nil || st.Held || !st.Finished {
					return fmt.Errorf("it stands so: %+v, %w", st, err)
				}
				return nil
			})
		})
	}
}

// fateOf has something happen to an operator.
func fateOf(random *rand.Rand, s *natstest.Server, d *Drain, cancel func()) string {
	switch random.IntN(4) {
	case 0: // it dies: nothing is given back
		d.lease.lose(errors.New("it is dead"))
		d.Abandon()
		return "dies"
	case 1:
		d.Abandon()
		return "gives up"
	case 2:
		cancel()
		return "is interrupted"
	}
	s.Kill()
	s.Start()
	return "is alone for a while"
}
