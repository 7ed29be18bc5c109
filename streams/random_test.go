package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
)

// fault is what a scripted peer does to the hub after its hello; it returns when it is done.
type fault struct {
	name string
	do   func(random *rand.Rand, peer *rawPeer)
}

var faults = []fault{
	{"stalls", func(*rand.Rand, *rawPeer) {}},
	{"resets", func(random *rand.Rand, peer *rawPeer) {
		_, _ = peer.Read(make([]byte, 1+random.IntN(10_000)))
		_, _ = peer.socket.SetLinger(0), peer.socket.Close()
	}},
	{"is killed", func(random *rand.Rand, peer *rawPeer) {
		_, _ = peer.Write(frameOf(make([]byte, random.IntN(1000))))
		_ = peer.socket.Close()
	}},
	{"half-closes and stalls", func(_ *rand.Rand, peer *rawPeer) { _, _ = peer.CloseWrite(), peer.socket.CloseWrite() }},
	{"talks garbage", func(random *rand.Rand, peer *rawPeer) {
		garbage := make([]byte, 1+random.IntN(1000))
		for i := range garbage {
			garbage[i] = byte(random.Uint32())
		}
		_, _ = peer.Write(garbage)
	}},
	{"breaks TLS", func(_ *rand.Rand, peer *rawPeer) { _, _ = peer.socket.Write(make([]byte, 100)) }},
	{"stops within a frame", func(_ *rand.Rand, peer *rawPeer) {
		_, _ = peer.Write([]byte{0, 0, 1, 0, 1, 2, 3})
		_ = peer.Close()
	}},
	{"floods", func(random *rand.Rand, peer *rawPeer) {
		for frame := frameOf(make([]byte, 1<<16)); ; {
			if _, err := peer.Write(frame); err != nil {
				return
			}
		}
	}},
}

// ends are how a healthy peer and the hub part. After each of them everything accepted has arrived.
var ends = []struct {
	name string
	do   func(hub, peer *node)
}{
	{"the hub leaves", func(*node, *node) {}},
	{"the hub removes the peer", func(hub, peer *node) { hub.Remove(peer.key) }},
	{"the peer removes the hub", func(hub, peer *node) { peer.Remove(hub.key) }},
	{"the peer leaves", func(_, peer *node) { _ = peer.Shutdown(context.Background()) }},
}

// A hub among healthy peers and faulty ones: what it accepted for the healthy ones arrives, all of it, and nothing
// leaks. FAREWELL_ROUNDS and FAREWELL_SEED choose other rounds than the usual 200.
func TestRandomFaults(t *testing.T) {
	first := 1
	if text := os.Getenv("FAREWELL_SEED"); text != "" {
		var err error
		if first, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var frames, size int
	rounds := repetitions(t, 200)
	t.Run("seed", func(t *testing.T) {
		for seed := first; seed < first+rounds; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				f, s := randomRound(t, uint64(seed))
				mu.Lock()
				defer mu.Unlock()
				frames, size = frames+f, size+s
			})
		}
	})
	t.Logf("%d rounds: all of %d frames, %d bytes, accepted for healthy peers arrived", rounds, frames, size)
}

func randomRound(t *testing.T, seed uint64) (frames, size int) {
	random := rand.New(rand.NewPCG(seed, 0))
	hub := newNode(t, 1, func(c *Config) { c.MaxDrain = 1 << 20 })
	var healthy []*node
	for i := range 1 + random.IntN(2) {
		peer := newNode(t, byte(10+i), nil)
		if random.IntN(2) == 0 {
			connect(t, hub, peer)
		} else {
			connect(t, peer, hub)
		}
		healthy = append(healthy, peer)
	}
	var scripts sync.WaitGroup
	defer scripts.Wait()
	for i := range 1 + random.IntN(3) {
		f := faults[random.IntN(len(faults))]
		peer, own := dialRaw(t, byte(50+i), hub), rand.New(rand.NewPCG(seed, uint64(i)))
		t.Logf("a peer %s", f.name)
		scripts.Go(func() { f.do(own, peer) })
	}
	sent := make(map[*node][2][][]byte) // to the peer, to the hub
	for range 5 + random.IntN(30) {
		for i := range 4 {
			_ = hub.Send(id(byte(50+i)).PublicKey(), make([]byte, random.IntN(30_000)))
		}
		for _, peer := range healthy {
			both := sent[peer]
			both[0] = sendRandom(random, hub, peer, both[0])
			both[1] = sendRandom(random, peer, hub, both[1])
			sent[peer] = both
		}
	}
	end := ends[random.IntN(len(ends))]
	t.Log("then", end.name)
	end.do(hub, healthy[0])
	ctx, insist := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- hub.Shutdown(ctx) }()
	for _, peer := range healthy {
		if err := peer.untilDown(t, hub.key); err != nil && !errors.Is(err, ErrRemoved) {
			t.Errorf("a healthy peer saw %v", err)
		}
		hub.untilDown(t, peer.key)
	}
	insist()
	<-closed
	for _, peer := range healthy {
		removedBy := map[string]*node{"the hub removes the peer": hub, "the peer removes the hub": peer}[end.name]
		if peer != healthy[0] {
			removedBy = nil
		}
		checkArrived(t, "the peer", peer.frames[hub.key], sent[peer][0], removedBy == peer)
		checkArrived(t, "the hub", hub.frames[peer.key], sent[peer][1], removedBy == hub)
		for _, frame := range sent[peer][0] {
			frames, size = frames+1, size+len(frame)
		}
	}
	checkEmpty(t, hub)
	return frames, size
}

// sendRandom sends a frame and appends it to what was accepted.
func sendRandom(random *rand.Rand, from, to *node, accepted [][]byte) [][]byte {
	frame := bytes.Repeat([]byte{byte(len(accepted))}, random.IntN(20_000))
	if from.Send(to.key, frame) == nil {
		accepted = append(accepted, frame)
	}
	return accepted
}

// checkArrived compares what arrived with what was accepted; who has removed the other drops the rest.
func checkArrived(t *testing.T, where string, got, want [][]byte, removed bool) {
	t.Helper()
	if removed && len(got) < len(want) {
		want = want[:len(got)]
	}
	if len(got) != len(want) {
		t.Errorf("at %s %d frames of %d arrived", where, len(got), len(want))
		return
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("at %s frame %d differs", where, i)
		}
	}
}

// checkEmpty checks that a pool which was shut down holds nothing.
func checkEmpty(t *testing.T, n *node) {
	t.Helper()
	<-n.closed // left behind by a busy handler only
	n.Pool.mu.Lock()
	defer n.Pool.mu.Unlock()
	if len(n.live)+len(n.peers)+len(n.told)+len(n.dialing)+len(n.sources)+len(n.handshakes) > 0 {
		t.Errorf("left: %d live, %d peers, %d dials, %d sources, %d handshakes",
			len(n.live), len(n.peers), len(n.dialing), len(n.sources), len(n.handshakes))
	}
}
