package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

const (
	// answerTime is how long an answer is waited for if ctx has no deadline.
	answerTime = 10 * time.Second
	// maxMessage bounds an answer; a report with stacks, or a graph, is long.
	maxMessage = 64 << 20
	closeTime  = time.Second
)

var (
	// ErrNobodyThere: nothing listens at the address; the process is gone, or
	// was never there.
	ErrNobodyThere = errors.New("nobody there")
	// ErrWedged: something listens at the address, or has, but does not answer in
	// time.
	ErrWedged = errors.New("no answer in time, although the connection stands")
	// ErrGone: the connection ended before the answer came.
	ErrGone = errors.New("the connection ended before the answer")
	// ErrRefused: something listens at the address, but does not let this client
	// in, or does not speak MASQNode-UIv2.
	ErrRefused = errors.New("refused")
)

// Error is an answer that says no.
type Error struct {
	Code    uint64 // of the protocol; it fits no int64
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("the answer is error %#x: %s", e.Code, e.Message) }

// Option says how to dial.
type Option func(*Client)

// OnBroadcast has f called with everything that comes unasked: opcode and
// payload. Calls are serial, in order; what comes later waits for f to return, so
// f must not call the client.
func OnBroadcast(f func(opcode string, payload json.RawMessage)) Option {
	return func(c *Client) { c.broadcast = f }
}

// Token has the client show a token before all else, as [ui.LoadOrCreateToken]
// returns it.
func Token(token string) Option {
	return func(c *Client) { c.token = token }
}

// Client is one connection to a gateway. Its methods are safe for concurrent use,
// but only one Watch or Shutdown can run at a time.
type Client struct {
	ws        *websocket.Conn
	broadcast func(string, json.RawMessage)
	token     string
	writing   sync.Mutex

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]chan<- wire.Message
	feed    []wire.Message // what a watcher has not seen yet
	fed     chan struct{}  // has room for one: there is more in feed
	ended   chan struct{}  // closed when the connection is over
}

// Dial connects to a gateway. The address is a port on loopback ("5333"),
// HOST:PORT, a ws or http URL, or unix:PATH.
func Dial(ctx context.Context, address string, options ...Option) (*Client, error) {
	t, err := parseAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	ws, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("client: %s: %w", address, err)
	}
	ws.SetReadLimit(maxMessage)
	c := &Client{
		ws: ws, broadcast: func(string, json.RawMessage) {},
		pending: map[uint64]chan<- wire.Message{}, fed: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	for _, option := range options {
		option(c)
	}
	go c.read()
	if err := c.showToken(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("client: %s: %w", address, err)
	}
	return c, nil
}

