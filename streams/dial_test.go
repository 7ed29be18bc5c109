package streams

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestDialRefuses(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	assertIs(t, a.Dial(t.Context(), a.key, a.address), ErrSelf)
	assertIs(t, a.Dial(t.Context(), id(3).PublicKey(), b.address), identity.ErrWrongKey)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assertIs(t, a.Dial(ctx, b.key, b.address), context.Canceled)
	if err := a.Dial(t.Context(), b.key, "127.0.0.1:1"); err == nil {
		t.Error("dialed a port where nobody listens")
	}
	if len(a.Stats().Streams) > 0 {
		t.Error("a failed dial left a stream")
	}
}

func TestStrangerIsNotLetIn(t *testing.T) {
	friend := id(2).PublicKey()
	a := newNode(t, 1, func(c *Config) { c.Allowed = []identity.PublicKey{friend} })
	b, stranger := newNode(t, 2, nil), newNode(t, 3, nil)
	if err := stranger.Dial(t.Context(), a.key, a.address); err == nil {
		t.Error("a stranger got in")
	}
	if err := a.Dial(t.Context(), stranger.key, stranger.address); err == nil {
		t.Error("dialed a stranger")
	}
	connect(t, b, a)
	a.recorder.mu.Lock()
	defer a.recorder.mu.Unlock()
	if len(a.up) != 1 {
		t.Errorf("told of %d peers, want 1", len(a.up))
	}
}

func TestDialTwiceIsOneStream(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	var dials sync.WaitGroup
	for range 10 {
		dials.Go(func() {
			if err := a.Dial(t.Context(), b.key, b.address); err != nil {
				t.Error(err)
			}
		})
	}
	dials.Wait()
	b.untilUp(t, a.key)
	if n := len(b.Stats().Streams); n != 1 {
		t.Errorf("%d streams", n)
	}
}

// Both sides dial at once, many times: each time one stream is left, the same on both sides, and what is sent as soon
// as Dial returns arrives.
func TestSimultaneousDialsLeaveOneStream(t *testing.T) {
	crossed, smaller := 0, 0
	for range 10 {
		a, b := newNode(t, 1, nil), newNode(t, 2, nil)
		var dials sync.WaitGroup
		for _, ends := range [][2]*node{{a, b}, {b, a}} {
			dials.Go(func() {
				from, to := ends[0], ends[1]
				err := from.Dial(t.Context(), to.key, to.address)
				if err = errors.Join(err, from.Send(to.key, []byte("hello"))); err != nil {
					t.Error(err)
				}
			})
		}
		dials.Wait()
		a.untilBytes(t, b.key, 5)
		b.untilBytes(t, a.key, 5)
		as, bs := a.Stats(), b.Stats()
		if len(as.Streams) != 1 || len(bs.Streams) != 1 || as.Streams[0].Dialed == bs.Streams[0].Dialed {
			t.Fatalf("streams %+v and %+v", as.Streams, bs.Streams)
		}
		if as.TurnedAway+bs.TurnedAway > 0 {
			crossed++
			if as.Streams[0].Dialed == (a.key.Compare(b.key) < 0) { // always, but when the smaller one connects late
				smaller++
			}
		}
	}
	t.Logf("%d of 10 dials crossed; %d times the stream dialed by the smaller key was kept", crossed, smaller)
}

// A peer that crashed comes back, while its old stream looks alive: the new one is taken, whoever dialed the old one.
func TestPeerThatComesBackReplacesItsDeadStream(t *testing.T) {
	for _, seeds := range [][2]byte{{1, 2}, {2, 1}} {
		a := newNode(t, seeds[0], nil)
		ghost := id(seeds[1])
		dialRaw(t, seeds[1], a) // never closed, never read
		b := newNode(t, seeds[1], nil)
		if err := b.Dial(t.Context(), a.key, a.address); err != nil {
			t.Fatal(err)
		}
		a.until(t, "second up", func() bool { return a.up[ghost.PublicKey()] == 2 })
		if len(a.down[ghost.PublicKey()]) != 1 || !errors.Is(a.down[ghost.PublicKey()][0], ErrReplaced) {
			t.Errorf("down %v", a.down)
		}
		if err := a.Send(b.key, []byte("welcome back")); err != nil {
			t.Error(err)
		}
		b.untilBytes(t, a.key, 12)
	}
}

