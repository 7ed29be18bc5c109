package streams

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The smaller key has connected and waits for the hello of its own dial: a crossing one gets no answer until that dial
// has ended, and the answer depends on how.
func TestSmallerKeyHoldsBackACrossingDial(t *testing.T) {
	for _, completes := range []bool{true, false} {
		small, great := byte(1), byte(2)
		if id(small).PublicKey().Compare(id(great).PublicKey()) > 0 {
			small, great = great, small
		}
		a := newNode(t, small, nil)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		dialed := make(chan error, 1)
		go func() { dialed <- a.Dial(t.Context(), id(great).PublicKey(), listener.Addr().String()) }()
		raw, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
		theirs := tls.Server(raw, id(great).ServerTLS())
		frames := frameReader{source: theirs}
		if _, err := readHello(&frames); err != nil { // a has connected for sure
			t.Fatal(err)
		}
		crossing := connectRaw(t, great, a)
		answer := make(chan error, 1)
		go func() { answer <- crossing.hello(7, 1) }() // begun before a's dial was taken, see below
		if completes {
			if err := (hello{accepted, 7, 2}).writeTo(theirs); err != nil {
				t.Fatal(err)
			}
			assertIs(t, <-answer, ErrRejected)
		} else {
			_ = raw.Close()
			if err := <-answer; err != nil {
				t.Errorf("the crossing dial: %v", err)
			}
		}
		if err := <-dialed; (err == nil) != completes {
			t.Errorf("completes %v: the dial: %v", completes, err)
		}
		_ = raw.Close()
	}
}

func TestPoolIsFull(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.MaxStreams = 1 })
	b, c := newNode(t, 2, nil), newNode(t, 3, nil)
	connect(t, b, a)
	assertIs(t, c.Dial(t.Context(), a.key, a.address), ErrRejected)
	assertIs(t, a.Dial(t.Context(), c.key, c.address), ErrFull)
	b.Remove(a.key)
	if err := a.untilDown(t, b.key); err != nil {
		t.Error(err)
	}
	a.until(t, "room", func() bool { return len(a.Stats().Streams) == 0 })
	connect(t, c, a)
}

// A peer that begins stream after stream and closes none gets no more than its share, and nobody else is turned away.
func TestReplacedStreamsAreBounded(t *testing.T) {
	for _, limit := range []int{2, 2 * maxPerPeer} {
		a := newNode(t, 1, func(c *Config) { c.MaxStreams = limit })
		share := min(limit, maxPerPeer)
		for i := range 3 * maxPerPeer {
			err := connectRaw(t, 2, a).hello(7, uint64(i+1))
			if i < share && err != nil {
				t.Fatalf("limit %d: stream %d: %v", limit, i, err)
			}
			if i >= share {
				assertIs(t, err, ErrRejected)
			}
			if got := len(a.Stats().Streams); got > share {
				t.Fatalf("limit %d: %d streams after %d dials", limit, got, i+1)
			}
		}
		if limit > share {
			connect(t, newNode(t, 3, nil), a)
		}
	}
}

// A full pool has room for a peer that restarted as soon as its former stream is closed.
func TestRestartedPeerGetsIntoAFullPool(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.MaxStreams = 1 })
	dialRawAs(t, 2, a, 1, 1)
	assertIs(t, connectRaw(t, 2, a).hello(2, 1), ErrRejected)
	assertIs(t, a.untilDown(t, id(2).PublicKey()), ErrReplaced)
	a.until(t, "room", func() bool { return len(a.Stats().Streams) == 0 })
	dialRawAs(t, 2, a, 2, 2)
}

func TestStreamsPerAddress(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.MaxStreamsPerAddress = 2 })
	for seed := byte(2); seed < 4; seed++ {
		connect(t, newNode(t, seed, nil), a)
	}
	late := newNode(t, 4, nil)
	if err := late.Dial(t.Context(), a.key, a.address); err == nil {
		t.Error("a third connection from one address was taken")
	}
	connect(t, a, late) // those that we dial do not count
}

func TestSourceOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7:1":             "192.0.2.7/32",
		"[::ffff:192.0.2.7]:1":    "192.0.2.7/32",
		"[2001:db8:1:2:3::4]:1":   "2001:db8:1:2::/64",
		"[fe80::1%lo]:1":          "fe80::/64",
		"[2001:db8:1:2:ffff::]:9": "2001:db8:1:2::/64",
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := sourceOf(tcp).String(); got != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
}

// Handshakes that never go on take all places, and give them back in time.
func TestSlowlorisHandshakes(t *testing.T) {
	a := newNode(t, 1, func(c *Config) {
		c.MaxHandshakes = 4
		c.HandshakeTimeout = 300 * time.Millisecond
	})
	b, late := newNode(t, 2, nil), newNode(t, 3, nil)
	if err := b.DialUntilUp(t.Context(), a.key, a.address); err != nil { // up before, and not disturbed
		t.Fatal(err)
	}
	for range 12 {
		conn, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := conn.Write([]byte{22, 3, 1}); err != nil { // the beginning of a ClientHello
			t.Fatal(err)
		}
	}
	if err := b.Send(a.key, []byte("still here")); err != nil {
		t.Error(err)
	}
	a.untilBytes(t, b.key, 10)
	if err := late.DialUntilUp(t.Context(), a.key, a.address); err != nil {
		t.Error(err)
	}
	t.Logf("12 silent connections through 4 places: %d turned away, 1 of 1 honest peers let in", a.Stats().TurnedAway)
}

