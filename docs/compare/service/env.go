// Package service is one small service: HTTP with a slow handler and a WebSocket,
// gRPC, a database pool, telemetry, readiness. Its parts stand here; how they are
// started and stopped stands in a file for each library, and that is what is
// counted and tried.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// What every version keeps to.
const (
	Deadline = 3 * time.Second        // from the signal to the end of the process
	Drain    = 500 * time.Millisecond // from not ready to the listeners closed: for load balancers to notice
	WorkTime = time.Second            // of a request: longer than the drain
)

// What can be wrong with the service's surroundings.
const (
	NoFault      = ""
	NoDatabase   = "no database" // it cannot be connected to
	HungDatabase = "hung"        // its Close never returns
	DeadListener = "dead"        // gRPC's fails while the service runs
)

// deadAfter is long enough for the service to be up.
const deadAfter = 300 * time.Millisecond

// Env is what the service runs in. What happens is written to Record, a line each.
type Env struct {
	Fault  string
	Record io.Writer

	mu sync.Mutex
}

func (e *Env) happens(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintf(e.Record, format+"\n", args...)
}

// Listen binds a port on loopback; name is "http" or "grpc".
func (e *Env) Listen(name string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e.happens("%s %s", name, l.Addr())
	if name == "grpc" && e.Fault == DeadListener {
		time.AfterFunc(deadAfter, func() { _ = l.Close() })
	}
	return l, nil
}

// Ready is whether the service is, as its readiness check answers.
type Ready struct{ is atomic.Bool }

// Set changes it; at first it is not.
func (r *Ready) Set(ready bool) { r.is.Store(ready) }

func (r *Ready) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.is.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// Telemetry stands in for an exporter of traces: what is recorded after its Shutdown
// is lost.
type Telemetry struct {
	env  *Env
	shut atomic.Bool
}

// NewTelemetry returns one that takes spans.
func (e *Env) NewTelemetry() *Telemetry { return &Telemetry{env: e} }

// Span records that something was done.
func (t *Telemetry) Span() {
	if t.shut.Load() {
		t.env.happens("span lost")
	}
}

// Shutdown exports what is left.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	select {
	case <-time.After(10 * time.Millisecond):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.shut.Store(true)
	t.env.happens("telemetry flushed")
	return nil
}

// Pool stands in for a pool of database connections.
type Pool struct {
	env    *Env
	mu     sync.RWMutex // held for reading by queries
	closed bool
}

// NewPool returns one that is not connected.
func (e *Env) NewPool() *Pool { return &Pool{env: e} }

// OpenPool is NewPool and Connect.
func (e *Env) OpenPool(ctx context.Context) (*Pool, error) {
	pool := e.NewPool()
	if err := pool.Connect(ctx); err != nil {
		return nil, err
	}
	return pool, nil
}

// Connect connects.
func (p *Pool) Connect(ctx context.Context) error {
	if p.env.Fault == NoDatabase {
		return errors.New("connection refused")
	}
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Query asks the database something.
func (p *Pool) Query(context.Context) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		p.env.happens("query lost")
		return errors.New("the pool is closed")
	}
	time.Sleep(time.Millisecond)
	return nil
}

// Close waits for the queries under way. It takes no ctx, as those of real pools.
func (p *Pool) Close() {
	if p.env.Fault == HungDatabase {
		select {}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.env.happens("pool closed")
}

// backend is what requests need.
type backend struct {
	pool      *Pool
	telemetry *Telemetry
}

func (b backend) work(ctx context.Context) error {
	time.Sleep(WorkTime)
	defer b.telemetry.Span()
	return b.pool.Query(ctx)
}

// NewWeb returns the HTTP server, and the WebSockets that it has taken over, which
// its Shutdown neither waits for nor closes.
func (e *Env) NewWeb(pool *Pool, telemetry *Telemetry, ready http.Handler) (*http.Server, *Sockets) {
	b := backend{pool, telemetry}
	sockets := &Sockets{backend: b, open: map[*websocket.Conn]struct{}{}}
	mux := http.NewServeMux()
	mux.Handle("/ready", ready)
	mux.Handle("/ws", sockets)
	mux.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		if err := b.work(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return &http.Server{Handler: mux}, sockets
}

// Sockets are the open WebSockets. Each message is answered.
type Sockets struct {
	backend
	mu       sync.Mutex
	shut     bool
	open     map[*websocket.Conn]struct{}
	handlers sync.WaitGroup
}

func (s *Sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	s.mu.Lock()
	if s.shut {
		s.mu.Unlock()
		return
	}
	s.open[ws] = struct{}{}
	s.handlers.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.open, ws)
		s.mu.Unlock()
		s.handlers.Done()
	}()
	for {
		kind, text, err := ws.ReadMessage()
		if err != nil || s.pool.Query(r.Context()) != nil || ws.WriteMessage(kind, text) != nil {
			return
		}
		s.telemetry.Span()
	}
}

// Shutdown says good-bye on all, and waits until the other ends have too, or ctx is
// done.
func (s *Sockets) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.shut = true
	goodbye := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	for ws := range s.open {
		_ = ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(time.Second))
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() { s.handlers.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		for ws := range s.open {
			_ = ws.Close()
		}
		return context.Cause(ctx)
	}
}

// WorkMethod is the one that the gRPC server has.
const WorkMethod = "/compare.Service/Work"

// NewRPC returns the gRPC server.
func (e *Env) NewRPC(pool *Pool, telemetry *Telemetry) *grpc.Server {
	b := backend{pool, telemetry}
	server := grpc.NewServer()
	work := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		answer := new(emptypb.Empty)
		if err := decode(answer); err != nil {
			return nil, err
		}
		return answer, b.work(ctx)
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "compare.Service", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Work", Handler: work}},
	}, nil)
	return server
}
