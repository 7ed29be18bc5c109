package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// gatewaySettings are those of the gateway tables.
type gatewaySettings struct {
	roundTrips int
	watchers   int
	events     int
}

const (
	// apart is longer than the gateway gives an answer again (10 ms), and than it
	// makes a UI wait that asks more than 100 times a second.
	apart = 11 * time.Millisecond
	// burst is how often a UI may ask without being made to wait, and less than that.
	burst = 100
)

// socketServer is a way to serve WebSockets.
type socketServer struct {
	name string
	// open returns the URL of a server. What has come to a connection is echoed.
	open func() (*sockets, error)
}

// sockets is a server with nothing around its library.
type sockets struct {
	url   string
	close func()
	// send writes one message to all connections.
	send func(text []byte) error
}

// gorillaConn takes one writer at a time, as gorilla asks for.
type gorillaConn struct {
	*gorilla.Conn
	writing sync.Mutex
}

func (c *gorillaConn) write(write func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return write()
}

// openGorilla serves with bare gorilla/websocket.
func openGorilla() (*sockets, error) {
	var mu sync.Mutex
	var conns []*gorillaConn
	upgrader := gorilla.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgraded, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		ws := &gorillaConn{Conn: upgraded}
		defer ws.Close()
		mu.Lock()
		conns = append(conns, ws)
		mu.Unlock()
		for {
			kind, text, err := ws.ReadMessage()
			if err != nil || ws.write(func() error { return ws.WriteMessage(kind, text) }) != nil {
				return
			}
		}
	}))
	return &sockets{
		url: webSocketURL(server.URL), close: server.CloseClientConnections,
		send: func(text []byte) error {
			prepared, err := gorilla.NewPreparedMessage(gorilla.TextMessage, text)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, ws := range conns {
				if err := ws.write(func() error { return ws.WritePreparedMessage(prepared) }); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

// openCoder serves with bare coder/websocket.
func openCoder() (*sockets, error) {
	var mu sync.Mutex
	var conns []*coder.Conn
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := coder.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		mu.Lock()
		conns = append(conns, ws)
		mu.Unlock()
		for {
			kind, text, err := ws.Read(context.Background())
			if err != nil || ws.Write(context.Background(), kind, text) != nil {
				return
			}
		}
	}))
	return &sockets{
		url: webSocketURL(server.URL), close: server.CloseClientConnections,
		send: func(text []byte) error {
			mu.Lock()
			defer mu.Unlock()
			for _, ws := range conns {
				if err := ws.Write(context.Background(), coder.MessageText, text); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

func webSocketURL(url string) string { return strings.Replace(url, "http", "ws", 1) }

// gateway is ours, with components that wait to be let go.
type gateway struct {
	url    string
	let    chan struct{} // one component acks for each receive
	o      *fsm.Orchestrator
	cancel context.CancelFunc
	ended  chan struct{}
}

// openGateway serves an orchestrator with that many components, each ordered after
// the one before, so that they ack one by one.
func openGateway(components int) (*gateway, error) {
	logger := slog.New(slog.DiscardHandler)
	o, err := fsm.New(fsm.Config{Alarm: time.Hour, Logger: logger})
	if err != nil {
		return nil, err
	}
	g := &gateway{let: make(chan struct{}), o: o, ended: make(chan struct{})}
	for i := range components {
		var after []fsm.Option
		if i > 0 {
			after = append(after, fsm.After(fsm.ID(fmt.Sprint("component", i-1))))
		}
		wait := fsm.Func(func(ctx context.Context) error {
			select {
			case <-g.let:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err := o.Register(fsm.ID(fmt.Sprint("component", i)), wait, after...); err != nil {
			return nil, err
		}
	}
	served, err := ui.New(ui.Config{Orchestrator: o, Logger: logger})
	if err != nil {
		return nil, err
	}
	address, err := served.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g.url = "ws://" + address.String() + "/"
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	go func() { defer close(g.ended); _, _ = served.Run(ctx) }()
	return g, nil
}

func (g *gateway) close() {
	g.o.Force(fsm.Command{Reason: "the measurement is over"})
	g.cancel()
	<-g.ended
}

// dial connects with gorilla: the same client for all.
func dial(url string) (*gorilla.Conn, error) {
	dialer := gorilla.Dialer{Subprotocols: []string{ui.Subprotocol}}
	ws, _, err := dialer.Dial(url, nil)
	return ws, err
}

func roundTrip(ws *gorilla.Conn, request []byte) ([]byte, error) {
	if err := ws.WriteMessage(gorilla.TextMessage, request); err != nil {
		return nil, err
	}
	_, answer, err := ws.ReadMessage()
	return answer, err
}

func gatewayTables(_ context.Context, s settings) ([]*table, error) {
	progress("gateway: a status round trip")
	status, err := statusTable(s.gateway)
	if err != nil {
		return nil, fmt.Errorf("gateway: status: %w", err)
	}
	progress("gateway: %d watchers", s.gateway.watchers)
	watch, err := watchTable(s.gateway)
	if err != nil {
		return nil, fmt.Errorf("gateway: watchers: %w", err)
	}
	return []*table{status, watch}, nil
}

// askable is one server that is asked.
type askable struct {
	name    string
	url     string
	request []byte
}

// statusServers are the gateway, and bare servers that echo what is as long as its
// answer.
func statusServers(components int) (all []askable, size int, closeAll func(), err error) {
	var closers []func()
	closeAll = func() {
		for _, f := range closers {
			f()
		}
	}
	g, err := openGateway(components)
	if err != nil {
		return nil, 0, closeAll, err
	}
	closers = append(closers, g.close)
	ours := askable{"this gateway, status", g.url, []byte(`{"opcode":"status","contextId":1,"payload":{}}`)}
	answer, err := askAfresh(ours, 1, nil)
	if err != nil {
		return nil, 0, closeAll, err
	}
	all = append(all, ours)
	for _, server := range []socketServer{{"bare gorilla, echo", openGorilla}, {"bare coder/websocket, echo", openCoder}} {
		bare, err := server.open()
		if err != nil {
			return nil, 0, closeAll, err
		}
		closers = append(closers, bare.close)
		all = append(all, askable{server.name, bare.url, bytes.Repeat([]byte("x"), len(answer))})
	}
	return all, len(answer), closeAll, nil
}

// askAfresh asks over a connection of its own, and returns the last answer.
func askAfresh(a askable, times int, took *[]time.Duration) (answer []byte, err error) {
	ws, err := dial(a.url)
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	for range times {
		began := time.Now()
		if answer, err = roundTrip(ws, a.request); err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		if took != nil {
			*took = append(*took, time.Since(began))
		}
	}
	return answer, nil
}

func statusTable(s gatewaySettings) (*table, error) {
	const components = 5
	all, size, closeAll, err := statusServers(components)
	defer closeAll()
	if err != nil {
		return nil, err
	}
	together, alone := make([][]time.Duration, len(all)), make([][]time.Duration, len(all))
	for range max(1, s.roundTrips/burst) {
		for i, a := range all { // in turn, so that all see the same machine
			if _, err := askAfresh(a, burst, &together[i]); err != nil {
				return nil, err
			}
		}
	}
	for turn := range max(1, s.roundTrips/5) {
		for i := range all {
			i = (i + turn) % len(all)
			time.Sleep(apart)
			if _, err := askAfresh(all[i], 1, &alone[i]); err != nil {
				return nil, err
			}
		}
	}
	t := &table{
		title: "Gateway: a status round trip",
		head:  []string{"server", "µs, back to back", "× bare gorilla", "µs, 11 ms apart", "× bare gorilla"},
		note: fmt.Sprintf("Of a process with %d components, on loopback, medians of %d and of %d. The echoes are of as many bytes as the answer has "+
			"(%d), both ways. Back to back the gateway may give an answer again that is less than 10 ms old; apart it makes each one.",
			components, len(together[0]), len(alone[0]), size),
	}
	for i, a := range all {
		x, y := median(together[i]), median(alone[i])
		t.add(a.name, micros(x), ratio(x, median(together[1])), micros(y), ratio(y, median(alone[1])))
	}
	return t, nil
}

func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }

func ratio(d, floor time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(floor)) }

// crowd are connections that only read.
type crowd struct {
	conns []*gorilla.Conn
	// got is done once for each message that is waited for.
	got     sync.WaitGroup
	readers sync.WaitGroup
	match   []byte // messages without it do not count
}

// joinCrowd connects, and says hello if there is something to say.
func joinCrowd(url string, n int, hello, match []byte) (*crowd, error) {
	c := &crowd{match: match}
	for range n {
		ws, err := dial(url)
		if err != nil {
			return c, err
		}
		c.conns = append(c.conns, ws)
		if _, err := roundTrip(ws, hello); err != nil {
			return c, err
		}
		c.readers.Go(func() {
			for {
				_, text, err := ws.ReadMessage()
				if err != nil {
					return
				}
				if bytes.Contains(text, c.match) {
					c.got.Done()
				}
			}
		})
	}
	return c, nil
}

func (c *crowd) close() {
	for _, ws := range c.conns {
		_ = ws.Close()
	}
	c.readers.Wait()
}

// time lets something be said to all, and returns how long it took to reach the
// last.
func (c *crowd) time(say func() error) (time.Duration, error) {
	c.got.Add(len(c.conns))
	began := time.Now()
	if err := say(); err != nil {
		return 0, err
	}
	c.got.Wait()
	return time.Since(began), nil
}

func watchTable(s gatewaySettings) (*table, error) {
	g, err := openGateway(s.events + 1) // one is left at the end
	if err != nil {
		return nil, err
	}
	defer g.close()
	acked := []byte(`"Acked"`)
	ours, err := joinCrowd(g.url, s.watchers, []byte(`{"opcode":"watch","contextId":1,"payload":{}}`), acked)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	// What the gateway sends for an ack, and what it sends for the next start.
	texts := [][]byte{
		[]byte(`{"opcode":"event","payload":{"seq":10,"at":"2026-01-01T00:00:00.123456789Z","kind":"Acked","state":"AwaitingAcks","from":"component1"}}`),
		[]byte(`{"opcode":"event","payload":{"seq":11,"at":"2026-01-01T00:00:00.123456789Z","kind":"Started","state":"AwaitingAcks","from":"component2"}}`),
	}
	names := []string{"this gateway, an event", "bare gorilla, prepared messages", "bare coder/websocket, messages"}
	crowds := []*crowd{ours}
	says := []func() error{func() error { g.let <- struct{}{}; return nil }}
	for _, open := range []func() (*sockets, error){openGorilla, openCoder} {
		bare, err := open()
		if err != nil {
			return nil, err
		}
		defer bare.close()
		c, err := joinCrowd(bare.url, s.watchers, []byte("hello"), acked)
		if err != nil {
			return nil, err
		}
		defer c.close()
		crowds = append(crowds, c)
		says = append(says, func() error { return errors.Join(bare.send(texts[0]), bare.send(texts[1])) })
	}
	g.o.Request(fsm.Command{Reason: "the measurement"})
	took := make([][]time.Duration, len(crowds))
	for range s.events {
		for i, c := range crowds {
			time.Sleep(apart) // what came after the last message has come
			d, err := c.time(says[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", names[i], err)
			}
			took[i] = append(took[i], d)
		}
	}
	t := &table{
		title: fmt.Sprintf("Gateway: %d watchers", s.watchers),
		head:  []string{"server", "ms until the last has it", "× bare gorilla"},
		note: fmt.Sprintf("A component acks, and the next starts: two events for each watcher, timed until the last has the first; medians of %d. "+
			"The bare servers send two messages of the same lengths to as many connections, one after the other. All of it, with the watchers, in "+
			"one process.", s.events),
	}
	for i, name := range names {
		t.add(name, millis(median(took[i])), ratio(median(took[i]), median(took[1])))
	}
	return t, nil
}
