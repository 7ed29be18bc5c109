package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

func TestVersion(t *testing.T) {
	code, stdout, stderr := command(t, "--version")
	if want := "farewell version " + node.Version() + "\n"; code != cli.ExitOK || stdout != want {
		t.Errorf("exit code %d, %q, want %q; %s", code, stdout, want, stderr)
	}
	p := nodeProcess(t)
	if s := statusOf(t, p.UI); s.Version != node.Version() {
		t.Errorf("the node says it is %q", s.Version)
	}
}

func statusOf(t *testing.T, address string) *ui.Status {
	t.Helper()
	_, stdout, stderr := command(t, "status", "--json", "--ui", address)
	var s ui.Status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err, stderr)
	}
	return &s
}

// A probe can use the exit code of status.
func TestStatusExitCodes(t *testing.T) {
	if code, _, _ := command(t, "status", "--ui", "127.0.0.1:1"); code != cli.ExitFailed {
		t.Errorf("nobody there: exit code %d", code)
	}
	p := nodeProcess(t, "--hang", "--alarm", "10m")
	if code, stdout, stderr := command(t, "status", "--ui", p.UI); code != cli.ExitOK {
		t.Errorf("running: exit code %d\n%s%s", code, stdout, stderr)
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	statusWhen(t, dial(t, p.UI), func(s *ui.Status) bool { return s.Report.State == fsm.AwaitingAcks })
	code, stdout, stderr := command(t, "status", "--ui", p.UI)
	if code != cli.ExitLeaving || !strings.Contains(stdout, "waits for hang") || !strings.Contains(stdout, "alarm in") {
		t.Errorf("leaving: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := command(t, "status", "--json", "--ui", p.UI); code != cli.ExitLeaving || !json.Valid([]byte(stdout)) {
		t.Errorf("leaving, as JSON: exit code %d\n%s%s", code, stdout, stderr)
	}
	if code, _, _ := command(t, "status", "--wait", "300ms", "--ui", p.UI); code != cli.ExitLeaving {
		t.Errorf("leaving, though waited for: exit code %d", code)
	}
}

// Whoever waits for a node sees it come, also while the one before it is still there.
func TestStatusWaits(t *testing.T) {
	for _, limit := range []string{"0s", "200ms"} {
		if code, _, _ := command(t, "status", "--ui", "127.0.0.1:1", "--wait", limit); code != cli.ExitFailed {
			t.Errorf("nobody comes within %s: exit code %d", limit, code)
		}
	}
	socket := shortPath(t)
	waiting := exec.CommandContext(t.Context(), os.Args[0], "status", "--wait", patience.String(), "--ui", "unix:"+socket)
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	nodeProcess(t, "--ui", "unix:"+socket)
	if err := waiting.Wait(); err != nil {
		t.Error("the node has come:", err)
	}
}

func TestStatusStopsWaiting(t *testing.T) {
	slow, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	waiting := exec.CommandContext(t.Context(), os.Args[0], "status", "--wait", "1h", "--ui", slow.Addr().String())
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := slow.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := waiting.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = waiting.Wait()
	if code := waiting.ProcessState.ExitCode(); code != cli.ExitFailed {
		t.Errorf("exit code %d", code)
	}
}

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	socket := shortPath(t)
	for name, value := range map[string]string{
		"UI": "unix:" + socket, "KEY": filepath.Join(dir, "key"), "ALARM": "7s", "LOG_FORMAT": "json", "ADVERTISE": "",
		"SERVICE_HOST": "10.0.0.1", "PORT": "tcp://10.0.0.1:80", // as Kubernetes sets them
	} {
		t.Setenv(cli.EnvironmentName("")+name, value)
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "run", "--insist-after", "3s")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "status", "--json", "--wait", patience.String())
	var s ui.Status
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || code != cli.ExitOK {
		t.Fatal(code, err, stderr)
	}
	if s.Alarm != ui.Millis(7*time.Second) || s.InsistAfter != ui.Millis(3*time.Second) {
		t.Errorf("alarm %v, insist after %v", s.Alarm, s.InsistAfter)
	}
	if code, _, _ := command(t, "status", "--ui", "127.0.0.1:1"); code != cli.ExitFailed {
		t.Errorf("the environment has overruled a flag: exit code %d", code)
	}
	if code, _, stderr := command(t, "shutdown"); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// What is wrong in the environment is named as it is called there.
func TestBadEnvironment(t *testing.T) {
	for _, test := range []struct{ name, value, command, want string }{
		{"FAREWELL_ALARM", "soon", "run", `FAREWELL_ALARM: "soon"`},
		{"FAREWELL_ALARM", "30", "run", `FAREWELL_ALARM: "30"`},
		{"FAREWELL_ALARM", "-1s", "run", "FAREWELL_ALARM -1s"},
		{"FAREWELL_INSIST_AFTER", "1h", "run", "FAREWELL_INSIST_AFTER 1h0m0s is not below --alarm"},
		{"FAREWELL_NEIGHBOR", "farewell://x@127.0.0.1:1", "run", "FAREWELL_NEIGHBOR: "},
		{"FAREWELL_LOG_LEVEL", "loud", "run", "FAREWELL_LOG_LEVEL: "},
		{"FAREWELL_LISTEN", "0.0.0.0:1", "run", "Set in the environment: FAREWELL_LISTEN."},
		{"FAREWELL_UI", "99999", "status", "FAREWELL_UI: "},
		{"FAREWELL_WAIT", "long", "status", "FAREWELL_WAIT: "},
		{"FAREWELL_JSON", "perhaps", "status", "FAREWELL_JSON: "},
		{"FAREWELL_REASON", strings.Repeat("r", 5000), "shutdown", "FAREWELL_REASON: 5000 bytes"},
		{"FAREWELL_NODES", "many", "network", "FAREWELL_NODES: "},
		{"FAREWELL_FORMAT", "png", "diagram", "FAREWELL_FORMAT: "},
		{"FAREWELL_WIDE", "2", "diagram", "FAREWELL_WIDE: "},
	} {
		t.Run(test.name+"="+test.value[:min(20, len(test.value))], func(t *testing.T) {
			t.Setenv(test.name, test.value)
			code, stdout, stderr := command(t, test.command)
			if code != cli.ExitUsage || !strings.Contains(stderr, test.want) || stdout != "" {
				t.Errorf("exit code %d, %q, want %q in\n%s", code, stdout, test.want, stderr)
			}
		})
	}
}

// The nodes of `farewell network` are told all by their flags.
func TestNetworkIgnoresTheEnvironmentOfANode(t *testing.T) {
	t.Setenv("FAREWELL_ADVERTISE", "192.0.2.1:1")
	t.Setenv("FAREWELL_ALARM", "1ms")
	if code, stdout, stderr := command(t, "network", "--nodes", "4"); code != cli.ExitOK {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestReasonTooLong(t *testing.T) {
	p := nodeProcess(t)
	for _, bytes := range []int{maxReason + 1, 66_000, 120_000} {
		code, _, stderr := command(t, "shutdown", "--ui", p.UI, "--reason", strings.Repeat("r", bytes))
		if code != cli.ExitUsage || !strings.Contains(stderr, "--reason: ") || !strings.Contains(stderr, "too long") {
			t.Errorf("%d bytes: exit code %d: %s", bytes, code, stderr)
		}
	}
	if code, _, stderr := command(t, "shutdown", "--ui", p.UI, "--reason", strings.Repeat("r", maxReason)); code != cli.ExitOK {
		t.Errorf("%d bytes: exit code %d: %s", maxReason, code, stderr)
	}
}

// Whoever starts a second node where one has its UI learns which one that is.
func TestSecondStart(t *testing.T) {
	dir := t.TempDir()
	second := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := command(t, append([]string{"run", "--key", filepath.Join(dir, "key")}, args...)...)
		if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "somebody listens there already") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
		return stderr
	}
	says := func(text string, all ...string) {
		t.Helper()
		for _, want := range all {
			if !strings.Contains(text, want) {
				t.Errorf("does not say %q: %s", want, text)
			}
		}
	}
	p := nodeProcess(t)
	key := statusOf(t, p.UI).Node.Key
	says(second("--ui", p.UI), "Node "+key, "Running", "status --ui "+p.UI)
	says(second("--ui", "localhost:"+p.UI[strings.LastIndex(p.UI, ":")+1:]), "Node "+key)

	socket := nodeProcess(t, "--ui", "unix:"+shortPath(t))
	says(second("--ui", socket.UI), "Running", "status --ui "+socket.UI)

	guarded := nodeProcess(t, "--ui-token-file", filepath.Join(dir, "token"))
	says(second("--ui", guarded.UI), "wants its token")
	says(second("--ui", guarded.UI, "--ui-token-file", filepath.Join(dir, "token")), "Running", "--ui-token-file "+filepath.Join(dir, "token"))

	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	says(second("--ui", stranger.Addr().String()), "no node, or does not answer")
}
