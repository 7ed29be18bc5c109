// Package streams is a pool of authenticated TCP streams, one with each peer, that loses nothing when it is closed.
//
// Peers are known by an ed25519 key; every stream is TLS 1.3 with both keys pinned. What may be relied upon in sending:
//
//   - Send never blocks. Nil means accepted: queued, in order, within a bound of bytes. An error means not accepted.
//   - Deliver, and Flush for what Send accepted, return nil when the bytes are written to the socket.
//   - Bytes accepted = written + unwritten, per stream and per pool. Refused ones are counted apart.
//   - Written is not delivered: nobody can know that of a peer which vanishes. A peer that is there when the stream is
//     closed, by Shutdown, by Remove or by itself, is handed every byte, and confirms it.
//
// A stream is closed by flushing it, half-closing it and reading on to the peer's end, within bounds of bytes and time.
// What comes in meanwhile still goes to the Handler.
//
// A peer whose process hangs, or whose Handler does, is noticed by a ping, and given up with ErrSilent, although its kernel
// goes on answering. docs/streams.md has the protocol.
package streams

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// Pool holds at most one stream with each peer. Its methods are safe for concurrent use. A Pool that New returned runs
// until Shutdown.
type Pool struct {
	config   Config
	allowed  map[identity.PublicKey]struct{} // nil: everybody
	instance uint64
	server   *tls.Config

	made time.Time

	quiesced   context.Context // ends when no new streams are taken
	quiesce    context.CancelFunc
	withdraw   sync.Once
	handshakes chan struct{}  // a token for each under way
	arrivals   sync.WaitGroup // accept loops, handshakes, dials: whatever may yet bring a stream up

	mu         sync.RWMutex
	sequence   uint64 // see hello
	listeners  []net.Listener
	dialing    map[identity.PublicKey]*dialing
	peers      map[identity.PublicKey]*stream // the newest, until its PeerDown has returned
	told       map[identity.PublicKey]*stream // that the Handler knows: from PeerUp until PeerDown has returned
	live       map[*stream]struct{}           // until the socket is closed
	held       map[identity.PublicKey]int     // how many of those each peer has
	sources    map[source]int
	leaving    bool // no arrivals
	closing    bool // Shutdown was called
	closed     chan struct{}
	total      Traffic // of ended streams, and refused without one
	turnedAway uint64
	results    []Result
}

// New makes a pool. It starts nothing: Listen and Dial do.
func New(config Config) (*Pool, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	var instance [8]byte
	if _, err := rand.Read(instance[:]); err != nil {
		return nil, fmt.Errorf("streams: New: %w", err)
	}
	p := &Pool{
		config:     config,
		made:       time.Now(),
		instance:   binary.BigEndian.Uint64(instance[:]),
		handshakes: make(chan struct{}, config.MaxHandshakes),
		dialing:    make(map[identity.PublicKey]*dialing),
		peers:      make(map[identity.PublicKey]*stream),
		told:       make(map[identity.PublicKey]*stream),
		live:       make(map[*stream]struct{}),
		held:       make(map[identity.PublicKey]int),
		sources:    make(map[source]int),
		closed:     make(chan struct{}),
	}
	p.quiesced, p.quiesce = context.WithCancel(context.Background())
	p.server = p.serverTLS()
	if config.Allowed != nil {
		p.allowed = make(map[identity.PublicKey]struct{}, len(config.Allowed))
		for _, key := range config.Allowed {
			p.allowed[key] = struct{}{}
		}
	}
	return p, nil
}

// Send queues a copy of frame for peer. It never blocks. Errors wrap ErrNoStream, ErrQueueFull or ErrFrameTooBig, and
// mean that nothing was queued.
func (p *Pool) Send(peer identity.PublicKey, frame []byte) error {
	s, err := p.streamFor(peer, frame)
	if err == nil {
		err = s.send(frame)
	}
	if err != nil {
		return fmt.Errorf("streams: send to %v: %w", peer, err)
	}
	return nil
}

// Deliver queues a copy of frame behind what was sent before, in a place of its own outside the queue's bound, and
// returns when it is written to the socket. There is one such place on each stream: concurrent calls for one peer take
// turns. An error is ErrNoStream, ErrFrameTooBig or an UnwrittenError; when ctx ends first, the frame may have been
// queued and may still be written.
func (p *Pool) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	s, err := p.streamFor(peer, frame)
	if err != nil {
		return fmt.Errorf("streams: deliver to %v: %w", peer, err)
	}
	return s.deliver(ctx, frame)
}

