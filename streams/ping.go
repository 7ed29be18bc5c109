package streams

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// A kernel answers for a process that hangs, so that only the process itself can say that it works. From version 2 of
// the protocol on, whoever has read nothing from a peer for PingAfter sends a ping, and gives up the stream if nothing
// has been read for PingTimeout after that ping was written. What answers is the goroutine that handles the peer's
// frames, in its turn; see PingHandler. Any byte that comes in counts as an answer: a large frame on a slow line holds
// the answer behind it back.
//
// A side that is busy with a backlog gets to the ping late. So one that goes on reading and handling, and has written
// nothing itself since it last looked, says alive without being asked.

// clock is the time since the pool was made: monotonic, and a word that can be kept atomically.
func (p *Pool) clock() time.Duration { return time.Since(p.made) }

// ear reads from the peer, and remembers since when it waits to hear something.
type ear struct {
	source io.Reader
	clock  func() time.Duration
	since  atomic.Int64 // a time of clock, plus one; 0 while it does not listen, because a frame is being handled
}

func (e *ear) Read(buffer []byte) (int, error) {
	e.since.Store(int64(e.clock()) + 1)
	n, err := e.source.Read(buffer)
	e.since.Store(0)
	return n, err
}

// vigil is the watch over one peer. Its stream's mutex guards it, and its timer is all that ticks: between two looks
// nothing happens but that counters go on which the busy paths keep anyway.
type vigil struct {
	timer *time.Timer   // nil: the peer knows no pings
	due   time.Duration // when it fires

	pinged  bool          // a ping is out, and nothing has come since ...
	written time.Duration // ... it was written; 0: it is still queued
	alive   bool          // an answer is queued
	said    uint64        // bytes written, control words included

	last sight
}

// sight is what a look finds.
type sight struct {
	since  int64  // of the ear
	begun  uint64 // frames handed to the Handler
	said   uint64
	queued bool // something waits to be written
}

// lateness is how late a look may come before it says that this process itself was stopped, or starved: then nothing
// can be said of the peer, whose answer may be waiting to be read.
const lateness = time.Second

// action is what a look leads to.
type action int

const (
	wait action = iota
	sayPing
	sayAlive
	giveUp
)

// look says what is to be done, and how long until the next look.
func (v *vigil) look(c Config, now time.Duration, at sight) (action, time.Duration) {
	last, late := v.last, now-v.due > lateness
	v.last = at
	if v.pinged && at.since != 0 && at.since == last.since {
		return v.unanswered(c, now, late)
	}
	v.pinged = false
	silent := time.Duration(0) // the peer, while we listen
	if at.since != 0 {
		silent = now - time.Duration(at.since-1)
	}
	switch {
	case silent >= c.PingAfter:
		v.pinged, v.written = true, 0
		return sayPing, c.PingTimeout
	case at.progress(last) && at.said == last.said && !at.queued:
		v.last.said += headerSize // this word does not stand for another the next time
		return sayAlive, c.PingAfter - silent
	}
	return wait, c.PingAfter - silent
}

func (v *vigil) unanswered(c Config, now time.Duration, late bool) (action, time.Duration) {
	if v.written == 0 { // Config.WriteTimeout sees to a peer that takes nothing
		return wait, c.PingTimeout
	}
	if late {
		v.written = now
	}
	if left := v.written + c.PingTimeout - now; left > 0 {
		return wait, left
	}
	return giveUp, 0
}

// progress says whether something has been heard, or handled, since the last look. A frame whose handling has begun may
// be the one that never ends.
func (at sight) progress(last sight) bool {
	if at.since != 0 {
		return at.since != last.since
	}
	begun := at.begun - last.begun
	return begun > 1 || begun == 1 && last.since == 0
}

// startVigil is called once the stream is up.
func (s *stream) startVigil() {
	if !s.pings {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	after := s.pool.config.PingAfter
	s.vigil.due = s.pool.clock() + after
	s.vigil.last.since = 1 // so far nothing is being handled
	s.vigil.timer = time.AfterFunc(after, s.look)
}

// endVigil is called when the stream is being closed: Linger is its bound then. The caller holds the lock.
func (s *stream) endVigil() {
	if s.vigil.timer != nil {
		s.vigil.timer.Stop()
	}
}

func (s *stream) look() {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		return
	}
	v, now := &s.vigil, s.pool.clock()
	at := sight{s.ear.since.Load(), s.framesReceived.Load(), v.said, s.queue.head != nil}
	do, next := v.look(s.pool.config, now, at)
	switch do {
	case sayPing:
		s.sayLocked(wordPing)
	case sayAlive:
		s.sayAliveLocked()
	case giveUp:
		s.mu.Unlock()
		s.pool.config.Logger.Warn("peer does not answer: its stream is given up", "peer", s.peer)
		s.abort(Cut, fmt.Errorf("%w: nothing came for %v, nor within %v of a ping",
			ErrSilent, s.pool.config.PingAfter, s.pool.config.PingTimeout))
		return
	}
	v.due = now + next
	v.timer.Reset(next)
	s.mu.Unlock()
}

// answerPing is the reader's, so that a ping waits for the frames before it to be handled.
func (s *stream) answerPing() {
	if handler, ok := s.pool.config.Handler.(PingHandler); ok {
		handler.Ping(s.peer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing.Load() {
		s.sayAliveLocked()
	}
}

// sayAliveLocked queues one answer at a time, however many pings come. The caller holds the lock.
func (s *stream) sayAliveLocked() {
	if !s.vigil.alive {
		s.vigil.alive = true
		s.sayLocked(wordAlive)
	}
}

func (s *stream) sayLocked(word uint32) {
	s.queue.appendControl(word)
	s.wake.Signal()
}

// saidLocked is called when a chunk has left the queue and was written. The caller holds the lock.
func (s *stream) saidLocked(c *chunk) {
	v := &s.vigil
	v.said += uint64(c.used)
	if c.pings && v.pinged && v.written == 0 {
		v.written = s.pool.clock()
	}
}
