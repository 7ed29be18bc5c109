package neighborhood

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

const latency = 2 * time.Millisecond

// fakeNetwork joins neighborhoods within one process, in a synctest bubble. It keeps what Handler promises: what one
// node is told of one peer's stream is told in order and one at a time.
type fakeNetwork struct {
	mutex   sync.Mutex
	nodes   map[string]*node // by address, those that can be dialed
	keys    map[identity.PublicKey]*node
	links   map[link]*stream // by who hears and who speaks
	log     []sentFrame
	stalled map[identity.PublicKey]bool // who does not read any more
	dials   map[string]int
}

type link struct{ hears, speaks identity.PublicKey }

// stream is one direction of a stream; its mutex is held while something is told.
type stream struct {
	mutex sync.Mutex
	down  chan struct{} // closed: it has ended
}

type sentFrame struct {
	from, to identity.PublicKey
	kind     wire.Kind
	at       time.Time
}

// node is one neighborhood of the network, and its Network.
type node struct {
	*Neighborhood
	net        *fakeNetwork
	key        identity.PublicKey
	descriptor Descriptor
}

var errDown = errors.New("no stream")

func newFakeNetwork() *fakeNetwork {
	return &fakeNetwork{
		nodes: make(map[string]*node), keys: make(map[identity.PublicKey]*node), links: make(map[link]*stream),
		stalled: make(map[identity.PublicKey]bool), dials: make(map[string]int),
	}
}

// add makes the node of a seed; it is started by the caller.
func (f *fakeNetwork) add(t *testing.T, seed byte, neighbors ...Descriptor) *node {
	t.Helper()
	id := identity.FromSeed([32]byte{seed})
	n, err := New(Config{Identity: id, Neighbors: neighbors})
	if err != nil {
		t.Fatal(err)
	}
	d := Descriptor{Key: id.PublicKey(), Address: fmt.Sprintf("192.0.2.%d:4000", seed)}
	added := &node{Neighborhood: n, net: f, key: d.Key, descriptor: d}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.nodes[d.Address], f.keys[d.Key] = added, added
	return added
}

func (f *fakeNetwork) start(t *testing.T, seed byte, neighbors ...Descriptor) *node {
	t.Helper()
	n := f.add(t, seed, neighbors...)
	if err := n.Start(n, n.descriptor.Address); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) Dial(ctx context.Context, peer identity.PublicKey, address string) error {
	if err := sleep(ctx, latency); err != nil {
		return err
	}
	n.net.mutex.Lock()
	n.net.dials[address]++
	other := n.net.nodes[address]
	if other == nil || other.key != peer {
		n.net.mutex.Unlock()
		return errDown
	}
	down := make(chan struct{})
	here, there := &stream{down: down}, &stream{down: down}
	here.mutex.Lock()
	there.mutex.Lock()
	n.net.links[link{n.key, peer}], n.net.links[link{peer, n.key}] = here, there
	n.net.mutex.Unlock()
	other.PeerUp(n.key)
	there.mutex.Unlock()
	n.PeerUp(peer)
	here.mutex.Unlock()
	return nil
}

func (n *node) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	m, err := wire.Decode(frame)
	if err != nil {
		return err
	}
	n.net.mutex.Lock()
	to, stalled, other := n.net.links[link{peer, n.key}], n.net.stalled[peer], n.net.keys[peer]
	n.net.log = append(n.net.log, sentFrame{n.key, peer, m.Kind, time.Now()})
	n.net.mutex.Unlock()
	if to == nil {
		return errDown
	}
	if stalled {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-to.down:
			return errDown
		}
	}
	if err := sleep(ctx, latency); err != nil {
		return err
	}
	to.mutex.Lock()
	defer to.mutex.Unlock()
	select {
	case <-to.down:
		return errDown
	default:
		other.Frame(n.key, frame)
		return nil
	}
}

func (n *node) Remove(peer identity.PublicKey) { go n.end(peer) }

// end ends both directions.
func (n *node) end(peer identity.PublicKey) {
	n.net.mutex.Lock()
	here, there, other := n.net.links[link{n.key, peer}], n.net.links[link{peer, n.key}], n.net.keys[peer]
	delete(n.net.links, link{n.key, peer})
	delete(n.net.links, link{peer, n.key})
	n.net.mutex.Unlock()
	if here == nil {
		return
	}
	close(here.down)
	here.mutex.Lock()
	n.PeerDown(peer, nil)
	here.mutex.Unlock()
	there.mutex.Lock()
	other.PeerDown(n.key, nil)
	there.mutex.Unlock()
}

// vanish is a crash: the streams end, nobody can dial it, and nothing is said.
func (f *fakeNetwork) vanish(n *node) {
	f.mutex.Lock()
	delete(f.nodes, n.descriptor.Address)
	var peers []identity.PublicKey
	for l := range f.links {
		if l.hears == n.key {
			peers = append(peers, l.speaks)
		}
	}
	f.mutex.Unlock()
	for _, peer := range peers {
		n.end(peer)
	}
}

func (f *fakeNetwork) stall(key identity.PublicKey) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.stalled[key] = true
}

func (f *fakeNetwork) forget() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.log = nil
}

// sent counts the frames from one node, to each.
func (f *fakeNetwork) sent(from identity.PublicKey) map[identity.PublicKey]int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	counts := make(map[identity.PublicKey]int)
	for _, s := range f.log {
		if s.from == from {
			counts[s.to]++
		}
	}
	return counts
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// star starts a center and n others that know only it, and lets them settle.
func star(t *testing.T, f *fakeNetwork, n int) (center *node, others []*node) {
	t.Helper()
	center = f.start(t, 100)
	for i := range n {
		others = append(others, f.start(t, byte(i+1), center.descriptor))
	}
	settle()
	f.forget()
	return center, others
}

func settle() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}

func shutDown(t *testing.T, all ...*node) {
	t.Helper()
	for _, n := range all {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the test is over"))
		_ = n.Shutdown(ctx)
	}
}
