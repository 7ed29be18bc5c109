package fsm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// runs is a component that runs until it is stopped, and then returns err.
func runs(err error) (run func() error, stop Component) {
	stopped := make(chan struct{})
	return func() error { <-stopped; return err }, Func(func(context.Context) error { close(stopped); return nil })
}

func TestServe(t *testing.T) {
	for name, test := range map[string]struct {
		err     error
		outcome Outcome
	}{
		"nothing":           {nil, OutcomeAcked},
		"http.Server":       {http.ErrServerClosed, OutcomeAcked},
		"a closed listener": {&net.OpError{Op: "accept", Err: net.ErrClosed}, OutcomeAcked},
		"grpc.Server":       {fmt.Errorf("serve: %w", errors.New("grpc: the server has been stopped")), OutcomeAcked},
		"several":           {errors.Join(context.Canceled, net.ErrClosed), OutcomeAcked},
		"more than that":    {errors.Join(context.Canceled, errBroken), OutcomeFailed},
		"an error":          {errBroken, OutcomeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := orchestrator(t, Config{})
				register(t, o, "server", Serve(runs(test.err)))
				synctest.Wait()
				if o.State() != Running {
					t.Fatal(o.Report())
				}
				r := shutdown(t, o)
				if l := line(t, r, "server"); l.Outcome != test.outcome || !l.Died.IsZero() {
					t.Errorf("%s", r)
				}
			})
		})
	}
}

// Whoever dies while running is the reason of a shutdown, in order, by name.
func TestDeathRequestsAShutdown(t *testing.T) {
	fails := func(err error) func(context.Context) error {
		return func(context.Context) error { time.Sleep(time.Second); return err }
	}
	for name, test := range map[string]struct {
		run  func(context.Context) error
		want error
	}{
		"an error":                          {fails(errBroken), errBroken},
		"a panic":                           {func(context.Context) error { time.Sleep(time.Second); panic(errBroken) }, errBroken},
		"Goexit":                            {func(context.Context) error { time.Sleep(time.Second); runtime.Goexit(); return nil }, nil},
		"a server that somebody has closed": {fails(http.ErrServerClosed), http.ErrServerClosed},
	} {
		for kind, add := range map[string]func(o *Orchestrator) error{
			"Go": func(o *Orchestrator) error { return o.Go("consumer", test.run, Before("db")) },
			"Serve": func(o *Orchestrator) error {
				return o.Register("consumer", Serve(func() error { return test.run(nil) }, takes(ms)), Before("db"))
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o, logged := orchestrator(t, Config{})
					register(t, o, "db", takes(ms))
					must(t, add(o))
					began := time.Now()
					r, err := o.Wait(t.Context())
					must(t, err)
					l := line(t, r, "consumer")
					if l.Outcome != OutcomeAcked || l.Died.Sub(began) != time.Second || r.Command.By != "consumer" {
						t.Errorf("%+v\n%s", l, r)
					}
					if r.ExitCode() != ExitFailure || r.Err() == nil || test.want != nil && !errors.Is(r.Err(), test.want) {
						t.Errorf("exit code %d, %v", r.ExitCode(), r.Err())
					}
					if db := line(t, r, "db"); !slices.Equal(db.WaitedOn, []ID{"consumer"}) {
						t.Errorf("%+v", db)
					}
					synctest.Wait()
					if !strings.Contains(logged.String(), "component died") {
						t.Errorf("logged: %s", logged)
					}
				})
			})
		}
	}
}

