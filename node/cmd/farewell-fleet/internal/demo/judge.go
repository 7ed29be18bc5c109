package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
)

// Result is what the demo has measured, and what is wrong with it.
type Result struct {
	Instances []string      `json:"instances"` // "group/name", in the order in which they leave
	AtOnce    int           `json:"atOnce"`    // that were to be away, at most, in the first act
	Calm      Tally         `json:"calm"`      // the load before anybody leaves
	Restarts  []Restart     `json:"restarts"`  // the first act, in order
	Away      Absences      `json:"away"`      // in it, by the registry
	Down      int           `json:"down"`      // at once in it, by the processes
	Culprits  []Culprit     `json:"culprits"`  // whom its reports name
	Leave     Leave         `json:"leave"`     // the second act
	Exits     []Exit        `json:"exits"`     // of all processes, as they came
	Took      time.Duration `json:"-"`
	Logs      string        `json:"logs,omitempty"` // the folder, if there are problems
	Problems  []string      `json:"problems"`       // empty: all is as it should be
}

// Restart is that of one group, and what its load came to.
type Restart struct {
	Group  string        `json:"group"`
	Report *fleet.Report `json:"report"`
	Load   Tally         `json:"load"`
}

// Leave is that of the whole system.
type Leave struct {
	Report  *fsm.Report `json:"report"`
	Order   Order       `json:"order"`
	Load    Tally       `json:"load"`
	Present []string    `json:"present"` // who was still in the registry
}

// Culprit is a component that kept its process from leaving in time.
type Culprit struct {
	Instance  string   `json:"instance"`
	Component fsm.ID   `json:"component"`
	Outcome   string   `json:"outcome"`
	Stack     []string `json:"stack"` // functions and lines, where it hung first
}

// MarshalJSON adds the durations, in milliseconds.
func (r *Result) MarshalJSON() ([]byte, error) {
	type plain Result
	return json.Marshal(struct {
		*plain
		Load Tally   `json:"load"`
		Took float64 `json:"tookMs"`
	}{(*plain)(r), r.load(), milliseconds(r.Took)})
}

// load is what all requests came to.
func (r *Result) load() Tally {
	all := r.Calm.plus(r.Leave.Load)
	for _, restart := range r.Restarts {
		all = all.plus(restart.Load)
	}
	return all
}

func (r *Result) exitCode() int {
	if len(r.Problems) > 0 {
		return fsm.ExitFailure
	}
	return fsm.ExitOK
}

// culpritsOf are those that the reports of a group name.
func culpritsOf(report *fleet.Report) (culprits []Culprit) {
	for _, line := range report.Lines {
		if line.Report == nil {
			continue
		}
		for _, c := range line.Report.Components {
			if !c.BestEffort && (c.Outcome != fsm.OutcomeAcked || c.Insisted) {
				culprits = append(culprits, Culprit{
					Instance: line.Instance.String(), Component: c.ID, Outcome: c.Outcome.String(), Stack: frames(c.Stack),
				})
			}
		}
	}
	return culprits
}

// judge notes everything that is not as it should be.
func (r *Result) judge(config Config) {
	r.judgeRestarts(config)
	r.judgeLoad(config)
	r.judgeLeave(config)
	r.judgeExits(config)
}

