package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

func lineOf(name string, state InstanceState, code int) Line {
	return Line{Instance: remote.Instance{Group: "api", Name: name}, State: state, ExitCode: code}
}

// The worst counts.
func TestExitCode(t *testing.T) {
	t.Parallel()
	ladder := []struct { // from the best to the worst
		line Line
		code int
	}{
		{lineOf("x", Left, 0), 0},
		{lineOf("x", Failed, fsm.ExitFailure), fsm.ExitFailure},
		{lineOf("x", Failed, fsm.ExitImpolite), fsm.ExitImpolite},
		{lineOf("x", Unreachable, fsm.ExitAlarm), fsm.ExitFailure},
		{lineOf("x", Failed, fsm.ExitAlarm), fsm.ExitAlarm},
		{lineOf("x", Failed, 128+2), 128 + 2},
		{lineOf("x", Failed, 128+15), 128 + 15},
	}
	var lines []Line
	for _, step := range ladder {
		lines = append(lines, step.line)
		r := Report{Lines: lines}
		if got := r.ExitCode(); got != step.code {
			t.Errorf("%+v: got %d, want %d", step.line, got, step.code)
		}
		r.Lines = append([]Line{step.line}, lines...)
		if got := r.ExitCode(); got != step.code {
			t.Errorf("in another order: %+v: got %d, want %d", step.line, got, step.code)
		}
	}
	for want, r := range map[int]Report{
		0:               {Lines: []Line{lineOf("x", Gone, 0), lineOf("x", Back, 0)}},
		fsm.ExitFailure: {Stopped: "interrupted", Lines: []Line{lineOf("x", Left, 0)}},
	} {
		if got := r.ExitCode(); got != want {
			t.Errorf("%+v: got %d, want %d", r, got, want)
		}
	}
	notBack := Report{Lines: []Line{lineOf("x", Failed, 0)}}
	if got := notBack.ExitCode(); got != fsm.ExitFailure {
		t.Errorf("not back: got %d", got)
	}
}

// A long table begins with the worst, and says how many it leaves out.
func TestLongTable(t *testing.T) {
	t.Parallel()
	r := Report{ID: "x", Group: "api", AtOnce: 3, Took: 61500 * time.Millisecond}
	for i := range 200 {
		r.Lines = append(r.Lines, lineOf(fmt.Sprint("api-", i), Left, 0))
	}
	r.Lines[150] = lineOf("api-150", Failed, fsm.ExitAlarm)
	r.Lines[150].Culprits = []string{"db hung\x1b[31m\nsmuggled"}
	r.Lines[199] = lineOf("api-199", Unreachable, 0)
	r.Lines[199].Err = errors.New("nobody answers")
	r.Lines[180] = lineOf("api-180", Skipped, 0)
	lines := strings.Split(r.String(), "\n")
	if len(lines) != mostLines+5 {
		t.Errorf("it has %d lines:\n%s", len(lines), &r)
	}
	for i, want := range []string{"200 instances, 3 at once", "INSTANCE", "api-150", "api-199", "api-180", "api-0 "} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %q, want %q in it", i, lines[i], want)
		}
	}
	for _, want := range []string{"… and 160 more", "197 left, 1 failed, 1 unreachable, 1 skipped after 1m1.5s; exit code 3", "db hung [31m; smuggled", "nobody answers"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%q is not in\n%s", want, &r)
		}
	}
}

// Who is to blame in a process that was a component of another is named with the way
// there; who is only best effort is not.
func TestCulprits(t *testing.T) {
	t.Parallel()
	inner := &fsm.Report{State: fsm.Terminated, Components: []fsm.ComponentReport{
		{ID: "disk", Outcome: fsm.OutcomeHung},
		{ID: "cache", Outcome: fsm.OutcomeHung, BestEffort: true},
	}}
	r := &fsm.Report{State: fsm.Terminated, Components: []fsm.ComponentReport{
		{ID: "http", Outcome: fsm.OutcomeAcked},
		{ID: "queue", Outcome: fsm.OutcomeAcked, Insisted: true},
		{ID: "store", Outcome: fsm.OutcomeFailed, Inner: inner},
		{ID: "db", Outcome: fsm.OutcomeFailed},
	}}
	if got, want := culpritsOf(r), []string{"queue insisted upon", "store > disk hung", "db failed"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 20 {
		r.Components = append(r.Components, r.Components[3])
	}
	if got := culpritsOf(r); len(got) != maxCulprits {
		t.Errorf("%d are named", len(got))
	}
}

// Everything a report has is there when it is read back.
func TestReportRoundTrips(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 29, 12, 0, 0, 5, time.UTC)
	inside := &fsm.Report{
		State: fsm.Terminated, Edge: fsm.Transition{From: fsm.AwaitingAcks, On: fsm.Timeout, To: fsm.Terminated},
		Requests: []fsm.Command{{Reason: "deploy", Signal: syscall.SIGTERM}}, Events: []fsm.Event{},
		Components: []fsm.ComponentReport{{ID: "db", Outcome: fsm.OutcomeHung, Ran: 1234567}},
	}
	was := Report{
		ID: "x", Group: "api", Operator: "ana", AtOnce: 3, Began: now, Took: 90*time.Second + 1, Resumed: 2, Replaced: "y", Stopped: "1 failed",
		Plan: Plan{
			Group: "api", AtOnce: Limit{25, true}, Order: Oldest, MaxFailed: 2, Back: time.Minute + 1,
			Command: fsm.Command{Reason: "deploy", By: "ana", Within: 1500 * time.Microsecond},
		},
		Lines: []Line{
			{Instance: remote.Instance{Group: "api", Name: "api-1", Incarnation: "i", Born: 7, Since: now}, State: Left, Asked: now, Took: 1},
			{State: Failed, ExitCode: 3, Err: errors.New("hung"), Culprits: []string{"db hung"}, Report: inside, Took: time.Hour},
		},
	}
	data := must(json.Marshal(was))(t)
	for _, want := range []string{`"tookMs":90000.000001`, `"backMs":60000.000001`, `"atOnce":"25%"`, `"order":"oldest"`, `"error":"hung"`, `"withinMs":1.5`, `"exitCode":3`, `"state":"failed"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s is not in %s", want, data)
		}
	}
	var is Report
	if err := json.Unmarshal(data, &is); err != nil {
		t.Fatal(err)
	}
	if is.Lines[1].Err.Error() != "hung" {
		t.Errorf("the error is %v", is.Lines[1].Err)
	}
	is.Lines[1].Err = was.Lines[1].Err // of another type
	if !reflect.DeepEqual(is, was) {
		t.Errorf("it was\n%+v\nand is\n%+v", was, is)
	}
	step := Progress{At: now, Instance: was.Lines[0].Instance, State: Away, Report: inside, Took: time.Second}
	data = must(json.Marshal(step))(t)
	var back Progress
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back, step) {
		t.Errorf("%s: %+v, %v", data, back, err)
	}
}
