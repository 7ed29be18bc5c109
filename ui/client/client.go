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

// Option says how to dial.
type Option func(*Client)

// OnBroadcast has f called with everything that comes unasked: opcode and
// payload. Calls are serial, in order; what comes later waits for f to return, so
// f must not call the client.
func OnBroadcast(f func(opcode string, payload json.RawMessage)) Option {
	return func(c *Client) { c.broadcast = f }
}

// Token has the client show a token before all else, as [ui.ParseToken]
// returns it.
func Token(token string) Option {
	return func(c *Client) { c.token = token }
}

// OnWaiting has f called with the status of a shutdown that goes on while [Client.Watch]
// or [Client.Shutdown] follows it: one second after its request, and then again after
// two, four, eight seconds and so on, but at least every half minute. Calls are in
// order with those for events.
func OnWaiting(f func(*ui.Status)) Option {
	return func(c *Client) { c.waiting = f }
}

// Client is one connection to a gateway. Its methods are safe for concurrent use,
// but only one Watch or Shutdown can run at a time.
type Client struct {
	ws        *websocket.Conn
	broadcast func(string, json.RawMessage)
	waiting   func(*ui.Status) // nil: nobody wants to know
	token     string
	writing   sync.Mutex

	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]chan<- wire.Message
	feed    []wire.Message // what a watcher has not seen yet
	fed     chan struct{}  // has room for one: there is more in feed
	ended   chan struct{}  // closed when the connection is over
	cause   error          // why, if the process said so; to be read when it is over
}

// Dial connects to a gateway. The address is a port on loopback ("5333"),
// HOST:PORT, a ws or http URL, or unix:PATH; anything else is an [ErrBadAddress].
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
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, context.Cause(ctx)
	case isTimeout(ctx, err):
		return nil, errLate
	case errors.As(err, &dial) && dial.Op == "dial":
		return nil, fmt.Errorf("%w: %w", ErrNobodyThere, dial.Err) // the rest is the address again
	}
	return nil, fmt.Errorf("%w: %w", ErrGone, err)
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
		if websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
			c.cause = ErrTooLong
		}
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
