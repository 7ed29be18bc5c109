package streams

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

func (s *stream) read() {
	defer s.ended()
	defer s.frames.release()
	for before := s.previous; before != nil; before = before.previous { // more than one if it never started
		<-before.down
	}
	s.previous = nil
	s.pool.tell(s)
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
		case s.removed.Load():
			return ErrRemoved
		case word&controlBit != 0 || s.confirmed:
			err = s.obey(word)
		default:
			s.framesReceived.Add(1)
			s.bytesReceived.Add(uint64(headerSize + len(frame)))
			s.pool.config.Handler.Frame(s.peer, frame)
		}
		if err == nil {
			err = s.checkDrained(headerSize + len(frame))
		}
		if err != nil {
			return err
		}
	}
	return ErrRemoved
}

// obey does what a control word says. Nothing may come after a confirmation.
func (s *stream) obey(word uint32) error {
	switch {
	case s.confirmed:
	case word == wordConfirm:
		s.confirmed = true
		return nil
	case word == wordPing && s.pings:
		s.answerPing()
		return nil
	case word == wordAlive && s.pings:
		return nil
	}
	return fmt.Errorf("%w: word %#x", ErrProtocol, word)
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
