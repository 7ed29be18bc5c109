package fsm

import (
	"context"
	"errors"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestInsist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "polite", takes(799*time.Millisecond))
		register(t, o, "slow", Func(func(ctx context.Context) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != 800*time.Millisecond {
				t.Errorf("deadline %v, %v", deadline, ok)
			}
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-child.Done()
			if context.Cause(child) != ErrInsist || child.Err() != context.Canceled {
				t.Errorf("cause %v, error %v", context.Cause(child), child.Err())
			}
			return nil
		}))
		r := shutdown(t, o)
		expect(t, r, ComponentReport{ID: "polite", Outcome: OutcomeAcked, Ran: 799 * time.Millisecond})
		expect(t, r, ComponentReport{ID: "slow", Outcome: OutcomeAcked, Insisted: true, Ran: 800 * time.Millisecond})
		if r.ExitCode() != ExitImpolite || !errors.Is(r.Err(), ErrInsist) {
			t.Errorf("exit code %d, %v", r.ExitCode(), r.Err())
		}
	})
}

// Whoever acks after being told lets its successors begin at that moment, in
// order, with contexts that live on: what they need is still there.
func TestInsistKeepsTheOrder(t *testing.T) {
	obeys := func(within time.Duration) Func {
		return func(ctx context.Context) error { <-ctx.Done(); time.Sleep(within); return nil }
	}
	for name, test := range map[string]struct {
		options []Option
		told    time.Duration
	}{
		"at the end of the polite time": {nil, 800 * time.Millisecond},
		"at the end of a Grace":         {[]Option{Grace(400 * time.Millisecond)}, 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := orchestrator(t, Config{Alarm: time.Second})
				register(t, o, "db", Func(func(ctx context.Context) error { return ctx.Err() }))
				register(t, o, "buffer", takes(40*time.Millisecond), Before("db"))
				register(t, o, "http", obeys(ms), append(test.options, Before("buffer"))...)
				r := shutdown(t, o)
				at := func(d time.Duration) string { return (test.told + d).String() }
				expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started http", at(0)+" Insisted http",
					at(ms)+" Acked http", at(ms)+" Started buffer", at(41*ms)+" Acked buffer", at(41*ms)+" Started db",
					at(41*ms)+" Acked db", at(41*ms)+" AllAcked")
				expect(t, r, ComponentReport{ID: "buffer", Outcome: OutcomeAcked, Waited: test.told + ms, WaitedOn: []ID{"http"}, Ran: 40 * ms})
			})
		})
	}
}

// What still waits at last call, a quarter of what remains after the polite time,
// starts with a ctx that is alive to 96 % of the alarm, and is then insisted upon too.
func TestLastCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "hung", ignores(t))
		register(t, o, "next", Func(func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			if ctx.Err() != nil || time.Until(deadline) != 110*time.Millisecond {
				t.Errorf("starts with %v, %v left", ctx.Err(), time.Until(deadline))
			}
			return takes(20 * time.Millisecond)(ctx)
		}), After("hung"))
		register(t, o, "last", takes(time.Hour), After("next"))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started hung",
			"800ms Insisted hung", "850ms Started next", "850ms Started last",
			"870ms Acked next", "960ms Insisted last", "960ms Acked last", "1s Timeout")
		expect(t, r, ComponentReport{
			ID: "next", Outcome: OutcomeAcked, Waited: 850 * time.Millisecond, WaitedOn: []ID{"hung"}, Ran: 20 * time.Millisecond,
		})
		expect(t, r, ComponentReport{
			ID: "last", Outcome: OutcomeFailed, Insisted: true, Waited: 850 * time.Millisecond, WaitedOn: []ID{"next"},
			Ran: 110 * time.Millisecond, Err: ErrInsist,
		})
		expect(t, r, ComponentReport{ID: "hung", Outcome: OutcomeHung, Insisted: true, Ran: time.Second})
	})
}

// Whoever starts between the end of the polite time and last call is not
// insisted upon before 96 % of the alarm either.
func TestStartedAfterThePoliteTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "slow", Func(func(ctx context.Context) error { <-ctx.Done(); time.Sleep(10 * ms); return nil }))
		register(t, o, "next", takes(time.Hour), After("slow"))
		expect(t, shutdown(t, o), ComponentReport{
			ID: "next", Outcome: OutcomeFailed, Insisted: true, Waited: 810 * ms, WaitedOn: []ID{"slow"}, Ran: 150 * ms, Err: ErrInsist,
		})
	})
}

// At last call nobody starts before the machine has left Withdrawing, and a
// Withdraws component that waits for another starts too.
func TestLastCallInWithdrawing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "w1", ignores(t), Withdraws(), Grace(800*ms))
		register(t, o, "w2", takes(ms), Withdraws(), After("w1"))
		register(t, o, "x", takes(2*ms), After("w1"))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Started w1", "800ms Insisted w1", "850ms Withdrawn", "850ms Started w2",
			"850ms Started x", "851ms Acked w2", "852ms Acked x", "1s Timeout")
	})
}

