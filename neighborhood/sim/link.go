package sim

import (
	"errors"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/streams/identity"
)

// pair names two nodes, the smaller number first.
type pair struct{ a, b int }

func pairOf(a, b *node) pair { return pair{min(a.number, b.number), max(a.number, b.number)} }

// link is one stream between two nodes. Each direction is ordered: nothing arrives before what was sent before it.
type link struct {
	ends    [2]*node
	latency time.Duration
	arrives [2]time.Time // at ends[i], the last of what is under way
	stalled [2]time.Time // ends[i] does not read before
	closed  bool         // nothing can be sent any more
	cut     time.Time    // what would arrive later is lost; zero: nothing is
}

var (
	errClosed  = errors.New("stream closed")
	errStalled = errors.New("not written in time")
	errNobody  = errors.New("nobody there")
)

const (
	writeTime       = 20 * time.Microsecond
	deliverTimeout  = 10 * time.Second // that of a Neighborhood
	farewellTimeout = time.Second      // likewise
)

func (l *link) side(n *node) int {
	if l.ends[0] == n {
		return 0
	}
	return 1
}

func (l *link) other(n *node) *node { return l.ends[1-l.side(n)] }

// connect brings up a stream. Each end is told when it hears of it.
func (s *simulation) connect(dialer, target *node) {
	l := &link{ends: [2]*node{dialer, target}, latency: s.between(time.Millisecond, 80*time.Millisecond)}
	s.links[pairOf(dialer, target)] = l
	s.tally.streams++
	dialer.links[target.key], target.links[dialer.key] = l, l
	s.tell(l, dialer, core.PeerUp{Peer: target.key}, l.latency)
	s.tell(l, target, core.PeerUp{Peer: dialer.key}, 0)
}

// tell has something arrive at one end, after what was sent before.
func (s *simulation) tell(l *link, to *node, happened core.Event, delay time.Duration) {
	side := l.side(to)
	at := s.now.Add(delay)
	if at.Before(l.arrives[side]) {
		at = l.arrives[side]
	}
	l.arrives[side] = at
	life := to.life
	s.at(at, func() {
		_, down := happened.(core.PeerDown)
		if to.life != life || !down && !l.cut.IsZero() && at.After(l.cut) {
			return
		}
		s.step(to, happened)
	})
}

// deliver writes a frame: at once, or when the other end reads again, or not at all.
func (s *simulation) deliver(from *node, d core.Delivery) {
	l := from.links[d.Peer]
	if l == nil || l.closed {
		s.after(writeTime, func() { s.delivered(from, d, errClosed) })
		return
	}
	side := l.side(l.other(from))
	written := s.now.Add(writeTime)
	if l.stalled[side].After(written) {
		written = l.stalled[side]
	}
	life := from.life
	from.underWay[d.ID] = d
	s.at(written, func() {
		if _, waits := from.underWay[d.ID]; !waits || from.life != life {
			return
		}
		if l.closed {
			s.delivered(from, d, errClosed)
			return
		}
		s.tell(l, l.other(from), core.Frame{Peer: from.key, Bytes: d.Frame}, l.latency)
		s.delivered(from, d, nil)
	})
	s.after(deliverTimeout, func() { s.giveUp(from, life, d) })
}

// giveUp ends a delivery that takes too long.
func (s *simulation) giveUp(from *node, life int, d core.Delivery) {
	if _, waits := from.underWay[d.ID]; waits && from.life == life {
		s.delivered(from, d, errStalled)
	}
}

func (s *simulation) delivered(from *node, d core.Delivery, err error) {
	delete(from.underWay, d.ID)
	s.step(from, core.Delivered{Peer: d.Peer, ID: d.ID, Err: err})
}

// shut ends a stream from one end: what is under way still arrives, and then the end.
func (s *simulation) shut(l *link, by *node) {
	if l.closed {
		return
	}
	s.unlink(l)
	s.tell(l, by, core.PeerDown{Peer: l.other(by).key}, 0)
	s.tell(l, l.other(by), core.PeerDown{Peer: by.key}, l.latency)
}

// sever ends a stream from without: what is under way is lost.
func (s *simulation) sever(l *link) {
	if l.closed {
		return
	}
	s.unlink(l)
	l.cut = s.now
	for i := range l.ends {
		l.arrives[i] = s.now
		s.tell(l, l.ends[i], core.PeerDown{Peer: l.ends[1-i].key}, s.between(0, l.latency+time.Millisecond))
	}
}

func (s *simulation) unlink(l *link) {
	l.closed = true
	delete(s.links, pairOf(l.ends[0], l.ends[1]))
	for i, n := range l.ends {
		if key := l.ends[1-i].key; n.links[key] == l {
			delete(n.links, key)
		}
	}
}

// dial takes a round trip, and finds a stream there already when the other side was faster.
func (s *simulation) dial(from *node, key identity.PublicKey) {
	target, life := s.byKey[key], from.life
	s.after(s.between(2*time.Millisecond, 160*time.Millisecond), func() {
		if from.life != life || !from.alive {
			return
		}
		if target == nil || !target.alive || from.withdrawing || target.withdrawing || s.blocked[pairOf(from, target)] {
			s.step(from, core.DialFailed{Peer: key, Err: errNobody})
			return
		}
		if from.links[key] == nil {
			s.connect(from, target)
		}
	})
}
