package demo

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
)

const (
	operator = "farewell fleet demo"
	// wholeAlarm is what the whole system may take to leave.
	wholeAlarm = 10 * time.Second
	loadID     = fsm.ID("load") // in the graph of the second act
)

// restart is the first act: group after group is restarted, under load. Those that are
// asked come before those who ask, as with any new version: it is to find what it
// asks for.
func (s *stage) restart(ctx context.Context) error {
	before, _, _ := s.observer.seen()
	s.out.printf("\nAct one: a restart of all, at most %d at once, under load. First store, then api,\n"+
		"then edge: a new version that asks must find what it asks for.\n\n", s.config.AtOnce)
	s.out.step("INSTANCE", "ASKED", "LEFT", "BACK", "AND SO")
	began := time.Now()
	for _, group := range slices.Backward(chain) {
		report, err := s.restartGroup(ctx, group, began)
		if err != nil {
			return fmt.Errorf("restart %s: %w", group, err)
		}
		load := s.load.cut()
		s.result.Restarts = append(s.result.Restarts, Restart{Group: group, Report: report, Load: load})
		s.out.printf("  %-9s all back at %s: of %d requests %d lost, the slowest took %s\n",
			group, clock(time.Since(began)), load.Sent, load.Lost, short(load.Slowest))
		if report.Stopped != "" { // it is judged
			break
		}
	}
	now := s.see(ctx, func(news []remote.News) bool {
		return len(absences(s.result.Instances, news[len(before):]).Unseen) == 0
	})
	s.result.Away = absences(s.result.Instances, now[len(before):])
	_, s.result.Down = s.supervisor.seen()
	for _, restart := range s.result.Restarts {
		s.result.Culprits = append(s.result.Culprits, culpritsOf(restart.Report)...)
	}
	return nil
}

func (s *stage) restartGroup(ctx context.Context, group string, began time.Time) (*fleet.Report, error) {
	plan := fleet.Plan{
		Group: group, AtOnce: fleet.Count(s.config.AtOnce), Order: fleet.ByName, Back: upTime,
		Command: fsm.Command{Reason: "a new version", By: operator},
	}
	if strings.HasPrefix(s.config.Hangs, group+"/") {
		plan.MaxFailed = 1 // which is the one that hangs
	}
	drain, err := fleet.Begin(ctx, s.nc, plan, fleet.Options{Operator: operator, Logger: s.log})
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(s.now, drain.Abandon)()
	told := make(chan struct{})
	go func() {
		defer close(told)
		steps := map[string]step{}
		for p := range drain.Progress(context.WithoutCancel(ctx)) {
			s.tell(steps, p, began)
		}
	}()
	report, err := drain.Run(ctx)
	<-told
	return report, err
}

// step is what is known of an instance that is being restarted.
type step struct{ asked, left, back string }

// tell has a line for each instance that is through.
func (s *stage) tell(steps map[string]step, p fleet.Progress, began time.Time) {
	name, at := p.Instance.Name, clock(p.At.Sub(began))
	line, outcome := steps[name], ""
	switch p.State {
	case fleet.Asked:
		line.asked = at
	case fleet.Left, fleet.Away:
		line.left = cmp.Or(line.left, at)
	case fleet.Back:
		line.back, outcome = at, "restarted"
	case fleet.Failed:
		line.left = cmp.Or(line.left, at)
		outcome = "FAILED: " + why(p.Report, p.Err)
	case fleet.Unreachable, fleet.Gone, fleet.Skipped:
		outcome = strings.ToUpper(p.State.String())
	}
	steps[name] = line
	if outcome != "" {
		s.out.step(name, line.asked, line.left, line.back, outcome)
	}
}

// why says in a few words why one has not left politely.
func why(report *fsm.Report, err error) string {
	if report != nil {
		for _, l := range report.Components {
			if l.Outcome == fsm.OutcomeHung || l.Outcome == fsm.OutcomeStopping {
				return fmt.Sprintf("%s %s, exit code %d", l.ID, l.Outcome, report.ExitCode())
			}
		}
		return fmt.Sprintf("exit code %d", report.ExitCode())
	}
	return fmt.Sprint(err)
}

// leave is the second act: all of them are components of one graph, and leave.
func (s *stage) leave(ctx context.Context) error {
	before, _, _ := s.observer.seen()
	s.out.printf("\nAct two: the whole system leaves as one graph: the load, then every edge, then\n" +
		"every api, then every store; one alarm, one report.\n\n")
	s.supervisor.letGo()
	o, err := s.graph()
	if err != nil {
		return err
	}
	defer context.AfterFunc(s.now, func() { o.Force(fsm.Command{Reason: "interrupted twice", By: operator}) })()
	o.Request(fsm.Command{Reason: "the system is not needed any more", By: operator})
	s.tellLeave(o)
	// Being interrupted changes nothing: leaving is what they do. Being interrupted twice forces.
	if s.result.Leave.Report, err = o.Wait(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	gone, cancel := context.WithTimeout(s.now, seeTime)
	defer cancel()
	if err := s.supervisor.ended(gone); err != nil {
		return fmt.Errorf("not all processes have exited: %w", err)
	}
	now := s.see(ctx, func(news []remote.News) bool { return allOver(s.result.Instances, news[len(before):]) })
	s.result.Leave.Order = orderOf(s.config.groups(), now[len(before):])
	s.result.Leave.Present = slices.Sorted(maps.Keys(present(now)))
	s.result.Leave.Load = s.load.cut()
	s.result.Exits, _ = s.supervisor.seen()
	return nil
}

// graph is an orchestrator of which every process is a component.
func (s *stage) graph() (*fsm.Orchestrator, error) {
	o, err := fsm.New(fsm.Config{Alarm: wholeAlarm, Logger: s.log})
	if err != nil {
		return nil, err
	}
	if err := o.Register(loadID, s.load); err != nil {
		return nil, err
	}
	earlier := []fsm.ID{loadID}
	for _, group := range s.config.groups() {
		var ids []fsm.ID
		for _, name := range group {
			if err := o.Register(fsm.ID(name), remote.Component(s.nc, name), fsm.After(earlier...)); err != nil {
				return nil, err
			}
			ids = append(ids, fsm.ID(name))
		}
		earlier = ids
	}
	return o, nil
}

// tellLeave has a line for each group that has left, and returns when all is over.
func (s *stage) tellLeave(o *fsm.Orchestrator) {
	left, began := map[string]int{}, time.Time{}
	for e := range o.Events(context.Background()) {
		switch e.Kind {
		case fsm.ShutdownRequested:
			began = e.At
		case fsm.Acked:
			group, _, _ := strings.Cut(string(e.From), "/")
			left[group]++
			if e.From == loadID {
				s.out.printf("  %s  the load has stopped, and has all its answers\n", clock(e.At.Sub(began)))
			} else if left[group] == s.config.Instances {
				s.out.printf("  %s  %s has left, all %d\n", clock(e.At.Sub(began)), group, s.config.Instances)
			}
		}
	}
}
