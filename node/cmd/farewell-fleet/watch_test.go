package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
)

const following = "That is all who are there."

func TestWatch(t *testing.T) {
	s := startNATS(t)
	edge, member := s.join("edge", "edge-1")
	s.join("store", "store-1")
	r := begin(t, "watch", "--nats", s.url())
	says(t, &r.stderr, following)
	_, second := s.join("edge", "edge-2")
	says(t, &r.stdout, "edge/edge-1", "Running", "is there, since ", "edge/edge-2", "Running", "joined\n")
	if text := r.stdout.String(); !strings.Contains(text, "store/store-1") || strings.Contains(text, second.Instance().Incarnation) {
		t.Error(text)
	}

	leave(t, edge, member, "the \x1bnight")
	says(t, &r.stdout, "ShutdownRequested by ana: the  night\n") // events and the registry come on ways of their own
	says(t, &r.stdout, "Withdrawn", "is off the registry\n")
	says(t, &r.stdout, "remote-report: asked to shut down\n")
	says(t, &r.stdout, "Left", "shutdown (the  night) Terminated by AllAcked", "exit code 0\n")
	if code := r.ended(t); code != cli.ExitOK || strings.Contains(r.stderr.String(), "interrupted") {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
}

// It takes a while, in real time: nats.go notices by heartbeats that a server has lost its watcher.
func TestWatchOverAnInterruption(t *testing.T) {
	s := startNATS(t)
	s.join("store", "store-1")
	r := begin(t, "watch", "--nats", s.url())
	says(t, &r.stderr, following)
	s.stop()
	says(t, &r.stderr, away)
	s.start()
	says(t, &r.stderr, away, isBack)
	s.join("edge", "edge-3")
	says(t, &r.stdout, "edge/edge-3", "joined\n")
	if code := r.ended(t); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
}

func TestWatchOneGroupAsJSON(t *testing.T) {
	s := startNATS(t)
	s.join("store", "store-1")
	edge, member := s.join("edge", "edge-1")
	r := begin(t, "watch", "edge", "--json", "--nats", s.url())
	says(t, &r.stdout, `"kind":"listed"`)
	leave(t, edge, member, "the night")
	says(t, &r.stdout, `"kind":"left"`)
	if code := r.ended(t); code != cli.ExitOK || r.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
	kinds := map[string]int{}
	for line := range strings.Lines(r.stdout.String()) {
		var news struct {
			Kind     string
			Instance remote.Instance
		}
		if err := json.Unmarshal([]byte(line), &news); err != nil || news.Kind != "listed" && news.Instance.Name != "edge-1" {
			t.Errorf("%v: %s", err, line)
		}
		kinds[news.Kind]++
	}
	if kinds["joined"] != 1 || kinds["withdrawn"] != 1 || kinds["happened"] < 5 || kinds["left"] != 1 {
		t.Errorf("%v", kinds)
	}
}

// Where nobody has ever joined, the first is waited for.
func TestWatchBeforeAnybody(t *testing.T) {
	s := startNATS(t)
	r := begin(t, "watch", "--nats", s.url())
	says(t, &r.stderr, "Nobody has ever joined here")
	s.join("edge", "edge-1")
	says(t, &r.stdout, "edge/edge-1", "Running")
	if code := r.ended(t); code != cli.ExitOK {
		t.Errorf("exit code %d: %s", code, &r.stderr)
	}
}

func TestBoard(t *testing.T) {
	instance := func(name, incarnation string) remote.Instance {
		return remote.Instance{Group: "edge", Name: name, Incarnation: incarnation, Since: time.Now()}
	}
	report := &fsm.Report{State: fsm.Terminated, Edge: fsm.Transition{On: fsm.AllAcked}}
	happened := func(i remote.Instance, state fsm.State) remote.News {
		return remote.News{Kind: remote.Happened, Instance: i, Event: fsm.Event{Kind: fsm.Withdrawn, State: state}}
	}
	one, two, three := instance("1", "a"), instance("2", "b"), instance("3", "c")
	b := newBoard("edge")
	for _, step := range []struct {
		news remote.News
		want string // the title, and names with their states
	}{
		{remote.News{Kind: remote.Listed}, "0 running, 0 leaving, 0 gone:"},
		{remote.News{Kind: remote.Joined, Instance: one}, "1 running, 0 leaving, 0 gone: 1 Running"},
		{remote.News{Kind: remote.Joined, Instance: two}, "2 running, 0 leaving, 0 gone: 1 Running, 2 Running"},
		{happened(two, fsm.Withdrawing), "1 running, 1 leaving, 0 gone: 2 Withdrawing, 1 Running"},
		{remote.News{Kind: remote.Withdrawn, Instance: two}, "1 running, 1 leaving, 0 gone: 2 Withdrawing, 1 Running"},
		{remote.News{Kind: remote.Left, Instance: two, Report: report}, "1 running, 0 leaving, 1 gone: 1 Running, 2 Left"},
		{happened(two, fsm.Terminated), "1 running, 0 leaving, 1 gone: 1 Running, 2 Left"}, // was on another way
		{remote.News{Kind: remote.Joined, Instance: instance("2", "b2")}, "2 running, 0 leaving, 0 gone: 1 Running, 2 Running"},
		{remote.News{Kind: remote.Expired, Instance: two}, "2 running, 0 leaving, 0 gone: 1 Running, 2 Running"}, // of the one before
		{remote.News{Kind: remote.Expired, Instance: one}, "1 running, 0 leaving, 1 gone: 2 Running, 1 Expired"},
		{remote.News{Kind: remote.Joined, Instance: one}, "2 running, 0 leaving, 0 gone: 1 Running, 2 Running"}, // it lives
		{happened(three, fsm.AwaitingAcks), "2 running, 1 leaving, 0 gone: 3 AwaitingAcks, 1 Running, 2 Running"},
	} {
		if err := b.see(step.news); err != nil {
			t.Fatal(err)
		}
		frame := b.frame()
		var rows []string
		for _, row := range frame.Rows[1:] {
			rows = append(rows, strings.TrimPrefix(row[0], "edge/")+" "+row[1])
		}
		got := strings.TrimPrefix(frame.Title, "Group edge: ") + ":"
		if len(rows) > 0 {
			got += " " + strings.Join(rows, ", ")
		}
		if got != step.want {
			t.Errorf("after %v of %v:\n%s, want\n%s", step.news.Kind, step.news.Instance, got, step.want)
		}
	}
	b.notice(away)
	if footer := b.frame().Footer; !strings.Contains(footer, away) {
		t.Error(footer)
	}
	b.notice(isBack)
	if footer := b.frame().Footer; strings.Contains(footer, "NATS") {
		t.Error(footer)
	}
}
