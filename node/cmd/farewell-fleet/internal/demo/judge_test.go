package demo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
)

// acked is the report of a shutdown in which everybody was polite.
func acked(components ...fsm.ComponentReport) *fsm.Report {
	for i := range components {
		components[i].Outcome = fsm.OutcomeAcked
	}
	return &fsm.Report{
		State: fsm.Terminated, Edge: fsm.Transition{From: fsm.AwaitingAcks, On: fsm.AllAcked, To: fsm.Terminated},
		Components: components,
	}
}

// asItShouldBe is a result without problems.
func asItShouldBe(config Config) *Result {
	r := &Result{Instances: config.all(), AtOnce: config.AtOnce, Problems: []string{}}
	served := map[string]int{}
	var inside []fsm.ComponentReport
	for _, name := range r.Instances {
		_, short, _ := strings.Cut(name, "/")
		served[short] = 100
		inside = append(inside, fsm.ComponentReport{ID: fsm.ID(name), Inner: acked()})
		for run := range 2 {
			exit := Exit{Instance: name, Run: run}
			if name == config.Hangs && run == 0 {
				exit.Code = fsm.ExitAlarm
			}
			r.Exits = append(r.Exits, exit)
		}
	}
	for i, group := range config.groups() {
		report := &fleet.Report{Group: chain[i]}
		for _, name := range group {
			_, short, _ := strings.Cut(name, "/")
			line := fleet.Line{Instance: remote.Instance{Group: chain[i], Name: short}, State: fleet.Back}
			if name == config.Hangs {
				line.State, line.ExitCode, line.Report = fleet.Failed, fsm.ExitAlarm, hung()
			}
			report.Lines = append(report.Lines, line)
		}
		r.Restarts = append(r.Restarts, Restart{Group: chain[i], Report: report, Load: Tally{Sent: 100, Served: served}})
		r.Culprits = append(r.Culprits, culpritsOf(report)...)
	}
	r.Away = Absences{Most: config.AtOnce, Left: len(r.Instances), Joined: len(r.Instances)}
	r.Down = config.AtOnce
	r.Leave = Leave{Report: acked(inside...), Order: Order{Pairs: pairs(config.groups())}, Load: Tally{Sent: 10}}
	return r
}

// hung is the report of a service whose journal hangs.
func hung() *fsm.Report {
	r := acked(fsm.ComponentReport{ID: "requests"}, fsm.ComponentReport{ID: culpritID})
	r.Edge = fsm.Transition{From: fsm.AwaitingAcks, On: fsm.Timeout, To: fsm.Terminated}
	r.Components[1].Outcome, r.Components[1].Insisted = fsm.OutcomeHung, true
	r.Components[1].Stack = "goroutines with this stack: 1\n" +
		"  example.com/demo/service.(*journal).sync /src/demo/service/service.go:211\n" +
		"  example.com/demo/service.(*journal).Shutdown /src/demo/service/service.go:204\n"
	return r
}

