package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farewell-node/farewell/docs/compare/peers"
)

// mark is what one trial, or all of them, says to one question.
type mark string

const (
	yes   mark = "yes"
	no    mark = "no"
	mixed mark = "mixed" // not in every trial
	none  mark = "none"  // there is nothing to ask
)

// The questions asked of every program, in the order of their letters.
const (
	ends   = iota // within its deadline
	others        // all other components that were up have been stopped
	named         // the log tells the culprit from the others
	stack         // the log shows where the culprit is
	exits         // the exit code is not 0
	questions
)

const letters = "EONSX"

// asked says which questions make sense for a fault, beside the first two.
var asked = map[peers.Fault][]int{
	peers.Hang:         {named, stack, exits},
	peers.Fail:         {named, exits},
	peers.Panic:        {named, stack, exits},
	peers.Slow:         {},
	peers.IgnoresCtx:   {named, stack, exits},
	peers.Goexit:       {named, stack, exits},
	peers.Dies:         {named, exits},
	peers.FailsAtStart: {named, exits},
	peers.SignalAtOnce: {},
	peers.StalledLog:   {},
}

// verdict is how one program took one fault.
type verdict struct {
	marks     [questions]mark
	took      time.Duration // from the signal, or the fault, to the end of the process
	killed    bool          // it had not ended long after its deadline
	code      int           // the process exited with
	restarted bool          // the component that died was started again, and the program went on
	log       string
}

// letters says it short: a letter for yes, a small one for "not every time", a dash
// for no, a dot where there is nothing to ask.
func (v verdict) letters() string {
	var b strings.Builder
	for question, m := range v.marks {
		letter := letters[question : question+1]
		switch m {
		case yes:
			b.WriteString(letter)
		case mixed:
			b.WriteString(strings.ToLower(letter))
		case no:
			b.WriteString("-")
		case none:
			b.WriteString("·")
		}
	}
	if v.restarted {
		b.WriteString(" R")
	}
	return b.String()
}

// faultSettings are those of the fault table.
type faultSettings struct {
	trials   int
	atOnce   int           // programs
	slack    time.Duration // on top of the deadline, for a busy machine
	patience time.Duration // on top of that, until it is killed
}

// setUpTime bounds what a program may take to be up.
const setUpTime = 30 * time.Second

// tryFault runs one program once.
func tryFault(ctx context.Context, peer peers.Peer, fault peers.Fault, s faultSettings) (verdict, error) {
	c, err := startChild(ctx, faultRole, peer.Name, string(fault), fault == peers.StalledLog)
	if err != nil {
		return verdict{}, err
	}
	defer c.close()
	began, restarted, err := c.provoke(fault)
	if err != nil {
		c.kill()
		return verdict{}, fmt.Errorf("%s, %s: %w\n%s", peer.Name, fault, err, c.log.String())
	}
	limit := peers.Deadline + s.slack
	timer := time.AfterFunc(time.Until(began.Add(limit+s.patience)), c.kill)
	state := c.wait()
	v := verdict{took: time.Since(began), killed: !timer.Stop(), restarted: restarted, code: state.ExitCode(), log: c.log.String()}
	v.judge(fault, c.happened(), limit)
	return v, nil
}

// judge answers the questions.
func (v *verdict) judge(fault peers.Fault, happened []string, limit time.Duration) {
	say := func(is bool) mark {
		if is {
			return yes
		}
		return no
	}
	for question := range v.marks {
		v.marks[question] = none
	}
	v.marks[ends] = say(!v.killed && v.took <= limit)
	v.marks[others] = say(othersStopped(fault, happened))
	for _, question := range asked[fault] {
		switch question {
		case named:
			v.marks[named] = say(names(v.log))
		case stack:
			v.marks[stack] = say(strings.Contains(v.log, "parts.go:"))
		case exits:
			if !v.restarted { // nothing has failed then
				v.marks[exits] = say(!v.killed && v.code != 0)
			}
		}
	}
}

// othersStopped reports whether all components that were up have been stopped; the
// culprit too, if its fault is none of its own stopping.
func othersStopped(fault peers.Fault, happened []string) bool {
	for _, name := range peers.Names {
		if name == peers.Culprit && fault != peers.Slow && fault != peers.StalledLog && fault != peers.None {
			continue
		}
		if slices.Contains(happened, "up "+name) && !slices.Contains(happened, "stopped "+name) {
			return false
		}
	}
	return true
}

var (
	anyName    = regexp.MustCompile(`(?i)` + strings.Join(peers.Names, "|"))
	anyMeasure = regexp.MustCompile(`0x[0-9a-f]+|[0-9][0-9.:]*(ns|µs|ms|s|m|h)*`)
)

