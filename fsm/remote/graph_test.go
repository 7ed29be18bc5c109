package remote

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
)

// graphs is how many random graphs are tried, each from its number as the seed.
const graphs = 16

// TestRandomGraphs: over 2 to 6 processes, with a fault in the middle and every
// command delivered twice, nobody begins before those ordered before it are done,
// nobody obeys twice, and everybody ends by his alarm.
func TestRandomGraphs(t *testing.T) {
	t.Parallel()
	for seed := range uint64(graphs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			w.run()
			t.Log(w.fault, w.outcomes())
			if err := w.check(); err != nil {
				t.Errorf("seed %d, %s: %v", seed, w.fault, err)
				for _, p := range w.processes {
					t.Logf("%s\n%s\n%s", p.member.self, p.report, p.log)
				}
			}
		})
	}
}

// world is a few processes that are components of each other.
type world struct {
	t         *testing.T
	random    *rand.Rand
	server    *natsServer
	processes []*node
	fault     string
	release   chan struct{}

	mu sync.Mutex
}

// node is one process of it.
type node struct {
	*process
	link    *link
	asks    map[fsm.ID]*node // the processes that are its components
	parents int
	ran     map[fsm.ID]*ran
	report  *fsm.Report
}

// ran is when a component's Shutdown began and ended.
type ran struct {
	times        int
	began, ended time.Time
}

const worldAlarm = 2500 * time.Millisecond

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 42)), server: startServer(t), release: make(chan struct{})}
	t.Cleanup(func() { close(w.release) })
	var names []string
	for i := range 2 + w.random.IntN(5) {
		n := &node{link: newLink(t, strings.TrimPrefix(w.server.url(), "nats://")), asks: map[fsm.ID]*node{}, ran: map[fsm.ID]*ran{}}
		name := fmt.Sprintf("p/%d", i)
		n.process = newProcess(t, connect(t, n.link.url()), name, fsm.Config{Alarm: worldAlarm})
		w.processes, names = append(w.processes, n), append(names, name)
	}
	nc := w.server.connect()
	eventually(t, func() error {
		if list, err := List(t.Context(), nc, "p"); err != nil || len(list) < len(names) {
			return fmt.Errorf("%v have joined: %w", list, err)
		}
		return nil
	})
	for i, n := range w.processes {
		w.populate(n, w.processes[i+1:])
	}
	for i, n := range w.processes[1:] { // nobody is left out
		if n.parents == 0 {
			w.ask(w.processes[w.random.IntN(i+1)], n, nil)
		}
	}
	return w
}

// populate registers a process's own components and those that are other processes,
// of which only later ones make no cycle.
func (w *world) populate(n *node, later []*node) {
	var ids []fsm.ID
	after := func() (before []fsm.ID) {
		for _, id := range ids {
			if w.random.IntN(5) < 2 {
				before = append(before, id)
			}
		}
		return before
	}
	for _, i := range w.random.Perm(len(later) + 3) {
		switch {
		case i >= len(later):
			id := fsm.ID(fmt.Sprint("local-", i-len(later)))
			n.register(id, w.local(n, id), fsm.After(after()...))
			ids = append(ids, id)
		case w.random.IntN(2) == 0:
			ids = append(ids, w.ask(n, later[i], after()))
		}
	}
}

func (w *world) ask(n, target *node, after []fsm.ID) fsm.ID {
	id := fsm.ID(target.member.self.Name)
	n.register(id, n.member.Component(target.member.self.String()), fsm.After(after...))
	n.asks[id] = target
	target.parents++
	return id
}

// local is a component that behaves in one of the ways that components do.
func (w *world) local(n *node, id fsm.ID) fsm.Component {
	behavior, slow := w.random.IntN(12), time.Duration(w.random.IntN(80))*time.Millisecond
	return fsm.Func(func(ctx context.Context) error {
		w.note(n, id, func(r *ran) { r.times++; r.began = time.Now() })
		defer w.note(n, id, func(r *ran) { r.ended = time.Now() })
		switch behavior {
		case 0:
			return errors.New("broken")
		case 1:
			<-ctx.Done()
			return context.Cause(ctx)
		case 2:
			<-w.release // a culprit
			return nil
		}
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
		return nil
	})
}

