package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// A thousand instances, fifty at once.
func TestManyInstances(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	simulation{instances: n, connections: 20, atOnce: 50}.run(t)
}

// Ten thousand, five hundred at once.
func TestSoakTenThousandInstances(t *testing.T) {
	if os.Getenv("FAREWELL_SOAK") == "" {
		t.Skip("FAREWELL_SOAK is not set: make soak")
	}
	simulation{instances: 10_000, connections: 100, atOnce: 500}.run(t)
}

// simulation is a group of real orchestrators that have joined over one embedded
// server, in this process, and share connections.
type simulation struct{ instances, connections, atOnce int }

func (s simulation) run(t *testing.T) {
	server := natstest.Start(t)
	nc := server.Connect()
	// An entry is renewed three times per TTL: this is the only load of those that do nothing.
	if err := Setup(t.Context(), nc, remote.Registry{TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	var g gauge
	before, began := rss(t), time.Now()
	members := s.join(t, server, &g)
	t.Logf("%d have joined in %v", s.instances, time.Since(began).Round(time.Millisecond))
	each := (rss(t) - before) / s.instances
	t.Logf("memory: %d MiB before, %d KiB more per instance, with its part of the server", before>>20, each>>10)

	began = time.Now()
	list := must(remote.List(t.Context(), nc, "api"))(t)
	t.Logf("remote.List: %v", time.Since(began).Round(time.Millisecond))
	if len(list) != s.instances {
		t.Fatalf("listed are %d", len(list))
	}

	began, before = time.Now(), rss(t)
	d := begin1(t, nc, Plan{AtOnce: Count(s.atOnce)}, Options{})
	t.Logf("Begin: %v", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // half of them, and then somebody else takes it up
		left := 0
		for p := range d.Progress(ctx) {
			if p.State == Left {
				if left++; left == s.instances/2 {
					cancel()
				}
			}
		}
	}()
	r := must(d.Run(ctx))(t)
	if left := r.Count(Left); left < s.instances/2 || left == s.instances || r.Count(Skipped) != s.instances-left || r.Stopped == "" {
		t.Fatalf("half of it is\n%s", r)
	}
	resumed := time.Now()
	d = must(Resume(t.Context(), nc, "api", Options{}.quiet()))(t)
	t.Logf("Resume, in the middle: %v", time.Since(resumed).Round(time.Millisecond))
	half := d.Report().Count(Waiting)
	r = must(d.Run(t.Context()))(t)
	took := time.Since(began)
	if r.Count(Left) != s.instances || r.ExitCode() != 0 || r.Stopped != "" {
		t.Fatalf("got\n%s", r)
	}
	t.Logf("Run, %d at once: %v, %.0f a second, %v each of those that were asked at once", s.atOnce, took.Round(time.Millisecond),
		float64(s.instances)/took.Seconds(), (took / time.Duration(s.instances/s.atOnce)).Round(time.Millisecond))
	t.Logf("the drain, its report, its progress and all that has ended take %d KiB more per instance", (rss(t)-before)/s.instances>>10)
	if int(g.most.Load()) > s.atOnce || int(g.times.Load()) != s.instances {
		t.Errorf("%d shut down, %d at once", g.times.Load(), g.most.Load())
	}
	for _, m := range members {
		if c := m.requests(); len(c) != 1 {
			t.Errorf("%s was asked %d times", m.member.Instance(), len(c))
		}
	}
	steps := map[InstanceState]int{}
	for p := range d.Progress(t.Context()) {
		steps[p.State]++
	}
	if len(steps) != 3 || steps[Waiting] != half || steps[Asked] != half || steps[Left] != s.instances {
		t.Errorf("the progress was %v", steps)
	}
	began = time.Now()
	if st := must(Current(t.Context(), nc, "api"))(t); !st.Finished || st.Done != s.instances {
		t.Errorf("it stands so: %+v", st)
	}
	t.Logf("Current: %v", time.Since(began).Round(time.Millisecond))
}

// join has all join, one after the other on each connection.
func (s simulation) join(t *testing.T, server *natstest.Server, g *gauge) (members []*process) {
	var mu sync.Mutex
	var joining sync.WaitGroup
	for c := range s.connections {
		nc := server.Connect()
		joining.Go(func() {
			for i := c; i < s.instances; i += s.connections {
				m := joinSimulated(t, nc, fmt.Sprint("api-", i), g)
				for m != nil && m.member.Instance().Born == 0 {
					time.Sleep(time.Millisecond)
				}
				mu.Lock()
				members = append(members, m)
				mu.Unlock()
			}
		})
	}
	joining.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return members
}

func joinSimulated(t testing.TB, nc *nats.Conn, name string, g *gauge) *process {
	quiet := slog.New(slog.DiscardHandler)
	o, err := fsm.New(fsm.Config{Alarm: 2 * generous, Logger: quiet})
	if err != nil {
		t.Error(err)
		return nil
	}
	member, err := remote.Join(nc, remote.Config{Group: "api", Instance: name, Logger: quiet}, o)
	if err == nil {
		err = o.Register("db", fsm.Func(func(context.Context) error {
			g.enter()
			g.leave()
			return nil
		}))
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	return &process{o, t, member}
}

// rss is the memory that this process takes, in bytes; 0 where it cannot be told.
func rss(t *testing.T) int {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
