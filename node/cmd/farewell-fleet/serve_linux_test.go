package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

func TestStateFolder(t *testing.T) {
	for _, test := range []struct{ state, home, want string }{
		{"", "/home/ana", "/home/ana/.local/state/farewell/nats"},
		{"/var/lib/x", "/home/ana", "/var/lib/x/farewell/nats"},
		{"relative", "/home/ana", ""},
		{"", "", ""},
	} {
		t.Setenv("XDG_STATE_HOME", test.state)
		t.Setenv("HOME", test.home)
		if got, err := stateFolder(); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

// Whoever reads its stdout is gone: then it is not up for anybody.
func TestServeWithoutStdout(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	c := exec.CommandContext(t.Context(), os.Args[0], "serve", "--listen", "127.0.0.1:0", "--store", t.TempDir())
	c.Stdout = full
	var stderr clitest.Buffer
	c.Stderr = &stderr
	_ = c.Run()
	if code := c.ProcessState.ExitCode(); code != fsm.ExitFailure || !strings.Contains(stderr.String(), "stdout is gone") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
