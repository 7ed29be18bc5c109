package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

// On a terminal watch is a table, which stays when Ctrl-C ends it.
func TestWatchOnATerminal(t *testing.T) {
	s := startNATS(t)
	s.join("edge", "edge-1")
	edge, member := s.join("edge", "edge-2")
	terminal := clitest.Terminal(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "watch", "edge", "--nats", s.url())
	var stderr clitest.Buffer
	c.Stdout, c.Stderr = terminal.Slave, &stderr
	c.Env = append(os.Environ(), "TERM=xterm")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	shown, closed := shownOn(terminal)
	says(t, shown, "Group edge: ", "2 running", "edge/edge-1", "Running")
	leave(t, edge, member, "the night")
	says(t, shown, "Left")
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-closed
	if err := c.Wait(); err != nil || stderr.String() != "" {
		t.Errorf("%v: %s", err, &stderr)
	}
	text := shown.String()
	if hidden, back := strings.LastIndex(text, "\x1b[?25l"), strings.LastIndex(text, "\x1b[?25h"); hidden > back {
		t.Errorf("the cursor is not back: %q", text)
	}
	if strings.Contains(text, ansi.SetModeAltScreenSaveCursor) {
		t.Errorf("the last frame does not stay: %q", text)
	}
}

// Lines, where asked for, fit a terminal; and whoever cannot say what there is to say has failed.
func TestLinesOnATerminal(t *testing.T) {
	s := startNATS(t)
	s.join("edge", strings.Repeat("long-name.", 8)+"1")
	for _, line := range []string{"ls", "status edge", "watch --lines"} {
		terminal := clitest.Terminal(t)
		c := exec.CommandContext(t.Context(), os.Args[0], append(strings.Fields(line), "--nats", s.url())...)
		var stderr clitest.Buffer
		c.Stdout, c.Stderr = terminal.Slave, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "watch") {
			says(t, &stderr, following)
			_ = c.Process.Signal(syscall.SIGTERM)
		}
		text := terminal.ReadAll()
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v: %s", line, err, &stderr)
		}
		clitest.TooWide(t, line, text)
		if !strings.Contains(text, "long-name.1") || strings.Contains(text, "INCARNATION") {
			t.Errorf("%s: %s", line, text)
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	for _, line := range []string{"--help", "--version", "ls", "ls --json", "status edge", "watch", "watch --json"} {
		c := exec.CommandContext(t.Context(), os.Args[0], append(strings.Fields(line), "--nats", s.url())...)
		c.Stdout = full
		var stderr clitest.Buffer
		c.Stderr = &stderr
		_ = c.Run()
		if code := c.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%s: exit code %d: %s", line, code, &stderr)
		}
	}
}

// shownOn returns what is printed on a terminal from now on, and is closed when everybody
// has closed it. The process has to be started already.
func shownOn(terminal *clitest.PseudoTerminal) (shown *clitest.Buffer, closed <-chan struct{}) {
	_ = terminal.Slave.Close()
	shown = new(clitest.Buffer)
	end := make(chan struct{})
	go func() {
		defer close(end)
		for bytes := make([]byte, 4096); ; {
			n, err := terminal.Read(bytes)
			if _, _ = shown.Write(bytes[:n]); err != nil {
				return
			}
		}
	}()
	return shown, end
}

// On a terminal it is a table that changes, and the report is below it in the end.
func TestShutdownOnATerminal(t *testing.T) {
	s := startNATS(t)
	letGo := make(chan struct{})
	for i := range 40 {
		s.join("api", fmt.Sprint("api-", i+1))
	}
	s.join("api", "api-41", hanging(letGo))
	terminal := clitest.Terminal(t)
	c := exec.CommandContext(t.Context(), os.Args[0], "shutdown", "api", "--at-once", "2", "--nats", s.url())
	var stderr clitest.Buffer
	c.Stdout, c.Stderr = terminal.Slave, &stderr
	c.Env = append(os.Environ(), "TERM=xterm")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	shown, closed := shownOn(terminal)
	says(t, shown, "Group api: 41, 2 at once", "api-41", "asked") // what comes later are the differences
	close(letGo)
	<-closed
	if err := c.Wait(); err != nil || stderr.String() != "" {
		t.Errorf("%v: %s", err, &stderr)
	}
	if err := inOrder(shown.String(), "Group api: 41 instances, 2 at once", "41 left after", "exit code 0"); err != nil {
		t.Error(err)
	}
}
