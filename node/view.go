package node

import (
	"maps"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

// view is what the gateway sees of the node: neighborhood and streams joined, in the gateway's words.
type view struct{ node *Node }

func (v view) Descriptor() string {
	descriptor, _ := v.node.Descriptor()
	return descriptor
}

func (v view) Stage() ui.Stage { return ui.Stage(v.node.neighborhood.Snapshot().Stage()) }

func (v view) Graph() string { return v.node.neighborhood.Snapshot().DOT() }

// Status joins what the neighborhood knows of the nodes with what the pool knows of the streams to them.
func (v view) Status() ui.NodeStatus {
	known, carried := v.node.neighborhood.Snapshot(), v.node.pool.Stats()
	status := ui.NodeStatus{
		Key: known.Key.String(), Version: known.Version, Pending: known.Waiting + len(known.Connecting),
		Records:  recordsOf(known),
		Peers:    peersOf(known, carried),
		Counters: countersOf(known.Counters, carried),
		Metrics:  v.node.metrics.ByName(known, carried),
	}
	status.InParts, status.BeyondReach = known.InParts(), known.BeyondReach
	for _, m := range known.Missing {
		status.Missing = append(status.Missing, missingOf(m))
	}
	if !known.LastGossip.IsZero() {
		status.LastGossip = new(ui.Millis(time.Since(known.LastGossip)))
	}
	return status
}

func missingOf(m neighborhood.Missing) ui.Missing {
	missing := ui.Missing{
		Key: m.Descriptor.Key.String(), Address: m.Descriptor.Address, For: ui.Millis(time.Since(m.Since)), Left: m.Left,
	}
	if !m.Next.IsZero() {
		missing.Next = new(ui.Millis(max(time.Until(m.Next), 0)))
	}
	return missing
}

func recordsOf(known neighborhood.Snapshot) []ui.Record {
	own := make([]identity.PublicKey, 0, len(known.Neighbors))
	for _, n := range known.Neighbors {
		own = append(own, n.Key)
	}
	records := []ui.Record{{Key: known.Key.String(), Version: known.Version, HalfNeighbors: texts(own)}}
	for _, r := range known.Records {
		records = append(records, ui.Record{Key: r.Key.String(), Version: r.Version, HalfNeighbors: texts(r.HalfNeighbors)})
	}
	return records
}

func texts(keys []identity.PublicKey) []string {
	all := make([]string, 0, len(keys))
	for _, key := range keys {
		all = append(all, key.String())
	}
	return all
}

// peersOf lists everybody that there is or was a stream to, by key.
func peersOf(known neighborhood.Snapshot, carried streams.Stats) []ui.Peer {
	peers := map[identity.PublicKey]*ui.Peer{}
	at := func(key identity.PublicKey) *ui.Peer {
		if peers[key] == nil {
			peers[key] = &ui.Peer{Key: key.String(), Gossip: map[string]uint64{}}
		}
		return peers[key]
	}
	for key, gossip := range known.Gossip {
		for kind, traffic := range gossip.Received {
			at(key).Gossip[kind] = traffic.Messages
		}
	}
	for _, n := range known.Neighbors {
		at(n.Key).Neighbor = true
	}
	for _, s := range carried.Streams {
		peer := at(s.Peer)
		peer.Connected = peer.Connected || !s.Closing // a stream that is being replaced may still linger
		peer.Written += s.Traffic.Written
		peer.Unwritten += s.Traffic.Unwritten()
	}
	sorted := make([]ui.Peer, 0, len(peers))
	for _, key := range slices.SortedFunc(maps.Keys(peers), identity.PublicKey.Compare) {
		sorted = append(sorted, *peers[key])
	}
	return sorted
}

func countersOf(gossip neighborhood.Counters, carried streams.Stats) map[string]uint64 {
	counters := map[string]uint64{
		"bytes written": carried.Total.Written, "bytes unwritten": carried.Total.Unwritten(),
		"bytes received": carried.Total.BytesReceived, "bytes refused": carried.Total.Refused,
		"connections refused": carried.TurnedAway,
		"dials":               gossip.Dials, "dials failed": gossip.DialsFailed,
		"records taken": gossip.Taken, "records culled": gossip.Culled,
	}
	for kind, traffic := range gossip.Sent {
		counters[kind+" sent"] = traffic.Messages
	}
	for kind, traffic := range gossip.Received {
		counters[kind+" received"] = traffic.Messages
	}
	for reason, count := range gossip.Rejected {
		counters["rejected: "+reason] = count
	}
	return counters
}

// Farewells says how far each former neighbor is known to have been told.
func (v view) Farewells() []ui.Farewell {
	return farewells(v.node.neighborhood.Withdrawal(), v.node.pool.Results())
}
