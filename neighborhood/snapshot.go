package neighborhood

import (
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Snapshot is what a Neighborhood knew at one moment. It is a copy, and marshals as JSON. Kinds of gossip are named
// Debut, Introduction, Pass and Standard.
type Snapshot struct {
	Key        identity.PublicKey   `json:"key"`
	Descriptor *Descriptor          `json:"descriptor,omitempty"` // nil: takes no connections, or is not started
	Version    uint64               `json:"version"`              // of the own record
	Neighbors  []Neighbor           `json:"neighbors"`            // the nodes that the own record lists, by key
	Connecting []identity.PublicKey `json:"connecting,omitempty"` // to whom a Debut is under way
	Records    []Record             `json:"records"`              // of all other nodes known, by key
	// Missing are the configured neighbors that no full neighborships lead to, for three seconds at least.
	Missing []Missing `json:"missing,omitempty"`
	// BeyondReach counts the nodes of other parts of the map: those that have a full neighborship, but nobody that can be
	// reached lists them, for three seconds at least and half a minute at most: then they are forgotten.
	BeyondReach int `json:"beyondReach,omitempty"`
	// Waiting counts what this node has yet to do by itself: changes that came less than a second after their owner's
	// last and are taken when that is over, a round of gossip that is due, frames under way. Only when it is 0 has a
	// silent neighborhood nothing more to say.
	Waiting     int      `json:"waiting"`
	Withdrawing bool     `json:"withdrawing"`
	Counters    Counters `json:"counters"`
	// Gossip is what each peer and this node have told each other since the start. Of peers that are gone it is kept
	// too; at 256 peers the one longest silent is forgotten.
	Gossip map[identity.PublicKey]PeerGossip `json:"gossip"`
	// LastGossip is when a message was sent or received last; zero: never.
	LastGossip time.Time `json:"lastGossip"`
}

// Neighbor is one half-neighborship of this node.
type Neighbor struct {
	Key  identity.PublicKey `json:"key"`
	Full bool               `json:"full"` // the other lists us too
}

// Missing is a configured neighbor that cannot be reached.
type Missing struct {
	Descriptor Descriptor `json:"descriptor"`
	Since      time.Time  `json:"since"`
	Next       time.Time  `json:"next,omitzero"` // when it is dialed again; zero: it is being dialed or asked
	Left       bool       `json:"left"`          // it has said farewell
	Known      bool       `json:"known"`         // it has been reached before
}

// InParts reports whether the map is known to be in parts: a configured neighbor that was reachable, and has not said
// farewell, no longer is, or nodes are known that no full neighborships lead to.
func (s Snapshot) InParts() bool {
	return s.BeyondReach > 0 || slices.ContainsFunc(s.Missing, func(m Missing) bool { return m.Known && !m.Left })
}

// Record is what a node says of itself, also one that has left: its record is kept for 30 s.
type Record struct {
	Key           identity.PublicKey   `json:"key"`
	Version       uint64               `json:"version"`
	HalfNeighbors []identity.PublicKey `json:"halfNeighbors"`
}

// Traffic counts messages and their bytes.
type Traffic struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// PeerGossip is the gossip with one peer, by kind.
type PeerGossip struct {
	Sent     map[string]Traffic `json:"sent"`
	Received map[string]Traffic `json:"received"`
	Last     time.Time          `json:"last"`
}

// Counters count from the start.
type Counters struct {
	Sent          map[string]Traffic `json:"sent"`     // by kind
	Received      map[string]Traffic `json:"received"` // by kind
	Rejected      map[string]uint64  `json:"rejected"` // messages, records and addresses, by reason
	Taken         uint64             `json:"taken"`    // records, new or changed
	Deferred      uint64             `json:"deferred"` // changes that came less than a second after their owner's last
	Culled        uint64             `json:"culled"`   // records forgotten
	Equivocations uint64             `json:"equivocations"`
	Dials         uint64             `json:"dials"`
	DialsFailed   uint64             `json:"dialsFailed"`
}

// Snapshot copies what is known, which takes time and memory in proportion to the records. It waits until the message
// being handled is done with; if that is not so within half a second, because Config.Changed does not return, it is what
// it was the last time. It may be called at any time, also before Start and after Shutdown.
func (n *Neighborhood) Snapshot() Snapshot {
	v := n.view()
	s := Snapshot{
		Key: v.Key, Connecting: v.Outstanding, Waiting: v.Waiting, Withdrawing: v.Withdrawing,
		BeyondReach: v.BeyondReach,
		Neighbors:   []Neighbor{},
		Records:     make([]Record, len(v.Records)),
		Counters:    countersOf(v.Stats),
		Gossip:      make(map[identity.PublicKey]PeerGossip, len(v.Gossip)),
	}
	if v.Address != nil {
		s.Descriptor = &Descriptor{Key: v.Key, Address: v.Address.At.String()}
	}
	for key, g := range v.Gossip {
		s.Gossip[key] = PeerGossip{Sent: byName(g.Sent), Received: byName(g.Received), Last: g.Last}
		if g.Last.After(s.LastGossip) {
			s.LastGossip = g.Last
		}
	}
	for _, m := range v.Missing {
		s.Missing = append(s.Missing, Missing{
			Descriptor: Descriptor(m.Target), Since: m.Since, Next: m.Next, Left: m.Left, Known: m.Known,
		})
	}
	listUs := make(map[identity.PublicKey]bool)
	for i, r := range v.Records {
		s.Records[i] = Record{Key: r.Key, Version: r.Version, HalfNeighbors: r.Neighbors}
		listUs[r.Key] = r.Lists(v.Key)
	}
	if v.Root != nil {
		s.Version = v.Root.Version
		for _, key := range v.Root.Neighbors {
			s.Neighbors = append(s.Neighbors, Neighbor{Key: key, Full: listUs[key]})
		}
	}
	return s
}

func countersOf(stats core.Stats) Counters {
	c := Counters{
		Sent: byName(stats.Sent), Received: byName(stats.Received),
		Rejected: make(map[string]uint64, len(stats.Rejected)),
		Taken:    stats.Taken, Deferred: stats.Deferred, Culled: stats.Culled, Equivocations: stats.Equivocations,
		Dials: stats.Dials, DialsFailed: stats.DialsFailed,
	}
	for reason, count := range stats.Rejected {
		c.Rejected[string(reason)] = count
	}
	return c
}

func byName(counts core.ByKind) map[string]Traffic {
	named := make(map[string]Traffic, len(wire.Kinds))
	for _, kind := range wire.Kinds {
		if count := counts[kind]; count.Messages > 0 {
			named[kind.String()] = Traffic(count)
		}
	}
	return named
}
