package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// Deadline is what every program of the fault table is given to end in.
const Deadline = time.Second

// own is what a component gives itself where a library leaves that to it: less
// than the whole, so that both do not end in the same instant.
const own = Deadline * 8 / 10

// Fault is what goes wrong, always in the database.
type Fault string

// The faults, in the order of the table.
const (
	Hang         Fault = "hang"                // its Shutdown waits until its ctx ends
	Fail         Fault = "error"               // its Shutdown returns an error
	Panic        Fault = "panic"               // its Shutdown panics
	Slow         Fault = "slow"                // its Shutdown takes six tenths of the deadline, whatever ctx says
	IgnoresCtx   Fault = "ignores ctx"         // its Shutdown never returns
	Goexit       Fault = "Goexit"              // its Shutdown calls runtime.Goexit
	Dies         Fault = "dies while running"  // its Run returns an error
	FailsAtStart Fault = "fails at start-up"   // its Start returns an error, every time
	SignalAtOnce Fault = "SIGTERM at start-up" // its Start waits for its ctx, and SIGTERM comes meanwhile
	StalledLog   Fault = "stalled log"         // nothing: but nobody reads what the program logs, and the pipe is full
	None         Fault = "none"                // nothing at all; not in the table
)

// Faults lists them.
var Faults = []Fault{Hang, Fail, Panic, Slow, IgnoresCtx, Goexit, Dies, FailsAtStart, SignalAtOnce, StalledLog}

// Culprit is who has the fault.
const Culprit = "database"

// Names of the components, in the order of start-up.
var Names = []string{"telemetry", "cache", Culprit, "worker", "web"}

// Component is what every program of the fault table is made of: like
// http.Server, it is started, serves until its Shutdown is called or it dies, and
// is shut down. None of its errors says whose it is.
type Component interface {
	Name() string
	Start(ctx context.Context) error
	Run() error
	Shutdown(ctx context.Context) error
}

// The components have types of their own, as in a real program, so that a stack,
// and whoever prints types, shows whose it is.
type (
	Telemetry struct{ *part }
	Cache     struct{ *part }
	Database  struct{ *part }
	Worker    struct{ *part }
	Web       struct{ *part }
)

func (c *Telemetry) Shutdown(ctx context.Context) error { return c.shutdown(ctx) }
func (c *Cache) Shutdown(ctx context.Context) error     { return c.shutdown(ctx) }
func (c *Database) Shutdown(ctx context.Context) error  { return c.shutdown(ctx) }
func (c *Worker) Shutdown(ctx context.Context) error    { return c.shutdown(ctx) }
func (c *Web) Shutdown(ctx context.Context) error       { return c.shutdown(ctx) }

// Parts are the components of one program.
type Parts struct {
	Telemetry *Telemetry
	Cache     *Cache    // needs telemetry
	Database  *Database // needs telemetry
	Worker    *Worker   // needs the database
	Web       *Web      // needs the database and the cache
}

// NewParts makes the components. What happens to them is written to out, a line
// each: "up X", "ready", "fault", "restarted X", "stopped X".
func NewParts(fault Fault, out io.Writer) *Parts {
	r := &record{out: out, ready: make(chan struct{})}
	called := func(name string) *part { return &part{name: name, fault: fault, record: r} }
	return &Parts{
		&Telemetry{called("telemetry")}, &Cache{called("cache")}, &Database{called(Culprit)}, &Worker{called("worker")},
		&Web{called("web")},
	}
}

// All returns the components in the order of start-up.
func (p *Parts) All() []Component {
	return []Component{p.Telemetry, p.Cache, p.Database, p.Worker, p.Web}
}

// needs says which components one needs while it runs.
var needs = map[string][]string{
	"cache": {"telemetry"}, Culprit: {"telemetry"}, "worker": {Culprit}, "web": {Culprit, "cache"},
}

// record tells the parent what happens.
type record struct {
	mu    sync.Mutex
	out   io.Writer
	up    int
	ready chan struct{} // closed when all are up
}

func (r *record) write(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format+"\n", args...)
}

func (r *record) isUp(name string) {
	r.write("up %s", name)
	r.mu.Lock()
	r.up++
	all := r.up == len(Names)
	r.mu.Unlock()
	if all {
		r.write("ready")
		close(r.ready)
	}
}

// part is what all components have in common.
type part struct {
	name  string
	fault Fault
	*record

	mu       sync.Mutex
	starts   int
	up       bool
	closed   bool          // Shutdown was called: whoever starts and runs it later comes too late, as with an http.Server
	stopping chan struct{} // closed when Shutdown is called; of the last start
}

func (p *part) Name() string { return p.name }

// String is for those who ask for it.
func (p *part) String() string { return p.name }

func (p *part) has(fault Fault) bool { return p.fault == fault && p.name == Culprit }

func (p *part) Start(ctx context.Context) error {
	switch {
	case p.has(FailsAtStart):
		p.write("fault")
		return errors.New("no such host")
	case p.has(SignalAtOnce):
		p.write("starting")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
		}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.starts++
	again := p.starts > 1
	p.up, p.stopping = true, make(chan struct{})
	p.mu.Unlock()
	if again {
		p.write("restarted %s", p.name)
		return nil
	}
	p.isUp(p.name)
	return nil
}

func (p *part) Run() error {
	p.mu.Lock()
	stopping, first, closed := p.stopping, p.starts == 1, p.closed
	p.mu.Unlock()
	if closed {
		return nil
	}
	if p.has(Dies) && first {
		<-p.ready
		time.Sleep(100 * time.Millisecond)
		p.mu.Lock()
		p.up = false
		p.mu.Unlock()
		p.write("fault")
		return errors.New("connection lost")
	}
	<-stopping
	return nil
}

// shutdown does nothing to what is not up.
func (p *part) shutdown(ctx context.Context) error {
	p.mu.Lock()
	up := p.up
	p.closed = true
	if p.up {
		p.up = false
		close(p.stopping)
	}
	p.mu.Unlock()
	if !up {
		return nil
	}
	if err := p.finish(ctx); err != nil {
		return err
	}
	p.write("stopped %s", p.name)
	return nil
}

func (p *part) finish(ctx context.Context) error {
	switch {
	case p.has(Hang):
		<-ctx.Done()
		return context.Cause(ctx)
	case p.has(Fail):
		return errors.New("disk is full")
	case p.has(Panic):
		panic("index out of range")
	case p.has(Slow):
		time.Sleep(Deadline * 6 / 10)
	case p.has(IgnoresCtx):
		select {}
	case p.has(Goexit):
		runtime.Goexit()
	}
	return nil
}
