package streams

import (
	"context"
	"encoding/binary"
	"slices"
)

// waiter waits until so many bytes are written.
type waiter struct {
	until uint64
	done  chan struct{}
}

// send accepts a frame within the bound.
func (s *stream) send(frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := uint64(headerSize + len(frame))
	if s.closing.Load() {
		s.traffic.Refused += size
		return s.whyClosing()
	}
	queued := s.traffic.Unwritten()
	if s.reserved > 0 {
		queued -= min(s.reserved, s.until-s.traffic.Written) // what is left of a frame that may be partly written
	}
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
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refuseLocked(size, s.whyClosing())
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.refuseLocked(size, context.Cause(ctx))
	}
	w, err := s.enqueueReserved(frame, size)
	if err != nil {
		return err
	}
	return s.await(ctx, w)
}

// enqueueReserved uses the reserved place, whose token the caller has put there, or gives it back.
func (s *stream) enqueueReserved(frame []byte, size uint64) (waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		<-s.place
		return waiter{}, s.refuseLocked(size, s.whyClosing())
	}
	s.enqueue(frame)
	s.reserved, s.until = size, s.traffic.Accepted
	return s.waitLocked(), nil
}

// whyClosing says why a stream that is being closed takes nothing more. The caller holds the lock.
func (s *stream) whyClosing() error {
	if s.peerLeft {
		return ErrPeerLeft
	}
	return ErrNoStream
}

func (s *stream) refuseLocked(size uint64, err error) error {
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
