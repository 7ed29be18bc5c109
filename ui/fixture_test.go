package ui_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// pipes is a listener in memory, so that a gateway runs in virtual time.
type pipes struct {
	mu     sync.Mutex
	last   int
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return named("127.0.0.1:5333") }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	p.last++
	from := named(fmt.Sprintf("127.0.0.1:%d", 50310+p.last))
	p.mu.Unlock()
	client, server := net.Pipe()
	select {
	case p.conns <- pipeEnd{server, from}:
		return client, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type named string

func (n named) Network() string { return "pipe" }
func (n named) String() string  { return string(n) }

type pipeEnd struct {
	net.Conn
	from named
}

func (e pipeEnd) RemoteAddr() net.Addr { return e.from }

// fixture is a running gateway.
type fixture struct {
	t         testing.TB
	o         *fsm.Orchestrator
	gateway   *ui.Gateway
	dialer    *websocket.Dialer
	url       string
	ended     chan struct{} // closed when Run has returned
	end       *ui.End
	err       error
	interrupt context.CancelFunc
}

// virtual runs a gateway on pipes. To be called in a bubble.
func virtual(t testing.TB, node ui.Node, config fsm.Config) *fixture {
	f := newFixture(t, node, config)
	f.runVirtually()
	return f
}

func (f *fixture) runVirtually() {
	p := newPipes()
	f.gateway.ServeOn(p)
	f.dialer.NetDialContext = p.dial
	f.url = "ws://localhost/"
	f.run()
}

// real runs a gateway on a real socket.
func real(t testing.TB, node ui.Node, config fsm.Config) *fixture {
	f := newFixture(t, node, config)
	f.listenAndRun()
	return f
}

func (f *fixture) listenAndRun() {
	address, err := f.gateway.Listen("127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	f.url = "ws://" + address.String() + "/"
	f.run()
}

func newFixture(t testing.TB, node ui.Node, config fsm.Config) *fixture {
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	o, err := fsm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	g, err := ui.New(ui.Config{Orchestrator: o, Node: node, Logger: config.Logger})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{
		t: t, o: o, gateway: g, ended: make(chan struct{}), dialer: &websocket.Dialer{Subprotocols: []string{"MASQNode-UIv2"}},
	}
}

func (f *fixture) run() {
	ctx, cancel := context.WithCancel(context.Background())
	f.interrupt = cancel
	go func() {
		defer close(f.ended)
		f.end, f.err = f.gateway.Run(ctx)
	}()
	f.t.Cleanup(func() {
		cancel()
		<-f.ended
	})
}

// register adds a component that acks when the returned function is called.
func (f *fixture) register(id fsm.ID, options ...fsm.Option) (ack func()) {
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	f.t.Cleanup(release)
	err := f.o.Register(id, fsm.Func(func(context.Context) error {
		<-released
		return nil
	}), options...)
	if err != nil {
		f.t.Fatal(err)
	}
	return release
}

// peer is a UI of the raw kind.
type peer struct {
	t    testing.TB
	ws   *websocket.Conn
	got  chan string // what came, and then how it ended
	gone chan struct{}
}

func (f *fixture) connect() *peer {
	f.t.Helper()
	ws, _, err := f.dialer.Dial(f.url, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	p := &peer{t: f.t, ws: ws, got: make(chan string, 10_000), gone: make(chan struct{})}
	go p.read()
	f.t.Cleanup(func() {
		_ = ws.Close()
		<-p.gone
	})
	return p
}

func (p *peer) read() {
	defer close(p.gone)
	defer close(p.got)
	for {
		_, data, err := p.ws.ReadMessage()
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok && closed.Code != websocket.CloseAbnormalClosure {
			p.got <- fmt.Sprint("close ", closed.Code)
			return
		}
		if err != nil {
			p.got <- "cut"
			return
		}
		p.got <- string(data)
	}
}

func (p *peer) send(text string) {
	p.t.Helper()
	if err := p.ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// next is what comes next. Its deadline is for a test that would hang otherwise.
func (p *peer) next() string {
	p.t.Helper()
	select {
	case text, open := <-p.got:
		if !open {
			p.t.Fatal("nothing comes any more")
		}
		return text
	case <-time.After(time.Minute):
		p.t.Fatal("nothing came for a minute")
		return ""
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	if got := p.next(); got != want {
		p.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func parseJSON(t testing.TB, data []byte) (value map[string]any) {
	t.Helper()
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// ask sends a request for the shutdown.
func (p *peer) ask() {
	p.t.Helper()
	p.send(`{"opcode":"shutdown","contextId":1,"payload":{}}`)
}

// node is what a gateway is shown in tests.
type node struct {
	mu    sync.Mutex
	stage ui.Stage
}

func (n *node) Descriptor() string { return "farewell://KEY@127.0.0.1:4000" }

func (n *node) Stage() ui.Stage {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stage
}

func (n *node) set(stage ui.Stage) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stage = stage
}

func (n *node) Graph() string { return `digraph db { "A" [style=filled]; "A" -> "B"; "B" -> "A"; }` }

func (n *node) Status() ui.NodeStatus {
	lastGossip := ui.Millis(700 * time.Millisecond)
	return ui.NodeStatus{
		Key: "A", Version: 7, LastGossip: &lastGossip,
		Peers: []ui.Peer{{
			Key: "B", Address: "127.0.0.1:4001", Neighbor: true, Connected: true,
			Gossip: map[string]uint64{"introduction": 1, "standard": 2}, Written: 812,
		}},
		Records: []ui.Record{
			{Key: "A", Version: 7, HalfNeighbors: []string{"B"}}, {Key: "B", Version: 9, HalfNeighbors: []string{"A"}},
		},
		Counters: map[string]uint64{"badSignatures": 0},
	}
}

func (n *node) Farewells() []ui.Farewell {
	return []ui.Farewell{{Key: "B", Address: "127.0.0.1:4001", Outcome: ui.Confirmed, Took: ui.Millis(time.Millisecond)}}
}