// Whatever of it is not as it should be is listed.
func TestJudge(t *testing.T) {
	t.Parallel()
	config := Default()
	line := func(r *Result, name string) *fleet.Line {
		for _, restart := range r.Restarts {
			for i, l := range restart.Report.Lines {
				if l.Instance.String() == name {
					return &restart.Report.Lines[i]
				}
			}
		}
		t.Fatal(name)
		return nil
	}
	for _, test := range []struct {
		claim   string
		falsify func(r *Result)
		problem string // "" for none
	}{
		{"all is as it should be", func(*Result) {}, ""},
		{"nothing is lost", func(r *Result) { r.Restarts[1].Load.Lost = 1 }, "1 of 310 requests were lost"},
		{"nothing is lost in the end", func(r *Result) { r.Leave.Load.Lost = 1 }, "requests were lost"},
		{"all answers are right", func(r *Result) { r.Restarts[0].Load.Wrong = 2 }, "2 of 310 requests were answered wrongly"},
		{"in time", func(r *Result) { r.Calm.Late = 1 }, "answered after more than"},
		{"there was load", func(r *Result) { r.Restarts[2].Load.Sent = 0 }, "store was restarted without load"},
		{"on everybody", func(r *Result) { r.Restarts[0].Load.Served["api-3"] = 0 }, "served no request: api-3"},
		{"never too many away", func(r *Result) { r.Away.Most = 4 }, "4 were out of the registry at once"},
		{"nor down", func(r *Result) { r.Down = 4 }, "4 processes were down at once"},
		{"the registry has seen it", func(r *Result) { r.Away.Unseen = []string{"edge/edge-1"} }, "has not seen these leave: edge/edge-1"},
		{"and all of them back", func(r *Result) { r.Away.Joined-- }, "11 of 12 have come back"},
		{"all groups", func(r *Result) { r.Restarts = r.Restarts[:2] }, "2 of 3 groups"},
		{"all instances", func(r *Result) { r.Restarts[0].Report.Lines = r.Restarts[0].Report.Lines[1:] }, "3 of 4 instances"},
		{"back", func(r *Result) { line(r, "edge/edge-2").State = fleet.Skipped }, "edge/edge-2: it is skipped, and not back"},
		{"the other one failed", func(r *Result) { line(r, config.Hangs).State = fleet.Back }, "api/api-2: it is back, and not failed"},
		{"nothing else did", func(r *Result) {
			l := line(r, "store/store-1")
			l.State, l.ExitCode = fleet.Failed, fsm.ExitImpolite
		}, "store: the report's exit code is 4, not 0"},
		{"to its end", func(r *Result) { r.Restarts[0].Report.Stopped = "interrupted" }, "edge: the restart was stopped: interrupted"},
		{"the culprit is named", func(r *Result) { r.Culprits = nil }, "its journal is not named"},
		{"as hung", func(r *Result) { r.Culprits[0].Outcome = "stopping" }, "journal, which hangs, is stopping"},
		{"with its stack", func(r *Result) { r.Culprits[0].Stack = nil }, "does not say where it hangs"},
		{"and nobody else", func(r *Result) {
			r.Culprits = append(r.Culprits, Culprit{Instance: "edge/edge-1", Component: "requests", Outcome: "hung"})
		}, "edge/edge-1: requests is named as hung"},
		{"the order is kept", func(r *Result) { r.Leave.Order.Broken = []string{"edge/edge-1 before api/api-1"} }, "1 of 48 pairs"},
		{"of all of them", func(r *Result) { r.Leave.Order.Pairs = 0 }, "0 pairs were compared, not 48"},
		{"one report", func(r *Result) { r.Leave.Report.Components[3].Inner = nil }, "11 of 12 processes inside"},
		{"without a failure", func(r *Result) { r.Leave.Report.Components[3].Outcome = fsm.OutcomeFailed }, "exit code 4, not 0"},
		{"also inside", func(r *Result) { r.Leave.Report.Components[3].Inner = hung() }, "edge/edge-4: its report inside"},
		{"before the alarm", func(r *Result) { r.Leave.Report.Edge.On = fsm.Timeout }, "ended by Timeout"},
		{"all have left", func(r *Result) { r.Leave.Present = []string{"api/api-1"} }, "still in the registry: api/api-1"},
		{"politely", func(r *Result) { r.Exits[3].Code = -1 }, "edge/edge-2: run 2 of it exited with -1, not 0"},
		{"save the one that hangs", func(r *Result) { r.Exits[10].Code = 0 }, "api/api-2: run 1 of it exited with 0, not 3"},
		{"all of them", func(r *Result) { r.Exits = r.Exits[1:] }, "edge/edge-1 ran 1 times, not 2"},
	} {
		t.Run(test.claim, func(t *testing.T) {
			t.Parallel()
			r := asItShouldBe(config)
			test.falsify(r)
			r.judge(config)
			var show strings.Builder
			r.show(&lines{Writer: &show})
			switch all := strings.Join(r.Problems, "\n"); {
			case test.problem == "":
				if len(r.Problems) > 0 || r.exitCode() != fsm.ExitOK || !strings.Contains(show.String(), "All is as it should be") {
					t.Errorf("problems: %s\n%s", all, &show)
				}
			case !strings.Contains(all, test.problem) || r.exitCode() != fsm.ExitFailure:
				t.Errorf("problems are not %q, but:\n%s", test.problem, all)
			case !strings.Contains(show.String(), "NOT AS IT SHOULD BE: ") || strings.Contains(show.String(), "All is as"):
				t.Errorf("shown is:\n%s", &show)
			}
		})
	}
}

