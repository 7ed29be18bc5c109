// Package natstest is what the tests over a real NATS server share.
package natstest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Generous is for what has no reason to take long, on a busy machine.
const Generous = 30 * time.Second

// Server is an embedded one that can be killed and brought back.
type Server struct {
	t       testing.TB
	options server.Options
	mu      sync.Mutex
	running *server.Server
}

// Start starts a server that is killed when the test ends.
func Start(t testing.TB, options ...func(*server.Options)) *Server {
	s := &Server{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	for _, option := range options {
		option(&s.options)
	}
	s.Start()
	s.options.Port = s.running.Addr().(*net.TCPAddr).Port // and it comes back there
	t.Cleanup(s.Kill)
	return s
}

// Accounts gives a server those of a configuration file, and their users.
func Accounts(t testing.TB, file string) func(*server.Options) {
	t.Helper()
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *server.Options) { o.Accounts, o.Users = options.Accounts, options.Users }
}

// Start brings it back after Kill, at the same address.
func (s *Server) Start() {
	s.t.Helper()
	options := s.options
	running, err := server.NewServer(&options)
	if err != nil {
		s.t.Fatal(err)
	}
	running.Start()
	if !running.ReadyForConnections(Generous) {
		s.t.Fatal("the server does not start")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = running
}

// Kill stops it, and returns when it has.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running.Shutdown()
	s.running.WaitForShutdown()
}

// Running is the server as it runs now.
func (s *Server) Running() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// URL is where clients find it.
func (s *Server) URL() string { return s.running.ClientURL() }

// Connect is a client that never gives up and comes back fast.
func (s *Server) Connect(options ...nats.Option) *nats.Conn {
	return Connect(s.t, s.URL(), options...)
}

// Connect is a client that never gives up and comes back fast, and is closed when the test ends.
func Connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
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

// Eventually polls what happens in other goroutines of others' code.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Generous)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

// String returns what was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