// Flush returns when all that was accepted for peer before the call is written to its socket, or an UnwrittenError that
// says what was not. It is also how to wait for room after ErrQueueFull.
func (p *Pool) Flush(ctx context.Context, peer identity.PublicKey) error {
	s := p.newest(peer)
	if s == nil {
		return fmt.Errorf("streams: flush to %v: %w", peer, ErrNoStream)
	}
	return s.flush(ctx)
}

// Remove takes the stream with peer, if there is one, out of the pool and closes it. It does not wait: what was accepted
// is still written, and the socket is closed when the peer has closed its end, after Config.Linger at the latest.
// Frames that come in later are dropped. PeerDown follows once, with ErrRemoved; the peer sees a polite end.
//
// It is the stream that the Handler knows, from PeerUp to PeerDown: a newer one, of which it has yet to be told, is left
// alone. So whoever calls Remove in the order of the Handler's calls never closes another stream than is meant.
func (p *Pool) Remove(peer identity.PublicKey) {
	p.mu.RLock()
	s := p.told[peer]
	if s == nil {
		s = p.peers[peer]
	}
	p.mu.RUnlock()
	if s != nil && !s.closing.Load() {
		s.remove()
	}
}

// newest returns the stream with peer. It may be closing: only its own lock decides that.
func (p *Pool) newest(peer identity.PublicKey) *stream {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.peers[peer]
}

// streamFor returns the stream to send frame on, or counts the refusal.
func (p *Pool) streamFor(peer identity.PublicKey, frame []byte) (*stream, error) {
	err := ErrNoStream
	if len(frame) > p.config.MaxFrame {
		err = ErrFrameTooBig
	} else if s := p.newest(peer); s != nil {
		return s, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total.Refused += uint64(headerSize + len(frame))
	return nil, err
}

// maxPerPeer is how many streams with one peer there may be at a time: the newest, and those before it that are still
// being closed. One that comes back again and again without closing its end would otherwise fill the pool alone.
const maxPerPeer = 8

// install makes s the stream with its peer, unless the one that is there is newer; see hello. It returns the answer to
// the peer's hello, with a sequence of our own in the order of our decisions. Where there is no room, the older
// stream is closed all the same, since its peer has given it up: there is room when it comes again.
func (p *Pool) install(s *stream) hello {
	p.mu.Lock()
	defer p.mu.Unlock()
	answer := hello{verdict: accepted, instance: p.instance, sequence: p.nextSequence()}
	old := p.peers[s.peer]
	replaces := old != nil && !old.closing.Load()
	switch {
	case p.leaving:
		answer.verdict = rejectedLeaving
	case replaces && old.instance == s.instance && old.sequence > s.sequence:
		answer.verdict = rejectedDuplicate
	default:
		if replaces {
			old.replacedBy(s)
		}
		if len(p.live) >= p.config.MaxStreams || p.held[s.peer] >= maxPerPeer {
			answer.verdict = rejectedFull
			break
		}
		s.previous = old
		p.peers[s.peer] = s
		p.live[s] = struct{}{}
		p.held[s.peer]++
	}
	return answer
}

// unhold undoes what install counts. The caller holds the lock.
func (p *Pool) unhold(s *stream) {
	delete(p.live, s)
	if p.held[s.peer]--; p.held[s.peer] == 0 {
		delete(p.held, s.peer)
	}
}

func (p *Pool) nextSequence() uint64 {
	p.sequence++
	return p.sequence
}

// isUp says whether there is a stream with peer that takes frames.
func (p *Pool) isUp(peer identity.PublicKey) bool {
	s := p.peers[peer]
	return s != nil && !s.closing.Load()
}

// unlist is called when a stream's PeerDown has returned.
func (p *Pool) unlist(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers[s.peer] == s {
		delete(p.peers, s.peer)
	}
	delete(p.told, s.peer)
	close(s.down)
}

// tell tells the Handler that a stream is up; those before it are down.
func (p *Pool) tell(s *stream) {
	p.mu.Lock()
	p.told[s.peer] = s
	p.mu.Unlock()
	p.config.Handler.PeerUp(s.peer)
}

// forget is called when a stream's socket is closed and its goroutines have ended.
func (p *Pool) forget(s *stream) {
	result := s.result()
	p.config.Logger.Debug("stream ended", "result", result)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unhold(s)
	p.release(s.source)
	p.total.add(result.Traffic)
	if p.leaving {
		p.results = append(p.results, result)
		p.checkClosed()
	}
}