// An error that comes after the request counts too.
func TestErrorAfterTheRequest(t *testing.T) {
	for name, fail := range map[string]func(o *Orchestrator){
		"a request": func(o *Orchestrator) {
			register(t, o, "x", Func(func(context.Context) error {
				if o.Request(Command{Reason: "cannot commit", By: "consumer", Err: errBroken}) {
					t.Error("it began the shutdown")
				}
				return nil
			}))
		},
		"a death before its turn": func(o *Orchestrator) {
			register(t, o, "first", takes(time.Second))
			must(t, o.Go("x", func(context.Context) error {
				<-o.Context().Done()
				return errBroken
			}, After("first")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, logged := orchestrator(t, Config{})
				fail(o)
				r := shutdown(t, o)
				if r.ExitCode() != ExitFailure || !errors.Is(r.Err(), errBroken) || len(r.Requests) != 2 || r.Requests[0] != r.Command {
					t.Errorf("exit code %d, %v, %v", r.ExitCode(), r.Err(), r.Requests)
				}
				synctest.Wait()
				if !strings.Contains(logged.String(), errBroken.Error()) {
					t.Errorf("logged: %s", logged)
				}
			})
		})
	}
}

func TestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		must(t, o.Go("db", func(ctx context.Context) error {
			<-ctx.Done()
			if command, ok := CommandFrom(ctx); !ok || command.Reason != "test" || !errors.Is(context.Cause(ctx), ErrShutdownBegun) {
				t.Errorf("%+v, %v", command, context.Cause(ctx))
			}
			time.Sleep(20 * ms)
			return fmt.Errorf("db: %w", ctx.Err())
		}))
		must(t, o.Go("http", func(ctx context.Context) error {
			if _, ok := CommandFrom(ctx); ok {
				t.Error("a command before there is one")
			}
			<-ctx.Done()
			time.Sleep(10 * ms)
			return context.Cause(ctx)
		}, Before("db")))
		must(t, o.Go("fails", func(ctx context.Context) error { <-ctx.Done(); return errBroken }))
		synctest.Wait()
		r := shutdown(t, o)
		expect(t, r, ComponentReport{ID: "http", Outcome: OutcomeAcked, Ran: 10 * ms})
		expect(t, r, ComponentReport{ID: "db", Outcome: OutcomeAcked, Waited: 10 * ms, WaitedOn: []ID{"http"}, Ran: 20 * ms})
		expect(t, r, ComponentReport{ID: "fails", Outcome: OutcomeFailed, Err: errBroken})
	})
}

// A run that ignores its ctx is named, with its stack, and keeps nobody else.
func TestRunsThatIgnoreTheirCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		o, _ := orchestrator(t, Config{})
		must(t, o.Go("go", func(context.Context) error { stuckWorker(release); return nil }))
		register(t, o, "serve", Serve(func() error { stuckWorker(release); return nil }, takes(0)))
		register(t, o, "db", takes(0), After("go", "serve"))
		r := shutdown(t, o)
		for _, id := range []ID{"go", "serve"} {
			if l := line(t, r, id); l.Outcome != OutcomeHung || !strings.Contains(l.Stack, "stuckWorker") {
				t.Errorf("%+v", l)
			}
		}
		expect(t, r, ComponentReport{ID: "db", Outcome: OutcomeAcked, Waited: 4250 * ms, WaitedOn: []ID{"go", "serve"}})
	})
}

// A Grace is that of a run too: those ordered after it stop waiting for it.
func TestGraceOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		must(t, o.Go("slow", func(context.Context) error { time.Sleep(500 * ms); return nil }, Grace(80*ms)))
		register(t, o, "db", takes(0), After("slow"))
		synctest.Wait()
		expectEvents(t, shutdown(t, o), "0s ShutdownRequested", "0s Withdrawn", "0s Started slow", "80ms Insisted slow",
			"100ms Started db", "100ms Acked db", "500ms Acked slow", "500ms AllAcked")
	})
}

// A run that a force leaves no turn ends all the same.
func TestForceEndsRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		ended := false
		must(t, o.Go("run", func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }))
		synctest.Wait()
		o.Force(Command{})
		if synctest.Wait(); !ended {
			t.Error("it runs on")
		}
	})
}

// What a component says of itself is other people's code.
func TestReporterThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "remote", panickingReporter{takes(time.Hour)})
		r := shutdown(t, o)
		if l := line(t, r, "remote"); l.Outcome != OutcomePanicked || r.Edge.On != AllAcked {
			t.Error(r)
		}
	})
}

