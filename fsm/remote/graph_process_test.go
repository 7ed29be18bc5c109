//go:build unix

package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
)

// processGraphs is how many random graphs are tried over real processes.
const processGraphs = 6

// graphSpec is one real process of a random graph, as JSON in its environment.
type graphSpec struct {
	URL, Name  string
	Components []graphComponent
}

// graphComponent is one of its own components, or another process.
type graphComponent struct {
	ID     fsm.ID
	Target string        // "p/1"; "" for one of its own
	Takes  time.Duration // of its own
	Hangs  bool
	After  []fsm.ID
}

const graphEnv = "FAREWELL_REMOTE_GRAPH" // a graphSpec

// graphChild is one process of a random graph.
func graphChild(config string) {
	var spec graphSpec
	if err := json.Unmarshal([]byte(config), &spec); err != nil {
		panic(err)
	}
	var member *Member
	code := fsm.Main(fsm.Config{Alarm: worldAlarm}, func(_ context.Context, o *fsm.Orchestrator) error {
		nc, err := nats.Connect(spec.URL, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
		if err != nil {
			return err
		}
		if member, err = Join(nc, Config{Group: "p", Instance: spec.Name}, o); err != nil {
			return err
		}
		for _, c := range spec.Components {
			component := member.Component(c.Target)
			if c.Target == "" {
				component = c.own()
			}
			if err := o.Register(c.ID, component, fsm.After(c.After...)); err != nil {
				return err
			}
		}
		return nil
	})
	<-member.Done()
	os.Exit(code)
}

func (c graphComponent) own() fsm.Component {
	return fsm.Func(func(ctx context.Context) error {
		if c.Hangs {
			select {}
		}
		select {
		case <-time.After(c.Takes):
		case <-ctx.Done():
		}
		return nil
	})
}

// randomSpecs makes a graph over 2 to 6 processes in which everybody is reached from the
// first.
func randomSpecs(random *rand.Rand, url string) []graphSpec {
	specs := make([]graphSpec, 2+random.IntN(5))
	asked := map[int]bool{}
	for i := range specs {
		specs[i] = graphSpec{URL: url, Name: fmt.Sprint(i)}
		var ids []fsm.ID
		for _, j := range random.Perm(len(specs) - i - 1 + 3) {
			c := graphComponent{ID: fsm.ID(fmt.Sprint("local-", j)), Takes: time.Duration(random.IntN(80)) * time.Millisecond, Hangs: random.IntN(15) == 0}
			if target := i + 1 + j; target < len(specs) {
				if asked[target] && random.IntN(2) == 0 {
					continue
				}
				asked[target] = true
				c = graphComponent{ID: fsm.ID(fmt.Sprint(target)), Target: fmt.Sprint("p/", target)}
			}
			for _, id := range ids {
				if random.IntN(5) < 2 {
					c.After = append(c.After, id)
				}
			}
			ids = append(ids, c.ID)
			specs[i].Components = append(specs[i].Components, c)
		}
	}
	return specs
}

// TestRandomGraphsOfRealProcesses is [TestRandomGraphs] over real processes, which are
// killed and frozen. They share a machine, so that their times can be compared.
func TestRandomGraphsOfRealProcesses(t *testing.T) {
	t.Parallel()
	for seed := range uint64(processGraphs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			s := startServer(t)
			g := startGraph(t, s, randomSpecs(random, s.url()))
			fault := g.run(random)
			w := g.world()
			t.Log(fault, w.outcomes())
			if err := w.check(); err != nil {
				t.Errorf("seed %d, %s: %v", seed, fault, err)
				for _, n := range w.processes {
					t.Logf("%s\n%s", n.member.self, n.report)
				}
			}
		})
	}
}

// realGraph are the processes of one graph.
type realGraph struct {
	t         *testing.T
	s         *natsServer
	nc        *nats.Conn
	specs     []graphSpec
	commands  []*exec.Cmd
	instances []Instance
	reports   []*fsm.Report // nil of one that has died without
}