func (c *Client) showToken(ctx context.Context) error {
	if c.token == "" {
		return nil
	}
	err := c.call(ctx, wire.Token, map[string]string{"token": c.token}, nil)
	if _, isAnswer := errors.AsType[*Error](err); isAnswer {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// open does the handshake, and says what is wrong in terms of the sentinels.
func (t target) open(ctx context.Context) (*websocket.Conn, error) {
	dialer := websocket.Dialer{NetDialContext: t.dial, Subprotocols: []string{wire.Subprotocol}}
	ws, response, err := dialer.DialContext(ctx, t.url, nil)
	if response != nil && response.Body != nil {
		_ = response.Body.Close() // it is in memory already
	}
	switch dial := (*net.OpError)(nil); {
	case err == nil && ws.Subprotocol() != wire.Subprotocol:
		_ = ws.Close()
		return nil, fmt.Errorf("%w: it does not speak %s", ErrRefused, wire.Subprotocol)
	case err == nil:
		return ws, nil
	case errors.Is(err, websocket.ErrBadHandshake):
		return nil, fmt.Errorf("%w: %s", ErrRefused, http.StatusText(response.StatusCode))
	case isTimeout(ctx, err):
		return nil, errLate
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("%w: %w", ErrNobodyThere, err)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("%w: %w", ErrGone, err)
}

func isTimeout(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// bounded gives ctx the package's deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, answerTime)
}

// Close hangs up. It can be called repeatedly, and waits until nothing of the
// client runs any more.
func (c *Client) Close() error {
	farewell := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, farewell, time.Now().Add(closeTime)) // the other end may be gone
	err := c.ws.Close()
	<-c.ended
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read takes in messages until the connection ends.
func (c *Client) read() {
	defer close(c.ended)
	defer c.ws.Close()
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.TextMessage {
			continue
		}
		if m, err := wire.Parse(data); err == nil {
			c.route(m)
		}
	}
}

func (c *Client) route(m wire.Message) {
	switch {
	case m.Conversation:
		c.mu.Lock()
		waiting := c.pending[m.ID]
		delete(c.pending, m.ID)
		c.mu.Unlock()
		if waiting != nil {
			waiting <- m // it has room for one
		}
	case m.Opcode == wire.Event || m.Opcode == wire.Goodbye:
		c.mu.Lock()
		c.feed = append(c.feed, m)
		c.mu.Unlock()
		select {
		case c.fed <- struct{}{}:
		default:
		}
	default:
		c.broadcast(m.Opcode, m.Payload)
	}
}

// begin sends a request, and returns where its answer will come. Whoever does not
// wait for it until it comes must forget it.
func (c *Client) begin(ctx context.Context, opcode string, request any) (id uint64, answer <-chan wire.Message, err error) {
	payload, err := json.Marshal(request)
	if err != nil {
		return 0, nil, err
	}
	waiting := make(chan wire.Message, 1)
	c.mu.Lock()
	c.lastID++
	id = c.lastID
	c.pending[id] = waiting
	c.mu.Unlock()
	m := wire.Message{Opcode: opcode, Conversation: true, ID: id, Payload: payload}
	if err := c.write(ctx, m.Encode()); err != nil {
		c.forget(id)
		return 0, nil, err
	}
	return id, waiting, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

func (c *Client) write(ctx context.Context, text []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if ctx.Err() != nil { // a write that fails spoils the connection
		return late(ctx)
	}
	deadline, _ := ctx.Deadline()
	_ = c.ws.SetWriteDeadline(deadline) // always nil
	err := c.ws.WriteMessage(websocket.TextMessage, text)
	switch {
	case err == nil:
		return nil
	case isTimeout(ctx, err):
		return errLate
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// Call sends a request and reads the payload of its answer into response, if that
// is not nil. The request must encode as a JSON object; nil stands for an empty
// one. An answer that says no is an [*Error].
func (c *Client) Call(ctx context.Context, opcode string, request, response any) error {
	if err := c.call(ctx, opcode, request, response); err != nil {
		return fmt.Errorf("client: %s: %w", opcode, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, opcode string, request, response any) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if request == nil {
		request = struct{}{}
	}
	id, answer, err := c.begin(ctx, opcode, request)
	if err != nil {
		return err
	}
	defer c.forget(id)
	select {
	case m := <-answer:
		return decode(m, response)
	case <-ctx.Done():
		return late(ctx)
	case <-c.ended:
	}
	select {
	case m := <-answer: // it came, and then the connection ended
		return decode(m, response)
	default:
		return ErrGone
	}
}

func decode(m wire.Message, response any) error {
	if m.Error != nil {
		return &Error{m.Error.Code, m.Error.Message}
	}
	if response == nil {
		return nil
	}
	return json.Unmarshal(m.Payload, response)
}

var errLate = fmt.Errorf("%w: %w", ErrWedged, context.DeadlineExceeded)

// late says why a wait was given up: somebody cancelled it, or time was over.
func late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errLate
	}
	return context.Cause(ctx)
}

// Status returns what the process is and does.
func (c *Client) Status(ctx context.Context) (*ui.Status, error) {
	var status ui.Status
	if err := c.Call(ctx, wire.Status, nil, &status); err != nil {
		return nil, err
	}
	return &status, nil
}

// Descriptor returns what others reach the node by; "" if it takes no connections.
func (c *Client) Descriptor(ctx context.Context) (string, error) {
	var payload struct {
		Descriptor string `json:"nodeDescriptorOpt"`
	}
	err := c.Call(ctx, wire.Descriptor, nil, &payload)
	return payload.Descriptor, err
}

// Stage returns how well the node is connected.
func (c *Client) Stage(ctx context.Context) (ui.Stage, error) {
	var payload struct {
		Stage ui.Stage `json:"stage"`
	}
	err := c.Call(ctx, wire.ConnectionStatus, nil, &payload)
	return payload.Stage, err
}

// Graph returns the neighborhood as the node knows it, as DOT text.
func (c *Client) Graph(ctx context.Context) (string, error) {
	var payload struct {
		Graph string `json:"graph"`
	}
	err := c.Call(ctx, wire.NeighborhoodGraph, nil, &payload)
	return payload.Graph, err
}