// names reports whether the log tells the culprit from the others: whether what is
// said of it alone, but for names, numbers and times, is not just what is said of
// one of them.
func names(log string) bool {
	said := map[string]map[string]bool{} // of whom, and what
	for line := range strings.Lines(log) {
		about := anyName.FindAllString(strings.ToLower(line), -1)
		slices.Sort(about)
		if about = slices.Compact(about); len(about) != 1 {
			continue
		}
		if said[about[0]] == nil {
			said[about[0]] = map[string]bool{}
		}
		said[about[0]][anyMeasure.ReplaceAllString(anyName.ReplaceAllString(line, "NAME"), "#")] = true
	}
	for _, name := range peers.Names {
		if name != peers.Culprit && maps.Equal(said[name], said[peers.Culprit]) {
			return false
		}
	}
	return len(said[peers.Culprit]) > 0
}

// first says what every program with this fault gets to.
func first(fault peers.Fault) string {
	switch fault {
	case peers.FailsAtStart, peers.Dies:
		return "fault"
	case peers.SignalAtOnce:
		return "starting"
	}
	return "ready"
}

// pause lets what runs beside what was waited for come up too.
const pause = 200 * time.Millisecond

// provoke lets the fault happen, and returns when that was. A program that starts
// again what died is ended by a signal.
func (c *child) provoke(fault peers.Fault) (began time.Time, restarted bool, err error) {
	if line := first(fault); !c.await(line, setUpTime) {
		return began, false, fmt.Errorf("no %q within %v", line, setUpTime)
	}
	began = time.Now()
	switch fault {
	case peers.FailsAtStart:
		return began, false, nil
	case peers.Dies:
		if restarted = c.await("restarted "+peers.Culprit, pause); !restarted {
			return began, false, nil
		}
	}
	time.Sleep(pause)
	if fault == peers.StalledLog {
		if err := c.fill(); err != nil {
			return began, false, err
		}
	}
	began = time.Now()
	return began, restarted, c.command.Process.Signal(syscall.SIGTERM)
}

// tryFaults tries every fault with every library, a few programs at a time: they
// mostly wait.
func tryFaults(ctx context.Context, all []peers.Peer, s faultSettings) (map[string]map[peers.Fault][]verdict, error) {
	verdicts := map[string]map[peers.Fault][]verdict{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.atOnce)
	for range s.trials {
		for _, fault := range peers.Faults {
			for _, peer := range all {
				group.Go(func() error {
					v, err := tryFault(ctx, peer, fault, s)
					mu.Lock()
					defer mu.Unlock()
					if verdicts[peer.Name] == nil {
						verdicts[peer.Name] = map[peers.Fault][]verdict{}
					}
					verdicts[peer.Name][fault] = append(verdicts[peer.Name][fault], v)
					return err
				})
			}
		}
	}
	return verdicts, group.Wait()
}

// sum puts the trials together.
func sum(trials []verdict) verdict {
	all := trials[0]
	var took []time.Duration
	for _, v := range trials {
		took = append(took, v.took)
		all.killed = all.killed || v.killed
		all.restarted = all.restarted || v.restarted
		for question, m := range v.marks {
			if m != all.marks[question] {
				all.marks[question] = mixed
			}
		}
	}
	all.took = median(took)
	return all
}

const faultNote = `Five components, web and worker before the database and the cache, those before telemetry; the database has the fault, and the
deadline is %v. **E** the process ends by it (%v later at the latest), **O** the others that were up have all been stopped,
**N** the log names the culprit, **S** and shows its stack, **X** the exit code is not 0. A dash: no. A dot: there is nothing to ask.
A small letter: not in each of the %d trials. R: the component was started again, and the program went on until a signal came.`

func faultTables(ctx context.Context, all settings) ([]*table, error) {
	s := all.faults
	progress("faults: %d programs", s.trials*len(peers.Faults)*len(peers.All))
	verdicts, err := tryFaults(ctx, peers.All, s)
	if err != nil {
		return nil, err
	}
	head := []string{"fault"}
	for _, peer := range peers.All {
		head = append(head, peer.Name)
	}
	marks := &table{title: "Faults", head: head, note: fmt.Sprintf(faultNote, peers.Deadline, s.slack, s.trials)}
	times := &table{
		title: "Faults: milliseconds until the process is gone", head: head,
		note: fmt.Sprintf("From the signal, or from the fault, in the same runs. What is still there after %v is killed.",
			peers.Deadline+s.slack+s.patience),
	}
	answered, wanted := make([]int, len(peers.All)), make([]int, len(peers.All))
	for _, fault := range peers.Faults {
		m, t := []string{string(fault)}, []string{string(fault)}
		for i, peer := range peers.All {
			v := sum(verdicts[peer.Name][fault])
			m = append(m, "`"+v.letters()+"`")
			if v.killed {
				t = append(t, "killed")
			} else {
				t = append(t, fmt.Sprint(v.took.Milliseconds()))
			}
			for _, mark := range v.marks {
				if mark != none {
					wanted[i]++
				}
				if mark == yes {
					answered[i]++
				}
			}
		}
		marks.add(m...)
		times.add(t...)
	}
	total := []string{"yes, of all asked"}
	for i := range peers.All {
		total = append(total, fmt.Sprintf("%d/%d", answered[i], wanted[i]))
	}
	marks.add(total...)
	return []*table{marks, times}, nil
}
