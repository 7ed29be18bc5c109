package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is what there is at the other end.
type process struct {
	o       *fsm.Orchestrator
	gateway *ui.Gateway
	address string
	node    *node
}

type node struct{ stage ui.Stage }

func (*node) Descriptor() string    { return "farewell://KEY@127.0.0.1:4000" }
func (n *node) Stage() ui.Stage     { return n.stage }
func (*node) Graph() string         { return "digraph db { }" }
func (*node) Status() ui.NodeStatus { return ui.NodeStatus{Key: "KEY", Version: 1<<64 - 1} }
func (*node) Farewells() []ui.Farewell {
	return []ui.Farewell{{Key: "B", Outcome: ui.NotReached, Took: ui.Millis(1500 * time.Microsecond), Error: "it hung"}}
}

func start(t *testing.T) *process {
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	o, err := fsm.New(fsm.Config{Logger: logger, Alarm: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{stage: ui.RouteFound}
	g, err := ui.New(ui.Config{Orchestrator: o, Node: n, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	address, err := g.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = g.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return &process{o, g, address.String(), n}
}

func dial(t *testing.T, address string, options ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestAddresses(t *testing.T) {
	p := start(t)
	_, port, _ := net.SplitHostPort(p.address)
	for _, address := range []string{
		port, p.address, "localhost:" + port, "ws://" + p.address, "http://" + p.address + "/#token", "ws://" + p.address + "/UI",
	} {
		c := dial(t, address)
		if _, err := c.Status(t.Context()); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestBadAddresses(t *testing.T) {
	for _, address := range []string{
		"", "0", "70000", "99999999999999999999", "-1", "localhost", "localhost:", "localhost:70000", "localhost:http", ":5333",
		"::1:5333", "unix:", "http://", "http://%zz", "http://localhost:70000", "ws://me:word@localhost:5333", "ftp://127.0.0.1:1",
	} {
		if _, err := client.Dial(t.Context(), address); !errors.Is(err, client.ErrBadAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestQuestions(t *testing.T) {
	p := start(t)
	c := dial(t, p.address, client.Token("which nobody wants"))
	ctx := t.Context()
	if got, err := c.Descriptor(ctx); err != nil || got != p.node.Descriptor() {
		t.Error(got, err)
	}
	if got, err := c.Stage(ctx); err != nil || got != ui.RouteFound {
		t.Error(got, err)
	}
	if got, err := c.Graph(ctx); err != nil || got != p.node.Graph() {
		t.Error(got, err)
	}
	status, err := c.Status(ctx)
	if err != nil || status.Node.Version != 1<<64-1 || status.UIs != 1 || status.Report.State != fsm.Running {
		t.Error(status, err)
	}
	var answer struct{ Stage ui.Stage }
	if err := c.Call(ctx, "connectionStatus", map[string]int{"ignored": 1}, &answer); err != nil || answer.Stage != ui.RouteFound {
		t.Error(answer, err)
	}
	var no *client.Error
	if err := c.Call(ctx, "setup", nil, nil); !errors.As(err, &no) || no.Code != 1<<63+4 {
		t.Error(err)
	}
	if err := c.Call(ctx, "status", []int{1}, nil); !errors.As(err, &no) {
		t.Error(err)
	}
	if err := c.Call(ctx, "status", func() {}, nil); err == nil {
		t.Error("a request that cannot be encoded was sent")
	}
}

func TestShutdown(t *testing.T) {
	p := start(t)
	if err := p.o.Register("db", fsm.Func(func(context.Context) error { return errors.New("disk full") })); err != nil {
		t.Fatal(err)
	}
	watcher := dial(t, p.address)
	watched := make(chan *ui.Goodbye)
	go func() {
		goodbye, err := watcher.Watch(context.Background(), func(fsm.Event) {})
		if err != nil {
			t.Error(err)
		}
		watched <- goodbye
	}()
	c := dial(t, p.address)
	var kinds []fsm.Kind
	goodbye, err := c.Shutdown(t.Context(), "deploy 42", func(e fsm.Event) { kinds = append(kinds, e.Kind) })
	if err != nil {
		t.Fatal(err)
	}
	want := []fsm.Kind{fsm.ShutdownRequested, fsm.Withdrawn, fsm.Started, fsm.Acked, fsm.AllAcked}
	if !slices.Equal(kinds, want) {
		t.Errorf("saw %v, want %v", kinds, want)
	}
	if r := goodbye.Report; r.Command.Reason != "deploy 42" || r.ExitCode() != fsm.ExitImpolite {
		t.Error(r)
	}
	if f := goodbye.Farewells; len(f) != 1 || f[0] != p.node.Farewells()[0] {
		t.Error(f)
	}
	if seen := <-watched; seen.Report.String() != goodbye.Report.String() {
		t.Errorf("the watcher was told %s", seen.Report)
	}
}

// Whoever follows a shutdown that goes on is told whom it waits for, again and again,
// also if it comes late.
func TestWaiting(t *testing.T) {
	p := start(t)
	release, begun := make(chan struct{}), make(chan struct{})
	slow := fsm.Func(func(context.Context) error { close(begun); <-release; return nil })
	if err := p.o.Register("db", slow); err != nil {
		t.Fatal(err)
	}
	var told sync.WaitGroup // each twice
	var follow sync.WaitGroup
	see := func(what func(*client.Client) error) {
		told.Add(2)
		times := 0
		c := dial(t, p.address, client.OnWaiting(func(s *ui.Status) {
			if times++; times <= 2 {
				told.Done()
			}
			if took := s.Report.Took; took < time.Second {
				t.Errorf("told after %v", took)
			}
			if len(s.Report.Components) != 1 || s.Report.Components[0].Outcome != fsm.OutcomeStopping {
				t.Errorf("told of %v", s.Report)
			}
		}))
		follow.Go(func() {
			if err := what(c); err != nil {
				t.Error(err)
			}
		})
	}
	see(func(c *client.Client) error { _, err := c.Shutdown(t.Context(), "", nil); return err })
	<-begun
	see(func(c *client.Client) error { _, err := c.Watch(t.Context(), nil); return err })
	told.Wait()
	close(release)
	follow.Wait()
}

func TestWatchAfterTheFact(t *testing.T) {
	p := start(t)
	c := dial(t, p.address)
	p.o.Request(fsm.Command{Reason: "before"})
	<-p.o.Done()
	n := 0
	goodbye, err := c.Watch(t.Context(), func(fsm.Event) { n++ })
	if err != nil || n != len(goodbye.Report.Events) {
		t.Errorf("%d events, %v", n, err)
	}
}

func TestBroadcasts(t *testing.T) {
	p := start(t)
	came := make(chan string, 1)
	c := dial(t, p.address, client.OnBroadcast(func(opcode string, payload json.RawMessage) {
		came <- opcode + " " + string(payload)
	}))
	if _, err := c.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.gateway.ConnectionChanged()
	if got := <-came; got != `connectionChange {"stage":"RouteFound"}` {
		t.Error(got)
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	for address, why := range map[string]error{
		listener.Addr().String(): syscall.ECONNREFUSED, "unix:" + t.TempDir() + "/none": syscall.ENOENT,
	} {
		_, err := client.Dial(t.Context(), address)
		if !errors.Is(err, client.ErrNobodyThere) || !errors.Is(err, why) || strings.Count(err.Error(), address) != 1 {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestRefused(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	upgrader := websocket.Upgrader{}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			ws.Close()
		}
	}))
	defer plain.Close()
	for _, server := range []*httptest.Server{other, plain} {
		if _, err := client.Dial(t.Context(), server.URL); !errors.Is(err, client.ErrRefused) {
			t.Error(err)
		}
	}
}

// silent is a process that accepts a connection, and says nothing more after
// having upgraded it.
func silent(t *testing.T, then func(*websocket.Conn)) (address string) {
	upgrader := websocket.Upgrader{Subprotocols: []string{ui.Subprotocol}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			then(ws)
			ws.Close()
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestWedged(t *testing.T) {
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody else does
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	if _, err := client.Dial(soon, address); !errors.Is(err, client.ErrWedged) ||
		err.Error() != "client: "+address+": no answer in time" {
		t.Error(err)
	}
	c := dial(t, silent(t, func(ws *websocket.Conn) {
		for _, _, err := ws.ReadMessage(); err == nil; _, _, err = ws.ReadMessage() {
		}
	}))
	if _, err := c.Status(soon); !errors.Is(err, client.ErrWedged) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := c.Shutdown(soon, "", nil); !errors.Is(err, client.ErrWedged) {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Dial(cancelled, listener.Addr().String()); !errors.Is(err, context.Canceled) || errors.Is(err, client.ErrNobodyThere) {
		t.Error(err)
	}
	if _, err := c.Watch(cancelled, nil); errors.Is(err, client.ErrWedged) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestGone(t *testing.T) {
	address := silent(t, func(ws *websocket.Conn) { _, _, _ = ws.ReadMessage() })
	c := dial(t, address)
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrGone) || !strings.HasPrefix(err.Error(), "client: status: ") {
		t.Error(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, client.ErrGone) {
		t.Error(err)
	}
	address = silent(t, func(ws *websocket.Conn) {
		_, _, _ = ws.ReadMessage()
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"opcode":"watch","contextId":1,"payload":{"alarmMs":5000}}`))
		_, _, _ = ws.ReadMessage()
	})
	if _, err := dial(t, address).Shutdown(t.Context(), "", nil); !errors.Is(err, client.ErrGone) {
		t.Error(err)
	}
}

// A process that does not read a request because it is too long is not gone, and
// the client can tell.
func TestTooLong(t *testing.T) {
	p := start(t)
	for _, kib := range []int{64, 65, 120, 5 << 10} {
		reason := strings.Repeat("r", kib<<10)
		_, err := dial(t, p.address).Shutdown(t.Context(), reason, nil)
		if !errors.Is(err, client.ErrTooLong) || errors.Is(err, client.ErrGone) {
			t.Errorf("%d KiB: %v", kib, err)
		}
		var answer struct{}
		if err := dial(t, p.address).Call(t.Context(), reason, nil, &answer); !errors.Is(err, client.ErrTooLong) {
			t.Errorf("an opcode of %d KiB: %.100v", kib, err)
		}
	}
	if p.o.State() != fsm.Running {
		t.Error("a request that was not read shut the process down")
	}
}

func TestConcurrentCalls(t *testing.T) {
	c := dial(t, start(t).address)
	errs := make(chan error)
	for range 50 {
		go func() {
			_, err := c.Graph(t.Context())
			errs <- err
		}()
	}
	for range 50 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
