package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

// soak marks a test that takes minutes of real time: `make soak` sets the variable. Each runs beside the others.
func soak(t *testing.T) {
	t.Helper()
	if os.Getenv("FAREWELL_SOAK") == "" {
		t.Skip("takes minutes: make soak")
	}
	t.Parallel()
}

// send sends a node's process a signal.
func (p *process) send(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// says counts the lines of a node's log that hold a text.
func (p *process) says(t *testing.T, text string) int {
	t.Helper()
	log, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// A neighbor whose process hangs gives its place back within half a minute, and comes back when it goes on.
func TestSoakHungNeighborIsLost(t *testing.T) {
	soak(t)
	center := nodeProcess(t, "--listen", "127.0.0.1:0")
	hung := nodeProcess(t, "--neighbor", *center.Descriptor)
	nodeProcess(t, "--neighbor", *center.Descriptor)
	asker := dial(t, center.UI)
	statusWhen(t, asker, fullNeighbors(2))
	hung.send(t, syscall.SIGSTOP)
	stopped := time.Now()
	statusWhen(t, asker, func(s *ui.Status) bool { return len(s.Node.Records[0].HalfNeighbors) == 1 })
	took := time.Since(stopped)
	t.Logf("a hung neighbor was dropped after %v", took.Round(time.Millisecond))
	if center.says(t, "neighbor lost") != 1 || center.says(t, "peer does not answer") != 1 {
		t.Error("the log does not say that it is lost, and why")
	}
	hung.send(t, syscall.SIGCONT)
	statusWhen(t, asker, fullNeighbors(2))
	hung.send(t, syscall.SIGTERM)
	if code := hung.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the one that hung exits with %d", code)
	}
	statusWhen(t, asker, fullNeighbors(1))
}

// Nobody loses anybody for a standstill of less than the ten seconds that an answer may take: neither the one that stood
// still nor its neighbors.
func TestSoakShortStandstillLosesNobody(t *testing.T) {
	soak(t)
	center := nodeProcess(t, "--listen", "127.0.0.1:0")
	still := nodeProcess(t, "--neighbor", *center.Descriptor)
	asker := dial(t, center.UI)
	statusWhen(t, asker, fullNeighbors(1))
	for range 8 { // at all phases of the fifteen seconds between two pings
		still.send(t, syscall.SIGSTOP)
		<-time.After(7 * time.Second)
		still.send(t, syscall.SIGCONT)
		<-time.After(4 * time.Second)
	}
	for _, p := range []*process{center, still} {
		if p.says(t, "neighbor lost") > 0 {
			t.Error("a neighbor was lost")
		}
	}
	statusWhen(t, asker, fullNeighbors(1))
}

// Neighbors that have nothing to say to each other keep each other, and cost next to nothing.
func TestSoakIdleNeighborsStay(t *testing.T) {
	soak(t)
	center := nodeProcess(t, "--listen", "127.0.0.1:0")
	all := []*process{center}
	for range 4 {
		all = append(all, nodeProcess(t, "--neighbor", *center.Descriptor))
	}
	asker := dial(t, center.UI)
	statusWhen(t, asker, func(s *ui.Status) bool { return s.Node.Pending == 0 && fullNeighbors(4)(s) })
	const long = 100 * time.Second
	before, known := wakeUps(center)
	<-time.After(long)
	after, _ := wakeUps(center)
	if known {
		t.Logf("a node with 4 idle neighbors and one UI woke up %d times in %v", after-before, long)
	}
	for _, p := range all {
		if p.says(t, "neighbor lost") > 0 {
			t.Error("a neighbor was lost")
		}
	}
	statusWhen(t, asker, fullNeighbors(4))
}

// wakeUps counts how often a process's threads have gone to sleep so far, where the system says.
func wakeUps(p *process) (count int, known bool) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.command.Process.Pid))
	for _, thread := range threads {
		text, _ := os.ReadFile(thread) // it may have ended
		_, number, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		var n int
		_, _ = fmt.Sscan(number, &n)
		count += n
	}
	return count, len(threads) > 0
}