func TestGarbageInsteadOfAHandshake(t *testing.T) {
	a := newNode(t, 1, nil)
	for range 20 {
		conn, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		garbage := make([]byte, 1000)
		_, _ = rand.Read(garbage)
		_, _ = conn.Write(garbage)
		_, _ = io.Copy(io.Discard, conn) // until the node closes
		_ = conn.Close()
	}
	a.until(t, "refusals", func() bool { return a.Stats().TurnedAway == 20 })
	connect(t, newNode(t, 2, nil), a)
	t.Log("20 of 20 connections with garbage turned away")
}

func TestGarbageInsteadOfAHello(t *testing.T) {
	a := newNode(t, 1, nil)
	for name, garbage := range map[string][]byte{
		"short":     {0, 0, 0, 2, 1, 1},
		"long":      frameOf(make([]byte, helloSize+1)),
		"huge":      {0x7f, 0xff, 0xff, 0xff},
		"control":   {0x80, 0, 0, 1},
		"rejection": frameOf(append([]byte{byte(rejectedFull)}, make([]byte, 16)...)),
	} {
		peer := connectRaw(t, 2, a)
		if _, err := peer.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(peer); len(got) > 0 {
			t.Errorf("%s: answered with %x", name, got)
		}
	}
	if len(a.up) > 0 {
		t.Error("a peer without a hello was reported up")
	}
}

func TestGarbageInsteadOfAFrame(t *testing.T) {
	for name, c := range map[string]struct {
		garbage []byte
		want    error
	}{
		"too big":             {[]byte{0, 0x40, 0, 1}, ErrFrameTooBig},
		"unknown control":     {[]byte{0x80, 0, 0, 9}, ErrProtocol},
		"control of no frame": {[]byte{0x80, 0, 0, 0}, ErrProtocol},
		"frame after confirm": {[]byte{0x80, 0, 0, 1, 0, 0, 0, 0}, ErrProtocol},
		"not TLS":             {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := newNode(t, 1, nil)
			peer := dialRaw(t, 2, a)
			key := id(2).PublicKey()
			if _, err := peer.Write(frameOf([]byte("good"))); err != nil {
				t.Fatal(err)
			}
			if c.garbage == nil {
				_, _ = peer.socket.Write(make([]byte, 1000))
			} else {
				_, _ = peer.Write(c.garbage)
			}
			err := a.untilDown(t, key)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("peer down with %v, want %v", err, c.want)
			}
			if got := a.Stats().Total.FramesReceived; got != 1 || a.bytes[key] != 4 {
				t.Errorf("%d frames, %d bytes arrived, want the 1 good one", got, a.bytes[key])
			}
		})
	}
}

// A burst of connections: what is up goes on, and who comes after gets in.
func TestBurstOfConnections(t *testing.T) {
	const burst = 5000
	a := newNode(t, 1, func(c *Config) { c.MaxStreamsPerAddress = 8 })
	b := newNode(t, 2, nil)
	connect(t, a, b)
	var wait sync.WaitGroup
	connected := make(chan net.Conn, burst)
	for range 16 {
		wait.Go(func() {
			for range burst / 16 {
				if conn, err := net.Dial("tcp", a.address); err == nil {
					connected <- conn
				}
			}
		})
	}
	var arrived int
	for done := false; !done; arrived++ { // meanwhile
		if err := b.Deliver(t.Context(), a.key, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		done = len(connected) >= burst/16*16/2
	}
	wait.Wait()
	close(connected)
	count := len(connected)
	for conn := range connected {
		_ = conn.Close()
	}
	a.untilBytes(t, b.key, 100*arrived)
	a.until(t, "refusals", func() bool { return a.Stats().TurnedAway >= uint64(count) })
	connect(t, newNode(t, 3, nil), a)
	t.Logf("%d connections, %d turned away; meanwhile %d of %d frames of a neighbor arrived",
		count, a.Stats().TurnedAway, a.Stats().Total.FramesReceived, arrived)
}

func TestDialUntilUp(t *testing.T) {
	a := newNode(t, 1, nil)
	assertIs(t, a.DialUntilUp(t.Context(), a.key, a.address), ErrSelf)
	ended := make(chan error, 1)
	go func() { ended <- a.DialUntilUp(t.Context(), id(9).PublicKey(), "127.0.0.1:1") }()
	b := newNode(t, 2, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	up := make(chan error, 1)
	go func() { up <- a.DialUntilUp(t.Context(), b.key, address) }()
	first, err := listener.Accept() // hang up on the first dial, and serve the next
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	second, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close()
	b.handshakes <- struct{}{}
	b.arrivals.Go(func() { b.serve(second.(*net.TCPConn)) })
	if err := <-up; err != nil {
		t.Error(err)
	}
	if err := a.Quiesce(t.Context()); err != nil {
		t.Error(err)
	}
	assertIs(t, <-ended, ErrLeaving)
}
