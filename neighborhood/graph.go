package neighborhood

import (
	"fmt"
	"slices"
	"strings"

	"github.com/farewell-node/farewell/streams/identity"
)

// Stage is how far a node has got into the network, in the words of the MASQ Node's UI.
type Stage string

// The stages.
const (
	NotConnected        Stage = "NotConnected"        // no full neighborship
	ConnectedToNeighbor Stage = "ConnectedToNeighbor" // at least one
	RouteFound          Stage = "RouteFound"          // a node three hops away is known
)

// routeLength is how many hops away a node must be for a route to exist (MASQ Node v0.9.1).
const routeLength = 3

// Stage derives the stage from the full neighborships known.
func (s Snapshot) Stage() Stage {
	links := s.fullNeighborships()
	hops := map[identity.PublicKey]int{s.Key: 0}
	farthest := 0
	for queue := []identity.PublicKey{s.Key}; len(queue) > 0; queue = queue[1:] {
		farthest = hops[queue[0]]
		for _, next := range links[queue[0]] {
			if _, seen := hops[next]; !seen {
				hops[next] = farthest + 1
				queue = append(queue, next)
			}
		}
	}
	switch {
	case farthest >= routeLength:
		return RouteFound
	case farthest > 0:
		return ConnectedToNeighbor
	default:
		return NotConnected
	}
}

func (s Snapshot) fullNeighborships() map[identity.PublicKey][]identity.PublicKey {
	claims := s.claims()
	full := make(map[identity.PublicKey][]identity.PublicKey, len(claims))
	for a, list := range claims {
		for _, b := range list {
			if slices.Contains(claims[b], a) {
				full[a] = append(full[a], b)
			}
		}
	}
	return full
}

// claims are all half-neighborships known, by who claims them.
func (s Snapshot) claims() map[identity.PublicKey][]identity.PublicKey {
	claims := make(map[identity.PublicKey][]identity.PublicKey, len(s.Records)+1)
	for _, r := range s.Records {
		claims[r.Key] = r.HalfNeighbors
	}
	own := []identity.PublicKey{}
	for _, n := range s.Neighbors {
		own = append(own, n.Key)
	}
	claims[s.Key] = own
	return claims
}

// DOT draws the half-neighborships as a graph in the DOT language, on one line: an edge is a claim, the own node is
// filled, a node that is mentioned but not known has no shape. Labels hold versions and keys only, never text from
// strangers.
func (s Snapshot) DOT() string {
	var nodes, edges strings.Builder
	known := map[identity.PublicKey]bool{s.Key: true}
	for _, r := range s.Records {
		known[r.Key] = true
	}
	draw := func(key identity.PublicKey, version uint64, claims []identity.PublicKey, style string) {
		fmt.Fprintf(&nodes, ` "%s" [label="v%d\n%.8s"]%s;`, key, version, key.String(), style)
		for _, other := range claims {
			if !known[other] {
				known[other] = true
				fmt.Fprintf(&nodes, ` "%s" [label="%.8s"] [shape=none];`, other, other.String())
			}
			fmt.Fprintf(&edges, ` "%s" -> "%s";`, key, other)
		}
	}
	draw(s.Key, s.Version, s.claims()[s.Key], " [style=filled]")
	for _, r := range s.Records {
		draw(r.Key, r.Version, r.HalfNeighbors, "")
	}
	return "digraph db {" + nodes.String() + edges.String() + " }"
}