func (w *world) note(n *node, id fsm.ID, what func(*ran)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.ran[id] == nil {
		n.ran[id] = new(ran)
	}
	what(n.ran[id])
}

// run asks the first process to leave, lets a fault happen, and has those leave too
// whom it kept from being asked.
func (w *world) run() {
	echo := w.echo()
	w.processes[0].Request(fsm.Command{Reason: "test", By: "a person"})
	time.Sleep(time.Duration(w.random.IntN(150)) * time.Millisecond)
	w.harm()
	w.processes[0].report = w.processes[0].ended()
	for _, n := range w.processes[1:] {
		n.Request(fsm.Command{Reason: "left over", By: "the test"})
	}
	for _, n := range w.processes[1:] {
		n.report = n.ended()
	}
	echo()
}

// echo has every command delivered again, later.
func (w *world) echo() (stop func()) {
	nc := w.server.connect()
	var again sync.WaitGroup
	later := w.random.Perm(64)
	i, header := 0, nats.Header{"Echo": {"yes"}}
	sub, err := nc.Subscribe(commandPrefix+">", func(m *nats.Msg) {
		if len(m.Header) > 0 {
			return
		}
		pause := time.Duration(later[i%len(later)]) * 5 * time.Millisecond
		i++
		again.Go(func() {
			time.Sleep(pause)
			_ = nc.PublishMsg(&nats.Msg{Subject: m.Subject, Data: m.Data, Header: header})
		})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return func() { _ = sub.Unsubscribe(); again.Wait() }
}

func (w *world) harm() {
	victim := w.processes[w.random.IntN(len(w.processes))]
	who := victim.member.self.String()
	switch w.random.IntN(6) {
	case 0:
		w.fault = "no fault"
	case 1:
		w.fault = who + " loses its connection"
		victim.link.breakOff()
	case 2:
		w.fault = who + " is cut off for a while"
		victim.link.setCut(true)
		time.Sleep(400 * time.Millisecond)
		victim.link.setCut(false)
	case 3:
		w.fault = who + " is cut off for good"
		victim.link.setCut(true)
	case 4:
		w.fault = who + " loses NATS, as if it had died"
		victim.nc.Close()
	case 5:
		w.fault = "the server is restarted"
		w.server.kill()
		w.server.start()
	}
}

// outcomes counts how the processes fared that were components of others.
func (w *world) outcomes() map[string]int {
	count := map[string]int{}
	for _, n := range w.processes {
		for id := range n.asks {
			l := lineOf(n.report, id)
			what := l.Outcome.String()
			if errors.Is(l.Err, ErrUnreachable) {
				what = "unreachable"
			}
			count[what]++
		}
	}
	return count
}

// check is what the test is about.
func (w *world) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, n := range w.processes {
		errs = append(errs, n.checkSelf())
		for id, target := range n.asks {
			if err := n.checkEdge(id, target); err != nil {
				errs = append(errs, fmt.Errorf("%s asks %s: %w", n.member.self, target.member.self, err))
			}
		}
	}
	return errors.Join(errs...)
}

// checkSelf: it ended by its alarm, and nobody was told twice.
func (n *node) checkSelf() error {
	const busy = 2 * time.Second // a machine that is busy rings late
	if n.report.State != fsm.Terminated || n.report.Took > worldAlarm+busy {
		return fmt.Errorf("%s: %s after %v", n.member.self, n.report.State, n.report.Took)
	}
	for id, r := range n.ran {
		if r.times != 1 {
			return fmt.Errorf("%s: %s was shut down %d times", n.member.self, id, r.times)
		}
	}
	seen := map[string]bool{}
	for _, c := range n.report.Requests {
		if seen[c.By] && !strings.HasPrefix(c.Reason, "the one who asked insists") {
			return fmt.Errorf("%s obeyed twice: %q", n.member.self, c.By)
		}
		seen[c.By] = true
	}
	return nil
}

// checkEdge: the other one was not asked before its turn, and was not taken for done
// before it was.
func (n *node) checkEdge(id fsm.ID, target *node) error {
	l := lineOf(n.report, id)
	asked := eventOf(n.report, fsm.Started, id)
	byUs := strings.HasSuffix(target.report.Command.By, " > "+n.member.self.String())
	if byUs && (asked.IsZero() || target.report.Began.Before(asked)) {
		return fmt.Errorf("it began at %v, and was asked at %v", target.report.Began, asked)
	}
	for _, before := range l.After {
		x := lineOf(n.report, before)
		acked := eventOf(n.report, fsm.Acked, before)
		if byUs && !x.Insisted && asked.Before(lastCallOf(n.report)) && (acked.IsZero() || target.report.Began.Before(acked)) {
			return fmt.Errorf("it began at %v, before %s was done at %v", target.report.Began, before, acked)
		}
	}
	if l.Outcome != fsm.OutcomeAcked && (l.Err == nil || errors.Is(l.Err, ErrUnreachable)) {
		return nil // it never acked; who was ordered after it knows
	}
	acked := eventOf(n.report, fsm.Acked, id)
	for local, r := range target.ran {
		if lineOf(target.report, local).Outcome != fsm.OutcomeHung && (r.ended.IsZero() || r.ended.After(acked)) {
			return fmt.Errorf("%s acked at %v: %s there ended at %v", l.Outcome, acked, local, r.ended)
		}
	}
	return nil
}

// lastCallOf returns when everybody begins who still waits for one that was insisted upon: a
// quarter of what was left then. Timers are a little late.
func lastCallOf(r *fsm.Report) time.Time {
	for _, e := range r.Events {
		if e.Kind == fsm.Insisted {
			return e.At.Add(r.Deadline.Sub(e.At) / 4)
		}
	}
	return time.Now().Add(time.Hour) // later than all of it
}

func lineOf(r *fsm.Report, id fsm.ID) fsm.ComponentReport {
	return r.Components[slices.IndexFunc(r.Components, func(l fsm.ComponentReport) bool { return l.ID == id })]
}

func eventOf(r *fsm.Report, kind fsm.Kind, id fsm.ID) time.Time {
	for _, e := range r.Events {
		if e.Kind == kind && e.From == id {
			return e.At
		}
	}
	return time.Time{}
}

// The check finds what it is there for.
func TestRandomGraphsAreChecked(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(ms int) time.Time { return now.Add(time.Duration(ms) * time.Millisecond) }
	for name, harm := range map[string]func(asking, asked *node){
		"began before its turn":      func(_, asked *node) { asked.report.Began = at(5) },
		"began before it was asked":  func(asking, _ *node) { asking.report.Events[1].At = at(30) },
		"acked before it was done":   func(_, asked *node) { asked.ran["db"].ended = at(60) },
		"acked and has not been":     func(_, asked *node) { asked.ran["db"].ended = time.Time{} },
		"shut down twice":            func(_, asked *node) { asked.ran["db"].times = 2 },
		"obeyed twice":               func(_, asked *node) { asked.report.Requests = append(asked.report.Requests, asked.report.Command) },
		"did not end":                func(_, asked *node) { asked.report.State = fsm.AwaitingAcks },
		"ended long after its alarm": func(_, asked *node) { asked.report.Took = time.Minute },
	} {
		command := fsm.Command{By: "a person > p/0"}
		asked := &node{process: &process{member: &Member{self: Instance{Group: "p", Name: "1"}}}, ran: map[fsm.ID]*ran{"db": {1, at(21), at(30)}}, report: &fsm.Report{
			State: fsm.Terminated, Began: at(20), Command: command, Requests: []fsm.Command{command},
			Components: []fsm.ComponentReport{{ID: "db", Outcome: fsm.OutcomeAcked}},
		}}
		asking := &node{process: &process{member: &Member{self: Instance{Group: "p", Name: "0"}}}, asks: map[fsm.ID]*node{"1": asked}, report: &fsm.Report{
			State:      fsm.Terminated,
			Components: []fsm.ComponentReport{{ID: "http", Outcome: fsm.OutcomeAcked}, {ID: "1", Outcome: fsm.OutcomeAcked, After: []fsm.ID{"http"}}},
			Events:     []fsm.Event{{Kind: fsm.Acked, From: "http", At: at(10)}, {Kind: fsm.Started, From: "1", At: at(11)}, {Kind: fsm.Acked, From: "1", At: at(50)}},
		}}
		w := &world{processes: []*node{asking, asked}}
		if err := w.check(); err != nil {
			t.Fatalf("nothing is wrong, and yet: %v", err)
		}
		if harm(asking, asked); w.check() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
