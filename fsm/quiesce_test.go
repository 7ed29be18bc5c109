package fsm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestQuiesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, logged := orchestrator(t, Config{Alarm: time.Second}) // a tenth of the polite time is 80ms
		register(t, o, "withdraws", quiescing{takes(0), takes(3 * time.Millisecond)}, Withdraws())
		register(t, o, "quick", quiescing{takes(0), takes(10 * time.Millisecond)})
		register(t, o, "plain", takes(0))
		register(t, o, "failing", quiescing{takes(0), returns(errBroken)})
		register(t, o, "panicking", quiescing{takes(0), func(context.Context) error { panic("no") }})
		register(t, o, "late", quiescing{takes(0), func(ctx context.Context) error {
			command, _ := CommandFrom(ctx)
			if deadline, _ := ctx.Deadline(); command.Reason != "test" || time.Until(deadline) != 80*time.Millisecond {
				t.Errorf("command %+v, deadline in %v", command, time.Until(deadline))
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		register(t, o, "later", quiescing{takes(100 * time.Millisecond), takes(time.Hour)}, After("late"))
		register(t, o, "never", quiescing{takes(0), ignores(t)})
		register(t, o, "too late", quiescing{takes(0), func(context.Context) error {
			time.Sleep(2 * time.Second)
			return errBroken
		}})
		r := shutdown(t, o)
		expect(t, r, ComponentReport{ID: "withdraws", Outcome: OutcomeAcked, Waited: 3 * ms, WaitedOn: []ID{"withdraws"}})
		expect(t, r, ComponentReport{ID: "quick", Outcome: OutcomeAcked, Waited: 10 * ms, WaitedOn: []ID{"quick"}})
		expect(t, r, ComponentReport{ID: "plain", Outcome: OutcomeAcked, Waited: 3 * ms, WaitedOn: []ID{"withdraws"}})
		expect(t, r, ComponentReport{
			ID: "failing", Outcome: OutcomeFailed, Waited: 3 * ms, WaitedOn: []ID{"withdraws"}, QuiesceErr: errBroken,
		})
		expect(t, r, ComponentReport{
			ID: "late", Outcome: OutcomeAcked, Waited: 80 * ms, WaitedOn: []ID{"late"}, QuiesceErr: ErrQuiesceLate,
		})
		expect(t, r, ComponentReport{
			ID: "later", Outcome: OutcomeAcked, Waited: 80 * ms, WaitedOn: []ID{"late"}, Ran: 100 * ms, QuiesceErr: ErrQuiesceLate,
		})
		expect(t, r, ComponentReport{
			ID: "never", Outcome: OutcomeAcked, Waited: 80 * ms, WaitedOn: []ID{"never"}, QuiesceErr: ErrQuiesceLate,
		})
		l := line(t, r, "panicking")
		if l.Outcome != OutcomePanicked || !strings.Contains(l.Stack, "TestQuiesce") ||
			!strings.Contains(logged.String(), "TestQuiesce") {
			t.Errorf("the panic's stack is not reported and logged: %+v", l)
		}
		if r.ExitCode() != ExitImpolite || !errors.Is(r.Err(), errBroken) || errors.Is(r.Err(), ErrQuiesceLate) {
			t.Errorf("exit code %d, %v", r.ExitCode(), r.Err())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !strings.Contains(logged.String(), `after the end" id="too late" error="broken pipe"`) {
			t.Errorf("what came after the end is not logged:\n%s", logged)
		}
	})
}

// All are told at once, also those who have to wait for their Shutdown.
func TestQuiesceIsForAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		var at [3]time.Duration
		begun := time.Now()
		for i, id := range []ID{"a", "b", "c"} {
			c := quiescing{takes(time.Second), func(context.Context) error { at[i] = time.Since(begun); return nil }}
			register(t, o, id, c, After([]ID{"a", "b"}[:i]...))
		}
		if shutdown(t, o); at != [3]time.Duration{} {
			t.Errorf("told after %v", at)
		}
	})
}

func TestQuiesceIsReportedLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "q", quiescing{takes(0), takes(50 * time.Millisecond)})
		register(t, o, "next", takes(0), After("q"))
		o.Request(Command{})
		time.Sleep(20 * time.Millisecond)
		r := o.Report()
		expect(t, r, ComponentReport{ID: "q", Waited: 20 * time.Millisecond, WaitedOn: []ID{"q"}})
		expect(t, r, ComponentReport{ID: "next", Waited: 20 * time.Millisecond, WaitedOn: []ID{"q"}})
		<-o.Done()
	})
}
