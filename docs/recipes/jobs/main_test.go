package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

const (
	many, long = 300, 4
	slack      = 2 * time.Second // for a busy machine
)

// fill queues long jobs, which are taken first, and then many short ones.
func fill(t *testing.T, takes string) spool {
	t.Helper()
	s, err := openSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range many {
		d := "5ms"
		if i < long {
			d = takes
		}
		if err := os.WriteFile(filepath.Join(s.queued, fmt.Sprintf("%04d-%s", i, d)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func begin(t *testing.T, s spool, flags ...string) *recipetest.Process {
	return recipetest.Start(t, append([]string{"-spool", filepath.Dir(s.queued)}, flags...)...)
}

func count(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func awaitDone(t *testing.T, s spool, jobs int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); count(t, s.done) < jobs; {
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs are done", count(t, s.done))
		}
		time.Sleep(time.Millisecond)
	}
}

// expect checks that no job is lost or doubled.
func (s spool) expect(t *testing.T) (done int) {
	t.Helper()
	queued, running, done := count(t, s.queued), count(t, s.running), count(t, s.done)
	if queued+running+done != many {
		t.Errorf("%d queued, %d running, %d done", queued, running, done)
	}
	return done
}

// expectNoneRunning is for whoever was not forced.
func (s spool) expectNoneRunning(t *testing.T) {
	t.Helper()
	if n := count(t, s.running); n != 0 {
		t.Errorf("%d jobs are left as they were", n)
	}
}

// expectTheRestToBeDone runs what is left to its end.
func (s spool) expectTheRestToBeDone(t *testing.T) {
	t.Helper()
	for i := range long { // short this time
		name := filepath.Join(s.queued, fmt.Sprintf("%04d-1m", i))
		if err := os.Rename(name, filepath.Join(s.queued, fmt.Sprintf("%04d-5ms", i))); err != nil {
			t.Fatal(err)
		}
	}
	p := begin(t, s)
	awaitDone(t, s, many)
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
}

func TestAsked(t *testing.T) {
	s := fill(t, "1s")
	p := begin(t, s)
	awaitDone(t, s, 20)
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
	s.expectNoneRunning(t)
	if done := s.expect(t); done == many {
		t.Error("it went on working")
	}
	for i := range long {
		if _, err := os.Stat(filepath.Join(s.done, fmt.Sprintf("%04d-1s", i))); err != nil {
			t.Errorf("it did not finish what it was doing: %v", err)
		}
	}
}

func TestInsistedUpon(t *testing.T) {
	s := fill(t, "1m")
	p := begin(t, s)
	awaitDone(t, s, 20)
	p.Signal(t, syscall.SIGTERM)
	p.Await(t, "Started.*jobs")
	p.Signal(t, syscall.SIGUSR1)
	if took := p.ExpectExit(t, 4); took > slack {
		t.Errorf("it took %v", took)
	}
	p.Expect(t, "put back.*0003-1m", "Insisted.*jobs", "1 acked; exit code 4")
	s.expect(t)
	s.expectNoneRunning(t)
	s.expectTheRestToBeDone(t)
}

func TestThePoliteTimeIsOver(t *testing.T) {
	s := fill(t, "1m")
	p := begin(t, s, "-alarm", "2s")
	awaitDone(t, s, 20)
	p.Signal(t, syscall.SIGTERM)
	if took := p.ExpectExit(t, 4); took < 1600*time.Millisecond || took > 1600*time.Millisecond+slack {
		t.Errorf("it took %v", took)
	}
	s.expect(t)
	s.expectNoneRunning(t)
}

func TestForced(t *testing.T) {
	s := fill(t, "1m")
	p := begin(t, s)
	awaitDone(t, s, 20)
	p.Signal(t, syscall.SIGTERM)
	p.Await(t, "Started.*jobs")
	time.Sleep(150 * time.Millisecond) // what comes within 100 ms is the same request
	p.Signal(t, syscall.SIGTERM)
	if took := p.ExpectExit(t, 128+int(syscall.SIGTERM)); took > slack {
		t.Errorf("it took %v", took)
	}
	s.expect(t)
	next, err := openSpool(filepath.Dir(s.queued)) // as the next process does
	if err != nil {
		t.Fatal(err)
	}
	next.expectTheRestToBeDone(t)
}