type panickingReporter struct{ Func }

func (panickingReporter) Report() *Report { panic("not connected") }

// What is refused is never started.
func TestRefusedRunsAreNotStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "slow", takes(time.Second))
		o.Request(Command{})
		started := func() error { t.Error("started"); return nil }
		for _, err := range []error{
			o.Register("serve", Serve(started, takes(0))), o.Go("go", func(context.Context) error { return started() }),
		} {
			if !errors.Is(err, ErrShutdownBegun) {
				t.Error(err)
			}
		}
		fresh, _ := orchestrator(t, Config{})
		for _, err := range []error{
			fresh.Register("x", Serve(nil, takes(0))), fresh.Register("x", Serve(started, nil)), fresh.Register("x", Serve(started, Func(nil))),
			fresh.Go("x", nil), fresh.Register("x", Stopper(nil, func() {})), fresh.Register("x", Stopper(func() {}, nil)),
		} {
			if !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
		}
		shutdown(t, o)
	})
}

// A run that ends without an error has departed, and harms nobody.
func TestDeparture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		for range 3 {
			must(t, o.Go("session", func(context.Context) error { time.Sleep(time.Second); return nil }))
			register(t, o, "tenant", Serve(func() error { time.Sleep(time.Second); return nil }, returns(errBroken)), After("session"))
			time.Sleep(2 * time.Second)
		}
		if r := shutdown(t, o); len(r.Components) != 0 || r.ExitCode() != ExitOK {
			t.Error(r)
		}
	})
}

func TestDeregister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "db", takes(ms))
		register(t, o, "tenant", returns(errBroken), Before("db"))
		must(t, o.Go("worker", func(ctx context.Context) error { <-ctx.Done(); return errBroken }, Before("tenant"), After()))
		if err := o.Deregister("nobody"); !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
		must(t, o.Deregister("tenant"))
		must(t, o.Deregister("worker")) // whose ctx ends, and whose error is nobody's any more
		synctest.Wait()
		register(t, o, "tenant", takes(2*ms), Before("db"))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started tenant", "2ms Acked tenant", "2ms Started db", "3ms Acked db", "3ms AllAcked")
		if err := o.Deregister("db"); !errors.Is(err, ErrShutdownBegun) {
			t.Error(err)
		}
	})
}

// A hundred thousand come and go, a few at a time, and leave nothing behind.
func TestComeAndGo(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	register(t, o, "db", takes(0))
	live := make(chan ID, 100)
	for i := range 100_000 {
		id := ID(fmt.Sprint("tenant-", i))
		register(t, o, id, takes(0), Before("db"))
		if live <- id; len(live) == cap(live) {
			must(t, o.Deregister(<-live))
		}
	}
	if n := len(o.components); n > 400 {
		t.Errorf("room is kept for %d", n)
	}
	if r := shutdown(t, o); len(r.Components) != 100 || r.Components[0].ID != "db" || r.Components[1].ID != "tenant-99901" {
		t.Errorf("%d components, the first %s", len(r.Components), r.Components[0].ID)
	}
}

func TestStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		o, _ := orchestrator(t, Config{Alarm: time.Second})
		register(t, o, "writer", Func(func(context.Context) error { <-release; return nil }))
		register(t, o, "late", Func(func(context.Context) error { time.Sleep(970 * ms); return nil }))
		register(t, o, "db", takes(0), After("writer"))
		register(t, o, "lease", takes(0), Strict(), After("writer"))
		register(t, o, "lock", Func(func(ctx context.Context) error { return ctx.Err() }), Strict(), After("late"))
		register(t, o, "end", takes(0), Strict(), Last())
		r := shutdown(t, o)
		close(release)
		expect(t, r, ComponentReport{ID: "db", Outcome: OutcomeAcked, Waited: 850 * ms, WaitedOn: []ID{"writer"}})
		expect(t, r, ComponentReport{ID: "lease", Outcome: OutcomeSkipped, Waited: time.Second, WaitedOn: []ID{"writer"}})
		expect(t, r, ComponentReport{ID: "lock", Outcome: OutcomeAcked, Waited: 970 * ms, WaitedOn: []ID{"late"}})
		expect(t, r, ComponentReport{ID: "end", Outcome: OutcomeSkipped, Waited: time.Second, WaitedOn: []ID{"writer", "lease"}})
	})
}

