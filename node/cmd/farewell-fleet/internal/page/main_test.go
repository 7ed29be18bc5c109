package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// generous is for what has no reason to take long, on a busy machine.
const generous = 30 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// natsServer is an embedded one that can be killed and brought back.
type natsServer struct {
	t       testing.TB
	options server.Options
	running *server.Server
}

func startServer(t testing.TB) *natsServer {
	t.Helper()
	s := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	s.start()
	s.options.Port = s.running.Addr().(*net.TCPAddr).Port // and it comes back there
	t.Cleanup(s.kill)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(generous) {
		s.t.Fatal("the server does not start")
	}
	s.running = running
}

func (s *natsServer) kill() {
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

// connect is a client that never gives up and comes back fast.
func (s *natsServer) connect(options ...nats.Option) *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.running.ClientURL(), append([]nats.Option{
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	s.t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// process is an orchestrator that has joined a group.
type process struct {
	*fsm.Orchestrator
	t      testing.TB
	nc     *nats.Conn
	member *remote.Member
}

func join(t testing.TB, nc *nats.Conn, group, name string, config fsm.Config) *process {
	t.Helper()
	config.Logger = quiet
	o, err := fsm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	member, err := remote.Join(nc, remote.Config{Group: group, Instance: name, Logger: quiet}, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{o, t, nc, member}
	t.Cleanup(func() {
		o.Force(fsm.Command{Reason: "the test is over"})
		<-member.Done()
	})
	return p
}

// stops registers a component that stops when it is let.
func (p *process) stops(id fsm.ID, stop func(ctx context.Context) error, options ...fsm.Option) {
	p.t.Helper()
	if err := p.Register(id, fsm.Func(stop), options...); err != nil {
		p.t.Fatal(err)
	}
}

// ended blocks until everything is published.
func (p *process) ended() {
	p.t.Helper()
	select {
	case <-p.member.Done():
	case <-time.After(generous):
		p.t.Fatal("it does not end")
	}
}

// takes is a component that takes so long.
func takes(d time.Duration) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return nil }
}

func fails(d time.Duration, text string) func(context.Context) error {
	return func(context.Context) error { time.Sleep(d); return errors.New(text) }
}

// waitsFor is one that waits for the test, whatever it is told.
func waitsFor(let <-chan struct{}) func(context.Context) error {
	return func(context.Context) error { <-let; return nil }
}

func instances(t testing.TB, nc *nats.Conn, group string, n int) []remote.Instance {
	t.Helper()
	var list []remote.Instance
	eventually(t, func() error {
		var err error
		if list, err = remote.List(t.Context(), nc, group); err == nil && len(list) != n {
			err = fmt.Errorf("%d instances are there, not %d", len(list), n)
		}
		return err
	})
	return list
}

// eventually polls what happens in other goroutines of others' code.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(generous)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// served is a page on a server of its own.
type served struct {
	*Page
	*httptest.Server
}

func serve(t testing.TB, nc *nats.Conn, config Config) *served {
	t.Helper()
	config.Logger = quiet
	p, err := New(nc, config)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{p, httptest.NewServer(p)}
	s.Server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(s.end)
	return s
}

func (s *served) end() {
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	defer cancel()
	_ = s.Shutdown(ctx)
	s.Close()
}

func body(t testing.TB, r io.Reader) string {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