func (r *Result) problem(wrong bool, format string, args ...any) {
	if wrong {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

func (r *Result) judgeRestarts(config Config) {
	r.problem(len(r.Restarts) != len(chain), "%d of %d groups were restarted", len(r.Restarts), len(chain))
	for _, restart := range r.Restarts {
		report, hangs := restart.Report, strings.HasPrefix(config.Hangs, restart.Group+"/")
		r.problem(report.Stopped != "", "%s: the restart was stopped: %s", restart.Group, report.Stopped)
		r.problem(len(report.Lines) != config.Instances, "%s: the report has %d of %d instances",
			restart.Group, len(report.Lines), config.Instances)
		for _, l := range report.Lines {
			want := fleet.Back
			if l.Instance.String() == config.Hangs {
				want = fleet.Failed
			}
			r.problem(l.State != want, "%s: it is %s, and not %s, by the report of its group", l.Instance, l.State, want)
		}
		want := fsm.ExitOK
		if hangs {
			want = fsm.ExitAlarm
		}
		r.problem(report.ExitCode() != want, "%s: the report's exit code is %d, not %d", restart.Group, report.ExitCode(), want)
	}
	r.problem(r.Away.Most > config.AtOnce, "%d were out of the registry at once: %s", r.Away.Most, strings.Join(r.Away.Who, ", "))
	r.problem(r.Down > config.AtOnce, "%d processes were down at once", r.Down)
	r.problem(len(r.Away.Unseen) > 0, "the registry has not seen these leave: %s", strings.Join(r.Away.Unseen, ", "))
	r.problem(r.Away.Joined != len(r.Instances), "%d of %d have come back, by the registry", r.Away.Joined, len(r.Instances))
	r.judgeCulprits(config)
}

func (r *Result) judgeCulprits(config Config) {
	named := false
	for _, c := range r.Culprits {
		if c.Instance != config.Hangs || c.Component != culpritID {
			r.problem(true, "%s: %s is named as %s", c.Instance, c.Component, c.Outcome)
			continue
		}
		named = true
		r.problem(c.Outcome != fsm.OutcomeHung.String(), "%s: %s, which hangs, is %s", c.Instance, c.Component, c.Outcome)
		r.problem(!slices.ContainsFunc(c.Stack, func(f string) bool { return strings.Contains(f, culpritFunction) }),
			"%s: the stack of %s does not say where it hangs: %q", c.Instance, c.Component, c.Stack)
	}
	r.problem(config.Hangs != "" && !named, "%s hangs, and its %s is not named", config.Hangs, culpritID)
}

// What hangs in a service that does, and where.
const (
	culpritID       = fsm.ID("journal")
	culpritFunction = "(*journal).sync"
)

func (r *Result) judgeLoad(config Config) {
	all := r.load()
	r.problem(all.Lost > 0, "%d of %d requests were lost, as %s", all.Lost, all.Sent, strings.Join(all.Errors, "; "))
	r.problem(all.Wrong > 0, "%d of %d requests were answered wrongly, as %s", all.Wrong, all.Sent, strings.Join(all.Errors, "; "))
	r.problem(all.Late > 0, "%d of %d requests were answered after more than %s, the last after %s",
		all.Late, all.Sent, config.Deadline, short(all.Slowest))
	for _, restart := range r.Restarts {
		r.problem(restart.Load.Sent == 0, "%s was restarted without load", restart.Group)
	}
	var idle []string
	for _, name := range shortNames(r.Instances) {
		if all.Served[name] == 0 {
			idle = append(idle, name)
		}
	}
	r.problem(len(idle) > 0, "these have served no request: %s", strings.Join(idle, ", "))
}

func (r *Result) judgeLeave(config Config) {
	leave := r.Leave
	r.problem(leave.Report.ExitCode() != fsm.ExitOK, "the whole system left with exit code %d, not 0", leave.Report.ExitCode())
	r.problem(leave.Report.Edge.On != fsm.AllAcked, "its leaving was ended by %s, not AllAcked", leave.Report.Edge.On)
	inside := 0
	for _, c := range leave.Report.Components {
		if c.Inner == nil {
			continue
		}
		inside++
		code := c.Inner.ExitCode()
		r.problem(code != fsm.ExitOK, "%s: its report inside of the whole one has exit code %d", c.ID, code)
	}
	r.problem(inside != len(r.Instances), "the whole report has those of %d of %d processes inside", inside, len(r.Instances))
	r.problem(len(leave.Order.Broken) > 0, "%d of %d pairs left out of order, as %s",
		len(leave.Order.Broken), leave.Order.Pairs, strings.Join(leave.Order.Broken[:min(len(leave.Order.Broken), mostErrors)], "; "))
	r.problem(leave.Order.Pairs != pairs(config.groups()), "%d pairs were compared, not %d", leave.Order.Pairs, pairs(config.groups()))
	r.problem(len(leave.Present) > 0, "these are still in the registry: %s", strings.Join(leave.Present, ", "))
}

func pairs(groups [][]string) (n int) {
	for i, earlier := range groups {
		for _, later := range groups[i+1:] {
			n += len(earlier) * len(later)
		}
	}
	return n
}

// judgeExits wants of each instance that it ran twice, and ended both times as it should.
func (r *Result) judgeExits(config Config) {
	runs := map[string]int{}
	for _, e := range r.Exits {
		want := fsm.ExitOK
		if e.Instance == config.Hangs && e.Run == 0 {
			want = fsm.ExitAlarm
		}
		runs[e.Instance]++
		r.problem(e.Code != want, "%s: run %d of it exited with %d, not %d", e.Instance, e.Run+1, e.Code, want)
	}
	for _, name := range r.Instances {
		r.problem(runs[name] != 2, "%s ran %d times, not 2", name, runs[name])
	}
}
