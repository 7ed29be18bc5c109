package streams

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/farewell-node/farewell/streams/identity"
)

// dialing is a dial under way.
type dialing struct {
	connected bool          // its TCP connection stands; guarded by the pool's mutex
	ended     chan struct{} // closed when the dial has ended
}

// Dial brings up a stream with peer at address ("host:port") and returns nil when it is up, which it may be already:
// hello frames have gone both ways, and the peer's key is the one expected. PeerUp comes at about the same time, before
// or after. It takes at most Config.HandshakeTimeout; ctx, Quiesce and Shutdown end it earlier. Concurrent calls for one
// peer take turns.
func (p *Pool) Dial(ctx context.Context, peer identity.PublicKey, address string) error {
	if err := p.dial(ctx, peer, address); err != nil {
		return fmt.Errorf("streams: dial %v at %s: %w", peer, address, err)
	}
	return nil
}

func (p *Pool) dial(ctx context.Context, peer identity.PublicKey, address string) error {
	if err := p.checkKey(peer); err != nil {
		return err
	}
	sequence, err := p.beginDial(ctx, peer)
	if err != nil || sequence == 0 {
		return err
	}
	err = p.connect(ctx, peer, address, sequence)
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.dialing[peer].ended)
	delete(p.dialing, peer)
	p.arrivals.Done()
	if p.isUp(peer) {
		return nil // by this dial, or by the peer's, which was kept
	}
	if err != nil && p.leaving {
		return ErrLeaving
	}
	return err
}

// beginDial waits its turn and registers a dial. The sequence is 0 if there is nothing to do.
func (p *Pool) beginDial(ctx context.Context, peer identity.PublicKey) (sequence uint64, err error) {
	for {
		p.mu.Lock()
		other := p.dialing[peer]
		switch {
		case p.isUp(peer):
			p.mu.Unlock()
			return 0, nil
		case p.leaving:
			p.mu.Unlock()
			return 0, ErrLeaving
		case len(p.live) >= p.config.MaxStreams:
			p.mu.Unlock()
			return 0, ErrFull // before the peer takes us for up
		case other == nil:
			p.dialing[peer] = &dialing{ended: make(chan struct{})}
			p.arrivals.Add(1)
			sequence = p.nextSequence()
			p.mu.Unlock()
			return sequence, nil
		}
		p.mu.Unlock()
		select {
		case <-other.ended:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// connect does the dialing side: TCP, TLS, our hello, the peer's answer.
func (p *Pool) connect(ctx context.Context, peer identity.PublicKey, address string, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.HandshakeTimeout)
	defer cancel()
	defer context.AfterFunc(p.quiesced, cancel)()
	dialer := net.Dialer{KeepAlive: -1} // watch sets it
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.dialing[peer].connected = true
	p.mu.Unlock()
	if err = p.secure(ctx, peer, raw.(*net.TCPConn), sequence); err != nil {
		_ = raw.Close()
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
	}
	return err
}

func (p *Pool) secure(ctx context.Context, peer identity.PublicKey, raw *net.TCPConn, sequence uint64) error {
	if err := watch(raw, p.config.DeadAfter); err != nil {
		return err
	}
	socket := newSocket(ctx, raw)
	conn := tls.Client(socket, p.config.Identity.ClientTLS(peer))
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	s := newStream(p, peer, conn, socket)
	s.pings = knowsPings(conn)
	return p.introduce(ctx, s, sequence)
}

// knowsPings reports what the handshake has agreed on. Of two versions of this package that meet, the older one is never
// sent what it does not know.
func knowsPings(conn *tls.Conn) bool { return identity.ProtocolVersion(conn.ConnectionState()) >= 2 }

// introduce says hello, reads the answer, and starts the stream.
func (p *Pool) introduce(ctx context.Context, s *stream, sequence uint64) error {
	if err := (hello{accepted, p.instance, sequence}).writeTo(s.conn); err != nil {
		return err
	}
	theirs, err := readHello(&s.frames)
	if err != nil {
		return err
	}
	s.instance, s.sequence = theirs.instance, theirs.sequence
	switch p.install(s).verdict {
	case accepted:
	case rejectedLeaving:
		return ErrLeaving
	case rejectedFull:
		return ErrFull
	default:
		return ErrReplaced
	}
	if !s.socket.disarm() {
		p.uninstall(s)
		return context.Cause(ctx)
	}
	s.start()
	return nil
}
