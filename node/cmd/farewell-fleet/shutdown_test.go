package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

// failing is a component that does not leave politely.
func failing(o *fsm.Orchestrator) error {
	return o.Register("db", fsm.Func(func(context.Context) error { return errors.New("disk \x1b[31mfull") }))
}

// there returns who is in a group.
func (s *natsAt) there(group string) (names []string) {
	s.t.Helper()
	list, err := remote.List(s.t.Context(), s.connect(), group)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

func TestShutdownAFewAtATime(t *testing.T) {
	s := startNATS(t)
	for i := range 5 {
		s.join("api", fmt.Sprint("api-", i+1))
	}
	s.join("web", "web-1")
	code, stdout, stderr := command(t, "shutdown", "api", "--at-once", "40%", "--order", "name", "--reason", "deploy 42", "--by", "ana", "--nats", s.url())
	if code != cli.ExitOK || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if err := inOrder(stdout, "api-1  ", "asked", "api-2  ", "asked", "api-5  ", "left",
		"Group api: 5 instances, 2 at once, asked by ana: deploy 42", "INSTANCE", "api-1", "left", "5 left after", "exit code 0"); err != nil {
		t.Error(err)
	}
	if left := s.there(""); len(left) != 1 || left[0] != "web-1" {
		t.Errorf("still there are %q", left)
	}
	for _, line := range []string{"shutdown api", "shutdown api --dry-run"} { // or a name that was mistyped
		code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url())...)
		if code != cli.ExitOK || stdout != "" || stderr != "Nobody is there in group api.\nThe groups there are: web.\n" {
			t.Errorf("once more, %s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}

func TestShutdownStopsAtTheFirstThatGoesWrong(t *testing.T) {
	s := startNATS(t)
	s.join("api", "api-1")
	s.join("api", "api-2", failing)
	s.join("api", "api-3")
	code, stdout, stderr := command(t, "shutdown", "api", "--nats", s.url())
	if code != fsm.ExitImpolite || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if err := inOrder(stdout, "api-3", "left", "api-2", "failed", "db failed", "api-1", "skipped",
		"api-1     skipped", "stopped: 1 failed, of at most 0; exit code 4",
		"api/api-2:\n", "COMPONENT", "db", "disk", "full",
		"Not finished: 1 of 3 not asked. To go on:\n  farewell fleet shutdown api --resume --forgive\n"); err != nil {
		t.Error(err)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Errorf("it does something to the terminal: %q", stdout)
	}
	code, stdout, _ = command(t, "ls", "api", "--nats", s.url())
	if err := inOrder(stdout, "api-1", "LEAVING", "2 of 3, 1 failed, stopped: 1 failed, of at most 0",
		"To go on: farewell fleet shutdown api --resume"); code != cli.ExitOK || err != nil {
		t.Error(code, err)
	}
	if code, stdout, _ = command(t, "shutdown", "api", "--resume", "--nats", s.url()); code != fsm.ExitImpolite || len(s.there("api")) != 1 {
		t.Errorf("taken up again it is not stopped any more: exit code %d: %s", code, stdout)
	}
	code, stdout, _ = command(t, "shutdown", "api", "--resume", "--forgive", "--nats", s.url())
	if err := inOrder(stdout, "api-1", "asked", "api-1", "left", "2 left, 1 failed"); code != fsm.ExitImpolite || err != nil || len(s.there("api")) != 0 {
		t.Error(code, err)
	}
	code, _, stderr = command(t, "shutdown", "api", "--resume", "--nats", s.url())
	if code != cli.ExitFailed || !strings.Contains(stderr, "nothing in group api was left unfinished") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// Who fell silent at its alarm has told before who hung, and where.
func TestShutdownShowsTheLastReportOfWhoFellSilent(t *testing.T) {
	last := new(fsm.Report)
	text := `{"state":"AwaitingAcks","components":[{"id":"db","outcome":"stopping","insisted":true,"stack":"main.(*db).flush"}]}`
	if err := json.Unmarshal([]byte(text), last); err != nil {
		t.Fatal(err)
	}
	c := newRoot()
	var out strings.Builder
	c.SetOut(&out)
	err := new(shutdownFlags).print(c, &fleet.Report{ID: "1", Group: "api", Lines: []fleet.Line{
		{Instance: remote.Instance{Group: "api", Name: "api-1"}, State: fleet.Unreachable, Report: last},
	}})
	if err == nil {
		err = inOrder(out.String(), "unreachable", "api/api-1, when it was last heard of:\n", "db", "stopping", "main.(*db).flush")
	}
	if err != nil {
		t.Error(err)
	}
}

func TestShutdownGoesOnAfterSome(t *testing.T) {
	s := startNATS(t)
	s.join("api", "api-1")
	s.join("api", "api-2", failing)
	code, stdout, _ := command(t, "shutdown", "api", "--max-failed", "1", "--nats", s.url())
	if code != fsm.ExitImpolite || len(s.there("api")) != 0 || strings.Contains(stdout, "Not finished") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestShutdownAsJSON(t *testing.T) {
	s := startNATS(t)
	s.join("api", "api-1", failing)
	code, stdout, stderr := command(t, "shutdown", "api", "--json", "--nats", s.url())
	var report fleet.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != fsm.ExitImpolite || stderr != "" {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if len(report.Lines) != 1 || report.Lines[0].State != fleet.Failed || report.Lines[0].Report == nil || report.ExitCode() != code {
		t.Errorf("%+v", report)
	}
}

func TestShutdownDryRun(t *testing.T) {
	s := startNATS(t)
	for i := range 3 {
		s.join("api", fmt.Sprint("api-", i+1))
	}
	code, stdout, _ := command(t, "shutdown", "api", "--at-once", "50%", "--dry-run", "--nats", s.url())
	const want = `NEXT INSTANCE SINCE
1 api-3 AGO
2 api-2 AGO
3 api-1 AGO

3 would be asked, 1 at once, newest first, until more than 0 have failed. Nobody was asked.
`
	if got := golden(stdout); code != cli.ExitOK || got != want {
		t.Errorf("exit code %d: %s", code, got)
	}
	var preview fleet.Report
	_, stdout, _ = command(t, "shutdown", "api", "--order", "oldest", "--dry-run", "--json", "--nats", s.url())
	if err := json.Unmarshal([]byte(stdout), &preview); err != nil || len(preview.Lines) != 3 || preview.Lines[0].Instance.Name != "api-1" {
		t.Errorf("%v: %s", err, stdout)
	}
	if there := s.there("api"); len(there) != 3 {
		t.Errorf("only %q are there", there)
	}
}

// Two operators cannot have the same group leave at once.
func TestShutdownOfAGroupThatIsHeld(t *testing.T) {
	s := startNATS(t)
	s.join("api", "api-1")
	d, err := fleet.Begin(t.Context(), s.connect(), fleet.Plan{Group: "api"}, fleet.Options{Operator: "ben"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abandon()
	for _, line := range []string{"shutdown api", "shutdown api --resume"} {
		code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url())...)
		if err := inOrder(stderr, "ben has group api leave already: 0 of 1, begun "); code != cli.ExitFailed || stdout != "" || err != nil {
			t.Errorf("%s: exit code %d: %v", line, code, err)
		}
	}
	code, stdout, _ := command(t, "shutdown", "api", "--dry-run", "--nats", s.url())
	if err := inOrder(stdout, "Nobody was asked", "LEAVING", "ben"); code != cli.ExitOK || err != nil {
		t.Error(code, err)
	}
}

// Ctrl-C asks nobody else, and waits for those who were asked.
func TestShutdownInterrupted(t *testing.T) {
	s := startNATS(t)
	letGo := make(chan struct{})
	s.join("api", "api-1")
	s.join("api", "api-2", hanging(letGo))
	r := begin(t, "shutdown", "api", "--nats", s.url())
	says(t, &r.stdout, "api-2", "asked")
	r.interrupt()
	says(t, &r.stderr, "Nobody else is asked. Waiting for those who were")
	close(letGo)
	if code := r.ended(t); code != cli.ExitFailed {
		t.Errorf("exit code %d", code)
	}
	if err := inOrder(r.stdout.String(), "api-2", "left", "1 left, 1 skipped", "stopped: interrupted", "Not finished: 1 of 2", "--resume\n"); err != nil {
		t.Error(err)
	}
	code, stdout, _ := command(t, "shutdown", "api", "--resume", "--nats", s.url())
	if err := inOrder(stdout, "2 left", "in 2 runs"); code != cli.ExitOK || err != nil {
		t.Error(code, err)
	}
}

// While NATS is away nothing can go on, and whoever looks on is told why.
func TestShutdownWhileNATSIsAway(t *testing.T) {
	s := startNATS(t)
	letGo := make(chan struct{})
	s.join("api", "api-1")
	s.join("api", "api-2", hanging(letGo))
	r := begin(t, "shutdown", "api", "--nats", s.url())
	says(t, &r.stdout, "api-2", "asked")
	s.stop()
	says(t, &r.stderr, "NATS is away: nobody is asked until it is back.\n")
	s.start()
	says(t, &r.stderr, "NATS is back: it goes on.\n")
	close(letGo)
	select {
	case code := <-r.code:
		if err := inOrder(r.stdout.String(), "api-1", "left", "2 left"); code != cli.ExitOK || err != nil {
			t.Error(code, err)
		}
	case <-time.After(patience):
		t.Fatalf("it does not end: %s", &r.stdout)
	}
}

// What the environment says of new drains is in nobody's way who takes one up.
func TestShutdownResumedWithFlagsInTheEnvironment(t *testing.T) {
	s := startNATS(t)
	t.Setenv("FAREWELL_ALARM", "25s") // of "farewell run", say
	t.Setenv("FAREWELL_AT_ONCE", "2")
	code, _, stderr := command(t, "shutdown", "api", "--resume", "--nats", s.url())
	if code != cli.ExitFailed || !strings.Contains(stderr, "nothing in group api was left unfinished") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	t.Setenv("FAREWELL_DRY_RUN", "true") // but it promises that nobody is asked
	code, _, stderr = command(t, "shutdown", "api", "--resume", "--nats", s.url())
	if code != cli.ExitUsage || !strings.Contains(stderr, "FAREWELL_DRY_RUN: --resume goes on") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// A second Ctrl-C leaves those who were asked to themselves.
func TestShutdownInterruptedTwice(t *testing.T) {
	s := startNATS(t)
	letGo := make(chan struct{})
	o, _ := s.join("api", "api-1", hanging(letGo))
	c := exec.CommandContext(t.Context(), os.Args[0], "shutdown", "api", "--nats", s.url())
	var stdout, stderr clitest.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	says(t, &stdout, "api-1", "asked")
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	again := time.NewTicker(20 * time.Millisecond) // one that comes too soon is the same
	defer again.Stop()
	for over := false; !over; {
		select {
		case <-again.C:
			_ = c.Process.Signal(os.Interrupt) // it may have ended
		case err := <-ended:
			if over = true; c.ProcessState.ExitCode() != cli.ExitFailed {
				t.Errorf("%v: %s%s", err, &stdout, &stderr)
			}
		}
	}
	if err := inOrder(stdout.String(), "1 asked", "abandoned", "Not finished: 1 of 1 asked, and not waited for. To go on:", "--resume\n"); err != nil {
		t.Error(err)
	}
	close(letGo)
	if report, err := o.Wait(t.Context()); err != nil || report.ExitCode() != 0 || len(report.Requests) != 1 {
		t.Errorf("%v\n%s", err, report)
	}
}

func TestShutdownUsage(t *testing.T) {
	cases := map[string]string{
		"shutdown":                        "0 arguments, want one group",
		"shutdown a b":                    "2 arguments, want one group",
		"shutdown a --at-once 0":          "--at-once",
		"shutdown a --at-once 101%":       "a group has 100 %",
		"shutdown a --order random":       "want one of newest, oldest, name",
		"shutdown a --max-failed -1":      "-1 is negative",
		"shutdown a --alarm -1s":          "-1s is negative",
		"shutdown a --back -1s":           "-1s is negative",
		"shutdown a --forgive":            "only --resume has something to forgive",
		"shutdown a --resume --dry-run":   "--dry-run: --resume goes on with the plan as it was",
		"shutdown a --resume --at-once 2": "--at-once: --resume goes on with the plan as it was",
	}
	cases["shutdown a --reason "+strings.Repeat("x", maxReason+1)] = "the most is"
	for line, want := range cases {
		code, stdout, stderr := command(t, strings.Split(line, " ")...)
		if code != cli.ExitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%.60s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}
