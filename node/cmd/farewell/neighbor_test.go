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

func TestNeighborAdd(t *testing.T) {
	key := filepath.Join(t.TempDir(), "node.key")
	first := nodeProcess(t, "--listen", "127.0.0.1:0")
	second := nodeProcess(t, "--listen", "127.0.0.1:0", "--key", key)
	code, stdout, stderr := command(t, "neighbor", "add", *first.Descriptor, "--remember", "--ui", second.UI)
	if code != cli.ExitOK || !strings.Contains(stdout, *first.Descriptor) || stderr != "" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	statusWhen(t, dial(t, first.UI), fullNeighbors(1))
	second.send(t, syscall.SIGKILL)
	<-second.ended
	nodeProcess(t, "--listen", "127.0.0.1:0", "--key", key)
	statusWhen(t, dial(t, first.UI), fullNeighbors(1))
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"neighbor", "add"}, cli.ExitUsage, "want one descriptor"},
		{[]string{"neighbor", "add", "KEY"}, cli.ExitUsage, "not a descriptor"},
		{[]string{"neighbor", "remove"}, cli.ExitUsage, "unknown command"},
		{[]string{"neighbor", "add", *first.Descriptor, "--ui", first.UI}, cli.ExitFailed, "this node itself"},
	} {
		if code, _, stderr := command(t, test.args...); code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: exit code %d, %s", test.args, code, stderr)
		}
	}
}

// What a node cannot reach shows in its status and, once, as a warning.
func TestAMapInParts(t *testing.T) {
	seed := nodeProcess(t, "--listen", "127.0.0.1:0")
	member := nodeProcess(t, "--listen", "127.0.0.1:0", "--neighbor", *seed.Descriptor)
	asker := dial(t, member.UI)
	statusWhen(t, asker, fullNeighbors(1))
	if _, stdout, _ := command(t, "status", "--ui", member.UI); !strings.Contains(stdout, "whole") {
		t.Error(stdout)
	}
	seed.kill()
	statusWhen(t, asker, func(s *ui.Status) bool { return s.Node.InParts && len(s.Node.Missing) == 1 })
	if _, stdout, _ := command(t, "status", "--ui", member.UI); !strings.Contains(stdout, "in parts") {
		t.Error(stdout)
	}
	if n := member.says(t, "the map is in parts"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

func TestScaleDownsSimulated(t *testing.T) {
	code, stdout, stderr := command(t, "simulate", "--scale-downs", "2", "--nodes", "8")
	if code != cli.ExitOK || !strings.Contains(stdout, "2 scale-downs") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := command(t, "simulate", "--scale-downs", "2", "--nodes", "3"); code != cli.ExitUsage {
		t.Errorf("too few nodes: exit code %d", code)
	}
}

// wholeMap returns how many other nodes a process can reach over full neighborships in its own map.
func wholeMap(s *ui.Status) int {
	lists := map[string]map[string]bool{}
	for _, r := range s.Node.Records {
		lists[r.Key] = map[string]bool{}
		for _, key := range r.HalfNeighbors {
			lists[r.Key][key] = true
		}
	}
	seen := map[string]bool{s.Node.Key: true}
	for queue := []string{s.Node.Key}; len(queue) > 0; queue = queue[1:] {
		for key := range lists[queue[0]] {
			if lists[key][queue[0]] && !seen[key] {
				seen[key] = true
				queue = append(queue, key)
			}
		}
	}
	return len(seen) - 1
}

// A polite scale-down of a network that is held together by one seed leaves the rest whole.
func TestHalfOfARealNetworkLeaves(t *testing.T) {
	halfLeaves(t, 10, syscall.SIGTERM)
}

// TestSoakHalfOf24 does so with 24, politely and by SIGKILL, and says how long it took.
func TestSoakHalfOf24(t *testing.T) {
	soak(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Logf("whole %v after half of 24 were sent %v", halfLeaves(t, 24, signal), signal)
	}
}

func halfLeaves(t *testing.T, nodes int, signal syscall.Signal) time.Duration {
	t.Helper()
	seed := nodeProcess(t, "--listen", "127.0.0.1:0")
	var all []*process
	for range nodes {
		all = append(all, nodeProcess(t, "--listen", "127.0.0.1:0", "--neighbor", *seed.Descriptor))
	}
	reaches := func(want int) func(*ui.Status) bool {
		return func(s *ui.Status) bool { return wholeMap(s) == want }
	}
	for _, p := range append(all, seed) {
		statusWhen(t, dial(t, p.UI), reaches(nodes))
	}
	for i, p := range all {
		if i%2 == 0 { // the elder half of the seed's neighbors among them
			p.send(t, signal)
		}
	}
	for i, p := range all {
		if i%2 == 0 {
			<-p.ended
		}
	}
	gone := time.Now()
	statusWhen(t, dial(t, seed.UI), reaches(nodes-nodes/2))
	took := time.Since(gone).Round(time.Millisecond)
	for i, p := range all {
		if i%2 == 1 {
			statusWhen(t, dial(t, p.UI), reaches(nodes-nodes/2))
		}
	}
	return took
}

// A member that comes back while the only seed is down finds the others by what it remembers.
func TestSoakRestartWhileTheSeedIsDown(t *testing.T) {
	soak(t)
	key := filepath.Join(t.TempDir(), "node.key")
	seed := nodeProcess(t, "--listen", "127.0.0.1:0")
	var others []*process
	for range 2 {
		others = append(others, nodeProcess(t, "--listen", "127.0.0.1:0", "--neighbor", *seed.Descriptor))
	}
	member := nodeProcess(t, "--listen", "127.0.0.1:0", "--key", key, "--neighbor", *seed.Descriptor)
	statusWhen(t, dial(t, member.UI), func(s *ui.Status) bool { return wholeMap(s) == 3 })
	statusWhen(t, dial(t, member.UI), func(*ui.Status) bool { _, err := os.Stat(fmt.Sprint(key, ".neighbors")); return err == nil })
	for _, p := range []*process{seed, member} {
		p.send(t, syscall.SIGTERM)
		<-p.ended
	}
	member = nodeProcess(t, "--listen", "127.0.0.1:0", "--key", key, "--neighbor", *seed.Descriptor)
	for _, p := range append(others, member) {
		statusWhen(t, dial(t, p.UI), func(s *ui.Status) bool { return wholeMap(s) == 2 })
	}
}
