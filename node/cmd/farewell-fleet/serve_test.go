package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

// up is a command that runs until it is told to end, as a process that is up.
type up struct {
	*exec.Cmd
	stderr *clitest.Buffer
}

// startUp starts one and reads the line that says so.
func startUp(t *testing.T, line any, args ...string) *up {
	t.Helper()
	u := &up{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...), stderr: new(clitest.Buffer)}
	u.Stderr = u.stderr
	out, err := u.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		_ = u.Wait()
		t.Fatalf("it does not come up: %s", u.stderr)
	}
	if err := json.Unmarshal(text, line); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *up) ends(t *testing.T, signal syscall.Signal, want int) {
	t.Helper()
	if err := u.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	_ = u.Wait()
	if code := u.ProcessState.ExitCode(); code != want {
		t.Errorf("exit code %d, want %d: %s", code, want, u.stderr)
	}
}

// served is `farewell fleet serve`.
type served struct {
	upLine
	*up
}

func serve(t *testing.T, args ...string) (s served) {
	t.Helper()
	s.up = startUp(t, &s.upLine, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	return s
}

func TestServe(t *testing.T) {
	store := filepath.Join(t.TempDir(), "deep", "store")
	for _, life := range []struct {
		signal syscall.Signal
		expect string // who was there in the life before is still listed until its entry expires
	}{
		{syscall.SIGTERM, "Nobody is there.\n"},
		{syscall.SIGINT, ""},
	} {
		s := serve(t, "--store", store, "--ttl", "1h", "--keep", "2h")
		if s.Store != store {
			t.Errorf("it keeps its data in %s", s.Store)
		}
		code, _, stderr := command(t, "ls", "--nats", s.NATS)
		if code != cli.ExitOK || stderr != life.expect {
			t.Errorf("exit code %d: %s", code, stderr)
		}
		nc, err := nats.Connect(s.NATS)
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		bucket, err := js.KeyValue(t.Context(), remote.PresentBucket)
		if err != nil {
			t.Fatal(err)
		}
		status, err := bucket.Status(t.Context())
		if err != nil || status.TTL().Hours() != 1 {
			t.Errorf("TTL %v, %v", status.TTL(), err)
		}
		entry := `{"group":"edge","name":"edge-1","incarnation":"aaaaaaaaaaaaaaaaaaaaaa","since":"2026-11-25T09:00:00Z"}`
		if _, err := bucket.PutString(t.Context(), "edge.edge-1", entry); err != nil {
			t.Fatal(err)
		}
		// With a client that is still connected.
		s.ends(t, life.signal, fsm.ExitOK)
		nc.Close()
		if !strings.Contains(s.stderr.String(), "exit code 0") || strings.Contains(s.stderr.String(), "WARN") {
			t.Errorf("%s", s.stderr)
		}
	}
}

func TestServeWhereItCannot(t *testing.T) {
	first := serve(t, "--store", t.TempDir())
	busy := strings.TrimPrefix(first.NATS, "nats://")
	for _, test := range []struct{ line, want string }{
		{"--listen 127.0.0.1:0 --store " + first.Store, "another server keeps its data there"},
		{"--listen " + busy + " --store " + t.TempDir(), "address already in use"},
		{"--listen 127.0.0.1:0 --store /dev/null/x", "not a directory"},
		{"--config no.conf", "no.conf"},
		{"--config serve_test.go", "serve_test.go"},
		{"--listen 127.0.0.1:0 --creds no.creds", "no.creds"},
	} {
		c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"serve"}, strings.Fields(test.line)...)...)
		out, err := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != cli.ExitFailed || !strings.Contains(string(out), test.want) || !strings.Contains(string(out), "farewell fleet: ") {
			t.Errorf("%s: exit code %d, %v: %s", test.line, code, err, out)
		}
	}
	first.ends(t, syscall.SIGTERM, fsm.ExitOK)
}

// Beyond loopback it asks who there is; the registry is made as who may.
func TestServeBeyondLoopback(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open.conf")
	websocket := filepath.Join(t.TempDir(), "websocket.conf")
	for file, text := range map[string]string{open: "max_payload: 1MB", websocket: `websocket { listen: "0.0.0.0:-1", no_tls: true }`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{"--listen 0.0.0.0:0 --config " + open, "--listen 127.0.0.1:0 --config " + websocket} {
		code, _, stderr := command(t, append([]string{"serve", "--store", t.TempDir()}, strings.Fields(line)...)...)
		if code != cli.ExitUsage || !strings.Contains(stderr, "is not loopback") {
			t.Errorf("%s: exit code %d: %s", line, code, stderr)
		}
	}

	c := serve(t, "--listen", "0.0.0.0:0", "--config", accounts, "--store", t.TempDir())
	says(t, c.stderr, "the registry is left to the first process that joins")
	if code, _, stderr := command(t, "ls", "--nats", c.NATS); code != cli.ExitFailed || !strings.Contains(stderr, "does not let this command in") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	c.ends(t, syscall.SIGTERM, fsm.ExitOK)

	asked := exec.CommandContext(t.Context(), os.Args[0], "serve", "--listen", "127.0.0.1:0", "--config", accounts, "--store", t.TempDir(), "--ttl", "1m")
	if out, _ := asked.CombinedOutput(); asked.ProcessState.ExitCode() != cli.ExitFailed || !strings.Contains(string(out), "--ttl and --keep need somebody") {
		t.Errorf("exit code %d: %s", asked.ProcessState.ExitCode(), out)
	}

	for user, want := range map[string]string{"setup": "--inbox-prefix says where answers may come to", "operator": "who is given may not"} {
		t.Setenv(userVariable, user)
		t.Setenv(passwordVariable, user)
		as := exec.CommandContext(t.Context(), os.Args[0], "serve", "--listen", "127.0.0.1:0", "--config", accounts, "--store", t.TempDir())
		if out, _ := as.CombinedOutput(); as.ProcessState.ExitCode() != cli.ExitFailed || !strings.Contains(string(out), want) {
			t.Errorf("%s: exit code %d: %s", user, as.ProcessState.ExitCode(), out)
		}
	}
	t.Setenv(userVariable, "setup")
	t.Setenv(passwordVariable, "setup")
	c = serve(t, "--config", accounts, "--store", t.TempDir(), "--ttl", "1m", "--inbox-prefix", "_INBOX.setup")
	t.Setenv(userVariable, "operator")
	t.Setenv(passwordVariable, "operator")
	if code, _, stderr := command(t, "ls", "--nats", c.NATS, "--inbox-prefix", "_INBOX.operator"); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	c.ends(t, syscall.SIGTERM, fsm.ExitOK)
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.1.2.3": true, "::1": true, "localhost": true,
		"": false, "0.0.0.0": false, "::": false, "192.0.2.1": false, "example.com": false, "localhost.example.com": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
