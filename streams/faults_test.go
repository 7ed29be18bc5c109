package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// repetitions is how often each case of a fault test is tried; FAREWELL_ROUNDS sets another number.
func repetitions(t testing.TB, usual int) int {
	if text := os.Getenv("FAREWELL_ROUNDS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return usual
}

// tcpPair is two ends of a plain connection.
func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	dialer := net.Dialer{Control: ethernetSegments}
	dialed, err := dialer.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// slowReader reads 4 KiB a millisecond to the end, while it may send a byte every 2 ms. It sends zeroes only, which are
// empty frames, and stops between two. It returns how many bytes arrived.
func slowReader(conn net.Conn, chatty bool) int {
	var stop atomic.Bool
	var talk sync.WaitGroup
	if chatty {
		talk.Go(func() {
			for sent := 0; !stop.Load() || sent%headerSize != 0; sent++ {
				if _, err := conn.Write([]byte{0}); err != nil {
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	arrived, buffer := 0, make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		arrived += n
		if err != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	talk.Wait()
	_ = conn.Close()
	return arrived
}

// Ways to end a plain connection with bytes still on their way. Only the last one can be right.
var bareEnds = []struct {
	name string
	end  func(*net.TCPConn)
}{
	{"Close", func(c *net.TCPConn) { _ = c.Close() }},
	{"Close with linger", func(c *net.TCPConn) { _, _ = c.SetLinger(5), c.Close() }},
	{"half-close, then Close", func(c *net.TCPConn) { _, _ = c.CloseWrite(), c.Close() }},
	{"half-close, read to the end, Close", func(c *net.TCPConn) {
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{c})
		_ = c.Close()
	}},
}

// slowCase is what a slow reader still has coming, and what it does meanwhile.
type slowCase struct {
	outstanding int
	receive     int // the reader's receive buffer; 0 as it is
	chatty      bool
}

var slowCases = []slowCase{
	{1 << 20, 0, false},
	{1 << 20, 0, true},
	{64 << 10, 8 << 10, false},
	{64 << 10, 8 << 10, true},
}

func (c slowCase) String() string {
	what := "4 KiB of its input unread"
	if c.chatty {
		what += " and a byte more every 2 ms"
	}
	return fmt.Sprintf("%d KiB outstanding, %s", c.outstanding>>10, what)
}

// prepare makes a connection whose far end has sent 4 KiB.
func (c slowCase) prepare(t testing.TB) (near, far *net.TCPConn) {
	near, far = tcpPair(t)
	if c.receive > 0 {
		if err := far.SetReadBuffer(c.receive); err != nil {
			t.Error(err)
		}
	}
	if _, err := far.Write(make([]byte, 4<<10)); err != nil {
		t.Error(err)
	}
	return near, far
}

func TestSlowReaderGetsTheLastBytes(t *testing.T) {
	rounds := repetitions(t, 10)
	for _, c := range slowCases {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			for _, bare := range bareEnds {
				lost := inParallel(rounds, func(int) bool {
					near, far := c.prepare(t)
					go func() {
						_, _ = near.Write(make([]byte, c.outstanding))
						bare.end(near)
					}()
					return slowReader(far, c.chatty) == c.outstanding
				})
				t.Logf("%s: bytes lost %d times of %d", bare.name, lost, rounds)
			}
			lost := inParallel(rounds, func(i int) bool {
				near, far := c.prepare(t)
				return poolEnd(t, c, near, func() int { return slowReader(far, c.chatty) })
			})
			t.Logf("Pool, plain: bytes lost %d times of %d", lost, rounds)
			if lost > 0 {
				t.Error("the pool lost bytes")
			}
			lost = inParallel(rounds, func(int) bool { return tlsEnd(t, c) })
			t.Logf("Pool, TLS: bytes lost %d times of %d", lost, rounds)
			if lost > 0 {
				t.Error("the pool lost bytes")
			}
		})
	}
}

// inParallel counts how often f is false.
func inParallel(n int, f func(i int) bool) (failed int) {
	var count atomic.Int32
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			if !f(i) {
				count.Add(1)
			}
		})
	}
	wait.Wait()
	return int(count.Load())
}

// poolEnd sends what is outstanding on a plain stream of a pool, shuts it down, and says whether all arrived.
func poolEnd(t *testing.T, c slowCase, near *net.TCPConn, read func() int) bool {
	p, err := New(Config{Identity: id(1), Handler: silent{}, Linger: patience})
	if err != nil {
		t.Error(err)
		return false
	}
	peer := id(2).PublicKey()
	attach(p, peer, link{near, newSocket(context.Background(), near)})
	err = p.Send(peer, make([]byte, c.outstanding-headerSize))
	arrived := make(chan int, 1)
	go func() { arrived <- read() }()
	if err = errors.Join(err, p.Shutdown(context.Background())); err != nil {
		t.Error(err)
	}
	return <-arrived == c.outstanding
}