func TestBestEffort(t *testing.T) {
	for name, test := range map[string]struct {
		component Component
		outcome   Outcome
		on        Kind
		ends      ID
		code      int
	}{
		"fails":           {returns(errBroken), OutcomeFailed, AllAcked, "", ExitOK},
		"panics":          {Func(func(context.Context) error { panic("x") }), OutcomePanicked, AllAcked, "", ExitOK},
		"is told":         {takes(time.Hour), OutcomeFailed, AllAcked, "", ExitOK},
		"hangs":           {ignores(t), OutcomeHung, Timeout, "", ExitOK},
		"others hang too": {ignores(t), OutcomeHung, Timeout, "hung", ExitAlarm},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				o, _ := orchestrator(t, Config{Logger: slog.New(slog.DiscardHandler)})
				component := test.component
				if test.outcome == OutcomeHung {
					component = Func(func(context.Context) error { <-release; return nil })
				}
				register(t, o, "push", component, BestEffort())
				if test.ends != "" {
					register(t, o, test.ends, Func(func(context.Context) error { <-release; return nil }))
				}
				r := shutdown(t, o)
				if l := line(t, r, "push"); l.Outcome != test.outcome || !l.BestEffort || r.Edge.On != test.on {
					t.Errorf("%s", r)
				}
				if r.ExitCode() != test.code || (r.Err() == nil) != (test.code == ExitOK) {
					t.Errorf("exit code %d, want %d; %v", r.ExitCode(), test.code, r.Err())
				}
			})
		})
	}
}

func TestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "log", takes(2*ms), Last())
		register(t, o, "traces", takes(3*ms), Last(), Before("log"))
		register(t, o, "db", takes(5*ms))
		register(t, o, "http", takes(4*ms), Before("db"))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started http", "4ms Acked http", "4ms Started db",
			"9ms Acked db", "9ms Started traces", "12ms Acked traces", "12ms Started log", "14ms Acked log", "14ms AllAcked")
		expect(t, r, ComponentReport{ID: "traces", Outcome: OutcomeAcked, Waited: 9 * ms, WaitedOn: []ID{"db"}, Ran: 3 * ms})
		alone, _ := orchestrator(t, Config{})
		register(t, alone, "log", takes(ms), Last())
		if r := shutdown(t, alone); r.Took != ms {
			t.Error(r)
		}
	})
}

func TestContradictionsAreRefused(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	register(t, o, "log", takes(0), Last())
	register(t, o, "db", takes(0))
	for name, options := range map[string][]Option{
		"Strict, Withdraws": {Strict(), Withdraws()}, "Last, Withdraws": {Last(), Withdraws()},
		"Last before another": {Last(), Before("db")}, "after one that is Last": {After("log")},
	} {
		if err := o.Register("x", takes(0), options...); !errors.Is(err, ErrContradiction) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o.Request(Command{Within: -1}) || o.Insist(Command{Within: -1}) || o.State() != Running {
		t.Error("a negative Within is obeyed")
	}
	if r, err := o.Shutdown(t.Context(), Command{Within: -1}); !errors.Is(err, ErrInvalid) || r.State != Running {
		t.Errorf("%v, %v", r, err)
	}
}

func TestContextEndsWhenAShutdownBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "slow", takes(time.Second))
		child, cancel := context.WithCancel(o.Context())
		defer cancel()
		if _, ok := CommandFrom(child); ok || child.Err() != nil {
			t.Error("ended in Running")
		}
		go o.Request(Command{Reason: "deploy", Err: errBroken})
		<-child.Done()
		command, ok := CommandFrom(child)
		if cause := context.Cause(child); !ok || command.Reason != "deploy" || !errors.Is(cause, ErrShutdownBegun) || !errors.Is(cause, errBroken) {
			t.Errorf("%+v, %v", command, cause)
		}
		if left, ok := TimeLeft(child); !ok || left != DefaultAlarm {
			t.Errorf("%v left, %v", left, ok)
		}
		_, _ = o.Wait(t.Context())
	})
}

func TestInsistCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{Alarm: 30 * time.Second})
		putBack := Func(func(ctx context.Context) error { <-ctx.Done(); time.Sleep(5 * ms); return nil })
		register(t, o, "jobs", putBack)
		register(t, o, "db", takes(ms), After("jobs"))
		o.Request(Command{Reason: "signal terminated"})
		time.Sleep(10 * time.Second)
		if !o.Insist(Command{Reason: "signal interrupt", By: "operator"}) || o.Insist(Command{}) {
			t.Error("the first one ends the polite time, and only that one")
		}
		r, _ := o.Wait(t.Context())
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started jobs", "10s Insisted jobs",
			"10.005s Acked jobs", "10.005s Started db", "10.006s Acked db", "10.006s AllAcked")
		if len(r.Requests) != 3 || r.Requests[1].By != "operator" || r.ExitCode() != ExitImpolite {
			t.Errorf("%v, exit code %d", r.Requests, r.ExitCode())
		}
	})
	synctest.Test(t, func(t *testing.T) { // in Running it is a request first; last call comes after a quarter of the alarm
		o, _ := orchestrator(t, Config{Alarm: 4 * time.Second})
		register(t, o, "jobs", ignores(t))
		register(t, o, "db", takes(ms), After("jobs"))
		o.Insist(Command{Reason: "now"})
		r, _ := o.Wait(t.Context())
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s Started jobs", "0s Insisted jobs", "1s Started db", "1.001s Acked db", "4s Timeout")
	})
}

func TestWithin(t *testing.T) {
	for name, test := range map[string]struct {
		ask  func(o *Orchestrator)
		told time.Duration
		took time.Duration
	}{
		"of the request":   {func(o *Orchestrator) { o.Request(Command{Within: time.Second}) }, 800 * ms, time.Second},
		"beyond the alarm": {func(o *Orchestrator) { o.Request(Command{Within: time.Hour}) }, 8 * time.Second, 10 * time.Second},
		"of one that joins": {func(o *Orchestrator) {
			o.Request(Command{})
			time.Sleep(time.Second)
			o.Request(Command{Within: 2 * time.Second})
			o.Request(Command{Within: time.Hour})
		}, 2600 * ms, 3 * time.Second},
		"of one that joins after the polite time": {func(o *Orchestrator) {
			o.Request(Command{})
			time.Sleep(8500 * ms)
			o.Request(Command{Within: 500 * ms})
		}, 8 * time.Second, 9 * time.Second},
		"of a ctx": {func(o *Orchestrator) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if r, err := o.Shutdown(ctx, Command{}); err != nil || r.State != Terminated {
				t.Errorf("%v, %v", r, err)
			}
		}, 760 * ms, 950 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				o, _ := orchestrator(t, Config{Alarm: 10 * time.Second})
				register(t, o, "worker", takes(time.Hour))
				register(t, o, "stuck", Func(func(context.Context) error { <-release; return nil }))
				test.ask(o)
				r, err := o.Wait(t.Context())
				must(t, err)
				if l := line(t, r, "worker"); l.Ran != test.told || r.Took != test.took || r.Deadline.Sub(r.Began) != test.took {
					t.Errorf("told after %v, want %v; took %v, want %v", l.Ran, test.told, r.Took, test.took)
				}
			})
		})
	}
}

