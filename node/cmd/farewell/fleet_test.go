//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// fleetStandIn says how it was called, and does as its first argument wants.
const fleetStandIn = `#!/bin/sh
case "$1" in
__complete) printf 'serve\ta server\nstatus\tof them\n:4\n'; exit ;;
exit) exit "$2" ;;
wait) echo waits; exec sleep 600 ;;
esac
echo "$0 [$*] $FAREWELL_NATS"
`

func standIn(t *testing.T, folder, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, fleetProgram), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// inPath makes a stand-in the only farewell-fleet that there is.
func inPath(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	standIn(t, folder, fleetStandIn)
	t.Setenv("PATH", folder+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func TestFleetIsNowhere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, line := range []string{"fleet", "fleet ls", "fleet --help"} {
		code, stdout, stderr := command(t, strings.Fields(line)...)
		if code != cli.ExitFailed || stdout != "" || !strings.Contains(stderr, "neither beside this program nor in the PATH") ||
			!strings.Contains(stderr, "go install github.com/farewell-node/farewell/node/cmd/farewell-fleet@latest") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
	if code, stdout, _ := command(t, "help", "fleet"); code != cli.ExitOK || !strings.Contains(stdout, "go install") {
		t.Errorf("help: exit code %d: %s", code, stdout)
	}
	if code, stdout, _ := command(t, "__complete", "fleet", "s"); code != cli.ExitOK || !strings.HasPrefix(stdout, ":4\n") {
		t.Errorf("completion: exit code %d: %s", code, stdout)
	}
}

func TestFleetGetsTheCommandLine(t *testing.T) {
	inPath(t)
	t.Setenv("FAREWELL_NATS", "nats://nowhere")
	for line, want := range map[string]string{
		"fleet":                          "[] nats://nowhere",
		"fleet --help":                   "[--help] nats://nowhere",
		"help fleet":                     "[--help] nats://nowhere",
		"fleet ls --json edge":           "[ls --json edge] nats://nowhere",
		"fleet --wide ls --nats=a -- -b": "[--wide ls --nats=a -- -b] nats://nowhere",
	} {
		code, stdout, stderr := command(t, strings.Fields(line)...)
		if code != cli.ExitOK || !strings.HasSuffix(stdout, want+"\n") {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
	if code, _, _ := command(t, "fleet", "exit", "5"); code != 5 {
		t.Errorf("exit code %d", code)
	}
	if _, stdout, _ := command(t, "__complete", "fleet", "--wide", "s"); stdout != "serve\ta server\nstatus\tof them\n:4\n" {
		t.Errorf("completed as %q", stdout)
	}
	if _, stdout, _ := command(t, "__completeNoDesc", "fleet", "s"); stdout != "serve\nstatus\n:4\n" {
		t.Errorf("completed as %q", stdout)
	}
}

// A program beside this one is meant, whatever the PATH has.
func TestFleetBeside(t *testing.T) {
	inPath(t)
	folder := t.TempDir()
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "farewell")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	standIn(t, folder, "#!/bin/sh\necho beside\n")
	if out, err := exec.CommandContext(t.Context(), program, "fleet").CombinedOutput(); string(out) != "beside\n" || err != nil {
		t.Errorf("%s, %v", out, err)
	}
}

// It is the same process: whoever started it can signal it, and learns how it ended.
func TestFleetIsTheProcess(t *testing.T) {
	inPath(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "fleet", "wait")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, len("waits"))); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if status := c.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended as %v", c.ProcessState)
	}
}

func TestParseCompletions(t *testing.T) {
	for _, broken := range []string{"", "serve\n", "serve\n:x\n", "\n"} {
		if all, _ := parseCompletions([]byte(broken)); len(all) > 0 {
			t.Errorf("%q: %q", broken, all)
		}
	}
}
