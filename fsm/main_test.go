package fsm

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the files in testdata and docs instead of comparing with them")

func TestMain(m *testing.M) {
	if child, ok := children[os.Getenv(childEnv)]; ok {
		child()
	}
	time.Local = time.UTC // for the golden files
	goleak.VerifyTestMain(m)
}

var errBroken = errors.New("broken pipe")

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// orchestrator returns one whose logger writes to the returned buffer.
func orchestrator(t testing.TB, config Config) (*Orchestrator, *lockedBuffer) {
	t.Helper()
	logged := new(lockedBuffer)
	config.Logger = slog.New(slog.NewTextHandler(logged, nil))
	o, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return o, logged
}

func register(t testing.TB, o *Orchestrator, id ID, c Component, options ...Option) {
	t.Helper()
	if err := o.Register(id, c, options...); err != nil {
		t.Fatal(err)
	}
}

func shutdown(t testing.TB, o *Orchestrator) *Report {
	t.Helper()
	r, err := o.Shutdown(context.Background(), Command{Reason: "test", By: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// takes is a component that needs d, or returns the cause of its ctx.
func takes(d time.Duration) Func {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func returns(err error) Func { return func(context.Context) error { return err } }

// ignores is a component that ignores its ctx until the test is over.
func ignores(t testing.TB) Func {
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	return func(context.Context) error { <-released; return nil }
}

// quiescing is a component that can be told to take no new work.
type quiescing struct {
	Func
	quiesce Func
}

func (q quiescing) Quiesce(ctx context.Context) error { return q.quiesce(ctx) }

// line finds a component in a report.
func line(t testing.TB, r *Report, id ID) ComponentReport {
	t.Helper()
	for _, l := range r.Components {
		if l.ID == id {
			return l
		}
	}
	t.Fatalf("no component %q in the report", id)
	return ComponentReport{}
}

// expect compares a line of a report with the fields of want that matter.
func expect(t testing.TB, r *Report, want ComponentReport) {
	t.Helper()
	got := line(t, r, want.ID)
	switch {
	case got.Outcome != want.Outcome, got.Insisted != want.Insisted, got.Waited != want.Waited, got.Ran != want.Ran,
		!slices.Equal(got.WaitedOn, want.WaitedOn), !errors.Is(got.Err, want.Err),
		!errors.Is(got.QuiesceErr, want.QuiesceErr):
		t.Errorf("component %q:\n got %+v\nwant %+v", want.ID, got, want)
	}
}

// happened lists what a report's events say, as "1s Acked http".
func happened(r *Report) (lines []string) {
	for _, e := range r.Events {
		lines = append(lines, strings.TrimSpace(fmt.Sprint(e.At.Sub(r.Began), " ", e.Kind, " ", e.From)))
	}
	return lines
}

func expectEvents(t testing.TB, r *Report, want ...string) {
	t.Helper()
	if got := happened(r); !slices.Equal(got, want) {
		t.Errorf("events:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// golden compares with a file in testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./fsm -update writes it); got:\n%s", path, got)
	}
}