func TestDialedDeadStreamIsReplacedByTheReturningPeer(t *testing.T) {
	for _, seeds := range [][2]byte{{1, 2}, {2, 1}} {
		a, b := newNode(t, seeds[0], nil), newNode(t, seeds[1], nil)
		connect(t, a, b)
		peer := dialRawAs(t, seeds[1], a, 99, 1) // the same key, another instance
		a.until(t, "second up", func() bool { return a.up[b.key] == 2 })
		if err := a.Send(b.key, []byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	}
}

// A dial that the peer began before it took ours is a crossing one, and refused; one that it began after is taken.
func TestOlderDialOfTheSameInstanceIsRefused(t *testing.T) {
	a := newNode(t, 1, nil)
	dialRawAs(t, 2, a, 7, 10)
	raw := connectRaw(t, 2, a)
	assertIs(t, raw.hello(7, 9), ErrRejected)
	if err := connectRaw(t, 2, a).hello(7, 11); err != nil {
		t.Error(err)
	}
}

// A stream that is taken and then does not come up, because its hello could not be written, leaves the order of calls
// as it was: the next one still waits until the Handler has been told of the end of the one before.
func TestStreamThatDoesNotComeUp(t *testing.T) {
	a := newNode(t, 1, nil)
	key := id(2).PublicKey()
	entered, gate := make(chan struct{}), make(chan struct{})
	a.onFrame = func(identity.PublicKey, []byte) { close(entered); <-gate }
	if _, err := dialRaw(t, 2, a).Write(frameOf([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	<-entered
	near, _ := tcpPair(t)
	s := newStream(a.Pool, key, near, newSocket(t.Context(), near))
	if verdict := a.install(s).verdict; verdict != accepted {
		t.Fatal(verdict)
	}
	if err := a.Send(key, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	a.uninstall(s)
	assertIs(t, a.Send(key, nil), ErrNoStream)
	dialRawAs(t, 2, a, 99, 1)
	a.recorder.mu.Lock()
	if a.up[key] != 1 || len(a.down[key]) != 0 {
		t.Error("the next stream is up before the Handler has returned")
	}
	a.recorder.mu.Unlock()
	close(gate)
	a.until(t, "the next stream", func() bool { return a.up[key] == 2 })
	if total := a.Stats().Total; total.Accepted != 104 || total.Unwritten() != 104 || total.Refused != 4 {
		t.Errorf("totals %+v", total)
	}
}

func TestQuiesceEndsDialsAndAccepts(t *testing.T) {
	a := newNode(t, 1, nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	slow, err := net.Dial("tcp", a.address) // a handshake that never begins
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	dialed := make(chan error, 1)
	go func() { dialed <- a.Dial(t.Context(), id(2).PublicKey(), silent.Addr().String()) }()
	if _, err := silent.Accept(); err != nil {
		t.Fatal(err)
	}
	if err := a.Quiesce(t.Context()); err != nil {
		t.Error(err)
	}
	assertIs(t, <-dialed, ErrLeaving)
	assertIs(t, a.Dial(t.Context(), id(2).PublicKey(), silent.Addr().String()), ErrLeaving)
	if _, err := a.Listen("127.0.0.1:0"); err == nil {
		t.Error("listens while leaving")
	}
	if _, err := slow.Read(make([]byte, 1)); err == nil {
		t.Error("the slow handshake is still open")
	}
	if _, err := net.DialTimeout("tcp", a.address, time.Second); err == nil {
		t.Error("still accepting")
	}
}

func TestHandshakeTimeout(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := a.Dial(t.Context(), id(2).PublicKey(), silentAddress(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial to a silent peer: %v", err)
	}
}

// silentAddress is one where connections are taken by the kernel and by nobody else.
func silentAddress(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
