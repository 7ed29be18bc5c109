package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// What a message weighs at most: five half-neighbors in every record, and two IPv6 addresses.
const (
	bytesOfRecord    = 300
	bytesOfAddresses = 400
)

// maxViolations bounds what is kept of a run that goes wrong.
const maxViolations = 20

func (s *simulation) violate(rule, format string, args ...any) {
	if len(s.result.Violations) < maxViolations {
		s.result.Violations = append(s.result.Violations, Violation{
			Rule: rule, At: s.now.Sub(epoch), What: fmt.Sprintf(format, args...), Reproduce: s.cfg.String(),
		})
	}
}

// saw checks what one step of a node has put out.
func (s *simulation) saw(n *node, out core.Output) {
	if places := n.core.Places(); places > wire.MaxDegree {
		s.violate("room", "node %d has %d neighbors and Debuts", n.number, places)
	}
	if known := n.core.Known(); known > s.maxRecords() {
		s.violate("memory", "node %d holds %d records", n.number, known)
	}
	for _, d := range out.Deliver {
		s.sawFrame(n, d)
	}
	for _, t := range out.Dial {
		s.sawDial(n, t)
	}
	if n.says(n.core.Root()) {
		s.tally.versions++
		s.lookAtParts()
	}
}

func (s *simulation) sawFrame(n *node, d core.Delivery) {
	m, err := wire.Decode(d.Frame)
	if err != nil {
		s.violate("message", "node %d sends what cannot be read: %v", n.number, err)
		return
	}
	s.tally.sent(s.now, m, len(d.Frame), n.core.Known()+1)
	if size := len(d.Frame); size > bytesOfAddresses+bytesOfRecord*len(m.Entries) {
		s.violate("cost", "node %d takes %d bytes for %d records", n.number, size, len(m.Entries))
	}
	if m.Kind == wire.Debut {
		n.debuted[d.Peer]++
	}
	for _, e := range m.Entries {
		if e.Record.Key == n.key && n.says(e.Record) {
			s.tally.versions++
		}
	}
	s.checkAddresses(n, d.Peer, m)
	if n.withdrawing {
		n.farewells[d.Peer]++
		if m.Kind != wire.Standard || len(m.Entries) != 1 || len(m.Entries[0].Record.Neighbors) > 0 {
			s.violate("withdrawal", "node %d says %v while it withdraws", n.number, m)
		}
	}
}

// checkAddresses sees that an address is shown only by its owner, to a neighbor or a debuter or whom it debuts to, and
// by others only one at a time, to a debuter, of a neighbor of theirs.
func (s *simulation) checkAddresses(n *node, to identity.PublicKey, m wire.Message) {
	strangers := 0
	for _, e := range m.Entries {
		switch {
		case e.Address == nil:
		case e.Address.Key == n.key:
			if m.Kind == wire.Standard && !e.Record.Lists(to) {
				s.violate("address", "node %d shows its own to one that it does not list", n.number)
			}
		case m.Kind != wire.Introduction && m.Kind != wire.Pass, !n.core.Root().Lists(e.Address.Key):
			s.violate("address", "node %d shows another's in a %v", n.number, m.Kind)
		default:
			strangers++
		}
	}
	if strangers > 1 {
		s.violate("address", "node %d shows %d of others at once", n.number, strangers)
	}
}

// heard notes whom an answer to a Debut names: nobody else may be dialed, beside the configured neighbors.
func (s *simulation) heard(n *node, f core.Frame) {
	if n.debuted[f.Peer] == 0 {
		return
	}
	m, err := wire.Decode(f.Bytes)
	if err != nil || m.Kind != wire.Introduction && m.Kind != wire.Pass {
		return
	}
	n.debuted[f.Peer]--
	if len(m.Entries) > 0 && m.Entries[len(m.Entries)-1].Record != nil {
		n.named[m.Entries[len(m.Entries)-1].Record.Key]++
	}
}

func (s *simulation) sawDial(n *node, t core.Target) {
	if slices.ContainsFunc(n.anchors(), func(own core.Target) bool { return own.Key == t.Key }) {
		return
	}
	if n.named[t.Key] == 0 {
		s.violate("dial", "node %d dials what nobody has named to it: %s", n.number, t.Address)
		return
	}
	n.named[t.Key]--
}

// checkHeeded sees that a node which has heard a farewell has dropped its half-neighborship at once. A Debut may have
// been under way before it, and be overtaken by hearsay of it: that one cannot be told from a return.
func (s *simulation) checkHeeded(n *node, f core.Frame) {
	leaver := s.byKey[f.Peer]
	r := n.core.Held(f.Peer)
	if !leaver.withdrawing || n.byzantine || n.withdrawing || r == nil || r.Compare(leaver.core.Root()) != 0 {
		return
	}
	if m, err := wire.Decode(f.Bytes); err == nil && m.Kind == wire.Standard && n.core.Root().Lists(f.Peer) {
		s.violate("farewell", "node %d has heard node %d's farewell and still lists it", n.number, leaver.number)
	}
}

// checkWithdrawal sees that each neighbor there was has been sent one message, and nobody else any. It may be none
// where the frame before it could not be written.
func (s *simulation) checkWithdrawal(n *node) {
	total := 0
	for _, f := range n.core.View().Farewells {
		total += n.farewells[f.Neighbor]
		if sent := n.farewells[f.Neighbor]; sent != 1 && !(sent == 0 && errors.Is(f.Err, core.ErrGapBefore)) {
			s.violate("withdrawal", "node %d sent %d messages to a neighbor", n.number, sent)
		}
		if f.Took > farewellTimeout {
			s.violate("withdrawal", "node %d took %v for a neighbor", n.number, f.Took)
		}
	}
	all := 0
	for _, sent := range n.farewells {
		all += sent
	}
	if all != total || total > len(n.dismissing) {
		s.violate("withdrawal", "node %d sent %d messages to %d neighbors", n.number, all, len(n.dismissing))
	}
	s.tally.event.FromLeavers += all
}

