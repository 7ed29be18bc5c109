package streams

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

func resultsByPeer(p *Pool) map[identity.PublicKey]Result {
	results := make(map[identity.PublicKey]Result)
	for _, r := range p.Results() {
		results[r.Peer] = r
	}
	return results
}

func TestShutdownConfirmsAll(t *testing.T) {
	a := newNode(t, 1, nil)
	const neighbors = 5
	peers := make([]*node, neighbors)
	for i := range peers {
		peers[i] = newNode(t, byte(10+i), nil)
		if i%2 == 0 {
			connect(t, a, peers[i])
		} else {
			connect(t, peers[i], a)
		}
		if err := a.Send(peers[i].key, bytes.Repeat([]byte{1}, 500_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(a.Quiesce(t.Context()), a.Shutdown(t.Context())); err != nil {
		t.Fatal(err)
	}
	if a.withdrawn != 1 {
		t.Errorf("withdrawn %d times", a.withdrawn)
	}
	results := resultsByPeer(a.Pool)
	for _, peer := range peers {
		r := results[peer.key]
		if r.Outcome != Confirmed || r.Traffic.Written != 500_004 || r.Traffic.Unwritten() != 0 {
			t.Errorf("result %v", r)
		}
		if peer.bytes[a.key] != 500_000 { // confirmed: no waiting
			t.Errorf("%d bytes arrived", peer.bytes[a.key])
		}
		if err := peer.untilDown(t, a.key); err != nil {
			t.Errorf("the peer saw %v", err)
		}
		if err := a.untilDown(t, peer.key); err != nil {
			t.Errorf("we saw %v", err)
		}
	}
	assertIs(t, a.Send(peers[0].key, nil), ErrNoStream)
	if err := a.Shutdown(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
	if total := checkAccounts(t, a.Pool); total.Written != neighbors*500_004 {
		t.Errorf("total %+v", total)
	}
}

func TestShutdownWithoutQuiesce(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	if err := a.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.withdrawn != 1 {
		t.Errorf("withdrawn %d times", a.withdrawn)
	}
	if err := newNode(t, 3, nil).Dial(t.Context(), a.key, a.address); err == nil {
		t.Error("still accepting")
	}
}

func TestEmptyPoolShutsDown(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), over} {
		a := newNode(t, 1, nil)
		if err := a.Shutdown(ctx); err != nil || len(a.Results()) != 0 {
			t.Errorf("%v, %v", err, a.Results())
		}
	}
}

// What the peer still sends while we leave is handed over, and both sides' last bytes arrive.
func TestPeersLastBytesAreHandled(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	if err := errors.Join(a.Send(b.key, make([]byte, 900_000)), b.Send(a.key, make([]byte, 900_000))); err != nil {
		t.Fatal(err)
	}
	if err := a.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.bytes[b.key] != 900_000 || b.bytes[a.key] != 900_000 {
		t.Errorf("%d and %d bytes arrived", a.bytes[b.key], b.bytes[a.key])
	}
}

func TestBothLeaveAtOnce(t *testing.T) {
	for range 20 {
		a, b := newNode(t, 1, nil), newNode(t, 2, nil)
		connect(t, a, b)
		if err := errors.Join(a.Send(b.key, make([]byte, 300_000)), b.Send(a.key, make([]byte, 300_000))); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for _, n := range []*node{a, b} {
			wait.Go(func() {
				if err := n.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		if a.bytes[b.key] != 300_000 || b.bytes[a.key] != 300_000 {
			t.Errorf("%d and %d bytes arrived", a.bytes[b.key], b.bytes[a.key])
		}
		for _, r := range append(a.Results(), b.Results()...) {
			if r.Outcome != Confirmed && r.Outcome != Left {
				t.Errorf("result %v", r)
			}
		}
	}
}

// fill sends to a peer that does not read until neither kernel takes any more.
func fill(t *testing.T, n *node, peer identity.PublicKey) {
	t.Helper()
	for {
		err := n.Send(peer, make([]byte, 64<<10))
		if err == nil {
			continue
		}
		assertIs(t, err, ErrQueueFull)
		before := n.Stats().Total.Written
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err = n.Flush(ctx, peer)
		cancel()
		if err != nil && n.Stats().Total.Written == before {
			return
		}
	}
}

// A neighbor that reads nothing holds back neither the Deliver to others nor their closing, and is named.
func TestStalledNeighborHoldsNobodyBack(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	dialRaw(t, 3, a)
	stalled := id(3).PublicKey()
	fill(t, a, stalled)
	ctx, insist := context.WithCancelCause(t.Context())
	errInsist := errors.New("insist")
	delivered := make(chan error, 1)
	go func() { delivered <- a.Deliver(ctx, stalled, []byte("farewell")) }()
	if err := a.Deliver(t.Context(), b.key, []byte("farewell")); err != nil {
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Shutdown(ctx) }()
	if err := b.untilDown(t, a.key); err != nil {
		t.Errorf("b saw %v", err)
	}
	a.until(t, "the other closed", func() bool { return len(a.down[b.key]) == 1 })
	insist(errInsist)
	err := <-closed
	assertIs(t, err, errInsist)
	assertIs(t, err, ErrCut)
	var unwritten *UnwrittenError
	if err := <-delivered; !errors.As(err, &unwritten) || unwritten.Peer != stalled || unwritten.Bytes == 0 {
		t.Errorf("deliver: %v", err)
	}
	results := resultsByPeer(a.Pool)
	if r := results[b.key]; r.Outcome != Confirmed {
		t.Errorf("result %v", r)
	}
	if r := results[stalled]; r.Outcome != Cut || r.Traffic.Unwritten() == 0 {
		t.Errorf("result %v", r)
	}
}

// A peer that half-closes and does not confirm, and one that dies, are told apart from one that confirms.
func TestOutcomesOfOtherEnds(t *testing.T) {
	a := newNode(t, 1, nil)
	polite, killed := dialRaw(t, 2, a), dialRaw(t, 3, a)
	if err := a.Send(id(3).PublicKey(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Shutdown(t.Context()) }()
	for _, peer := range []*rawPeer{polite, killed} {
		if _, err := io.ReadAll(peer); err != nil {
			t.Error(err)
		}
	}
	_ = polite.Close()
	_ = killed.socket.Close() // no close_notify
	assertIs(t, <-closed, io.ErrUnexpectedEOF)
	results := resultsByPeer(a.Pool)
	if r := results[id(2).PublicKey()]; r.Outcome != Left {
		t.Errorf("result %v", r)
	}
	if r := results[id(3).PublicKey()]; r.Outcome != Reset {
		t.Errorf("result %v", r)
	}
}

func TestPeersHalfCloseIsAnswered(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := dialRaw(t, 2, a)
	key := id(2).PublicKey()
	if err := a.Send(key, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte{0, 0, 0, 2, 'o', 'k'}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(peer.CloseWrite(), peer.socket.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if err := a.untilDown(t, key); err != nil {
		t.Error(err)
	}
	if a.bytes[key] != 2 {
		t.Error("what came before the half-close was not applied")
	}
	got, err := io.ReadAll(peer)
	if err != nil || len(got) != headerSize+1<<20+headerSize {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if word := got[len(got)-headerSize:]; !bytes.Equal(word, []byte{0x80, 0, 0, 1}) {
		t.Errorf("last word %x, want the confirmation", word)
	}
}

func TestLingerBoundsTheWait(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.Linger = 20 * time.Millisecond })
	dialRaw(t, 2, a) // never reads, never closes
	if err := a.Send(id(2).PublicKey(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	assertIs(t, a.Shutdown(t.Context()), ErrCut)
}

// One who has said hello and nothing else, and was told nothing, is in the results but not in the error.
func TestSilentStrangerIsNoFailure(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.Linger = 20 * time.Millisecond })
	dialRaw(t, 2, a) // never closes
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if r := resultsByPeer(a.Pool)[id(2).PublicKey()]; r.Outcome != Cut || r.Err == nil {
		t.Errorf("result %v", r)
	}
}

func TestFloodAfterOurEndIsBounded(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.MaxDrain = 1 << 20 })
	peer := dialRaw(t, 2, a)
	if err := a.Send(id(2).PublicKey(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	go func() {
		frame := append([]byte{0, 0, 0x40, 0}, make([]byte, 0x4000)...)
		for err := error(nil); err == nil; {
			_, err = peer.Write(frame)
		}
	}()
	assertIs(t, a.Shutdown(t.Context()), ErrCut)
}

// A handler that never returns is left behind and named.
func TestShutdownLeavesABusyHandlerBehind(t *testing.T) {
	gate := make(chan struct{})
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	entered := make(chan struct{})
	a.onFrame = func(identity.PublicKey, []byte) { close(entered); <-gate }
	connect(t, b, a)
	if err := b.Send(a.key, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- a.Shutdown(ctx) }()
	cancel()
	assertIs(t, <-closed, context.Canceled)
	close(gate)
}

// A peer that breaks its stream when the pool is leaving already, but not closing it yet, is in the results. The error is
// about peers, and nothing else.
func TestPeerBreaksItsStreamBeforeItIsClosed(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := dialRaw(t, 2, a)
	if err := a.Quiesce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Deliver(t.Context(), id(2).PublicKey(), []byte("farewell")); err != nil {
		t.Fatal(err)
	}
	_ = peer.socket.Close() // no close_notify
	a.until(t, "the socket closed", func() bool { return len(a.Stats().Streams) == 0 })
	unconfirmed, ok := a.Shutdown(t.Context()).(*UnconfirmedError)
	if !ok || len(unconfirmed.Results) != 1 || unconfirmed.Results[0].Outcome != Reset {
		t.Errorf("error %v", unconfirmed)
	}
}

func TestUnconfirmedErrorNamesAFew(t *testing.T) {
	err := &UnconfirmedError{Results: make([]Result, 1000)}
	for i := range err.Results {
		err.Results[i].Err = ErrCut
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != named+1 || lines[named] != "streams: and 990 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
	assertIs(t, err, ErrCut)
}
