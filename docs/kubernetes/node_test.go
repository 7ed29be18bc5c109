package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	core "k8s.io/api/core/v1"
)

// The probes of a node are its command: its exit code says how it is.
func TestNodeProbes(t *testing.T) {
	_, container := workload(t, "node.yaml", "farewell")
	command := build(t, "../..", "./node/cmd/farewell")
	dir := t.TempDir()
	here := func(words []string) []string { // the same, in folders of this test
		all := make([]string, len(words))
		for i, word := range words {
			all[i] = strings.NewReplacer("/state/", dir+"/", "/run/farewell/", dir+"/", "$(POD_IP):4000", "127.0.0.1:0",
				"$(FAREWELL_ALARM)", "50s", "/farewell", command).Replace(word)
		}
		return all
	}
	probe := func(p *core.Probe) int {
		words := here(p.Exec.Command)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, words[0], words[1:]...)
		c.Env = []string{}
		_ = c.Run()
		return c.ProcessState.ExitCode()
	}
	expect := func(when string, p *core.Probe, want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: a probe says %d", when, want), func() bool { return probe(p) == want })
	}
	expect("before the start", container.ReadinessProbe, 1)
	p := launch(t, []string{}, command, append(here(container.Args), "--hang")...)
	expect("running", container.ReadinessProbe, 0)
	expect("running", container.LivenessProbe, 0)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("leaving", container.ReadinessProbe, 5)
	_ = p.Process.Kill()
	_ = p.exit(t)
	expect("gone", container.ReadinessProbe, 1)
}