func startGraph(t *testing.T, s *natsServer, specs []graphSpec) *realGraph {
	t.Helper()
	g := &realGraph{t: t, s: s, nc: s.connect(), specs: specs, instances: make([]Instance, len(specs)), reports: make([]*fsm.Report, len(specs))}
	for _, spec := range specs {
		config, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), graphEnv+"="+string(config), "GORACE=atexit_sleep_ms=0")
		log := new(lockedBuffer)
		c.Stderr = log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill() // if it still lives
			_ = c.Wait()
			if t.Failed() {
				t.Log(spec.Name, log)
			}
		})
		g.commands = append(g.commands, c)
	}
	eventually(t, func() error {
		list, err := List(t.Context(), g.nc, "p")
		if err != nil || len(list) < len(specs) {
			return fmt.Errorf("%v have joined: %w", list, err)
		}
		for _, i := range list {
			for n, spec := range specs {
				if spec.Name == i.Name {
					g.instances[n] = i
				}
			}
		}
		return nil
	})
	return g
}

// run asks the first process to leave, lets a fault happen, has those leave too whom it
// kept from being asked, and waits until all processes are gone.
func (g *realGraph) run(random *rand.Rand) (fault string) {
	first := make(chan error, 1)
	ctx, cancel := context.WithTimeout(g.t.Context(), generous)
	defer cancel()
	ask := func(i int, command fsm.Command) error {
		ctx, cancel := context.WithTimeout(ctx, 2*worldAlarm) // one that is frozen says nothing
		defer cancel()
		_, err := Shutdown(ctx, g.nc, g.instances[i], "", command)
		return err
	}
	go func() { first <- ask(0, fsm.Command{Reason: "test", By: "a person"}) }()
	time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
	fault, over := g.harm(random)
	<-first // unreachable, if it was killed
	for i := range g.instances[1:] {
		_ = ask(i+1, fsm.Command{Reason: "left over", By: "the test"})
	}
	over()
	for i, c := range g.commands {
		exited := make(chan struct{})
		go func() { defer close(exited); _ = c.Wait() }()
		select {
		case <-exited:
		case <-ctx.Done():
			g.t.Errorf("%s does not end", g.instances[i])
			return fault
		}
		r, err := LastReport(ctx, g.nc, g.instances[i])
		if err != nil && !errors.Is(err, ErrNotFound) {
			g.t.Error(err)
		}
		g.reports[i] = r
	}
	return fault
}

// harm is one of the faults; over ends what is left of it.
func (g *realGraph) harm(random *rand.Rand) (fault string, over func()) {
	victim := random.IntN(len(g.commands))
	process, who := g.commands[victim].Process, g.instances[victim].String()
	nothing := func() {}
	switch random.IntN(5) {
	case 0:
		_ = process.Kill()
		return who + " is killed", nothing
	case 1:
		_ = process.Signal(syscall.SIGSTOP)
		time.Sleep(400 * time.Millisecond)
		_ = process.Signal(syscall.SIGCONT)
		return who + " is frozen for a while", nothing
	case 2:
		_ = process.Signal(syscall.SIGSTOP)
		return who + " is frozen for good", func() { _ = process.Kill() }
	case 3:
		g.s.kill()
		g.s.start()
		return "the server is restarted", nothing
	}
	return "no fault", nothing
}

// world is what there is to check, of those who have a report.
func (g *realGraph) world() *world {
	w := &world{t: g.t}
	byName := map[string]*node{}
	for i, r := range g.reports {
		if r == nil {
			continue
		}
		n := &node{process: &process{member: &Member{self: g.instances[i]}}, asks: map[fsm.ID]*node{}, ran: map[fsm.ID]*ran{}, report: typed(r)}
		for _, e := range r.Events {
			if !strings.HasPrefix(string(e.From), "local-") {
				continue
			}
			if n.ran[e.From] == nil {
				n.ran[e.From] = new(ran)
			}
			switch e.Kind {
			case fsm.Started:
				n.ran[e.From].times++
				n.ran[e.From].began = e.At
			case fsm.Acked:
				n.ran[e.From].ended = e.At
			}
		}
		byName[g.instances[i].String()] = n
		w.processes = append(w.processes, n)
	}
	for i, spec := range g.specs {
		n := byName[g.instances[i].String()]
		for _, c := range spec.Components {
			if target := byName[c.Target]; n != nil && target != nil {
				n.asks[c.ID] = target
			}
		}
	}
	return w
}

// typed returns a report that was read with the error that the checks ask for.
func typed(r *fsm.Report) *fsm.Report {
	c := *r
	c.Components = slices.Clone(r.Components)
	for i, l := range c.Components {
		if l.Err != nil && strings.Contains(l.Err.Error(), ErrUnreachable.Error()) {
			c.Components[i].Err = fmt.Errorf("%w: %w", ErrUnreachable, l.Err)
		}
	}
	return &c
}
