//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// What is typed as farewell fleet is this program, beside the real farewell.
func TestUnderFarewell(t *testing.T) {
	dir := t.TempDir()
	farewell := filepath.Join(dir, "farewell")
	if out, err := exec.CommandContext(t.Context(), "go", "-C", "../farewell", "build", "-o", farewell, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "farewell-fleet"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	s := startNATS(t)
	letGo := make(chan struct{})
	defer close(letGo)
	o, _ := s.join("edge", "edge-1", hanging(letGo))
	t.Setenv("FAREWELL_NATS", s.url())
	run := func(want int, line string) string {
		t.Helper()
		c := exec.CommandContext(t.Context(), farewell, strings.Split(line, " ")...)
		out, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != want {
			t.Errorf("%s: exit code %d: %s", line, code, out)
		}
		return string(out)
	}
	for line, want := range map[string]string{
		"fleet ls":                   "edge-1",
		"fleet --help":               "farewell fleet [command]",
		"help fleet":                 "farewell fleet [command]",
		"fleet status --help":        "farewell fleet status GROUP",
		"__complete fleet s":         "serve\tRun a NATS server",
		"__complete fleet status ":   "edge/edge-1\n",
		"__completeNoDesc fleet s":   "serve\nshutdown\nstatus\n:4\n",
		"__complete fleet ls --json": "--json\tprint everything",
	} {
		if out := run(cli.ExitOK, line); !strings.Contains(out, want) {
			t.Errorf("%s: %s", line, out)
		}
	}
	o.Request(fsm.Command{Reason: "the night", By: "ana"})
	run(cli.ExitLeaving, "fleet status edge/edge-1")
	run(cli.ExitUsage, "fleet status edge --bogus")
}
