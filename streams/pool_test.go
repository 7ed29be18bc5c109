package streams

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestFramesArriveInOrder(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	var want [][]byte
	for i, size := range []int{0, 1, 3, 100, chunkSize - headerSize, chunkSize, chunkSize + 1, 1 << 20, DefaultMaxFrame, 5} {
		frame := bytes.Repeat([]byte{byte(i)}, size)
		want = append(want, frame)
		send := func() error { return a.Send(b.key, frame) }
		if i%2 == 1 {
			send = func() error { return a.Deliver(t.Context(), b.key, frame) }
		}
		for errors.Is(send(), ErrQueueFull) {
			if err := a.Flush(t.Context(), b.key); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.until(t, "all frames", func() bool { return len(b.frames[a.key]) == len(want) })
	b.recorder.mu.Lock()
	defer b.recorder.mu.Unlock()
	for i, frame := range b.frames[a.key] {
		if !bytes.Equal(frame, want[i]) {
			t.Errorf("frame %d: %d bytes arrived, %d sent, or they differ", i, len(frame), len(want[i]))
		}
	}
}

func TestFramesGoBothWays(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	for i := range 100 {
		if err := errors.Join(a.Send(b.key, fmt.Append(nil, i)), b.Send(a.key, fmt.Append(nil, i))); err != nil {
			t.Fatal(err)
		}
	}
	a.until(t, "frames", func() bool { return len(a.frames[b.key]) == 100 })
	b.until(t, "frames", func() bool { return len(b.frames[a.key]) == 100 })
}

func TestSendRefuses(t *testing.T) {
	a, b := newNode(t, 1, func(c *Config) { c.MaxFrame = 100 }), newNode(t, 2, nil)
	frame := make([]byte, 10)
	assertIs(t, a.Send(b.key, frame), ErrNoStream)
	assertIs(t, a.Deliver(t.Context(), b.key, frame), ErrNoStream)
	assertIs(t, a.Flush(t.Context(), b.key), ErrNoStream)
	connect(t, a, b)
	assertIs(t, a.Send(b.key, make([]byte, 101)), ErrFrameTooBig)
	assertIs(t, a.Deliver(t.Context(), b.key, make([]byte, 101)), ErrFrameTooBig)
	if err := a.Send(b.key, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	b.untilBytes(t, a.key, 100)
	if total := checkAccounts(t, a.Pool); total.Refused != 14+14+105+105 || total.Accepted != 104 {
		t.Errorf("totals %+v", total)
	}
}

// The frame of a Deliver is outside the bound, also while only a part of it is written.
func TestDeliverHasItsOwnPlace(t *testing.T) {
	const size = 4 * chunkSize
	s := newStream(newNode(t, 1, func(c *Config) { c.MaxQueue = 100 }).Pool, id(2).PublicKey(), nil, nil)
	if err := s.send(make([]byte, 90)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	delivered := make(chan error, 2)
	for range 2 { // one takes the place, the other waits for it
		go func() { delivered <- s.deliver(ctx, make([]byte, size)) }()
	}
	queued := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.reserved > 0
	}
	for !queued() {
		runtime.Gosched()
	}
	assertIs(t, s.send(make([]byte, 3)), ErrQueueFull)
	if err := s.send(make([]byte, 2)); err != nil {
		t.Errorf("within the bound: %v", err)
	}
	s.wrote(new(chunk), 100+size/2)
	if err := s.send(make([]byte, 80)); err != nil {
		t.Errorf("the other's frame is half written: %v", err)
	}
	assertIs(t, s.send(make([]byte, 80)), ErrQueueFull)
	cancel()
	var unwritten *UnwrittenError
	for range 2 {
		if err := <-delivered; !errors.As(err, &unwritten) || !errors.Is(err, context.Canceled) {
			t.Errorf("deliver: %v", err)
		}
	}
	if err := s.deliver(ctx, nil); err == nil {
		t.Error("the place was given away while the frame in it is not written")
	}
	s.wrote(new(chunk), int(s.traffic.Unwritten()))
	if len(s.place) > 0 || s.reserved > 0 {
		t.Error("the place is not free again")
	}
	s.queue.discard()
}

func TestRemoveIsPolite(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	if err := a.Send(b.key, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	a.Remove(b.key)
	a.Remove(b.key)
	assertIs(t, a.untilDown(t, b.key), ErrRemoved)
	if err := b.untilDown(t, a.key); err != nil {
		t.Errorf("the peer saw %v", err)
	}
	assertIs(t, a.Send(b.key, nil), ErrNoStream)
	b.untilBytes(t, a.key, 1000)
	connect(t, b, a)
	for _, n := range []*node{a, b} {
		n.recorder.mu.Lock()
		if len(n.down[a.key])+len(n.down[b.key]) != 1 {
			t.Error("told more than once")
		}
		n.recorder.mu.Unlock()
	}
}

// A peer that removes us and dials again at once: the last bytes of the old stream come before the new one is up.
func TestDialingAgainLosesNothing(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	const rounds = 5
	for i := range rounds {
		if err := a.Dial(t.Context(), b.key, b.address); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := a.Send(b.key, bytes.Repeat([]byte{byte(i)}, 10_000)); err != nil {
				t.Fatal(err)
			}
		}
		a.Remove(b.key)
	}
	b.untilBytes(t, a.key, rounds*10*10_000)
	b.until(t, "all down", func() bool { return len(b.down[a.key]) == rounds })
	b.recorder.mu.Lock()
	defer b.recorder.mu.Unlock()
	for i, frame := range b.frames[a.key] {
		if frame[0] != byte(i/10) {
			t.Fatalf("frame %d is of round %d", i, frame[0])
		}
	}
	for _, err := range b.down[a.key] {
		if err != nil {
			t.Errorf("down with %v", err)
		}
	}
}

func TestRemoveClosesTheSocket(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := dialRaw(t, 2, a)
	key := id(2).PublicKey()
	if err := a.Deliver(t.Context(), key, []byte("last")); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte{0, 0, 0, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	a.Remove(key)
	got, err := io.ReadAll(peer)
	if err != nil || string(got) != "\x00\x00\x00\x04last" {
		t.Errorf("peer read %q, %v", got, err)
	}
	if err := peer.Close(); err != nil {
		t.Error(err)
	}
	assertIs(t, a.untilDown(t, key), ErrRemoved)
}

func TestNewRefuses(t *testing.T) {
	r := newRecorder()
	for name, config := range map[string]Config{
		"nothing":  {},
		"negative": {Identity: id(1), Handler: r, MaxQueue: -1},
		"huge":     {Identity: id(1), Handler: r, MaxFrame: 1 << 30},
		"too soon": {Identity: id(1), Handler: r, DeadAfter: time.Second},
		"too fine": {Identity: id(1), Handler: r, DeadAfter: 4500 * time.Millisecond},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A stream is removed after its peer has begun the next one, of which the handler does not know yet: that one is left
// alone.
func TestRemoveMeansTheStreamThatTheHandlerKnows(t *testing.T) {
	a := newNode(t, 1, nil)
	key := id(2).PublicKey()
	handling, removed := make(chan struct{}), make(chan struct{})
	a.onFrame = func(identity.PublicKey, []byte) {
		close(handling)
		<-removed
		a.Remove(key) // decided upon on the older stream
	}
	first := dialRawAs(t, 2, a, 7, 1)
	a.untilUp(t, key)
	if _, err := first.Write(frameOf(nil)); err != nil {
		t.Fatal(err)
	}
	<-handling
	second := dialRawAs(t, 2, a, 8, 1) // the peer has restarted
	close(removed)
	a.until(t, "the second stream", func() bool { return a.up[key] == 2 })
	if err := a.Deliver(t.Context(), key, []byte("you stay")); err != nil {
		t.Error(err)
	}
	got := make([]byte, headerSize+8)
	if _, err := io.ReadFull(second, got); err != nil || string(got[headerSize:]) != "you stay" {
		t.Errorf("read %q, %v", got, err)
	}
	a.Remove(key)
	assertIs(t, a.untilDown(t, key), ErrRemoved)
}
