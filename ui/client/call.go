package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// bounded gives ctx the package's deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, answerTime)
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
	// The process has hung up. What it said before that may still be on its way.
	_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(closeTime))
	<-c.ended
	if c.cause != nil {
		return c.cause
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// gone says why the connection has ended, once it has.
func (c *Client) gone() error { return cmp.Or(c.cause, ErrGone) }

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
		return c.gone()
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
