package streams

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// stream is one connection with one peer: a reader goroutine that calls the handler, a writer goroutine that empties
// the queue. A stream ends in one of two ways. Politely: closing is set, the writer flushes, says close_notify and
// half-closes, the reader reads to the peer's end. Or by abort, at any time: the socket is closed under both.
type stream struct {
	pool     *Pool
	peer     identity.PublicKey
	conn     net.Conn // TLS; in tests of this package also plain
	socket   *socket  // under conn
	ear      ear
	frames   frameReader // reads by ear
	pings    bool        // the peer knows pings
	source   source      // what admission counts it under; zero if we dialed
	instance uint64      // of the peer's pool
	sequence uint64      // of the peer's hello

	previous    *stream       // with the same peer: its PeerDown comes before our PeerUp; nil once it has
	down        chan struct{} // closed when PeerDown has returned, under the pool's mutex
	writerEnded chan struct{}
	place       chan struct{} // holds one token while a Deliver's frame is outside the bound

	closing atomic.Bool // written under mu; also when aborted
	removed atomic.Bool
	running atomic.Int32 // goroutines

	framesReceived, bytesReceived atomic.Uint64

	mu       sync.Mutex
	wake     sync.Cond // the writer waits on it
	queue    queue
	traffic  Traffic // but for what was received
	reserved uint64  // bytes of the Deliver's frame, 0 when the place is free
	until    uint64  // where that frame ends, counted in Traffic.Accepted
	waiters  []waiter
	vigil    vigil
	peerLeft bool // the peer's end was read, after a whole frame
	aborted  bool
	outcome  Outcome
	cause    error
	began    time.Time   // of closing
	linger   *time.Timer // from then

	confirmed bool // the reader's alone until it ends
	drained   int
}

func (s *stream) trafficLocked() Traffic {
	t := s.traffic
	t.FramesReceived, t.BytesReceived = s.framesReceived.Load(), s.bytesReceived.Load()
	return t
}

func newStream(p *Pool, peer identity.PublicKey, conn net.Conn, socket *socket) *stream {
	s := &stream{
		pool: p, peer: peer, conn: conn, socket: socket,
		down:        make(chan struct{}),
		writerEnded: make(chan struct{}),
		place:       make(chan struct{}, 1),
	}
	s.ear.source, s.ear.clock = conn, p.clock
	s.frames.source = &s.ear
	s.wake.L = &s.mu
	return s
}

func (s *stream) start() {
	s.frames.max = s.pool.config.MaxFrame
	s.running.Store(2)
	s.startVigil()
	go s.read()
	go s.write()
}

func (s *stream) isDown() bool {
	select {
	case <-s.down:
		return true
	default:
		return false
	}
}

// ended is called by both goroutines; the second one closes the socket.
func (s *stream) ended() {
	if s.running.Add(-1) > 0 {
		return
	}
	s.mu.Lock()
	if s.linger != nil {
		s.linger.Stop()
	}
	s.queue.discard()
	s.mu.Unlock()
	_ = s.socket.Close()
	s.pool.forget(s)
}

// close begins the polite end, once. It never blocks.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked()
}

func (s *stream) closeLocked() {
	if s.closing.Load() {
		return
	}
	s.closing.Store(true)
	s.endVigil()
	s.began = time.Now()
	s.linger = time.AfterFunc(s.pool.config.Linger, func() {
		s.abort(Cut, fmt.Errorf("%w: not closed within %v", ErrCut, s.pool.config.Linger))
	})
	s.wake.Signal()
}

// abort ends the stream now. The first cause is the one that is reported.
func (s *stream) abort(outcome Outcome, cause error) {
	s.mu.Lock()
	if !s.aborted {
		s.aborted, s.outcome, s.cause = true, outcome, cause
		s.closing.Store(true)
		s.endVigil()
		s.wake.Signal()
	}
	s.mu.Unlock()
	_ = s.socket.Close()
}

// replacedBy ends the stream because its peer has begun another. If the peer's process is the same, it has closed this
// one, and its last bytes and its end are on their way: they come first. If not, nothing will ever come.
func (s *stream) replacedBy(newer *stream) {
	if s.instance == newer.instance {
		s.close()
	} else {
		s.abort(Reset, ErrReplaced)
	}
}

// remove ends the stream politely, while its peer is reported down as soon as the reader can be interrupted.
func (s *stream) remove() {
	s.removed.Store(true)
	s.close()
	_ = s.conn.SetReadDeadline(time.Unix(0, 1))
}
