package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// child is a process of which somebody is the parent.
type child struct {
	pid     int
	command string
}

// childrenOf reads /proc for the living ones.
func childrenOf(t *testing.T, pid int) (children []child) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		if parent, alive := parentOf(path); alive && parent == pid {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			children = append(children, child{id, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))})
		}
	}
	return children
}

// parentOf reads one stat file, as proc(5) has it: "pid (name) state parent …".
func parentOf(path string) (parent int, alive bool) {
	data, err := os.ReadFile(path)
	if err != nil { // it is gone
		return 0, false
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}

// gone blocks until none of them lives.
func gone(t *testing.T, children []child) {
	t.Helper()
	deadline := time.Now().Add(generous)
	for _, c := range children {
		for {
			if _, alive := parentOf(filepath.Join("/proc", strconv.Itoa(c.pid), "stat")); !alive {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it lives on: %d %s", c.pid, c.command)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// demoProcess is the whole demo as a process of its own.
type demoProcess struct {
	*exec.Cmd
	t      *testing.T
	dir    string // its TMPDIR
	stdout *bufio.Scanner
	stderr bytes.Buffer
}

func startDemo(t *testing.T) *demoProcess {
	t.Helper()
	d := &demoProcess{Cmd: exec.Command(os.Args[0], "demo"), t: t, dir: t.TempDir()}
	d.Env = append(os.Environ(), "TMPDIR="+d.dir)
	d.Stderr = &d.stderr
	d.SysProcAttr = cli.OwnGroup
	stdout, err := d.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.stdout = bufio.NewScanner(stdout)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Process.Kill() }) // if it still lives
	return d
}

// await reads until a line begins like that, and returns who lives then.
func (d *demoProcess) await(beginning string) []child {
	d.t.Helper()
	for d.stdout.Scan() {
		if strings.HasPrefix(d.stdout.Text(), beginning) {
			return childrenOf(d.t, d.Process.Pid)
		}
	}
	d.t.Fatalf("it has ended without %q, and said\n%s", beginning, &d.stderr)
	return nil
}

// ended is its exit code, and what it says in the end.
func (d *demoProcess) ended() (code int, stderr string) {
	d.t.Helper()
	for d.stdout.Scan() { // or it could not go on
	}
	var exit *exec.ExitError
	if err := d.Wait(); err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	return d.ProcessState.ExitCode(), d.stderr.String()
}

// leavesNobody checks what it says in the end, and that neither processes nor files
// are left.
func (d *demoProcess) leavesNobody(children []child, says string) {
	d.t.Helper()
	if code, stderr := d.ended(); code != cli.ExitFailed || !strings.Contains(stderr, says) {
		d.t.Errorf("exit code %d, and it said\n%s", code, stderr)
	}
	gone(d.t, children)
	if left, err := os.ReadDir(d.dir); err != nil || len(left) > 0 {
		d.t.Errorf("left behind: %v, %v", left, err)
	}
}

// While api-2 hangs: it was asked together with those that are back by then.
const whileOneHangs = "  api-"

// Interrupted once it has all of them leave politely, also the one that hangs.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	children := d.await(whileOneHangs)
	if err := d.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	d.leavesNobody(children, "interrupted; the processes have left")
}

// Interrupted twice it waits for nobody.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	children := d.await(whileOneHangs)
	left := make(chan struct{})
	var interrupts sync.WaitGroup
	interrupts.Go(func() {
		again := time.NewTicker(sameSignal)
		defer again.Stop()
		for {
			_ = d.Process.Signal(os.Interrupt) // it may be gone
			select {
			case <-again.C:
			case <-left:
				return
			}
		}
	})
	d.leavesNobody(children, "interrupted; the processes were killed")
	close(left)
	interrupts.Wait()
}

// Killed itself it leaves nobody behind, with the server that they need gone too.
func TestKilled(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	children := d.await(whileOneHangs)
	if len(children) < len(Default().all())-Default().AtOnce {
		t.Errorf("only these live: %v", children)
	}
	if err := d.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = d.ended()
	gone(t, children)
}

// onLine does something once, when a line that begins like that is written.
type onLine struct {
	io.Writer
	beginning string
	do        func()
	once      sync.Once
}

func (w *onLine) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte(w.beginning)) {
		w.once.Do(w.do)
	}
	return w.Writer.Write(p)
}

// A process that dies is a problem, whatever else goes well: it is listed, and the
// logs are kept.
func TestSomebodyDies(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	config := busy()
	config.Instances, config.AtOnce, config.Hangs = 2, 1, ""
	config.Deadline = time.Second // requests are lost with it
	var said bytes.Buffer
	out := &onLine{Writer: &said, beginning: "While nobody leaves", do: func() {
		for _, c := range childrenOf(t, os.Getpid()) {
			if strings.Contains(c.command, "--instance edge-1 ") {
				_ = syscall.Kill(c.pid, syscall.SIGKILL) // or the test fails
			}
		}
	}}
	result, err := Run(t.Context(), context.Background(), out, config)
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	problems := strings.Join(result.Problems, "\n")
	for _, text := range []string{"edge/edge-1: run 1 of it exited with -1, not 0", "edge/edge-1 ran 3 times, not 2"} {
		if !strings.Contains(problems, text) || !strings.Contains(said.String(), "NOT AS IT SHOULD BE: "+text) {
			t.Errorf("%q is not among the problems:\n%s", text, &said)
		}
	}
	if result.exitCode() != cli.ExitFailed || !strings.Contains(said.String(), "The logs are in "+result.Logs) {
		t.Errorf("exit code %d:\n%s", result.exitCode(), &said)
	}
	log, err := os.ReadFile(filepath.Join(result.Logs, "edge-2.log"))
	if err != nil || !bytes.Contains(log, []byte("closed the journal")) {
		t.Errorf("%v, %s", err, log)
	}
	if _, err := os.Stat(filepath.Join(result.Logs, storeDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the server stored is kept: %v", err)
	}
}
