package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// mainReport runs start as Main does, and asks for a shutdown after a while.
func mainReport(t *testing.T, config Config, after time.Duration, start func(context.Context, *Orchestrator) error) (int, *Report, string) {
	t.Helper()
	o, logged := orchestrator(t, config)
	if after > 0 {
		time.AfterFunc(after, func() { o.Request(Command{Reason: "test", By: "signal", Signal: 15}) })
	}
	code := o.main(start)
	synctest.Wait()
	return code, o.Report(), logged.String()
}

func TestMainUntilASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		code, r, logged := mainReport(t, Config{}, time.Second, func(_ context.Context, o *Orchestrator) error {
			if o.Ready() {
				t.Error("ready before start-up is over")
			}
			time.AfterFunc(ms, func() {
				if !o.Ready() {
					t.Error("not ready after start-up")
				}
			})
			return errors.Join(o.Register("db", takes(ms)), o.Register("http", takes(ms), Before("db")))
		})
		if code != ExitOK || len(r.Components) != 2 || r.Components[0].ID != "db" {
			t.Errorf("exit code %d\n%s", code, r)
		}
		for _, want := range []string{"msg=ShutdownRequested", "msg=AllAcked", "exit code 0"} {
			if !strings.Contains(logged, want) {
				t.Errorf("%s is not logged: %s", want, logged)
			}
		}
	})
}

// A start that fails is a shutdown, in order, of what it had registered.
func TestMainWhenStartUpFails(t *testing.T) {
	for name, end := range map[string]func() error{
		"an error": func() error { return errBroken },
		"a panic":  func() error { panic(errBroken) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := false
				code, r, logged := mainReport(t, Config{}, 0, func(ctx context.Context, o *Orchestrator) error {
					must(t, o.Register("db", Func(func(context.Context) error { closed = true; return nil })))
					return end()
				})
				if code != ExitFailure || !closed || !errors.Is(r.Err(), errBroken) || r.Command.By != "start-up" {
					t.Errorf("exit code %d\n%s", code, r)
				}
				if l := line(t, r, "start-up"); l.Outcome != OutcomeAcked || l.Died.IsZero() {
					t.Errorf("%+v", l)
				}
				if !strings.Contains(logged, errBroken.Error()) {
					t.Error(logged)
				}
			})
		})
	}
}

// What is registered waits until start-up is back: nobody closes the database
// that is being migrated, and nobody is told to be quiet.
func TestShutdownDuringStartUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Bool
		code, r, _ := mainReport(t, Config{}, 30*ms, func(ctx context.Context, o *Orchestrator) error {
			must(t, o.Register("world", takes(0), Withdraws()))
			must(t, o.Register("db", quiescing{
				Func(func(context.Context) error { closed.Store(true); return nil }),
				func(context.Context) error { closed.Store(true); return nil },
			}))
			<-ctx.Done() // and still there is something to finish
			for range 10 {
				time.Sleep(10 * ms)
				if closed.Load() {
					t.Error("closed under start-up")
				}
			}
			if err := o.Register("http", takes(0), Before("db")); !errors.Is(err, ErrShutdownBegun) {
				t.Error(err)
			}
			return fmt.Errorf("migrate: %w", ctx.Err())
		})
		if code != ExitOK {
			t.Errorf("exit code %d\n%s", code, r)
		}
		for _, event := range happened(r)[2:] {
			if !strings.HasPrefix(event, "100ms ") {
				t.Errorf("something happened during start-up: %s", happened(r))
			}
		}
	})
}

// Being interrupted may fail in any way; it is told, and is no failure.
func TestInterruptedStartUp(t *testing.T) {
	for name, test := range map[string]struct {
		end  func() error
		code int
	}{
		"the last error of a retry": {func() error { return errBroken }, ExitOK},
		"the cause":                 {func() error { return context.Canceled }, ExitOK},
		"a panic":                   {func() error { panic(errBroken) }, ExitImpolite},
		"late":                      {func() error { time.Sleep(4500 * ms); return errBroken }, ExitImpolite},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				code, r, _ := mainReport(t, Config{}, ms, func(ctx context.Context, _ *Orchestrator) error {
					<-ctx.Done()
					return test.end()
				})
				if code != test.code {
					t.Errorf("exit code %d, want %d\n%s", code, test.code, r)
				}
			})
		})
	}
}

