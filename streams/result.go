package streams

import (
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// Outcome is how a stream ended.
type Outcome string

const (
	// Confirmed means that we left, and the peer said that it has handled all that we wrote, and closed its end.
	Confirmed Outcome = "confirmed"
	// Left means that the peer left by itself, first or at the same moment: it closed its end politely, and all that it
	// wrote was handled here. What it handled of ours after that it cannot say.
	Left Outcome = "left"
	// Cut means that we closed the stream before the peer closed its end: it was too slow, or time was up.
	Cut Outcome = "cut"
	// Reset means that the connection broke, or the peer broke the rules.
	Reset Outcome = "reset"
)

// Traffic counts one stream, or all of a pool. Bytes are those of frames and their headers of 4 bytes. At any time
// accepted = written + unwritten.
type Traffic struct {
	Accepted       uint64 // bytes taken by Send and Deliver
	Written        uint64 // bytes of those written to the socket; whether they arrived, no sender can know
	Refused        uint64 // bytes that Send and Deliver did not take
	FramesReceived uint64 // handed to the Handler
	BytesReceived  uint64
}

// Unwritten is what is queued or, once the stream has ended, what was never written.
func (t Traffic) Unwritten() uint64 { return t.Accepted - t.Written }

func (t *Traffic) add(other Traffic) {
	t.Accepted += other.Accepted
	t.Written += other.Written
	t.Refused += other.Refused
	t.FramesReceived += other.FramesReceived
	t.BytesReceived += other.BytesReceived
}

// Result is how the stream with one peer ended once the pool was leaving.
type Result struct {
	Peer    identity.PublicKey
	Outcome Outcome
	Traffic Traffic
	Took    time.Duration // from the beginning of its end to the socket being closed
	Err     error         // why it was cut or reset
}

func (r Result) String() string {
	return fmt.Sprintf("%v %s in %v, %d bytes written, %d unwritten",
		r.Peer, r.Outcome, r.Took.Round(time.Microsecond), r.Traffic.Written, r.Traffic.Unwritten())
}

func (r Result) err() error { return fmt.Errorf("streams: %v: %w", r, r.Err) }

// result describes a stream that has ended.
func (s *stream) result() Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Result{Peer: s.peer, Traffic: s.trafficLocked(), Outcome: s.outcome, Err: s.cause}
	if !s.began.IsZero() {
		r.Took = time.Since(s.began)
	}
	polite := s.peerLeft && s.traffic.Unwritten() == 0 // then nothing was lost, even if it was aborted after that
	switch {
	case s.aborted && !polite:
	case s.confirmed:
		r.Outcome, r.Err = Confirmed, nil
	default:
		r.Outcome, r.Err = Left, nil
	}
	return r
}

// StreamStats is one stream that is up or being closed.
type StreamStats struct {
	Peer    identity.PublicKey
	Dialed  bool // by us
	Closing bool
	Traffic Traffic
}

// Stats is a snapshot of a Pool.
type Stats struct {
	Streams []StreamStats // by peer
	Total   Traffic       // of these and of all that have ended
	// TurnedAway counts accepted connections that were refused, or whose handshake failed.
	TurnedAway uint64
}

// Stats returns a snapshot. It takes each stream's lock in turn: totals are exact for a pool at rest.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	streams := make([]*stream, 0, len(p.live))
	for s := range p.live {
		streams = append(streams, s)
	}
	stats := Stats{Total: p.total, TurnedAway: p.turnedAway, Streams: make([]StreamStats, 0, len(streams))}
	p.mu.Unlock()
	for _, s := range streams {
		s.mu.Lock()
		traffic := s.trafficLocked()
		s.mu.Unlock()
		stats.Total.add(traffic)
		stats.Streams = append(stats.Streams, StreamStats{s.peer, s.source == source{}, s.closing.Load(), traffic})
	}
	slices.SortFunc(stats.Streams, func(a, b StreamStats) int { return a.Peer.Compare(b.Peer) })
	return stats
}

// Results returns how the streams ended that were up when the pool was told to leave, by Quiesce or Shutdown, in the
// order in which they did: the slowest come last. It is complete when Shutdown has returned.
func (p *Pool) Results() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.results)
}
