package fsm

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var _ Component = (*http.Server)(nil)

// hostile is an error whose methods must not run while the machine is locked.
type hostile struct{ text string }

func (h *hostile) Error() string { return h.text } // a nil pointer panics
func (h *hostile) Unwrap() error { panic("unwrapped") }

// Whatever a component does, the others still run and the report says what.
func TestContainment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, logged := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "fails", returns(errBroken))
		register(t, o, "panics", Func(func(context.Context) error { panic(errBroken) }))
		register(t, o, "panics nil", Func(func(context.Context) error { panic(nil) }))
		register(t, o, "exits", Func(func(context.Context) error { runtime.Goexit(); return nil }))
		register(t, o, "hostile", returns((*hostile)(nil)))
		register(t, o, "forwards", returns((*PanicError)(nil))) // as if it had panicked
		register(t, o, "calls back", Func(func(context.Context) error {
			o.Request(Command{})
			o.Report()
			o.State()
			_, err := o.Wait(canceled())
			return errors.Join(err, o.Register("x", returns(nil)))
		}))
		register(t, o, "hangs", ignores(t))
		register(t, o, "returns late", Func(func(context.Context) error {
			time.Sleep(2 * time.Second)
			return errBroken
		}))
		register(t, o, "fine", takes(time.Millisecond),
			After("fails", "panics", "panics nil", "exits", "hostile", "calls back"))
		r := shutdown(t, o)
		expect(t, r, ComponentReport{ID: "fails", Outcome: OutcomeFailed, Err: errBroken})
		expect(t, r, ComponentReport{ID: "panics", Outcome: OutcomePanicked, Err: errBroken})
		expect(t, r, ComponentReport{ID: "calls back", Outcome: OutcomeFailed, Err: ErrShutdownBegun})
		expect(t, r, ComponentReport{ID: "hangs", Outcome: OutcomeHung, Insisted: true, Ran: time.Second})
		expect(t, r, ComponentReport{ID: "returns late", Outcome: OutcomeHung, Insisted: true, Ran: time.Second})
		for _, id := range []ID{"hostile", "forwards"} {
			if l := line(t, r, id); l.Outcome != OutcomeFailed {
				t.Errorf("%s: %s", id, l.Outcome)
			}
		}
		if l := line(t, r, "fine"); l.Outcome != OutcomeAcked || l.Ran != time.Millisecond || l.Waited != 0 {
			t.Errorf("%+v", l)
		}
		text, err := r.MarshalJSON()
		if err != nil || !json.Valid(text) || !strings.Contains(r.String(), "nil pointer") {
			t.Errorf("a nil pointer as an error: %v\n%s", err, r)
		}
		for id, value := range map[ID]string{"panics": "broken pipe", "panics nil": "nil", "exits": "Goexit"} {
			l := line(t, r, id)
			panicked, ok := errors.AsType[*PanicError](l.Err)
			if !ok || l.Outcome != OutcomePanicked || !strings.Contains(panicked.Error(), value) ||
				!strings.Contains(l.Stack, "TestContainment") || l.Stack != string(panicked.Stack) {
				t.Errorf("%s: %+v", id, l)
			}
		}
		if text := logged.String(); strings.Count(text, "level=ERROR") != 3 || strings.Count(text, "TestContainment") < 3 {
			t.Errorf("the panics are not logged with their stacks:\n%s", text)
		}

		events := len(r.Events)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if text := logged.String(); !strings.Contains(text, `after the end" id="returns late" error="broken pipe"`) {
			t.Errorf("an ack after the end is not logged:\n%s", text)
		}
		if now := o.Report(); now != r || len(now.Events) != events || line(t, now, "returns late").Err != nil {
			t.Errorf("an ack after the end changed the report: %s", now)
		}
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errBroken)
	return ctx
}

// A caller that goes away harms nobody.
func TestCancelledCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", takes(time.Second))
		if r, err := o.Wait(canceled()); r.State != Running || r.ExitCode() != ExitAlarm || !errors.Is(err, errBroken) {
			t.Errorf("Wait in Running: %v, %v", r, err)
		}
		if r, err := o.Shutdown(canceled(), Command{Reason: "hung up"}); r.State != AwaitingAcks || !errors.Is(r.Err(), ErrNotOver) || !errors.Is(err, errBroken) {
			t.Errorf("Shutdown: %v, %v", r, err)
		}
		for range o.Events(canceled()) {
			t.Error("a reader that is gone was given an event")
		}
		soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for range o.Events(soon) {
		}
		r, err := o.Wait(t.Context())
		if err != nil || r.Command.Reason != "hung up" || r.ExitCode() != ExitOK {
			t.Errorf("%v\n%s", err, r)
		}
		if again, err := o.Wait(canceled()); again != r || err != nil {
			t.Errorf("Wait after the end: %v, %v", again, err)
		}
	})
}

func TestCommandFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := Command{Reason: "deploy 42", By: "test", Err: errBroken}
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", Func(func(ctx context.Context) error {
			type key struct{}
			if got, ok := CommandFrom(context.WithValue(ctx, key{}, 1)); !ok || got != asked {
				t.Errorf("CommandFrom = %+v, %v", got, ok)
			}
			if id, ok := pprof.Label(ctx, Label); !ok || id != "a" {
				t.Errorf("the context carries label %q, %v", id, ok)
			}
			return nil
		}), Grace(time.Second))
		r, err := o.Shutdown(t.Context(), asked)
		if err != nil || r.Command != asked || r.ExitCode() != ExitFailure || !errors.Is(r.Err(), errBroken) {
			t.Errorf("%v\n%s", err, r)
		}
		if got, ok := CommandFrom(t.Context()); ok || got != (Command{}) {
			t.Errorf("a command from nowhere: %+v", got)
		}
	})
}