// A start that never returns is named, with its stack, and keeps nobody: at last
// call what it had registered shuts down.
func TestStartUpThatNeverReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		code, r, logged := mainReport(t, Config{Alarm: time.Second}, ms, func(_ context.Context, o *Orchestrator) error {
			must(t, o.Register("db", takes(0)))
			must(t, o.Register("lease", takes(0), Strict()))
			stuckWorker(release)
			return nil
		})
		if l := line(t, r, "start-up"); code != ExitAlarm || l.Outcome != OutcomeHung || !strings.Contains(l.Stack, "stuckWorker") {
			t.Errorf("exit code %d\n%s", code, r)
		}
		expect(t, r, ComponentReport{ID: "db", Outcome: OutcomeAcked, Waited: 850 * ms, WaitedOn: []ID{"start-up"}})
		expect(t, r, ComponentReport{ID: "lease", Outcome: OutcomeSkipped, Waited: time.Second, WaitedOn: []ID{"start-up"}})
		if !strings.Contains(logged, "hung") || !strings.Contains(logged, "stuckWorker") {
			t.Error(logged)
		}
	})
}

// A shutdown that begins before start-up is one without it.
func TestMainAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		o.Request(Command{Reason: "a signal was faster"})
		if code := o.main(func(context.Context, *Orchestrator) error { t.Error("started"); return nil }); code != ExitOK {
			t.Errorf("exit code %d", code)
		}
	})
}

// Whatever the log does, main is back by the alarm and a quarter second.
func TestMainWithAStalledLog(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(o *Orchestrator)
		took time.Duration
	}{
		"in time": {func(o *Orchestrator) { o.Request(Command{}) }, logTime},
		"late":    {func(o *Orchestrator) { o.Request(Command{Within: 500 * ms}) }, 500*ms + logTimeLate},
		"forced":  {func(o *Orchestrator) { o.Force(Command{}) }, logTimeLate},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				forever := make(chan struct{})
				defer close(forever)
				o, err := New(Config{Logger: slog.New(slog.NewTextHandler(stalled{forever}, nil))})
				must(t, err)
				var asked time.Time
				time.AfterFunc(time.Second, func() { asked = time.Now(); test.end(o) })
				o.main(func(context.Context, *Orchestrator) error { return nil })
				if took := time.Since(asked); took != test.took {
					t.Errorf("took %v, want %v", took, test.took)
				}
			})
		})
	}
}

func TestMainRefusesBadInput(t *testing.T) {
	logged := new(lockedBuffer)
	logger := slog.New(slog.NewTextHandler(logged, nil))
	if code := Main(Config{Alarm: -1, Logger: logger}, func(context.Context, *Orchestrator) error { return nil }); code != ExitFailure {
		t.Errorf("exit code %d", code)
	}
	if code := Main(Config{Logger: logger}, nil); code != ExitFailure {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(logged.String(), "cannot start"); n != 2 {
		t.Error(logged)
	}
}

// What start has started may go on with its ctx, which ends with the shutdown
// whether start is back or not.
func TestStartUpsCtxOutlivesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		var told error
		go o.main(func(ctx context.Context, _ *Orchestrator) error {
			go func() { <-ctx.Done(); told = context.Cause(ctx) }()
			return nil
		})
		if synctest.Wait(); told != nil {
			t.Errorf("told %v before the shutdown", told)
		}
		shutdown(t, o)
		if synctest.Wait(); !errors.Is(told, ErrShutdownBegun) {
			t.Errorf("told %v", told)
		}
	})
}
