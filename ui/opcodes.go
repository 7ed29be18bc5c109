package ui

import (
	"encoding/json"
	"errors"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// opcodes are the requests that are understood. Each returns the payload of its
// answer, or nil if the answer comes later.
var opcodes = map[string]func(*conn, wire.Message) (any, error){
	wire.Token:             (*conn).welcomed,
	wire.Shutdown:          (*conn).shutdown,
	wire.Descriptor:        (*conn).descriptor,
	wire.ConnectionStatus:  (*conn).connectionStatus,
	wire.NeighborhoodGraph: (*conn).neighborhoodGraph,
	wire.Status:            (*conn).status,
	wire.Watch:             (*conn).watch,
	wire.AddNeighbor:       (*conn).addNeighbor,
}

// welcomed answers whoever shows a token though it is in already, or none is wanted.
func (c *conn) welcomed(wire.Message) (any, error) { return struct{}{}, nil }

// defaultReason is what is reported of a request that gives none, as those of
// existing UIs do.
const defaultReason = "requested over the UI"

func (c *conn) shutdown(m wire.Message) (any, error) {
	var request struct {
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(m.Payload, &request); err != nil {
		return nil, errors.New("reason is not a string")
	}
	if request.Reason == "" {
		request.Reason = defaultReason
	}
	if err := c.gateway.ask(c, m.ID); err != nil {
		return nil, err
	}
	c.gateway.orchestrator.Request(fsm.Command{Reason: request.Reason, By: "ui " + c.ws.RemoteAddr().String()})
	return nil, nil
}

func (c *conn) descriptor(wire.Message) (any, error) {
	var payload struct {
		Descriptor *string `json:"nodeDescriptorOpt"`
	}
	if d := c.gateway.node.Descriptor(); d != "" {
		payload.Descriptor = &d
	}
	return payload, nil
}

type stagePayload struct {
	Stage Stage `json:"stage"`
}

func (c *conn) connectionStatus(wire.Message) (any, error) {
	return stagePayload{c.gateway.node.Stage()}, nil
}

func (c *conn) neighborhoodGraph(wire.Message) (any, error) {
	return struct {
		Graph string `json:"graph"`
	}{c.gateway.node.Graph()}, nil
}

func (c *conn) status(wire.Message) (any, error) {
	return c.gateway.statusAnswer(), nil
}

// watchPayload is where things stand when a UI begins to watch.
type watchPayload struct {
	State       fsm.State    `json:"state"`
	Alarm       Millis       `json:"alarmMs"`
	InsistAfter Millis       `json:"insistAfterMs"`
	Log         []logPayload `json:"log"`
}

// watch answers with what is, and then lets the events follow.
func (c *conn) watch(m wire.Message) (any, error) {
	g := c.gateway
	g.mu.Lock()
	defer g.mu.Unlock()
	c.reply(m, watchPayload{
		g.orchestrator.State(), Millis(g.orchestrator.Alarm()), Millis(g.orchestrator.Polite()), append([]logPayload{}, g.lastLines...),
	})
	if c.watching {
		return nil, nil
	}
	c.watching = true
	for _, i := range g.events {
		c.out.put(i)
	}
	if g.goodbye != nil && len(c.asked) == 0 {
		c.out.put(g.goodbye.forWatchers)
	}
	return nil, nil
}

// noNode stands in for the node in a process that has none.
type noNode struct{}

func (noNode) Descriptor() string    { return "" }
func (noNode) Stage() Stage          { return NotConnected }
func (noNode) Graph() string         { return "digraph db { }" }
func (noNode) Status() NodeStatus    { return NodeStatus{} }
func (noNode) Farewells() []Farewell { return nil }
