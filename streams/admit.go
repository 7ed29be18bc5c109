package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// source is what connections are counted by: an IPv4 address or an IPv6 /64, the least that one host is given
// (RFC 6177). The zero source is uncounted.
type source = netip.Prefix

func sourceOf(address net.Addr) source {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return source{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits)
	return prefix
}

// Listen binds address ("host:port", port 0 for any) and accepts streams on it until Quiesce or Shutdown. It returns
// the bound address.
func (p *Pool) Listen(address string) (net.Addr, error) {
	config := net.ListenConfig{KeepAlive: -1} // watch sets it
	listener, err := config.Listen(p.quiesced, "tcp", address)
	if p.quiesced.Err() != nil {
		err = ErrLeaving
	}
	if err != nil {
		return nil, fmt.Errorf("streams: listen: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving {
		_ = listener.Close()
		return nil, fmt.Errorf("streams: listen: %w", ErrLeaving)
	}
	p.listeners = append(p.listeners, listener)
	p.arrivals.Go(func() { p.acceptAll(listener) })
	return listener.Addr(), nil
}

// acceptAll accepts until the listener is closed. When the process runs out of file descriptors, or the kernel of
// memory, it says so and goes on as soon as it can: the streams that are up are not touched.
func (p *Pool) acceptAll(listener net.Listener) {
	const minPause, maxPause = 5 * time.Millisecond, time.Second
	pause := minPause
	for p.takeHandshake() {
		conn, err := listener.Accept()
		if err == nil {
			pause = minPause
			p.arrivals.Go(func() { p.serve(conn.(*net.TCPConn)) })
			continue
		}
		<-p.handshakes
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p.config.Logger.Warn("accepting no streams for now", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-p.quiesced.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// takeHandshake waits for a place among the handshakes under way: later connections wait in the kernel's backlog.
func (p *Pool) takeHandshake() bool {
	select {
	case p.handshakes <- struct{}{}:
		return true
	case <-p.quiesced.Done():
		return false
	}
}

// serve brings an accepted connection up or closes it.
func (p *Pool) serve(socket *net.TCPConn) {
	defer func() { <-p.handshakes }()
	from := sourceOf(socket.RemoteAddr())
	err := p.admit(from)
	if err == nil {
		if err = p.handshake(socket, from); err != nil {
			p.mu.Lock()
			p.release(from)
			p.mu.Unlock()
		}
	}
	if err != nil {
		_ = socket.Close()
		p.mu.Lock()
		p.turnedAway++
		p.mu.Unlock()
		p.config.Logger.Debug("connection refused", "from", socket.RemoteAddr(), "error", err)
	}
}

func (p *Pool) admit(from source) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sources[from] >= p.config.MaxStreamsPerAddress {
		return fmt.Errorf("streams: %d connections from %v", p.sources[from], from)
	}
	p.sources[from]++
	return nil
}

// release gives up a place that admit gave. The caller holds the lock.
func (p *Pool) release(from source) {
	if from == (source{}) {
		return
	}
	if p.sources[from]--; p.sources[from] == 0 {
		delete(p.sources, from)
	}
}

// handshake does the accepting side: TLS, the peer's hello, our answer. Only then is there a stream.
func (p *Pool) handshake(accepted *net.TCPConn, from source) error {
	ctx, cancel := context.WithTimeout(p.quiesced, p.config.HandshakeTimeout)
	defer cancel()
	if err := watch(accepted, p.config.DeadAfter); err != nil {
		return err
	}
	socket := newSocket(ctx, accepted)
	conn := tls.Server(socket, p.server)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	peer, err := identity.PeerKey(conn.ConnectionState())
	if err != nil {
		return err
	}
	s := newStream(p, peer, conn, socket)
	s.source, s.pings = from, knowsPings(conn)
	return p.greet(ctx, s)
}

// greet reads the peer's hello, decides, answers, and starts the stream.
func (p *Pool) greet(ctx context.Context, s *stream) error {
	theirs, err := readHello(&s.frames)
	if err != nil {
		return err
	}
	s.instance, s.sequence = theirs.instance, theirs.sequence
	p.awaitOwnDial(ctx, s.peer)
	answer := p.install(s)
	err = answer.writeTo(s.conn)
	if answer.verdict != accepted {
		return fmt.Errorf("%w by us: %v", ErrRejected, answer.verdict)
	}
	if err == nil && !s.socket.disarm() {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.uninstall(s)
		return err
	}
	s.start()
	return nil
}

// awaitOwnDial settles opposite simultaneous dials: both sides keep the one dialed by the smaller key. The smaller one
// holds back its answer until its own dial has ended: if that is up, the other is a duplicate; if it failed, it is not.
// A dial that has not connected yet, perhaps to an address where nobody is, holds nobody back; it becomes the duplicate.
func (p *Pool) awaitOwnDial(ctx context.Context, peer identity.PublicKey) {
	if p.config.Identity.PublicKey().Compare(peer) > 0 {
		return
	}
	p.mu.Lock()
	dial := p.dialing[peer]
	wait := dial != nil && dial.connected
	p.mu.Unlock()
	if !wait {
		return
	}
	select {
	case <-dial.ended:
	case <-ctx.Done():
	}
}

// uninstall undoes install for a stream that never started. The one before it, if the Handler still has to be told of
// its end, is the newest again.
func (p *Pool) uninstall(s *stream) {
	s.abort(Reset, ErrRejected)
	result := s.result()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers[s.peer] == s {
		delete(p.peers, s.peer)
		if s.previous != nil && !s.previous.isDown() {
			p.peers[s.peer] = s.previous
		}
	}
	p.unhold(s)
	close(s.down)
	close(s.writerEnded)
	p.total.add(result.Traffic)
	p.checkClosed()
}

// serverTLS refuses, in the handshake, ourselves and keys that are not allowed: nothing they send is ever looked at.
func (p *Pool) serverTLS() *tls.Config {
	config := p.config.Identity.ServerTLS()
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		peer, err := identity.PeerKey(state)
		if err != nil {
			return err
		}
		return p.checkKey(peer)
	}
	return config
}

func (p *Pool) checkKey(peer identity.PublicKey) error {
	if peer == p.config.Identity.PublicKey() {
		return ErrSelf
	}
	if _, ok := p.allowed[peer]; p.allowed != nil && !ok {
		return fmt.Errorf("%w: %v", ErrNotAllowed, peer)
	}
	return nil
}
