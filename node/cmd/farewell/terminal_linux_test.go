package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/farewell-node/farewell/fsm"
)

// onTerminal runs one command line with a terminal as its stdout, and returns what it
// printed there.
func onTerminal(t *testing.T, args ...string) (code int, printed string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Stdout, c.Stderr = slave, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	text, _ := io.ReadAll(master) // ends with EIO when the other end is closed
	_ = c.Wait()
	return c.ProcessState.ExitCode(), strings.ReplaceAll(string(text), "\r\n", "\n")
}

func tooWide(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := widthOf(line); n > columns && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("%s: %d columns: %s", what, n, line)
		}
	}
}

// What people read fits a terminal, and what does not is whole elsewhere, or when
// asked for. What programs read is not touched.
func TestTerminal(t *testing.T) {
	a := nodeProcess(t, "--listen", "127.0.0.1:0", "--hang", "--alarm", "5s")
	b := nodeProcess(t, "--listen", "127.0.0.1:0", "--neighbor", *a.Descriptor)
	statusWhen(t, dial(t, b.UI), fullNeighbors(1))

	_, status := onTerminal(t, "status", "--ui", a.UI)
	tooWide(t, "status", status)
	if !strings.Contains(status, *a.Descriptor) {
		t.Errorf("a descriptor that cannot be copied:\n%s", status)
	}
	whole := strings.SplitN(strings.TrimPrefix(*b.Descriptor, "farewell://"), "@", 2)[0]
	if strings.Contains(status, whole) || !strings.Contains(status, whole[:shortKey]+"…") {
		t.Errorf("the neighbor's key is not short:\n%s", status)
	}
	if _, wide := onTerminal(t, "status", "--wide", "--ui", a.UI); !strings.Contains(wide, whole) {
		t.Errorf("--wide does not show whole keys:\n%s", wide)
	}
	if _, json := onTerminal(t, "status", "--json", "--ui", a.UI); !strings.Contains(json, whole) {
		t.Errorf("JSON has been changed:\n%s", json)
	}
	code, shutdown := onTerminal(t, "shutdown", "--ui", a.UI, "--reason", strings.Repeat("why ", 1000))
	tooWide(t, "shutdown", shutdown)
	if code != fsm.ExitAlarm || !strings.Contains(shutdown, "waits for hang") {
		t.Errorf("exit code %d:\n%s", code, shutdown)
	}
	if strings.Count(shutdown, "why") < 1000 {
		t.Error("the reason is not whole")
	}
}

func TestNetworkOnATerminal(t *testing.T) {
	code, shown := onTerminal(t, "network", "--nodes", "4")
	if tooWide(t, "network", shown); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, shown)
	}
}

func TestHelpFitsATerminal(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		_, help, _ := command(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		tooWide(t, c.CommandPath()+" --help", help)
		for _, below := range c.Commands() {
			visit(below)
		}
	}
	visit(newRoot())
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
		if code := c.ProcessState.ExitCode(); code != exitFailed || !strings.Contains(said.String(), "no space left") {
			t.Errorf("%s: exit code %d: %s", line, code, said.String())
		}
	}
}
