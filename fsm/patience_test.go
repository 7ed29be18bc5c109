package fsm

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In a process with a great many goroutines a profile takes long. The insisting
// must not wait for it, and its stacks are kept when they come.
func TestSlowProfileDoesNotDelayTheInsisting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := New(Config{Alarm: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		o.profile = func() map[string]string {
			time.Sleep(time.Second) // virtual
			return map[string]string{"stuck": "here"}
		}
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		must(t, o.Register("stuck", Func(func(context.Context) error { <-release; return nil })))
		must(t, o.Register("obedient", Func(func(ctx context.Context) error { <-ctx.Done(); return nil })))
		must(t, o.Register("late", Func(func(ctx context.Context) error { <-ctx.Done(); return nil }), After("stuck")))
		report, err := o.Shutdown(t.Context(), Command{})
		must(t, err)
		// 8 s polite, and a tenth of the 2 s that remain. Last call comes after a quarter of the rest; 80 % of the
		// rest, and a tenth of what remains then, is the end of those who started late.
		for i, want := range []time.Duration{10 * time.Second, 8200 * time.Millisecond, 1026 * time.Millisecond} {
			if got := report.Components[i]; got.Ran != want || !got.Insisted {
				t.Errorf("%s ran %v, insisted upon: %v; want %v", got.ID, got.Ran, got.Insisted, want)
			}
		}
		if report.Components[0].Stack != "here" {
			t.Errorf("the stack that came later is %q", report.Components[0].Stack)
		}
		time.Sleep(time.Second) // virtual: until the last profile is over
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type stuckHandler struct {
	slog.Handler
	release chan struct{}
}

func (h stuckHandler) Handle(context.Context, slog.Record) error { <-h.release; return nil }

func TestStuckLogDoesNotKeepTheAckOfAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		o, err := New(Config{Logger: slog.New(stuckHandler{slog.DiscardHandler, release})})
		must(t, err)
		must(t, o.Register("a", Func(func(context.Context) error { panic("ouch") })))
		report, err := o.Shutdown(t.Context(), Command{})
		must(t, err)
		if got := report.Components[0].Outcome; got != OutcomePanicked || report.Edge.On != AllAcked {
			t.Errorf("outcome %s, ended by %s", got, report.Edge.On)
		}
	})
}

func TestReportBeforeTheEndSaysNothingOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := New(Config{})
		must(t, err)
		release := make(chan struct{})
		must(t, o.Register("a", Func(func(context.Context) error { <-release; return nil })))
		report := o.Report()
		if got := report.Summary(); got != "Running: 1 waiting: a" {
			t.Errorf("running: %q", got)
		}
		if text := report.String(); strings.Contains(text, "requested") || !strings.HasSuffix(text, "\nRunning\n") {
			t.Errorf("running:\n%s", text)
		}
		if text, err := json.Marshal(report); err != nil || !strings.Contains(string(text), `"events":[]`) {
			t.Errorf("running: %s, %v", text, err)
		}
		o.Request(Command{Reason: "why"})
		time.Sleep(time.Second) // virtual
		if got := o.Report().Summary(); got != "shutdown (why) AwaitingAcks for 1s: 1 stopping: a" {
			t.Errorf("stopping: %q", got)
		}
		close(release)
		report, err = o.Wait(t.Context())
		must(t, err)
		if got := report.Summary(); got != "shutdown (why) Terminated by AllAcked after 1s: 1 acked; exit code 0" {
			t.Errorf("ended: %q", got)
		}
	})
}

func TestErrorWithoutTextIsStillOneInJSON(t *testing.T) {
	o, err := New(Config{})
	must(t, err)
	report, err := o.Shutdown(t.Context(), Command{Err: errors.New("")})
	must(t, err)
	text, err := json.Marshal(report)
	must(t, err)
	var back Report
	must(t, json.Unmarshal(text, &back))
	if back.ExitCode() != report.ExitCode() || back.ExitCode() != ExitFailure {
		t.Errorf("exit code %d, read back %d", report.ExitCode(), back.ExitCode())
	}
}
