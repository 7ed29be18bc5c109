package fsm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewRefuses(t *testing.T) {
	for _, config := range []Config{
		{Alarm: -1},
		{InsistAfter: -1},
		{Alarm: time.Second, InsistAfter: time.Second},
		{InsistAfter: DefaultAlarm},
		{Alarm: 1},
	} {
		if o, err := New(config); err == nil || o != nil {
			t.Errorf("New(%+v) = %v, %v", config, o, err)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	c := returns(nil)
	for name, test := range map[string]struct {
		id      ID
		c       Component
		options []Option
		want    error
	}{
		"empty ID":                 {"", c, nil, ErrInvalid},
		"no component":             {"new", nil, nil, ErrInvalid},
		"nil function":             {"new", Func(nil), nil, ErrInvalid},
		"nil closer":               {"new", Closer(nil), nil, ErrInvalid},
		"nil option":               {"new", c, []Option{nil}, ErrInvalid},
		"no grace":                 {"new", c, []Option{Grace(0)}, ErrInvalid},
		"negative grace":           {"new", c, []Option{Grace(-1)}, ErrInvalid},
		"known ID":                 {"a", c, nil, ErrDuplicate},
		"doubled before":           {"new", c, []Option{Before("a", "a")}, ErrDuplicate},
		"doubled after":            {"new", c, []Option{After("a"), After("a")}, ErrDuplicate},
		"unknown before":           {"new", c, []Option{Before("z")}, ErrUnknown},
		"unknown after":            {"new", c, []Option{After("a", "z")}, ErrUnknown},
		"own ID before":            {"new", c, []Option{Before("new")}, ErrCycle},
		"own ID after":             {"new", c, []Option{After("new")}, ErrCycle},
		"both sides":               {"new", c, []Option{Before("a"), After("a")}, ErrCycle},
		"cycle":                    {"new", c, []Option{After("b"), Before("a")}, ErrCycle},
		"cycle over two":           {"new", c, []Option{After("c"), Before("a")}, ErrCycle},
		"withdraws after another":  {"new", c, []Option{After("a"), Withdraws()}, ErrWithdrawsLate},
		"another before withdraws": {"new", c, []Option{Before("w")}, ErrWithdrawsLate},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := orchestrator(t, Config{})
			register(t, o, "w", c, Withdraws())
			register(t, o, "a", c)
			register(t, o, "b", c, After("a"))
			register(t, o, "c", c, After("b"))
			err := o.Register(test.id, test.c, test.options...)
			if !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "fsm: register ") {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			// nothing of it was applied
			register(t, o, "new", c, After("c"), Before())
			if r := shutdown(t, o); len(r.Components) != 5 || r.ExitCode() != ExitOK {
				t.Fatalf("after a refusal:\n%s", r)
			}
		})
	}
}

func TestRegisterAccepts(t *testing.T) {
	c := returns(nil)
	o, _ := orchestrator(t, Config{})
	register(t, o, "w1", c, Withdraws())
	register(t, o, "w2", c, Withdraws(), Before("w1"))
	register(t, o, "w3", c, Withdraws(), After("w1", "w2"), Grace(time.Second))
	register(t, o, "db", c)
	register(t, o, "cache", c, After("w1"), After("w2"))
	register(t, o, "http", c, Before("db", "cache"), After("w3"))
	r := shutdown(t, o)
	if r.ExitCode() != ExitOK {
		t.Fatalf("%s", r)
	}
	if l := line(t, r, "w1"); !l.Withdraws || len(l.After) != 1 || l.After[0] != "w2" {
		t.Errorf("the report does not say how w1 was registered: %+v", l)
	}
}

func TestRegisterAfterTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "slow", takes(time.Second))
		o.Request(Command{})
		if err := o.Register("new", returns(nil)); !errors.Is(err, ErrShutdownBegun) {
			t.Errorf("while shutting down: %v", err)
		}
		<-o.Done()
		if err := o.Register("new", returns(nil)); !errors.Is(err, ErrShutdownBegun) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Start-up races shutdown: whatever was registered is shut down, whatever was
// refused is left to its caller.
func TestRegisterRacesRequest(t *testing.T) {
	const n = 50
	o, _ := orchestrator(t, Config{Alarm: time.Hour})
	var registered, stopped, refused atomic.Int32
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			err := o.Register(ID(rune('A'+i)), Func(func(context.Context) error { stopped.Add(1); return nil }))
			switch {
			case err == nil:
				registered.Add(1)
			case errors.Is(err, ErrShutdownBegun):
				refused.Add(1)
			}
		})
		if i == n/2 {
			all.Go(func() { o.Request(Command{}) })
		}
	}
	all.Wait()
	r, err := o.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if registered.Load() != stopped.Load() || registered.Load()+refused.Load() != n ||
		len(r.Components) != int(registered.Load()) {
		t.Errorf("%d registered, %d refused, %d stopped, %d reported",
			registered.Load(), refused.Load(), stopped.Load(), len(r.Components))
	}
}
