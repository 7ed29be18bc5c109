package streams

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

func (s *stream) write() {
	defer s.ended()
	defer close(s.writerEnded)
	for c := s.nextChunk(); c != nil; c = s.nextChunk() {
		n, err := s.writeBytes(c.data[:c.used])
		s.wrote(c, n)
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
	c := s.queue.take()
	if c != nil && c.control > 0 {
		s.vigil.alive = false // what comes now needs an answer of its own
	}
	return c
}

func (s *stream) writeBytes(data []byte) (int, error) {
	s.setWriteDeadline()
	n, err := s.conn.Write(data)
	s.checkWritten(err)
	return n, err
}

// setWriteDeadline bounds the next write: a peer that stops reading blocks the writer once its window is full.
func (s *stream) setWriteDeadline() {
	_ = s.socket.transport.SetWriteDeadline(time.Now().Add(s.pool.config.WriteTimeout))
}

func (s *stream) checkWritten(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.abort(Cut, fmt.Errorf("%w for %v", ErrStalled, s.pool.config.WriteTimeout))
	} else if err != nil {
		s.abort(Reset, err)
	}
}

// wrote counts, and wakes those whose bytes are written. Control words are nobody's.
func (s *stream) wrote(c *chunk, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traffic.Written += uint64(max(n-c.control, 0))
	s.saidLocked(c)
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
	var err error
	if secure, ok := s.conn.(*tls.Conn); ok {
		s.setWriteDeadline()
		err = secure.CloseWrite()
	}
	if err == nil {
		err = s.socket.CloseWrite()
	}
	s.checkWritten(err)
}
