package ui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// limits bounds what one UI can cost.
type limits struct {
	uis       int           // connected at once
	message   int64         // bytes of one message from a UI
	rate      rate.Limit    // messages a second; what comes faster is read later
	burst     int           // of them
	queue     int           // bytes that may wait for a UI before its requests, and news, do
	askers    int           // shutdown requests of one UI that wait for the answer
	writeTime time.Duration // for one message to be taken by the UI
}

var defaultLimits = limits{
	uis: 2048, message: 64 << 10, rate: 100, burst: 200, queue: 256 << 10, askers: 64, writeTime: 10 * time.Second,
}

// closeTime is how long a UI that was sent a close frame has to send its own.
const closeTime = 100 * time.Millisecond

// conn is one UI. A goroutine reads, and handles what it has read before it reads
// on, so that a UI that sends faster than it reads slows down nobody but itself;
// another one writes. Answers are written by the reader itself if nobody writes
// just then, which saves waking the other.
type conn struct {
	gateway  *Gateway
	ws       *websocket.Conn
	out      *outbox
	sentAway bool     // what comes is not listened to any more; the reader's own
	admitted bool     // guarded by the gateway's mu, as is all below; written by the reader alone
	watching bool     // it is told of events
	asked    []uint64 // the contextIds under which it has asked for the shutdown
}

// read ends when the UI hangs up, breaks the protocol, or is cut off.
func (c *conn) read() {
	defer c.gateway.remove(c)
	defer c.ws.Close()
	defer c.out.close()
	c.ws.SetReadLimit(c.gateway.limits.message)
	pace := c.pace()
	for {
		kind, data, err := c.ws.ReadMessage()
		switch {
		case errors.Is(err, websocket.ErrReadLimit):
			c.drain()
			return
		case err != nil:
			return
		case c.sentAway || kind != websocket.TextMessage: // binary frames are ignored
		case !utf8.Valid(data): // RFC 6455, section 8.1
			c.sendAway(websocket.CloseInvalidFramePayloadData)
		case !c.admitted:
			c.admit(data)
		default:
			c.receive(data)
		}
		if batch := c.out.tryTake(); batch != nil {
			c.writeAll(batch)
		}
		pace()
		c.out.waitBelow(c.gateway.limits.queue)
	}
}

// drain takes in what a UI is still sending after it was sent the close frame that
// says that its message is too big: closed with something unread, the connection
// would be reset, and the UI might never see why.
func (c *conn) drain() {
	raw := c.ws.NetConn()
	_ = raw.SetReadDeadline(time.Now().Add(closeTime))
	_, _ = io.Copy(io.Discard, raw)
}

// pace returns what is to be called for every message from the UI, and waits if
// there are too many; it sees to it that pings and pongs count too.
func (c *conn) pace() func() {
	limiter := rate.NewLimiter(c.gateway.limits.rate, c.gateway.limits.burst)
	pace := func() { _ = limiter.Wait(context.Background()) } // at most 1/rate
	answer := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error {
		pace()
		return answer(data)
	})
	c.ws.SetPongHandler(func(string) error {
		pace()
		return nil
	})
	return pace
}

// write ends when the reader has ended, a message was not taken in time, or a
// close frame was sent; the reader then waits for the UI's own.
func (c *conn) write() {
	for {
		batch := c.out.take()
		if batch == nil {
			return
		}
		c.writeAll(batch)
	}
}

// writeAll writes what was taken from the outbox, and closes it if that was the last.
func (c *conn) writeAll(batch []item) {
	defer c.out.done(batch)
	for _, i := range batch {
		if err := c.writeItem(i); err != nil {
			_ = c.ws.Close() // ends the reader
			c.out.close()
			return
		}
		if i.close != 0 {
			_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(closeTime))
			c.out.close()
			return
		}
	}
}

func (c *conn) writeItem(i item) error {
	deadline := time.Now().Add(c.gateway.limits.writeTime)
	_ = c.ws.SetWriteDeadline(deadline) // always nil
	var err error
	switch {
	case i.close != 0:
		err = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(i.close, ""), deadline)
	case i.prepared != nil:
		err = c.ws.WritePreparedMessage(i.prepared)
	default:
		err = c.ws.WriteMessage(websocket.TextMessage, i.text)
	}
	if err == nil && i.written != nil {
		i.written.Add(1)
	}
	return err
}

// sendAway ends the conversation: a close frame is the last that the UI is sent.
func (c *conn) sendAway(code int) {
	c.sentAway = true
	c.out.put(item{close: code})
}

func (c *conn) send(m wire.Message) {
	text := m.Encode()
	c.out.leave(item{text: text, size: len(text)})
}

// receive handles one message. Whoever can be answered is answered.
func (c *conn) receive(data []byte) {
	m, err := wire.Parse(data)
	if bad, ok := errors.AsType[*wire.Malformed](err); ok {
		c.refuse(wire.Message{Opcode: bad.Opcode, Conversation: bad.Conversation, ID: bad.ID}, bad.Reason, data)
		return
	}
	answer, known := opcodes[m.Opcode]
	switch {
	case !known && !m.Conversation: // nobody waits for an answer
	case !known:
		c.refuse(m, "unknown opcode "+m.Opcode, data)
	case !m.Conversation:
		c.refuse(m, m.Opcode+" needs a contextId to be answered under", data)
	case m.Error != nil:
		c.refuse(m, m.Opcode+" takes a payload, not an error", data)
	default:
		if payload, err := answer(c, m); err != nil {
			c.refuse(m, err.Error(), data)
		} else if payload != nil {
			c.reply(m, payload)
		}
	}
}

func (c *conn) reply(m wire.Message, payload any) {
	raw, encoded := payload.(json.RawMessage)
	if !encoded {
		raw = wire.JSON(payload)
	}
	c.send(wire.Message{Opcode: m.Opcode, Conversation: true, ID: m.ID, Payload: raw})
}

// refuse answers what cannot be understood: in the conversation if it is part of
// one, otherwise with unmarshalError.
func (c *conn) refuse(m wire.Message, reason string, data []byte) {
	if m.Conversation {
		failure := &wire.Error{Code: wire.CodeUnmarshal, Message: reason}
		c.send(wire.Message{Opcode: m.Opcode, Conversation: true, ID: m.ID, Error: failure})
		return
	}
	c.send(wire.Message{Opcode: wire.UnmarshalError, Payload: wire.JSON(unmarshalError{reason, string(data)})})
}

type unmarshalError struct {
	Message string `json:"message"`
	BadData string `json:"badData"`
}
