package ui

import (
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// reserve makes room for one UI, if it may come in.
func (g *Gateway) reserve() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.reserved >= g.limits.uis {
		return false
	}
	g.reserved++
	return true
}

// UIs counts those that are connected.
func (g *Gateway) UIs() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func (g *Gateway) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved--
	g.signal()
}

// serve takes in a UI that room was reserved for. To the UI the handshake is done:
// if the end has come meanwhile, it is told like the others.
func (g *Gateway) serve(ws *websocket.Conn) {
	c := &conn{gateway: g, ws: ws, out: newOutbox()}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cutOff {
		g.reserved--
		_ = ws.Close()
		return
	}
	g.conns[c] = struct{}{}
	g.statusCache = &statusCache{}
	if g.token == "" {
		g.letIn(c)
	} else {
		_ = ws.SetReadDeadline(time.Now().Add(tokenTime)) // always nil
	}
	g.uisGone.Go(c.read)
	g.uisGone.Go(c.write)
}

// welcome lets a UI in that has shown the token.
func (g *Gateway) welcome(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.letIn(c)
}

// letIn lets a UI ask and be told. The caller holds mu.
func (g *Gateway) letIn(c *conn) {
	c.admitted = true
	if g.goodbye != nil {
		c.out.put(g.goodbye.forOthers)
	}
}

func (g *Gateway) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved--
	delete(g.conns, c)
	g.statusCache = &statusCache{}
	g.signal()
}

// signal tells leave that there is something new. The caller holds mu.
func (g *Gateway) signal() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// ask notes that a UI waits for the end, or answers it if that has come.
func (g *Gateway) ask(c *conn, id uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(c.asked) >= g.limits.askers {
		return fmt.Errorf("%d requests for a shutdown wait already", len(c.asked))
	}
	c.asked = append(c.asked, id)
	if g.goodbye != nil {
		g.answer(c, id)
		g.signal()
	}
	return nil
}
