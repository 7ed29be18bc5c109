package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// patience is how long something may take that is known to happen: these
// machines are slow at times.
const patience = 60 * time.Second

// command runs one command line to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// nodeProcess starts `farewell run` as a process that the test stops at its end.
func nodeProcess(t *testing.T, args ...string) *process {
	t.Helper()
	dir := t.TempDir()
	args = append([]string{"--ui", "127.0.0.1:0", "--key", filepath.Join(dir, "key")}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := startProcess(ctx, dir, "node", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.ended:
		default:
			p.kill()
		}
		_ = p.stdin.Close()
		if t.Failed() {
			log, _ := os.ReadFile(p.Log)
			t.Logf("log of %v:\n%s", args, log)
		}
	})
	return p
}

func (p *process) awaitExit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.code
	case <-time.After(patience):
		t.Fatalf("node at %s has not ended", p.UI)
		return -1
	}
}

func dial(t *testing.T, address string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// statusWhen polls a node's status until it is as it should be.
func statusWhen(t *testing.T, c *client.Client, fine func(*ui.Status) bool) *ui.Status {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		status, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if fine(status) {
			return status
		}
		if time.Now().After(deadline) {
			text, _ := json.Marshal(status)
			t.Fatalf("the status does not become as it should be: %s", text)
		}
		<-time.After(pollPause)
	}
}

func fullNeighbors(n int) func(*ui.Status) bool {
	return func(s *ui.Status) bool {
		full := 0
		for _, r := range s.Node.Records[1:] {
			for _, key := range r.HalfNeighbors {
				if key == s.Node.Key {
					full++
				}
			}
		}
		return full == n && len(s.Node.Records[0].HalfNeighbors) == n
	}
}

func TestNetwork(t *testing.T) {
	code, stdout, stderr := command(t, "network", "--json")
	if code != cli.ExitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var result networkResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatal(err)
	}
	if result.Nodes != 5 || result.ExitCode != 0 || len(result.Problems) > 0 || len(result.Neighbors) < fewestNeighbors {
		t.Errorf("result %+v", result)
	}
	for _, s := range result.Neighbors {
		if s.Gossip != 1 || s.ListedByUs || s.LeaverListed != 0 || s.Version == 0 {
			t.Errorf("neighbor saw %+v", s)
		}
	}
	if n := len(result.Neighbors); result.Messages != n || result.NaiveMessages != n*(n-1)/2 {
		t.Errorf("%d messages, naively %d, for %d neighbors", result.Messages, result.NaiveMessages, n)
	}
}

func TestNetworkShowsAndKeeps(t *testing.T) {
	code, stdout, stderr := command(t, "network", "--nodes", "4", "--keep")
	if code != cli.ExitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var kept []string
	for line := range strings.Lines(stdout) {
		if _, address, ok := strings.Cut(line, " status --ui "); ok {
			kept = append(kept, strings.TrimSpace(address))
		}
	}
	if len(kept) != 3 {
		t.Fatalf("%d nodes kept, want 3:\n%s", len(kept), stdout)
	}
	for _, address := range kept {
		code, stdout, stderr := command(t, "shutdown", "--ui", address)
		if code != cli.ExitOK {
			t.Errorf("%s: exit code %d\n%s%s", address, code, stdout, stderr)
		}
	}
	if dir := logFolder(stdout); dir != "" {
		_ = os.RemoveAll(dir)
	}
	for _, want := range []string{"neighborhood: okay, I'm done", "Terminated by AllAcked", "All is as it should be."} {
		if !strings.Contains(stdout, want) {
			t.Errorf("output lacks %q:\n%s", want, stdout)
		}
	}
}

func logFolder(stdout string) string {
	for line := range strings.Lines(stdout) {
		if log, ok := strings.CutPrefix(line, "  log "); ok {
			return filepath.Dir(strings.TrimSpace(log))
		}
	}
	return ""
}

func TestShutdownCommand(t *testing.T) {
	p := nodeProcess(t)
	code, stdout, stderr := command(t, "shutdown", "--ui", p.UI, "--reason", "a test")
	if code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"neighborhood: okay, I'm done", "streams: okay, I'm done", "a test", "exit code 0"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("output lacks %q:\n%s", want, stdout)
		}
	}
	if code := p.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the node exits with %d", code)
	}
	code, _, stderr = command(t, "shutdown", "--ui", p.UI)
	if code != cli.ExitFailed || !strings.Contains(stderr, "no node has its UI at "+p.UI) {
		t.Errorf("asked again: exit code %d: %s", code, stderr)
	}
}

