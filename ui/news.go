package ui

import (
	"context"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// follow passes every event on to those who watch, until the last one or until
// ctx ends.
func (g *Gateway) follow(ctx context.Context) {
	for e := range g.orchestrator.Events(ctx) {
		g.pass(e)
	}
}

func (g *Gateway) pass(e fsm.Event) {
	i := prepare(wire.Message{Opcode: wire.Event, Payload: wire.JSON(e)})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.statusCache = &statusCache{}
	g.events = append(g.events, i)
	for c := range g.conns {
		if c.watching {
			c.out.put(i)
		}
	}
}

// prepare makes one frame that many UIs can be sent.
func prepare(m wire.Message) item {
	text := m.Encode()
	prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		return item{text: text, size: len(text)} // as good, but slower
	}
	return item{prepared: prepared, size: len(text)}
}

// ConnectionChanged tells all UIs how well the node is connected, if that has
// changed. (Not that it is not connected any more: existing UIs crash on it.)
func (g *Gateway) ConnectionChanged() {
	stage := g.node.Stage()
	g.mu.Lock()
	defer g.mu.Unlock()
	if stage == g.stage {
		return
	}
	g.stage = stage
	g.statusCache = &statusCache{}
	if stage != NotConnected {
		g.broadcast(prepare(wire.Message{Opcode: wire.ConnectionChange, Payload: wire.JSON(stagePayload{stage})}))
	}
}

// broadcast tells all UIs but those that are too slow. The caller holds mu.
func (g *Gateway) broadcast(i item) {
	for c := range g.conns {
		if c.admitted {
			c.out.offer(i, g.limits.queue)
		}
	}
}