// checkSettled sees what must hold whenever nothing has been said for a while.
func (s *simulation) checkSettled() {
	for _, n := range s.nodes {
		if n.honest() {
			s.checkNeighborships(n)
			s.checkReachable(n)
		}
	}
	for _, component := range s.components() {
		s.checkAgreement(component)
	}
}

func (n *node) honest() bool { return n.alive && !n.withdrawing && !n.byzantine && n.core != nil }

// checkNeighborships sees that what a node claims is true: the other is there, and claims the same.
func (s *simulation) checkNeighborships(n *node) {
	for _, key := range n.core.Root().Neighbors {
		other := s.byKey[key]
		if other.byzantine {
			continue
		}
		if !other.honest() || n.links[key] == nil || !other.core.Root().Lists(n.key) {
			s.violate("neighborship", "node %d lists node %d, which is not its neighbor", n.number, other.number)
		}
	}
}

// checkReachable walks over what a node knows, beginning at itself. No honest record that it comes to may list a node
// that is gone. Every record it comes to must be one that its owner has signed.
func (s *simulation) checkReachable(n *node) {
	seen := map[identity.PublicKey]bool{n.key: true}
	for queue := slices.Clone(n.core.Root().Neighbors); len(queue) > 0; queue = queue[1:] {
		r := n.core.Held(queue[0])
		if r == nil || seen[r.Key] {
			continue
		}
		seen[r.Key] = true
		owner := s.byKey[r.Key]
		if owner == nil || owner.byzantine {
			if !r.Verify() {
				s.violate("signature", "node %d holds a record that its owner did not sign", n.number)
			}
			continue
		}
		s.checkRecord(n, owner, r)
		queue = append(queue, r.Neighbors...)
	}
}

func (s *simulation) checkRecord(n, owner *node, r *wire.Record) {
	if !owner.hasSaid(r) {
		s.violate("signature", "node %d holds what node %d never said", n.number, owner.number)
	}
	for _, key := range r.Neighbors {
		if other := s.byKey[key]; other != nil && !other.alive {
			s.violate("left", "to node %d, node %d still lists node %d, which is gone", n.number, owner.number, other.number)
		}
	}
}

// components are the honest nodes that full neighborships between honest nodes connect.
func (s *simulation) components() [][]*node {
	var all [][]*node
	seen := make(map[*node]bool)
	for _, n := range s.nodes {
		if !n.honest() || seen[n] {
			continue
		}
		seen[n] = true
		component := []*node{n}
		for i := 0; i < len(component); i++ {
			for _, key := range component[i].core.Root().Neighbors {
				other := s.byKey[key]
				if other.honest() && !seen[other] && other.core.Root().Lists(component[i].key) {
					seen[other] = true
					component = append(component, other)
				}
			}
		}
		all = append(all, component)
	}
	return all
}

func (s *simulation) checkAgreement(component []*node) {
	for _, n := range component {
		for _, other := range component {
			if n == other {
				continue
			}
			r := n.core.Held(other.key)
			if r == nil {
				s.violate("agreement", "node %d does not know node %d of its component", n.number, other.number)
			} else if r.Compare(other.core.Root()) != 0 {
				s.violate("agreement", "node %d holds version %d of node %d, which is at %d",
					n.number, r.Version, other.number, other.core.Root().Version)
			}
		}
	}
}

// checkEveryoneHasSomebody sees that the rules leave room for every newcomer.
func (s *simulation) checkEveryoneHasSomebody() {
	for _, n := range s.nodes {
		if n.honest() && len(s.nodes) > 1 && len(n.core.Root().Neighbors) == 0 {
			s.violate("place", "node %d has found nobody", n.number)
		}
	}
}

// checkCost sees that a group of incidents cost no more than it may. A stream carries one version of a record at most
// once in each direction, and no Standard is empty, so V new versions over E streams cost at most 2EV Standards. Each
// of S new streams may carry all n records once more, and may make them known again elsewhere, over all streams.
func (s *simulation) checkCost(streams int) {
	t := &s.tally
	bound := 2 * (streams + t.streams) * (t.versions + t.streams*len(s.nodes))
	if t.standards > bound {
		s.violate("cost", "%s: %d Standards for %d versions and %d new streams", t.event.Name, t.standards, t.versions, t.streams)
	}
	if t.records > bound {
		s.violate("cost", "%s: %d records carried, at most %d", t.event.Name, t.records, bound)
	}
}

// tally counts what one group of incidents costs.
type tally struct {
	event     Event
	lastSent  time.Time
	lastTaken time.Time
	lastGone  time.Time // departure of a node; at first, the beginning
	whole     time.Time // when the network was in no needless parts any more
	parted    bool      // it is in needless parts
	standards int
	records   int // carried by them
	versions  int // signed
	streams   int // come up
}

func (t *tally) sent(now time.Time, m wire.Message, size, known int) {
	t.lastSent = now
	t.event.Messages++
	t.event.Bytes += size
	if m.Kind == wire.Standard && len(m.Entries) > 0 {
		t.standards++
		t.records += len(m.Entries)
		t.event.FullState += size / len(m.Entries) * known
	} else {
		t.event.FullState += size
	}
}