func TestStopper(t *testing.T) {
	server := func() (graceful, forced func()) {
		streams, stop := make(chan struct{}), make(chan struct{})
		graceful = func() {
			select {
			case <-streams:
			case <-stop:
			}
		}
		return graceful, func() { close(stop) }
	}
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "grpc", Stopper(server()))
		register(t, o, "fine", Stopper(func() { time.Sleep(time.Second) }, func() { t.Error("forced") }))
		register(t, o, "panics", Stopper(func() { panic("x") }, func() {}))
		r := shutdown(t, o)
		expect(t, r, ComponentReport{ID: "grpc", Outcome: OutcomeAcked, Insisted: true, Ran: 4 * time.Second})
		expect(t, r, ComponentReport{ID: "fine", Outcome: OutcomeAcked, Ran: time.Second})
		if l := line(t, r, "panics"); l.Outcome != OutcomePanicked || r.Edge.On != AllAcked {
			t.Errorf("%s", r)
		}
	})
}

// An orchestrator is a component of another: command, time and insisting pass
// through, and its report stands in that of the outer one.
func TestNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, _ := orchestrator(t, Config{Alarm: time.Second})
		inner, _ := orchestrator(t, Config{Alarm: time.Hour})
		var told atomic.Int64
		began := time.Now()
		register(t, inner, "job", Func(func(ctx context.Context) error {
			if command, _ := CommandFrom(ctx); command.Reason != "test" {
				t.Errorf("%+v", command)
			}
			<-ctx.Done()
			told.Store(int64(time.Since(began)))
			return nil
		}))
		register(t, outer, "plugin", inner.Component(), Grace(100*ms))
		r := shutdown(t, outer)
		l := line(t, r, "plugin")
		if l.Outcome != OutcomeFailed || !l.Insisted || l.Inner == nil || l.Inner.Components[0].ID != "job" || l.Inner != inner.Report() {
			t.Errorf("%+v", l)
		}
		if told := time.Duration(told.Load()); told != 100*ms || inner.Report().ExitCode() != ExitImpolite {
			t.Errorf("told after %v\n%s", told, inner.Report())
		}
	})
}

func TestNestedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		outer, _ := orchestrator(t, Config{Alarm: time.Second})
		inner, _ := orchestrator(t, Config{Alarm: time.Hour})
		register(t, inner, "job", Func(func(context.Context) error { stuckWorker(release); return nil }))
		register(t, outer, "plugin", inner.Component())
		r := shutdown(t, outer)
		l := line(t, r, "plugin")
		if l.Inner == nil || l.Inner.State != Terminated || !strings.Contains(l.Inner.Components[0].Stack, "stuckWorker") || !errors.Is(l.Err, ErrAlarm) {
			t.Fatalf("%+v", l)
		}
		if r.Edge.On != AllAcked || !strings.Contains(r.String(), "stuckWorker") || !strings.Contains(r.String(), "job") {
			t.Errorf("the culprit inside is not told:\n%s", r)
		}
	})
}

// The error of the outer command is no failure of what is inside.
func TestNestedIsNotToBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, _ := orchestrator(t, Config{})
		inner, _ := orchestrator(t, Config{})
		register(t, inner, "job", Func(func(ctx context.Context) error {
			if command, _ := CommandFrom(ctx); !errors.Is(command.Err, errBroken) {
				t.Errorf("%+v", command)
			}
			return nil
		}))
		register(t, outer, "plugin", inner.Component())
		for _, o := range []*Orchestrator{outer, inner} {
			if err := o.Register("outer", outer.Component()); !errors.Is(err, ErrCycle) {
				t.Error(err)
			}
		}
		r, _ := outer.Shutdown(t.Context(), Command{Err: errBroken})
		if l := line(t, r, "plugin"); l.Outcome != OutcomeAcked || r.ExitCode() != ExitFailure {
			t.Errorf("%+v\n%s", l, r)
		}
	})
}

