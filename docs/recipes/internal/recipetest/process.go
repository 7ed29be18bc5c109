// Package recipetest runs a recipe as what it is, a process of its own: the test
// binary, started again, is the recipe. So it has the race detector too.
package recipetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	asRecipe = "RECIPE_MAIN" // set for the process that is to be the recipe
	patience = time.Minute   // for anything that a process has to do, on a busy machine
	mostLog  = 16 << 10      // that a failed test shows
)

// Main is the TestMain of a recipe whose main is given.
func Main(m *testing.M, main func()) {
	if os.Getenv(asRecipe) != "" {
		main() // exits
		os.Exit(0)
	}
	code := m.Run()
	stopPostgres()
	os.Exit(code)
}

// Process is a recipe that runs, with what it has logged.
type Process struct {
	cmd    *exec.Cmd
	log    lockedBuffer
	exited chan struct{}
	asked  time.Time // of the first signal
	ended  time.Time
}

// Start starts the recipe with arguments. If the test ends before it does it is
// killed.
func Start(t testing.TB, arguments ...string) *Process {
	t.Helper()
	return start(t, exec.Command(os.Args[0], arguments...))
}

// StartAt starts the program at path.
func StartAt(t testing.TB, path string, arguments ...string) *Process {
	t.Helper()
	return start(t, exec.Command(path, arguments...))
}

func start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	cmd.Env = append(os.Environ(), asRecipe+"=yes")
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	cmd.WaitDelay = time.Second // children that hold the log open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		p.ended = time.Now()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it and its children
		<-p.exited
		if t.Failed() {
			text := p.Log()
			t.Logf("%s logged:\n%s", cmd, text[:min(len(text), mostLog)])
		}
	})
	return p
}

// PID is the process's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns what the process has written so far.
func (p *Process) Log() string { return p.log.String() }

// Await returns the first group of pattern, or all of it if it has none, as soon as
// the process has logged it.
func (p *Process) Await(t testing.TB, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		text, changed := p.log.read()
		if found := expression.FindStringSubmatch(text); found != nil {
			return found[len(found)-1]
		}
		select {
		case <-changed:
		case <-p.exited:
			if text, _ := p.log.read(); !expression.MatchString(text) {
				t.Fatalf("it has ended and never logged %s", pattern)
			}
		case <-ctx.Done():
			t.Fatalf("it has not logged %s", pattern)
		}
	}
}

// Signal sends one.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if p.asked.IsZero() {
		p.asked = time.Now()
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait returns the exit code, as a shell has it, and how long after the first
// signal the process has ended.
func (p *Process) Wait(t testing.TB) (code int, took time.Duration) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("it has not ended")
	}
	if status := p.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), p.ended.Sub(p.asked)
	}
	return p.cmd.ProcessState.ExitCode(), p.ended.Sub(p.asked)
}

// ExpectExit waits, and compares the exit code.
func (p *Process) ExpectExit(t testing.TB, want int) (took time.Duration) {
	t.Helper()
	code, took := p.Wait(t)
	if code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	if strings.Contains(p.Log(), "DATA RACE") {
		t.Error("the race detector has something to say")
	}
	return took
}

// Expect fails the test if the process has not logged what the patterns say.
func (p *Process) Expect(t testing.TB, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(p.Log()) {
			t.Errorf("it has not logged %s", pattern)
		}
	}
}

// lockedBuffer is written by the process and read by tests.
type lockedBuffer struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{}
}

func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.buffer.Write(text)
}

func (b *lockedBuffer) read() (string, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.buffer.String(), b.changed
}

func (b *lockedBuffer) String() string { text, _ := b.read(); return text }
