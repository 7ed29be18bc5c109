package streams

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
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
	frames   frameReader
	source   source // what admission counts it under; zero if we dialed
	instance uint64 // of the peer's pool
	sequence uint64 // of the peer's hello

	previous    *stream       // with the same peer: its PeerDown comes before our PeerUp; nil once it has
	down        chan struct{} // closed when PeerDown has returned, under the pool's mutex
	writerEnded chan struct{}
	place       chan struct{} // holds one token while a Deliver's frame is outside the bound

	closing atomic.Bool // written under mu
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

// waiter waits until so many bytes are written.
type waiter struct {
	until uint64
	done  chan struct{}
}

func newStream(p *Pool, peer identity.PublicKey, conn net.Conn, socket *socket) *stream {
	s := &stream{
		pool: p, peer: peer, conn: conn, socket: socket,
		down:        make(chan struct{}),
		writerEnded: make(chan struct{}),
		place:       make(chan struct{}, 1),
	}
	s.frames.source = conn
	s.wake.L = &s.mu
	return s
}

func (s *stream) start() {
	s.frames.max = s.pool.config.MaxFrame
	s.running.Store(2)
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
	if s.closing.Load() || s.aborted {
		return
	}
	s.closing.Store(true)
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
		s.wake.Signal()
	}
	s.mu.Unlock()
	_ = s.socket.Close()
}

// remove ends the stream politely, while its peer is reported down as soon as the reader can be interrupted.
func (s *stream) remove() {
	s.removed.Store(true)
	s.close()
	_ = s.conn.SetReadDeadline(time.Unix(0, 1))
}

// --- reading ---

func (s *stream) read() {
	defer s.ended()
	defer s.frames.release()
	for before := s.previous; before != nil; before = before.previous { // more than one if it never started
		<-before.down
	}
	s.previous = nil
	s.pool.config.Handler.PeerUp(s.peer)
	err := s.readFrames()
	switch {
	case s.removed.Load():
		err = ErrRemoved
	case errors.Is(err, io.EOF):
		s.peerEnded()
		err = nil
	default:
		err = s.broke(err)
	}
	s.pool.config.Handler.PeerDown(s.peer, err)
	s.pool.unlist(s)
	if errors.Is(err, ErrRemoved) {
		s.drain()
	}
}

func (s *stream) readFrames() error {
	for !s.removed.Load() {
		word, frame, err := s.frames.next()
		switch {
		case errors.Is(err, io.EOF) && s.socket.truncated:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case s.confirmed || word > wordConfirm:
			return fmt.Errorf("%w: word %#x", ErrProtocol, word)
		case word == wordConfirm:
			s.confirmed = true
			continue
		}
		if s.removed.Load() {
			break
		}
		s.framesReceived.Add(1)
		s.bytesReceived.Add(uint64(headerSize + len(frame)))
		s.pool.config.Handler.Frame(s.peer, frame)
		if err := s.checkDrained(headerSize + len(frame)); err != nil {
			return err
		}
	}
	return ErrRemoved
}

// checkDrained bounds what a peer may make us read once the stream is closing.
func (s *stream) checkDrained(size int) error {
	if !s.closing.Load() {
		return nil
	}
	if s.drained += size; s.drained <= s.pool.config.MaxDrain {
		return nil
	}
	return fmt.Errorf("%w: peer sent %d bytes into a closing stream", ErrCut, s.drained)
}

// peerEnded answers the peer's end: what it wrote has been handled, so flush what it has coming, confirm, close.
func (s *stream) peerEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peerLeft = true
	s.closeLocked()
}

// broke ends a stream that can be read no further, and returns why it ended.
func (s *stream) broke(err error) error {
	outcome := Reset
	if errors.Is(err, ErrCut) {
		outcome = Cut
	}
	s.abort(outcome, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// drain reads a removed stream to its end: closing a socket with unread bytes in it would reset it, and destroy the
// last bytes that were written (RFC 1122 §4.2.2.13).
func (s *stream) drain() {
	_ = s.conn.SetReadDeadline(time.Time{})
	buffer := borrowChunk()
	defer buffer.giveBack()
	for {
		n, err := s.conn.Read(buffer.data[:])
		if errors.Is(err, os.ErrDeadlineExceeded) { // that of remove, which we overtook
			err = s.conn.SetReadDeadline(time.Time{})
		}
		if err == nil {
			err = s.checkDrained(n)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			_ = s.broke(err)
			return
		}
	}
}

// --- writing ---

func (s *stream) write() {
	defer s.ended()
	defer close(s.writerEnded)
	for c := s.nextChunk(); c != nil; c = s.nextChunk() {
		n, err := s.writeBytes(c.data[:c.used])
		s.wrote(n)
		c.giveBack()
		if err != nil {
			return
		}
	}
	s.halfClose()
}

// nextChunk waits for something to write; nil means that there will be nothing more.
func (s *stream) nextChunk() *chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.head == nil && !s.closing.Load() {
		s.wake.Wait()
	}
	if s.aborted {
		return nil
	}
	return s.queue.take()
}

func (s *stream) writeBytes(data []byte) (int, error) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.pool.config.WriteTimeout))
	n, err := s.conn.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.abort(Cut, fmt.Errorf("%w: %d of %d bytes taken in %v", ErrStalled, n, len(data), s.pool.config.WriteTimeout))
	} else if err != nil {
		s.abort(Reset, err)
	}
	return n, err
}