// Two that register each other at the same moment do not both have their way.
func TestNestedInEachOther(t *testing.T) {
	for range 300 {
		a, _ := orchestrator(t, Config{})
		b, _ := orchestrator(t, Config{})
		var errs [2]error
		var both sync.WaitGroup
		both.Go(func() { errs[0] = a.Register("b", b.Component()) })
		both.Go(func() { errs[1] = b.Register("a", a.Component()) })
		both.Wait()
		if errs[0] == nil && errs[1] == nil {
			t.Fatal("each is inside the other")
		}
	}
}

// After a second a shutdown says whom it waits for, and again with back-off.
func TestLogSaysWhomItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, logged := orchestrator(t, Config{Alarm: 20 * time.Second})
		register(t, o, "http", takes(1500*ms))
		register(t, o, "uploads", takes(9*time.Second))
		go o.LogEvents(context.Background(), nil)
		o.Request(Command{Signal: 15, By: "signal"})
		_, _ = o.Wait(t.Context())
		synctest.Wait()
		var waits []string
		for line := range strings.Lines(logged.String()) {
			if _, rest, ok := strings.Cut(line, `msg="still waiting" `); ok {
				waits = append(waits, strings.TrimSpace(rest))
			}
		}
		if want := []string{
			`for="http, uploads" since=1s left=19s`, "for=uploads since=2s left=18s", "for=uploads since=4s left=16s", "for=uploads since=8s left=12s",
		}; !slices.Equal(waits, want) {
			t.Errorf("got %q", waits)
		}
		if !strings.Contains(logged.String(), "a second signal forces") {
			t.Errorf("%s", logged)
		}
	})
}

// stalled is a log that nobody reads.
type stalled struct{ forever chan struct{} }

func (s stalled) Write([]byte) (int, error) { <-s.forever; return 0, io.ErrClosedPipe }

// What an error says of itself is other people's code: a typed nil that panics,
// or one that asks the orchestrator.
func TestErrorsOfRunsAreOtherPeoplesCode(t *testing.T) {
	for name, failing := range map[string]func(o *Orchestrator) error{
		"panics": func(*Orchestrator) error { return (*fs.PathError)(nil) },
		"asks":   func(o *Orchestrator) error { return asks{o} },
	} {
		for when, wait := range map[string]func(ctx context.Context){
			"stopped": func(ctx context.Context) { <-ctx.Done() }, "dies": func(context.Context) {},
		} {
			t.Run(name+"/"+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o, _ := orchestrator(t, Config{})
					must(t, o.Go("run", func(ctx context.Context) error { wait(ctx); return failing(o) }))
					synctest.Wait()
					if r := shutdown(t, o); r.ExitCode() == ExitOK || r.Edge.On != AllAcked {
						t.Error(r)
					}
				})
			})
		}
	}
}

type asks struct{ o *Orchestrator }

func (a asks) Error() string { return a.o.Report().State.String() }

// The ctx of a run that has departed ends, for what it has started.
func TestDepartureEndsTheCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		var started context.Context
		must(t, o.Go("run", func(ctx context.Context) error { started = ctx; return nil }))
		if synctest.Wait(); started.Err() == nil {
			t.Error("it lives on")
		}
	})
}

func TestServeInsideOfServeIsRefused(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	run := func() error { t.Error("started"); return nil }
	if err := o.Register("x", Serve(run, Serve(run, takes(0)))); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// One that does not say how it stands keeps nobody: Report answers, and all who
// hang have their stack.
func TestReporterThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		o, _ := orchestrator(t, Config{})
		register(t, o, "remote", blockingReporter{ignores(t), release})
		register(t, o, "other", ignores(t))
		o.Request(Command{})
		synctest.Wait()
		if o.Report(); o.Report().Took > 100*ms {
			t.Error("it waits for what blocks")
		}
		r := shutdown(t, o)
		for _, id := range []ID{"remote", "other"} {
			if l := line(t, r, id); l.Outcome != OutcomeHung || !strings.Contains(l.Stack, "ignores") {
				t.Errorf("%+v", l)
			}
		}
	})
}

type blockingReporter struct {
	Func
	release chan struct{}
}

func (b blockingReporter) Report() *Report { <-b.release; return nil }
