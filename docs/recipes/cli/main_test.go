package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

const slack = 2 * time.Second // for a busy machine

type run struct {
	*recipetest.Process
	out string
}

// begin starts the command with 50 files of a line each, which its command makes upper case.
func begin(t *testing.T, command string, flags ...string) *run {
	t.Helper()
	in, out := t.TempDir(), t.TempDir()
	arguments := append([]string{"-out", out, "-command", command}, flags...)
	for i := range 50 {
		file := filepath.Join(in, fmt.Sprintf("file-%02d", i))
		if err := os.WriteFile(file, []byte("some text\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, file)
	}
	return &run{recipetest.Start(t, arguments...), out}
}

// results checks that nothing is there but whole results, and counts them.
func (r *run) results(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(r.out)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil || string(text) != "SOME TEXT\n" {
			t.Errorf("%s is left, with %q, %v", e.Name(), text, err)
		}
	}
	return len(entries)
}

// interrupt does what a terminal does.
func (r *run) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-r.PID(), syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func TestToTheEnd(t *testing.T) {
	r := begin(t, "tr a-z A-Z")
	r.ExpectExit(t, 0)
	if n := r.results(t); n != 50 {
		t.Errorf("%d results", n)
	}
	r.Expect(t, `shutdown \(nothing left to do\).*exit code 0`)
}

func TestChildThatFails(t *testing.T) {
	r := begin(t, "case $(cat) in *) exit 7; esac")
	r.ExpectExit(t, 1)
	if n := r.results(t); n != 0 {
		t.Errorf("%d results", n)
	}
	r.Expect(t, `component \\"convert\\" died: .*file-00: exit status 7`)
}

func TestCtrlC(t *testing.T) {
	r := begin(t, "tr a-z A-Z; sleep 0.1")
	r.Await(t, "converted.*file-02")
	r.interrupt(t)
	r.ExpectExit(t, exitInterrupted)
	if n := r.results(t); n < 3 || n == 50 {
		t.Errorf("%d results", n)
	}
	r.Expect(t, `interrupted done=\d+ of=50`)
}

// stubborn is a child that has written half of its result and does not listen.
const stubborn = "trap '' TERM INT; echo SOME; echo child $$ >&2; exec sleep 60"

func TestCtrlCWithAChildThatDoesNotListen(t *testing.T) {
	r := begin(t, stubborn, "-patience", "500ms")
	child := r.Await(t, `child (\d+)`)
	begun := time.Now()
	r.interrupt(t)
	r.ExpectExit(t, exitInterrupted)
	if took := time.Since(begun); took < 500*time.Millisecond || took > 500*time.Millisecond+slack {
		t.Errorf("it took %v", took)
	}
	r.expectNothingLeft(t, child)
}

func TestCtrlCTwice(t *testing.T) {
	r := begin(t, stubborn, "-patience", "1m")
	child := r.Await(t, `child (\d+)`)
	r.interrupt(t)
	r.Await(t, "Started.*convert")
	time.Sleep(150 * time.Millisecond) // what comes within 100 ms is the same Ctrl-C
	begun := time.Now()
	r.interrupt(t)
	r.ExpectExit(t, exitInterrupted)
	if took := time.Since(begun); took > slack {
		t.Errorf("it took %v", took)
	}
	r.Expect(t, "hung: convert.*exit code 130")
	r.expectNothingLeft(t, child)
}

func (r *run) expectNothingLeft(t *testing.T, child string) {
	t.Helper()
	if n := r.results(t); n != 0 {
		t.Errorf("%d results", n)
	}
	pid, err := strconv.Atoi(child)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond) // a killed process is there until its parent's successor has seen it
	}
	t.Errorf("child %d still runs", pid)
}

func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	return syscall.Kill(pid, 0) == nil
}
