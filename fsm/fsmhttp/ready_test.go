package fsmhttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func readiness(o *fsm.Orchestrator) string {
	w := httptest.NewRecorder()
	Readiness(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil))
	return strings.TrimSpace(http.StatusText(w.Code) + ": " + w.Body.String())
}

// Readiness is that of a process from its first line to its end. (In real time,
// because package os/signal cannot be begun with in a bubble.)
func TestReadiness(t *testing.T) {
	var seen []string
	config := fsm.Config{Logger: slog.New(slog.DiscardHandler), Alarm: time.Minute}
	fsm.Main(config, func(_ context.Context, o *fsm.Orchestrator) error {
		note := func() { seen = append(seen, readiness(o)) }
		note()
		return o.Go("main", func(ctx context.Context) error {
			for !o.Ready() {
				time.Sleep(time.Millisecond)
			}
			note()
			o.Request(fsm.Command{Reason: "test"})
			note()
			<-ctx.Done()
			note()
			return nil
		})
	})
	const gone = "Service Unavailable: shutting down"
	want := "Service Unavailable: starting, OK: ready, " + gone + ", " + gone
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// For the time of the drain the server answers as before.
func TestDrainKeepsServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o := newPipes(), orchestrator(t, fsm.Config{Alarm: 25 * time.Second})
		must(t, o.Register("http", Serve(serverOf(func(http.ResponseWriter, *http.Request) {}), l)), Drain(o, "drain", 10*time.Second))
		o.Request(fsm.Command{Reason: "test"})
		for range 10 {
			time.Sleep(999 * time.Millisecond)
			if got := readiness(o); got != "Service Unavailable: shutting down" {
				t.Error(got)
			}
			c := l.dial()
			send(t, c, get)
			if got := answer(t, c); !strings.Contains(got, "200 OK") {
				t.Errorf("not served: %q", got)
			}
		}
		if r := shutDown(t, o, fsm.ExitOK); r.Took != 10*time.Second {
			t.Errorf("it took %v", r.Took)
		}
	})
}

func TestDrainHasLessTime(t *testing.T) {
	for name, test := range map[string]struct {
		ask  func(o *fsm.Orchestrator)
		took time.Duration
	}{
		"a request with less":   {func(o *fsm.Orchestrator) { o.Request(fsm.Command{Within: 5 * time.Second}) }, 2 * time.Second},
		"a request with enough": {func(o *fsm.Orchestrator) { o.Request(fsm.Command{Within: 20 * time.Second}) }, 10 * time.Second},
		"a second request": {func(o *fsm.Orchestrator) {
			o.Request(fsm.Command{})
			time.Sleep(time.Second)
			o.Request(fsm.Command{Within: 5 * time.Second})
		}, 5 * time.Second},
		"insisted upon": {func(o *fsm.Orchestrator) {
			o.Request(fsm.Command{})
			time.Sleep(time.Second)
			o.Insist(fsm.Command{})
		}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := orchestrator(t, fsm.Config{Alarm: 25 * time.Second})
				must(t, Drain(o, "drain", 10*time.Second))
				test.ask(o)
				if r := shutDown(t, o, fsm.ExitOK); r.Took != test.took {
					t.Errorf("it took %v, want %v\n%s", r.Took, test.took, r)
				}
			})
		})
	}
}

func TestDrainRefuses(t *testing.T) {
	o := orchestrator(t, fsm.Config{Alarm: 5 * time.Second})
	for d, want := range map[time.Duration]string{
		-time.Second:     "fsmhttp: drain \"d\": invalid: -1s is negative",
		4 * time.Second:  "fsmhttp: drain \"d\": invalid: 4s is not below the polite time of 4s, of an alarm of 5s",
		10 * time.Second: "fsmhttp: drain \"d\": invalid: 10s is not below the polite time of 4s, of an alarm of 5s",
	} {
		if err := Drain(o, "d", d); !errors.Is(err, fsm.ErrInvalid) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if err := Drain(o, "d", time.Second, fsm.Last()); !errors.Is(err, fsm.ErrContradiction) {
		t.Errorf("got %v", err)
	}
	must(t, Drain(o, "none", 0), Drain(o, "d", 4*time.Second-1))
	if err := Drain(o, "d", 0); !errors.Is(err, fsm.ErrDuplicate) {
		t.Errorf("got %v", err)
	}
}