// A withdrawal that is insisted upon still comes before everything else.
func TestWithdrawalIsWaitedForWhenInsistedUpon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "w", Func(func(ctx context.Context) error { <-ctx.Done(); time.Sleep(30 * ms); return nil }), Withdraws())
		register(t, o, "x", takes(0))
		expectEvents(t, shutdown(t, o), "0s ShutdownRequested", "0s Started w", "400ms Insisted w", "430ms Acked w", "430ms Withdrawn",
			"430ms Started x", "430ms Acked x", "430ms AllAcked")
	})
}

// Those ordered after it wait for its ack a quarter of the Grace longer.
func TestLastCallOfAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "first", takes(100*time.Millisecond))
		register(t, o, "short", Func(func(ctx context.Context) error {
			if deadline, _ := ctx.Deadline(); time.Until(deadline) != 40*time.Millisecond {
				t.Errorf("deadline in %v", time.Until(deadline))
			}
			<-ctx.Done()
			time.Sleep(30 * time.Millisecond) // cleans up while the next one runs already
			return context.Cause(ctx)
		}), Grace(40*time.Millisecond), After("first"))
		register(t, o, "next", takes(10*time.Millisecond), After("short"))
		register(t, o, "other", takes(200*time.Millisecond), Grace(800*ms))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started first", "0s Started other",
			"100ms Acked first", "100ms Started short", "140ms Insisted short", "150ms Started next",
			"160ms Acked next", "170ms Acked short", "200ms Acked other", "200ms AllAcked")
		expect(t, r, ComponentReport{
			ID: "next", Outcome: OutcomeAcked, Waited: 150 * time.Millisecond, WaitedOn: []ID{"short"}, Ran: 10 * time.Millisecond,
		})
		expect(t, r, ComponentReport{ID: "other", Outcome: OutcomeAcked, Ran: 200 * time.Millisecond})
	})
}

// A Grace that the alarm cannot give is refused, with both figures.
func TestGraceBeyondThePoliteTime(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	err := o.Register("db", takes(0), Grace(10*time.Second))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "10s") || !strings.Contains(err.Error(), "4s") {
		t.Error(err)
	}
	register(t, o, "db", takes(0), Grace(4*time.Second)) // and nothing was half applied
}

// A late starter's own limit counts too.
func TestGraceOfALateStarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "first", ignores(t))
		register(t, o, "late", takes(time.Hour), After("first"), Grace(40*time.Millisecond))
		expect(t, shutdown(t, o), ComponentReport{
			ID: "late", Outcome: OutcomeFailed, Insisted: true, Waited: 850 * time.Millisecond, WaitedOn: []ID{"first"},
			Ran: 40 * time.Millisecond, Err: ErrInsist,
		})
	})
}

func TestWithdrawsHasHalfThePoliteTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "w", takes(time.Hour), Withdraws())
		register(t, o, "granted", takes(500*time.Millisecond), Withdraws(), Grace(600*time.Millisecond))
		register(t, o, "x", takes(0))
		r := shutdown(t, o)
		expect(t, r, ComponentReport{
			ID: "w", Outcome: OutcomeFailed, Insisted: true, Ran: 400 * time.Millisecond, Err: ErrInsist,
		})
		expect(t, r, ComponentReport{
			ID: "x", Outcome: OutcomeAcked, Waited: 500 * time.Millisecond, WaitedOn: []ID{"granted"},
		})
	})
}

func TestAlarmNamesTheCulprit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		work := make(chan struct{})
		defer close(work)
		go pprof.Do(t.Context(), pprof.Labels(Label, "pool"), func(context.Context) { stuckWorker(work) })
		register(t, o, "fine", takes(time.Second))
		register(t, o, "pool", ignores(t))
		r := shutdown(t, o)
		if r.Took != DefaultAlarm || r.Edge != (Transition{AwaitingAcks, Timeout, Terminated}) || r.ExitCode() != ExitAlarm {
			t.Errorf("%s", r)
		}
		expect(t, r, ComponentReport{ID: "fine", Outcome: OutcomeAcked, Ran: time.Second})
		expect(t, r, ComponentReport{ID: "pool", Outcome: OutcomeHung, Insisted: true, Ran: DefaultAlarm})
		stack := line(t, r, "pool").Stack
		if !strings.Contains(stack, "ignores") || !strings.Contains(stack, "stuckWorker") || strings.Contains(stack, "takes") {
			t.Errorf("stack of pool: %s", stack)
		}
		if err := r.Err(); !errors.Is(err, ErrAlarm) || !errors.Is(err, ErrInsist) || errors.Is(err, ErrForced) {
			t.Errorf("Err() = %v", err)
		}
		if culprit, ok := errors.AsType[*ComponentReport](r.Err()); !ok || culprit.ID != "pool" {
			t.Errorf("culprit %v", culprit)
		}
	})
}

func stuckWorker(work <-chan struct{}) { <-work }