func TestShutdownAsJSON(t *testing.T) {
	p := nodeProcess(t)
	code, stdout, stderr := command(t, "shutdown", "--ui", p.UI, "--json")
	var goodbye ui.Goodbye
	if err := json.Unmarshal([]byte(stdout), &goodbye); err != nil || code != cli.ExitOK {
		t.Fatalf("exit code %d: %v: %s%s", code, err, stdout, stderr)
	}
	if goodbye.Report.State != fsm.Terminated || goodbye.Report.Command.Reason != "farewell shutdown" {
		t.Errorf("report %v", goodbye.Report)
	}
}

func TestStatusAndWatchCommands(t *testing.T) {
	p := nodeProcess(t, "--listen", "127.0.0.1:0")
	code, stdout, stderr := command(t, "status", "--ui", p.UI)
	if code != cli.ExitOK || !strings.Contains(stdout, "Running") || !strings.Contains(stdout, *p.Descriptor) {
		t.Errorf("status: exit code %d\n%s%s", code, stdout, stderr)
	}
	if lines := strings.Count(stdout, "\n"); lines > 24 {
		t.Errorf("status has %d lines, more than a screen", lines)
	}
	watched := make(chan string, 1)
	go func() {
		_, stdout, _ := command(t, "watch", "--ui", p.UI)
		watched <- stdout
	}()
	connection := dial(t, p.UI)
	statusWhen(t, connection, func(s *ui.Status) bool { return s.UIs == 2 })
	command(t, "shutdown", "--ui", p.UI)
	stdout = <-watched
	for _, want := range []string{"ShutdownRequested", "streams: okay, I'm done", "Terminated by AllAcked"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("watch lacks %q:\n%s", want, stdout)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	path := shortPath(t)
	address := "unix:" + path
	p := nodeProcess(t, "--ui", address)
	if p.UI != address {
		t.Errorf("UI is at %q", p.UI)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	if code, _, stderr := command(t, "shutdown", "--ui", address); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestToken(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	p := nodeProcess(t, "--ui-token-file", token)
	if code, _, stderr := command(t, "shutdown", "--ui", p.UI); code != cli.ExitFailed || !strings.Contains(stderr, "token") {
		t.Errorf("without the token: exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "status", "--ui", p.UI, "--ui-token-file", token+".no"); code != cli.ExitFailed {
		t.Errorf("without a token file: exit code %d: %s", code, stderr)
	}
	_, page, _ := command(t, "status", "--open-url", "--ui", p.UI, "--ui-token-file", token)
	code, stdout, stderr := command(t, "shutdown", "--ui", p.UI, "--ui-token-file", token)
	if code != cli.ExitOK {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	secret, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	if want := "http://" + p.UI + "/#" + string(secret); page != want {
		t.Errorf("the page is at %q, want %q", page, want)
	}
	p.awaitExit(t)
	log, err := os.ReadFile(p.Log)
	if err != nil || strings.Contains(string(log), strings.TrimSpace(string(secret))) {
		t.Errorf("the token stands in the log (or %v)", err)
	}
}

func TestSecondStartOnOneKey(t *testing.T) {
	key := filepath.Join(t.TempDir(), "node.key")
	first := nodeProcess(t, "--key", key)
	code, stdout, stderr := command(t, "run", "--ui", "127.0.0.1:0", "--key", key)
	want := fmt.Sprintf("%s: key file is in use by process %d", key, first.command.Process.Pid)
	if code != cli.ExitFailed || !strings.Contains(stderr, want) || stdout != "" {
		t.Errorf("exit code %d, want one that says %q; got\n%s%s", code, want, stderr, stdout)
	}
	first.kill()
	nodeProcess(t, "--key", key)
}

func TestSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(signal.String(), func(t *testing.T) {
			p := nodeProcess(t)
			if err := p.command.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code := p.awaitExit(t); code != cli.ExitOK {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestSecondSignalForces(t *testing.T) {
	p := nodeProcess(t, "--hang", "--alarm", "10m")
	watcher := dial(t, p.UI)
	begun := make(chan struct{})
	var goodbye *ui.Goodbye
	ended := make(chan error, 1)
	go func() {
		var err error
		goodbye, err = watcher.Watch(t.Context(), func(e fsm.Event) {
			if e.Kind == fsm.ShutdownRequested {
				close(begun)
			}
		})
		ended <- err
	}()
	for range 2 {
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-begun
		<-time.After(150 * time.Millisecond) // what comes within 100 ms is the same request
	}
	if code, want := p.awaitExit(t), 128+int(syscall.SIGTERM); code != want {
		t.Errorf("exit code %d, want %d", code, want)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if outcome := outcomeOf(goodbye, "hang"); outcome != fsm.OutcomeHung {
		t.Errorf("hang is reported as %s", outcome)
	}
}

func outcomeOf(goodbye *ui.Goodbye, id fsm.ID) fsm.Outcome {
	for _, c := range goodbye.Report.Components {
		if c.ID == id {
			return c.Outcome
		}
	}
	return fsm.OutcomeWaiting
}

// The process has to be gone 250 ms after the alarm. What a loaded machine adds is
// not ours; but an alarm that is as long again would be.
func TestHungComponentIsNamedAtTheAlarm(t *testing.T) {
	const alarm = 5 * time.Second
	p := nodeProcess(t, "--hang", "--alarm", alarm.String())
	begun := time.Now()
	code, stdout, stderr := command(t, "shutdown", "--ui", p.UI)
	if code != fsm.ExitAlarm {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{"hang          hung", "insisted upon", "hang hung:", "Terminated by Timeout", "streams       acked"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("output lacks %q:\n%s", want, stdout)
		}
	}
	if code := p.awaitExit(t); code != fsm.ExitAlarm {
		t.Errorf("the node exits with %d", code)
	}
	if took := time.Since(begun); took < alarm || took > 2*alarm {
		t.Errorf("the node was gone after %v, with an alarm of %v", took, alarm)
	}
}

func TestEveryUIHearsOfTheEnd(t *testing.T) {
	p := nodeProcess(t)
	type end struct {
		goodbye *ui.Goodbye
		err     error
	}
	watchers := make(chan end, 2)
	for range cap(watchers) {
		c := dial(t, p.UI)
		go func() {
			goodbye, err := c.Watch(t.Context(), func(fsm.Event) {})
			watchers <- end{goodbye, err}
		}()
	}
	told := make(chan string, 64)
	idle, err := client.Dial(t.Context(), p.UI, client.OnBroadcast(func(_ string, payload json.RawMessage) {
		if strings.Contains(string(payload), "Terminated") {
			told <- string(payload)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Close() }()
	asker := dial(t, p.UI)
	statusWhen(t, asker, func(s *ui.Status) bool { return s.UIs == 4 })

	goodbye, err := asker.Shutdown(t.Context(), "a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if code := goodbye.Report.ExitCode(); code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
	for range cap(watchers) {
		if e := <-watchers; e.err != nil || e.goodbye.Report.Edge.On != fsm.AllAcked {
			t.Errorf("watcher: %+v", e)
		}
	}
	if code := p.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the node exits with %d", code)
	}
	<-told
	if len(told) > 0 {
		t.Errorf("the UI that did not ask was told again: %s", <-told)
	}
}

// A neighbor is stopped, and then killed while its farewell is being written, or
// while the leaver waits for it to close its end. Nobody else notices.
func TestNeighborKilledDuringTheWithdrawal(t *testing.T) {
	for _, during := range []fsm.State{fsm.Withdrawing, fsm.AwaitingAcks} {
		t.Run(during.String(), func(t *testing.T) {
			leaver := nodeProcess(t, "--listen", "127.0.0.1:0", "--alarm", "20s")
			bystander := nodeProcess(t, "--neighbor", *leaver.Descriptor)
			victim := nodeProcess(t, "--neighbor", *leaver.Descriptor)
			asker := dial(t, leaver.UI)
			statusWhen(t, asker, fullNeighbors(2))
			if err := victim.command.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			goodbye, err := asker.Shutdown(t.Context(), "a test", func(e fsm.Event) {
				if e.Kind == fsm.Started && e.State == during {
					_ = victim.command.Process.Kill()
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if goodbye.Report.Edge.On != fsm.AllAcked || len(goodbye.Farewells) != 2 {
				t.Errorf("edge %v, farewells %v\n%s", goodbye.Report.Edge, goodbye.Farewells, goodbye.Report)
			}
			confirmed := 0
			for _, f := range goodbye.Farewells {
				switch {
				case f.Outcome == ui.Confirmed:
					confirmed++
				case f.Outcome != ui.NotConfirmed && f.Outcome != ui.NotReached:
					t.Errorf("farewell to the one that was killed: %+v", f)
				}
			}
			if confirmed != 1 {
				t.Errorf("%d neighbors confirmed, want the one that lives: %v", confirmed, goodbye.Farewells)
			}
			// What a neighbor does is in the farewells, not in the exit code.
			if code := leaver.awaitExit(t); code != cli.ExitOK {
				t.Errorf("the leaver exits with %d\n%s", code, goodbye.Report)
			}
			statusWhen(t, dial(t, bystander.UI), fullNeighbors(0))
		})
	}
}

// A neighbor that has stopped reading does not keep the others from hearing, nor
// the leaver from leaving in time.
func TestStalledNeighbor(t *testing.T) {
	leaver := nodeProcess(t, "--listen", "127.0.0.1:0", "--alarm", "2s")
	bystander := nodeProcess(t, "--neighbor", *leaver.Descriptor)
	stalled := nodeProcess(t, "--neighbor", *leaver.Descriptor)
	asker := dial(t, leaver.UI)
	statusWhen(t, asker, fullNeighbors(2))
	if err := stalled.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goodbye, err := asker.Shutdown(t.Context(), "a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[ui.Told]int{}
	for _, f := range goodbye.Farewells {
		outcomes[f.Outcome]++
	}
	if outcomes[ui.Confirmed] != 1 || outcomes[ui.NotConfirmed] != 1 || goodbye.Report.Edge.On != fsm.AllAcked {
		t.Errorf("farewells %v\n%s", outcomes, goodbye.Report)
	}
	// What this process did was all right, and a supervisor has no reason to start it again.
	if code := leaver.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the leaver exits with %d\n%s", code, goodbye.Report)
	}
	if log, _ := os.ReadFile(leaver.Log); !strings.Contains(string(log), "farewell not confirmed") {
		t.Errorf("the log does not say whom the leaver may not have reached:\n%s", log)
	}
	statusWhen(t, dial(t, bystander.UI), fullNeighbors(0))
}

// Whoever reads the log, and the line that says that the node is up, may go.
func TestLogReaderGone(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := exec.Command(os.Args[0], "run", "--ui", "unix:"+shortPath(t), "--key", filepath.Join(dir, "key"))
	c.Stderr = writer
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	_ = reader.Close()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the node ended with %v", err)
	}
}

// The nodes of `farewell network` end when it is killed, and when it is interrupted;
// then it also tidies up.
func TestNetworkInterrupted(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			temp := t.TempDir()
			c := exec.Command(os.Args[0], "network", "--nodes", "4")
			c.Env = append(os.Environ(), "TMPDIR="+temp)
			stdout, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stdout)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "Asking ") {
			}
			// The nodes write their logs until they end.
			logs, err := filepath.Glob(filepath.Join(temp, "*", "*.log"))
			if err != nil || len(logs) != 4 {
				t.Fatalf("logs %v, %v", logs, err)
			}
			if err := c.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, stdout)
			_ = c.Wait()
			if signal == syscall.SIGINT {
				if left, _ := os.ReadDir(temp); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				return
			}
			for _, log := range logs {
				waitForText(t, log, "exit code 0")
			}
		})
	}
}

func waitForText(t *testing.T, file, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(pollPause) {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not say %q: %v\n%s", file, want, err, text)
		}
	}
}

// shortPath is where a Unix socket can be: its path has to be short.
func shortPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "farewell-ui-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "ui")
}

func TestParentGone(t *testing.T) {
	p := nodeProcess(t)
	if err := p.stop(patience); err != nil {
		t.Fatal(err)
	}
	if p.code != cli.ExitOK {
		t.Errorf("exit code %d", p.code)
	}
}

func TestUnreachableNeighborDoesNotHinder(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	other := nodeProcess(t, "--listen", "127.0.0.1:0")
	key, _, _ := strings.Cut(strings.TrimPrefix(*other.Descriptor, "farewell://"), "@")
	p := nodeProcess(t, "--neighbor", fmt.Sprintf("farewell://%s@%s", key, free.Addr()))
	statusWhen(t, dial(t, p.UI), func(s *ui.Status) bool { return s.Node.Counters["dials failed"] > 0 })
	if code, _, stderr := command(t, "shutdown", "--ui", p.UI); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestBadInput(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	dir := t.TempDir()
	open, damaged := filepath.Join(dir, "open.key"), filepath.Join(dir, "damaged.key")
	for path, mode := range map[string]os.FileMode{open: 0o644, damaged: 0o600} {
		if err := os.WriteFile(path, []byte("no key"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(dir, "node.key")
	up := []string{"run", "--ui", "127.0.0.1:0", "--key", key}
	cases := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"bogus"}, cli.ExitUsage, "bogus"},
		{[]string{"run", "--bogus"}, cli.ExitUsage, "--bogus"},
		{[]string{"run", "bogus"}, cli.ExitUsage, "bogus"},
		{append(up, "--neighbor", "farewell://x@127.0.0.1:1"), cli.ExitUsage, "farewell://x@127.0.0.1:1"},
		{append(up, "--neighbor", "http://127.0.0.1:1"), cli.ExitUsage, "http://127.0.0.1:1"},
		{append(up, "--alarm", "1s", "--insist-after", "1s"), cli.ExitUsage, "not below --alarm"},
		{append(up, "--alarm", "-1s"), cli.ExitUsage, "positive"},
		{append(up, "--alarm", "soon"), cli.ExitUsage, "soon"},
		{append(up, "--listen", "0.0.0.0:0"), cli.ExitUsage, "advertise"},
		{append(up, "--advertise", "127.0.0.1:1"), cli.ExitUsage, "listen"},
		{append(up, "--ui-host", "ui.example"), cli.ExitUsage, "token"},
		{append(up, "--ui-host", "*", "--ui-token-file", filepath.Join(dir, "none")), cli.ExitUsage, `"*"`},
		{append(up, "--log-level", "loud"), cli.ExitUsage, "loud"},
		{append(up, "--log-format", "xml"), cli.ExitUsage, "xml"},
		{[]string{"diagram", "--format", "png"}, cli.ExitUsage, "png"},
		{[]string{"network", "--nodes", "1"}, cli.ExitUsage, "--nodes"},
		{[]string{"run", "--key", key, "--ui", busy.Addr().String()}, cli.ExitFailed, "address already in use"},
		{append(up, "--listen", busy.Addr().String()), cli.ExitFailed, "address already in use"},
		{[]string{"run", "--key", key, "--ui", "0.0.0.0:0"}, cli.ExitFailed, "loopback"},
		{[]string{"run", "--ui", "127.0.0.1:0", "--key", open}, cli.ExitFailed, "accessible to others"},
		{[]string{"run", "--ui", "127.0.0.1:0", "--key", damaged}, cli.ExitFailed, "damaged"},
		{[]string{"run", "--ui", "127.0.0.1:0", "--key", filepath.Join(dir, "no", "key")}, cli.ExitFailed, "no such file"},
		{[]string{"status", "--ui", "abc"}, cli.ExitUsage, "--ui"},
		{[]string{"status", "--ui", "99999"}, cli.ExitUsage, "--ui"},
		{[]string{"status", "--ui", ""}, cli.ExitUsage, "--ui"},
		{[]string{"status", "--ui", "127.0.0.1:1"}, cli.ExitFailed, "no node has its UI at"},
		{[]string{"watch", "--ui", "127.0.0.1:1"}, cli.ExitFailed, "no node has its UI at"},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, c.args...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, want %d with %q; got\n%s", code, c.code, c.want, stderr)
			}
			if stdout != "" {
				t.Errorf("printed %q on stdout", stdout)
			}
		})
	}
}

func TestDiagram(t *testing.T) {
	for format, want := range map[string]string{"mermaid": fsm.Transitions().Mermaid(), "dot": fsm.Transitions().DOT()} {
		code, stdout, stderr := command(t, "diagram", "--format", format)
		if code != cli.ExitOK || stdout != want {
			t.Errorf("%s: exit code %d\n%s%s", format, code, stdout, stderr)
		}
	}
}