// Frames are short, wherever the program was built, and also with -trimpath.
func TestFrames(t *testing.T) {
	t.Parallel()
	got := frames("goroutines with this stack: 2\n  example.com/a/b.(*journal).sync /my home/b/file.go:12\n" +
		"  main.main example.com/a/main.go:3\ngoroutines with this stack: 1\n  runtime.gopa")
	if want := "b.(*journal).sync file.go:12, main.main main.go:3"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a program reads has durations as numbers, and the sum of all load.
func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	r := asItShouldBe(Default())
	r.Took, r.Calm.Slowest = 1500*time.Millisecond, 20*time.Millisecond
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		TookMs   float64   `json:"tookMs"`
		Problems *[]string `json:"problems"`
		Load     struct {
			Sent      int     `json:"sent"`
			SlowestMs float64 `json:"slowestMs"`
		} `json:"load"`
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.TookMs != 1500 || got.Load.Sent != 310 || got.Load.SlowestMs != 20 || got.Problems == nil {
		t.Errorf("%+v in %s", got, data)
	}
}

// told makes news of a script: "+edge/edge-1#2" joins, "-edge/edge-1" withdraws, and
// "edge/edge-1 journal" is an event: a component that acks, or begin or end.
func told(script ...string) (news []remote.News) {
	for _, text := range script {
		kind := remote.Happened
		if name, ok := strings.CutPrefix(text, "+"); ok {
			text, kind = name, remote.Joined
		} else if name, ok := strings.CutPrefix(text, "-"); ok {
			text, kind = name, remote.Withdrawn
		}
		text, what, _ := strings.Cut(text, " ")
		text, run, _ := strings.Cut(text, "#")
		group, name, _ := strings.Cut(text, "/")
		n := remote.News{Kind: kind, Instance: remote.Instance{Group: group, Name: name, Incarnation: run}}
		switch what {
		case "":
		case "begin":
			n.Event = fsm.Event{Kind: fsm.ShutdownRequested, State: fsm.Withdrawing}
		case "end":
			n.Event = fsm.Event{Kind: fsm.AllAcked, State: fsm.Terminated}
		default:
			n.Event = fsm.Event{Kind: fsm.Acked, From: fsm.ID(what), State: fsm.AwaitingAcks}
		}
		news = append(news, n)
	}
	return news
}

func TestAbsences(t *testing.T) {
	t.Parallel()
	a := absences([]string{"a/1", "a/2", "b/1", "b/2"}, told("-a/1", "-a/2", "+a/1#2", "-b/1", "+a/2#2", "+b/1#2", "a/1 begin"))
	if a.Most != 2 || strings.Join(a.Who, " ") != "a/1 a/2" || a.Groups["a"] != 2 || a.Groups["b"] != 1 ||
		a.Left != 3 || a.Joined != 3 || strings.Join(a.Unseen, " ") != "b/2" {
		t.Errorf("%+v", a)
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	groups := [][]string{{"a/1", "a/2"}, {"b/1"}}
	for _, test := range []struct {
		name   string
		news   []remote.News
		broken string
	}{
		{"kept", told("a/1 begin", "a/2 begin", "a/1 journal", "a/2 requests", "a/2 journal", "b/1 begin",
			"a/2 remote-report", "a/2 end", "a/1 end", "b/1 journal", "b/1 end"), ""},
		{"begun too early", told("a/1 begin", "a/2 begin", "a/1 journal", "a/2 requests", "b/1 begin", "a/2 journal",
			"a/2 end", "a/1 end", "b/1 journal", "b/1 end"), "a/2 before b/1"},
		{"not seen to its end", told("a/1 begin", "a/2 begin", "a/1 journal", "a/2 journal", "b/1 begin",
			"a/1 end", "b/1 journal", "b/1 end"), "a/2 before b/1, of which not all was seen"},
		{
			"not seen at all", told("a/1 begin", "a/1 journal", "a/1 end", "b/1 begin", "b/1 end"),
			"a/2 before b/1, of which not all was seen",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			order := orderOf(groups, test.news)
			if got := strings.Join(order.Broken, "; "); got != test.broken || order.Pairs != 2 {
				t.Errorf("of %d pairs broken: %q", order.Pairs, got)
			}
		})
	}
}
