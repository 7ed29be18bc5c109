package remote

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		child(config)
	}
	goleak.VerifyTestMain(m)
}

// generous is for what has no reason to take long, on a busy machine.
const generous = 30 * time.Second

// natsServer is an embedded one that can be killed and brought back.
type natsServer struct {
	t       testing.TB
	options server.Options
	mu      sync.Mutex
	running *server.Server
}

func startServer(t testing.TB, options ...func(*server.Options)) *natsServer {
	s := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	for _, option := range options {
		option(&s.options)
	}
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
}

func (s *natsServer) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

func (s *natsServer) url() string { return s.running.ClientURL() }

// connect is a client that never gives up and comes back fast.
func (s *natsServer) connect(options ...nats.Option) *nats.Conn {
	return connect(s.t, s.url(), options...)
}

func connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, append([]nats.Option{
		nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) })
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc
}

// process is an orchestrator that has joined a group, over a connection of its own.
type process struct {
	*fsm.Orchestrator
	t      testing.TB
	nc     *nats.Conn
	member *Member
	log    *lockedBuffer
}

func (s *natsServer) process(name string, config fsm.Config) *process {
	s.t.Helper()
	return newProcess(s.t, s.connect(nats.Name(name)), name, config)
}

func newProcess(t testing.TB, nc *nats.Conn, name string, config fsm.Config) *process {
	t.Helper()
	p := &process{t: t, nc: nc, log: new(lockedBuffer)}
	config.Logger = slog.New(slog.NewTextHandler(p.log, nil))
	o, err := fsm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	who, err := parseName(name)
	if err != nil {
		t.Fatal(err)
	}
	p.Orchestrator = o
	p.member, err = Join(nc, Config{Group: who.Group, Instance: who.Name, Logger: config.Logger}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Force(fsm.Command{Reason: "the test is over"})
		<-p.member.Done()
	})
	return p
}

// register registers what must not be refused.
func (p *process) register(id fsm.ID, c fsm.Component, options ...fsm.Option) {
	p.t.Helper()
	if err := p.Register(id, c, options...); err != nil {
		p.t.Fatal(err)
	}
}

// ended returns the final report, when everything is published.
func (p *process) ended() *fsm.Report {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	defer cancel()
	r, err := p.Wait(ctx)
	if err != nil {
		p.t.Fatalf("%s does not end: %v\n%s\n%s", p.member.self, err, r, p.log)
	}
	<-p.member.Done()
	return r
}

// listed blocks until exactly these instances are in the registry.
func listed(t testing.TB, nc *nats.Conn, group string, names ...string) []Instance {
	t.Helper()
	var got []Instance
	eventually(t, func() error {
		var err error
		if got, err = List(t.Context(), nc, group); err != nil {
			return err
		}
		var found []string
		for _, i := range got {
			found = append(found, i.String())
		}
		if strings.Join(found, " ") != strings.Join(names, " ") {
			return errors.New("listed are: " + strings.Join(found, " "))
		}
		return nil
	})
	return got
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

func logged(t testing.TB, p *process, text string) {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(p.log.String(), text) {
			return errors.New(text + " is not in the log:\n" + p.log.String())
		}
		return nil
	})
}

func line(t testing.TB, r *fsm.Report, id fsm.ID) fsm.ComponentReport {
	t.Helper()
	for _, l := range r.Components {
		if l.ID == id {
			return l
		}
	}
	t.Fatalf("there is no %q in the report:\n%s", string(id), r)
	return fsm.ComponentReport{}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
