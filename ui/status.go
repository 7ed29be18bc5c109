package ui

import (
	"encoding/json"
	"math"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// Node is what the gateway shows of the node that it belongs to. The methods are
// called from many goroutines, also before the node has started and after it has
// stopped; they must not block.
type Node interface {
	// Descriptor is what others reach the node by; "" if it takes no connections.
	Descriptor() string
	// Stage is how well the node is connected.
	Stage() Stage
	// Graph is the neighborhood as the node knows it, as DOT text.
	Graph() string
	// Status is the rest of what there is to know. What it returns is not changed
	// any more.
	Status() NodeStatus
	// Farewells says how the neighbors were told that the node leaves. It is called
	// when the machine is terminated.
	Farewells() []Farewell
}

// Stage is how well a node is connected, in the words of the protocol.
type Stage string

// The stages, in the order in which a node goes through them.
const (
	NotConnected        Stage = "NotConnected"
	ConnectedToNeighbor Stage = "ConnectedToNeighbor"
	RouteFound          Stage = "RouteFound" // a node three hops away is known
)

// Status is the answer to the opcode status. What no event has changed since may be
// 10 ms old.
type Status struct {
	Version     string      `json:"version,omitempty"` // of the program
	Uptime      Millis      `json:"uptimeMs"`          // of the gateway
	Alarm       Millis      `json:"alarmMs"`           // how long a shutdown may take
	InsistAfter Millis      `json:"insistAfterMs"`     // its polite time
	UIs         int         `json:"uis"`               // connected now
	Report      *fsm.Report `json:"report"`            // the machine's state, the components, and the events so far
	Node        *NodeStatus `json:"node,omitempty"`
}

// statusTime is how old an answer to status may be. Asking a node, and encoding
// what it says, takes many times as long as sending it, and many may ask.
const statusTime = 10 * time.Millisecond

// statusCache is an encoded status. It is replaced when it is known to be wrong.
type statusCache struct {
	payload json.RawMessage
	at      time.Time
}

// statusAnswer returns the payload of an answer to status.
func (g *Gateway) statusAnswer() json.RawMessage {
	now := time.Now()
	g.mu.Lock()
	cache, uis := g.statusCache, len(g.conns)
	payload, at := cache.payload, cache.at
	g.mu.Unlock()
	if payload != nil && now.Sub(at) < statusTime {
		return payload
	}
	payload = wire.JSON(g.status(now, uis))
	g.mu.Lock()
	defer g.mu.Unlock()
	cache.payload, cache.at = payload, now
	return payload
}

func (g *Gateway) status(now time.Time, uis int) Status {
	s := Status{
		Version: g.version, Uptime: Millis(now.Sub(g.began)), Alarm: Millis(g.orchestrator.Alarm()), InsistAfter: Millis(g.orchestrator.Polite()),
		UIs: uis, Report: g.orchestrator.Report(),
	}
	if _, none := g.node.(noNode); !none {
		node := g.node.Status()
		s.Node = &node
	}
	return s
}

// NodeStatus is what a node says of its neighborhood and its streams. Keys are
// unpadded base64url.
type NodeStatus struct {
	Key        string            `json:"key"`
	Version    uint64            `json:"version"`            // of its own record
	LastGossip *Millis           `json:"lastGossipMs"`       // time since gossip was last sent or received; nil if never
	Pending    int               `json:"pending"`            // changes not taken in yet, and Debuts under way
	Peers      []Peer            `json:"peers"`              // all that were heard of over a stream, former neighbors too
	Records    []Record          `json:"records"`            // all that are known, its own included
	Counters   map[string]uint64 `json:"counters,omitempty"` // for people
	// Metrics is what /metrics says of the node, by name and labels.
	Metrics map[string]float64 `json:"metrics,omitempty"`

	InParts     bool      `json:"inParts,omitempty"`     // the map is: somebody who could be reached no longer can be
	BeyondReach int       `json:"beyondReach,omitempty"` // nodes of other parts that are still known
	Missing     []Missing `json:"missing,omitempty"`     // configured neighbors that cannot be reached
}

// Missing is a configured neighbor that a node cannot reach over its neighbors.
type Missing struct {
	Key     string  `json:"key"`
	Address string  `json:"address"`
	For     Millis  `json:"missingMs"`
	Next    *Millis `json:"dialedInMs"` // nil: it is being dialed or asked
	Left    bool    `json:"left"`       // it has said farewell
}

// Peer is a node that there is or was a stream to.
type Peer struct {
	Key       string            `json:"key"`
	Address   string            `json:"address,omitempty"` // if known
	Neighbor  bool              `json:"neighbor"`          // our record lists it
	Connected bool              `json:"connected"`         // a stream to it is up
	Gossip    map[string]uint64 `json:"gossip"`            // messages received from it since the start, by kind
	Written   uint64            `json:"bytesWritten"`
	Unwritten uint64            `json:"bytesUnwritten"` // queued, or lost with the stream
}

// Record is what is known of one node.
type Record struct {
	Key           string   `json:"key"`
	Version       uint64   `json:"version"`
	HalfNeighbors []string `json:"halfNeighbors"` // the keys that it lists
}

// Farewell is how one neighbor was told that the node leaves.
type Farewell struct {
	Key     string `json:"key"`
	Address string `json:"address,omitempty"`
	Outcome Told   `json:"outcome"`
	Took    Millis `json:"tookMs"` // from the beginning of the withdrawal
	Error   string `json:"error,omitempty"`
}

// Told is how far a farewell is known to have come.
type Told string

// What can be known of a farewell.
const (
	Confirmed    Told = "confirmed"     // written, and the neighbor closed its end after it
	Written      Told = "written"       // and the neighbor left at the same moment: what it read it cannot say
	NotConfirmed Told = "not confirmed" // written, but the neighbor hung or broke its stream: it may have read it
	Left         Told = "left"          // not written: the neighbor was leaving itself, and closed its end first
	NotReached   Told = "not reached"   // not written
)

// Goodbye is how the shutdown went: the payload of the answer to those who asked
// for it, and of the last message to those who watch.
type Goodbye struct {
	Report    *fsm.Report `json:"report"`
	Farewells []Farewell  `json:"farewells,omitempty"`
}

// Millis is a duration that is a number of milliseconds in JSON.
type Millis time.Duration

// String returns it as [time.Duration] does.
func (m Millis) String() string { return time.Duration(m).String() }

// MarshalJSON implements [json.Marshaler].
func (m Millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(m) / float64(time.Millisecond))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *Millis) UnmarshalJSON(data []byte) error {
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return err
	}
	*m = Millis(math.Round(ms * float64(time.Millisecond)))
	return nil
}