// The alarm gives the stack of what hangs even if nobody had time to insist.
func TestAlarmTakesTheStackItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "hung", ignores(t))
		register(t, o, "behind", returns(nil), After("hung"))
		o.Request(Command{})
		synctest.Wait()
		time.Sleep(ms)
		o.alarmOver()
		r, _ := o.Wait(t.Context())
		if l := line(t, r, "hung"); l.Outcome != OutcomeHung || !strings.Contains(l.Stack, "ignores") {
			t.Errorf("%+v", l)
		}
		expect(t, r, ComponentReport{ID: "behind", Outcome: OutcomeSkipped, Waited: ms, WaitedOn: []ID{"hung"}})
	})
}

// The alarm is not late for the sake of a stack.
func TestAlarmTakesNoExpensiveProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "hung", ignores(t))
		o.Request(Command{})
		synctest.Wait()
		o.profileCost.Store(int64(2 * cheapProfile))
		if s := o.alarmSample(); s.stacks != nil {
			t.Errorf("took %v", s.stacks)
		}
		o.profileCost.Store(int64(cheapProfile))
		if s := o.alarmSample(); s.stacks["hung"] == "" {
			t.Errorf("took only %v", s.stacks)
		}
		o.Force(Command{})
	})
}

func TestStacksAreBounded(t *testing.T) {
	record := "1 @ 0x1 0x2 0x3 0x4\n# labels: {\"a\":\"b\", \"" + Label + "\":\"x \\\" y\"}\n"
	record += strings.Repeat("#\t0x1\tpackage.function+0x1c\t/some/where.go:12\n", 1000)
	if id, ok := recordLabel(record); !ok || id != `x " y` {
		t.Errorf("label %q, %v", id, ok)
	}
	stack := appendRecord(appendRecord("", record), record)
	begins := "goroutines with this stack: 1\n  package.function /some/where.go:12\n"
	if len(stack) != maxStack || !strings.HasPrefix(stack, begins) {
		t.Errorf("%d bytes: %.100s", len(stack), stack)
	}
	for _, other := range []string{
		"", "1 @ 0x1\n#\t0x1", "1 @\n# labels: {\"a\":\"b\"}\n", "1 @\n# labels: {\"" + Label + "\":oops",
	} {
		if id, ok := recordLabel(other); ok {
			t.Errorf("label %q in %q", id, other)
		}
	}
}

// An ack that was delivered before the alarm counts, even at the same instant.
func TestAckAndAlarmAtTheSameInstant(t *testing.T) {
	for _, first := range []inputKind{acked, alarmFired} {
		c := newCore()
		c.add(traits{}, nil, nil)
		c.step(input{kind: requested})
		c.step(input{kind: first})
		c.step(input{kind: alarmFired})
		c.step(input{kind: acked})
		if want := map[inputKind]phase{acked: done, alarmFired: running}[first]; c.nodes[0].phase != want {
			t.Errorf("%v first: phase %v, want %v", first, c.nodes[0].phase, want)
		}
	}
}

// A withdrawal has half of a polite time that Within has shortened, whether it
// is said with the first request or later.
func TestWithinShortensAWithdrawal(t *testing.T) {
	for name, later := range map[string]time.Duration{"at once": 0, "later": 10 * ms} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := orchestrator(t, Config{Alarm: 10 * time.Second})
				register(t, o, "w", Func(func(ctx context.Context) error {
					<-ctx.Done()
					if deadline, _ := ctx.Deadline(); !deadline.Equal(time.Now()) {
						t.Errorf("deadline %v off", time.Until(deadline))
					}
					return nil
				}), Withdraws())
				register(t, o, "x", takes(0))
				if later > 0 {
					o.Request(Command{})
					time.Sleep(later)
				}
				o.Request(Command{Within: time.Second})
				r, _ := o.Wait(t.Context())
				expect(t, r, ComponentReport{ID: "w", Outcome: OutcomeAcked, Insisted: true, Ran: later + 400*ms})
			})
		})
	}
}

// A Within that comes later shortens what a Quiesce has too.
func TestWithinShortensAQuiesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: 10 * time.Second})
		register(t, o, "late", lateQuiescer{takes(0)})
		o.Request(Command{})
		time.Sleep(ms)
		o.Request(Command{Within: 500 * ms})
		r, _ := o.Wait(t.Context())
		if l := line(t, r, "late"); l.Waited != 41*ms || !errors.Is(l.QuiesceErr, ErrQuiesceLate) {
			t.Errorf("%+v", l)
		}
	})
}

type lateQuiescer struct{ Func }

func (lateQuiescer) Quiesce(ctx context.Context) error { <-ctx.Done(); return nil }

// An inner shutdown hears of an outer one that has less time now.
func TestWithinPassesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, _ := orchestrator(t, Config{Alarm: 10 * time.Second})
		register(t, inner, "hung", ignores(t))
		register(t, inner, "db", takes(ms), After("hung"))
		o, _ := orchestrator(t, Config{Alarm: 10 * time.Second})
		register(t, o, "inner", inner.Component())
		o.Request(Command{})
		time.Sleep(ms)
		o.Request(Command{Within: time.Second})
		r, _ := o.Wait(t.Context())
		l := line(t, r, "inner")
		if l.Outcome != OutcomeFailed || l.Inner.State != Terminated || line(t, l.Inner, "db").Outcome != OutcomeAcked {
			t.Error(r)
		}
	})
}
