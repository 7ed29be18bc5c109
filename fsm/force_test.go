package fsm

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestForceInRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", quiescing{returns(errBroken), returns(errBroken)})
		register(t, o, "b", returns(errBroken), After("a"))
		if !o.Force(Command{Reason: "now", By: "test"}) {
			t.Error("the force did not count")
		}
		r, _ := o.Wait(t.Context())
		expectEvents(t, r, "0s ShutdownRequested", "0s Forced", "0s Timeout")
		expect(t, r, ComponentReport{ID: "a", Outcome: OutcomeSkipped})
		expect(t, r, ComponentReport{ID: "b", Outcome: OutcomeSkipped})
		if r.Edge != (Transition{Withdrawing, Timeout, Terminated}) || r.ExitCode() != ExitAlarm ||
			r.Command.Reason != "now" || r.ForcedBy.Reason != "now" || !errors.Is(r.Err(), ErrForced) {
			t.Errorf("%s\n%v", r, r.Err())
		}
	})
}

func TestForceInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "done", takes(time.Second))
		register(t, o, "hung", ignores(t))
		register(t, o, "waiting", takes(0), After("hung"))
		if !o.Request(Command{Reason: "first"}) || o.Request(Command{Reason: "second"}) {
			t.Error("the first request counts, and only that")
		}
		time.Sleep(2 * time.Second)
		if !o.Force(Command{Reason: "third", Signal: syscall.SIGINT}) || o.Force(Command{Signal: syscall.SIGTERM}) {
			t.Error("the first force counts, and only that")
		}
		if o.State() != Terminated {
			t.Error("Force returned before the machine was terminated")
		}
		r, _ := o.Wait(t.Context())
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started done", "0s Started hung",
			"1s Acked done", "2s Forced", "2s Timeout")
		expect(t, r, ComponentReport{ID: "done", Outcome: OutcomeAcked, Ran: time.Second})
		expect(t, r, ComponentReport{ID: "hung", Outcome: OutcomeHung, Ran: 2 * time.Second})
		expect(t, r, ComponentReport{ID: "waiting", Outcome: OutcomeSkipped, Waited: 2 * time.Second, WaitedOn: []ID{"hung"}})
		if !strings.Contains(line(t, r, "hung").Stack, "ignores") {
			t.Error("a force does not take the stack of what hangs")
		}
		if r.ExitCode() != 128+int(syscall.SIGINT) || r.Command.Reason != "first" || r.ForcedBy.Reason != "third" {
			t.Errorf("%s", r)
		}
	})
}

func TestForceAndRequestAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		r := shutdown(t, o)
		if o.Force(Command{Signal: syscall.SIGINT}) || o.Request(Command{}) {
			t.Error("something counted after the end")
		}
		if again, _ := o.Wait(t.Context()); again != r || o.Report() != r || r.ForcedBy != nil || len(r.Events) != 3 {
			t.Errorf("the final report changed: %s", again)
		}
	})
}

// Whoever asks, and however many at once: one begins it, one may force it, and
// all get the same report.
func TestConcurrentRequestsAndForces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", takes(time.Second))
		var began, ended atomic.Int32
		var all sync.WaitGroup
		reports := make([]*Report, 20)
		for i := range reports {
			all.Go(func() {
				if o.Request(Command{}) {
					began.Add(1)
				}
				time.Sleep(500 * time.Millisecond)
				if i%2 == 0 && o.Force(Command{}) {
					ended.Add(1)
				}
				reports[i], _ = o.Wait(t.Context())
			})
		}
		all.Wait()
		for _, r := range reports {
			if r != reports[0] || r == nil {
				t.Error("not all got the same report")
			}
		}
		if began.Load() != 1 || ended.Load() != 1 {
			t.Errorf("%d began it, %d ended it", began.Load(), ended.Load())
		}
	})
}