// wrote counts, and wakes those whose bytes are written.
func (s *stream) wrote(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Written += uint64(n)
	s.waiters = slices.DeleteFunc(s.waiters, func(w waiter) bool {
		if w.until > s.traffic.Written {
			return false
		}
		close(w.done)
		return true
	})
	if s.reserved > 0 && s.until <= s.traffic.Written {
		s.reserved = 0
		<-s.place
	}
}

// halfClose ends our direction: TLS's close_notify, then FIN, which the former does not send (RFC 8446 §6.1).
func (s *stream) halfClose() {
	s.mu.Lock()
	aborted, confirm := s.aborted, s.peerLeft
	s.mu.Unlock()
	if aborted {
		return
	}
	if confirm {
		word := binary.BigEndian.AppendUint32(nil, wordConfirm)
		if _, err := s.writeBytes(word); err != nil {
			return
		}
	}
	if secure, ok := s.conn.(*tls.Conn); ok {
		if err := secure.CloseWrite(); err != nil {
			s.abort(Reset, err)
			return
		}
	}
	if err := s.socket.CloseWrite(); err != nil {
		s.abort(Reset, err)
	}
}

// --- queueing ---

// send accepts a frame within the bound.
func (s *stream) send(frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := uint64(headerSize + len(frame))
	if s.closing.Load() {
		s.traffic.Refused += size
		return ErrNoStream
	}
	queued := s.traffic.Unwritten() - s.reserved
	if queued > 0 && queued+size > uint64(s.pool.config.MaxQueue) {
		s.traffic.Refused += size
		return ErrQueueFull
	}
	s.enqueue(frame)
	return nil
}

func (s *stream) enqueue(frame []byte) {
	var header [headerSize]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(frame)))
	s.queue.append(header[:])
	s.queue.append(frame)
	s.traffic.Accepted += uint64(headerSize + len(frame))
	s.wake.Signal()
}

// deliver queues a frame in the reserved place, for which it waits, and then waits until it is written.
func (s *stream) deliver(ctx context.Context, frame []byte) error {
	size := uint64(headerSize + len(frame))
	select {
	case s.place <- struct{}{}:
	case <-s.writerEnded:
		return s.refuse(size, ErrNoStream)
	case <-ctx.Done():
		return s.refuse(size, context.Cause(ctx))
	}
	s.mu.Lock()
	if s.closing.Load() {
		<-s.place
		s.mu.Unlock()
		return s.refuse(size, ErrNoStream)
	}
	s.enqueue(frame)
	s.reserved, s.until = size, s.traffic.Accepted
	w := s.waitLocked()
	s.mu.Unlock()
	return s.await(ctx, w)
}

func (s *stream) refuse(size uint64, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Refused += size
	return &UnwrittenError{Peer: s.peer, Bytes: size, Err: err}
}

// flush waits until all that is accepted now is written.
func (s *stream) flush(ctx context.Context) error {
	s.mu.Lock()
	w := s.waitLocked()
	s.mu.Unlock()
	return s.await(ctx, w)
}

func (s *stream) waitLocked() waiter {
	w := waiter{until: s.traffic.Accepted, done: make(chan struct{})}
	if s.traffic.Unwritten() == 0 {
		close(w.done)
	} else {
		s.waiters = append(s.waiters, w)
	}
	return w
}

func (s *stream) await(ctx context.Context, w waiter) error {
	var err error
	select {
	case <-w.done:
		return nil
	case <-s.writerEnded:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traffic.Written >= w.until {
		return nil
	}
	if err == nil {
		err = s.cause
	}
	s.waiters = slices.DeleteFunc(s.waiters, func(other waiter) bool { return other.done == w.done })
	return &UnwrittenError{Peer: s.peer, Bytes: w.until - s.traffic.Written, Err: err}
}
