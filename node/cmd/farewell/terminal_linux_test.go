package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

// onTerminal runs one command line with a terminal as its stdout, and returns what it
// printed there.
func onTerminal(t *testing.T, args ...string) (code int, printed string) {
	t.Helper()
	terminal := clitest.Terminal(t)
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Stdout, c.Stderr = terminal.Slave, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	text := terminal.ReadAll()
	_ = c.Wait()
	return c.ProcessState.ExitCode(), text
}

// What people read fits a terminal, and what does not is whole elsewhere, or when
// asked for. What programs read is not touched.
func TestTerminal(t *testing.T) {
	a := nodeProcess(t, "--listen", "127.0.0.1:0", "--hang", "--alarm", "5s")
	b := nodeProcess(t, "--listen", "127.0.0.1:0", "--neighbor", *a.Descriptor)
	statusWhen(t, dial(t, b.UI), fullNeighbors(1))

	_, status := onTerminal(t, "status", "--ui", a.UI)
	clitest.TooWide(t, "status", status)
	if !strings.Contains(status, *a.Descriptor) {
		t.Errorf("a descriptor that cannot be copied:\n%s", status)
	}
	whole := strings.SplitN(strings.TrimPrefix(*b.Descriptor, "farewell://"), "@", 2)[0]
	if strings.Contains(status, whole) || !strings.Contains(status, whole[:cli.ShortKey]+"…") {
		t.Errorf("the neighbor's key is not short:\n%s", status)
	}
	if _, wide := onTerminal(t, "status", "--wide", "--ui", a.UI); !strings.Contains(wide, whole) {
		t.Errorf("--wide does not show whole keys:\n%s", wide)
	}
	if _, json := onTerminal(t, "status", "--json", "--ui", a.UI); !strings.Contains(json, whole) {
		t.Errorf("JSON has been changed:\n%s", json)
	}
	code, shutdown := onTerminal(t, "shutdown", "--ui", a.UI, "--reason", strings.Repeat("why ", 1000))
	clitest.TooWide(t, "shutdown", shutdown)
	if code != fsm.ExitAlarm || !strings.Contains(shutdown, "waits for hang") {
		t.Errorf("exit code %d:\n%s", code, shutdown)
	}
	if strings.Count(shutdown, "why") < 1000 {
		t.Error("the reason is not whole")
	}
}

func TestNetworkOnATerminal(t *testing.T) {
	code, shown := onTerminal(t, "network", "--nodes", "4")
	if clitest.TooWide(t, "network", shown); code != cli.ExitOK {
		t.Errorf("exit code %d:\n%s", code, shown)
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	for _, line := range clitest.Commands(newRoot()) {
		_, help, _ := command(t, append(line, "--help")...)
		clitest.TooWide(t, strings.Join(line, " ")+" --help", help)
	}
}

// Whoever could not say what it had to say has failed.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	p := nodeProcess(t)
	for _, line := range []string{
		"help", "--help", "run --help", "--version", "diagram", "diagram --format dot", "completion bash", "simulate --nodes 5",
		"status --ui " + p.UI, "status --json --ui " + p.UI, "status --open-url --ui " + p.UI, "shutdown --ui " + p.UI,
	} {
		c := exec.CommandContext(t.Context(), os.Args[0], strings.Fields(line)...)
		c.Stdout = full
		var said strings.Builder
		c.Stderr = &said
		_ = c.Run()
		if code := c.ProcessState.ExitCode(); code != cli.ExitFailed || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%s: exit code %d: %s", line, code, said.String())
		}
	}
}