// tlsEnd does the same through a real handshake.
func tlsEnd(t *testing.T, c slowCase) bool {
	a := newNode(t, 1, nil)
	peer := dialRaw(t, 2, a)
	if c.receive > 0 {
		if err := peer.socket.SetReadBuffer(c.receive); err != nil {
			t.Error(err)
		}
	}
	_, err := peer.Write(make([]byte, 4<<10))
	err = errors.Join(err, a.Send(id(2).PublicKey(), make([]byte, c.outstanding-headerSize)))
	arrived := make(chan int, 1)
	go func() { arrived <- slowReader(peer, c.chatty) }()
	if err = errors.Join(err, a.Shutdown(context.Background())); err != nil {
		t.Error(err)
	}
	return <-arrived == c.outstanding
}

// The figures of one stream that ended badly: what was accepted is what was written and what was not.
func logEnd(t *testing.T, a *node, seed byte, sent int) Result {
	t.Helper()
	r := resultsByPeer(a.Pool)[id(seed).PublicKey()]
	t.Logf("%s: of %d bytes accepted %d were written, %d not; %v",
		r.Outcome, sent, r.Traffic.Written, r.Traffic.Unwritten(), r.Err)
	if r.Traffic.Accepted != uint64(sent) {
		t.Errorf("accepted %d, want %d", r.Traffic.Accepted, sent)
	}
	return r
}

func TestReaderThatNeverReads(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.Linger = 200 * time.Millisecond })
	dialRaw(t, 2, a)
	fill(t, a, id(2).PublicKey())
	sent := int(a.Stats().Total.Accepted)
	assertIs(t, a.Shutdown(t.Context()), ErrCut)
	if r := logEnd(t, a, 2, sent); r.Outcome != Cut || r.Traffic.Unwritten() == 0 {
		t.Errorf("result %v", r)
	}
}

// What counts as written is what the kernel took: a stalled reader that wakes up after the cut still gets all of it.
func TestWrittenIsWhatArrives(t *testing.T) {
	p, err := New(Config{Identity: id(1), Handler: silent{}, Linger: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	near, far := tcpPair(t)
	peer := id(2).PublicKey()
	attach(p, peer, link{near, newSocket(context.Background(), near)})
	n := &node{Pool: p}
	fill(t, n, peer)
	assertIs(t, p.Shutdown(t.Context()), ErrCut)
	r := p.Results()[0]
	arrived, err := io.Copy(io.Discard, far)
	t.Logf("of %d bytes accepted %d were written, %d not; %d arrived, %v",
		r.Traffic.Accepted, r.Traffic.Written, r.Traffic.Unwritten(), arrived, err)
	if uint64(arrived) < r.Traffic.Written { // more if a part of the last write was taken
		t.Error("written bytes did not arrive")
	}
}

func TestWriteTimeout(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	dialRaw(t, 2, a)
	key := id(2).PublicKey()
	for a.Send(key, make([]byte, 64<<10)) == nil || a.Flush(t.Context(), key) == nil {
	}
	assertIs(t, a.untilDown(t, key), ErrStalled)
	total := checkAccounts(t, a.Pool)
	t.Logf("of %d bytes accepted %d were written, %d not", total.Accepted, total.Written, total.Unwritten())
}

func TestResetInTheMiddle(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := dialRaw(t, 2, a)
	const size = 1 << 20
	if err := a.Send(id(2).PublicKey(), make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	arrived, err := io.ReadFull(peer, make([]byte, 100<<10))
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Shutdown(t.Context()) }()
	if err := errors.Join(peer.socket.SetLinger(0), peer.socket.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err == nil {
		// The reset came before Shutdown looked: then it is PeerDown that tells.
		if err := a.untilDown(t, id(2).PublicKey()); err == nil {
			t.Error("nobody was told of the reset")
		}
		return
	}
	t.Logf("%d bytes had arrived", arrived)
	if r := logEnd(t, a, 2, headerSize+size); r.Outcome != Reset {
		t.Errorf("result %v", r)
	}
}

// A peer that only half-closes, and then neither reads nor closes.
func TestHalfOpenPeer(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.Linger = 200 * time.Millisecond })
	peer := dialRaw(t, 2, a)
	fill(t, a, id(2).PublicKey())
	if err := errors.Join(peer.CloseWrite(), peer.socket.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	if err := a.untilDown(t, id(2).PublicKey()); err != nil {
		t.Errorf("down with %v", err)
	}
	a.until(t, "the socket closed", func() bool { return len(a.Stats().Streams) == 0 })
	total := checkAccounts(t, a.Pool)
	t.Logf("of %d bytes accepted %d were written, %d not", total.Accepted, total.Written, total.Unwritten())
}

// A peer that trickles on after our end is not waited for longer than Linger.
func TestTrickleAfterOurEnd(t *testing.T) {
	a := newNode(t, 1, func(c *Config) { c.Linger = 300 * time.Millisecond })
	peer := dialRaw(t, 2, a)
	const size = 100 << 10
	if err := a.Send(id(2).PublicKey(), make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	trickle := make(chan int, 1)
	go func() {
		n := 0
		for ; ; n++ {
			if _, err := peer.Write([]byte{0}); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		trickle <- n
	}()
	assertIs(t, a.Shutdown(t.Context()), ErrCut)
	r := logEnd(t, a, 2, headerSize+size)
	arrived, _ := io.Copy(io.Discard, peer)
	t.Logf("%d bytes arrived; the peer trickled %d more", arrived, <-trickle)
	if r.Outcome != Cut || arrived != headerSize+size {
		t.Errorf("%v, %d bytes arrived", r, arrived)
	}
}
