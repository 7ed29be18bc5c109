package streams

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/farewell-node/farewell/streams/identity"
)

// older is what a peer of version 1 offers.
func older(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.NextProtos = []string{"farewell/1"}
	return config
}

// streamOf returns the newest stream with a peer.
func streamOf(t *testing.T, n *node, peer identity.PublicKey) *stream {
	t.Helper()
	s := n.newest(peer)
	if s == nil {
		t.Fatal("no stream")
	}
	return s
}

func TestPeersOfThisVersionKnowPings(t *testing.T) {
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	connect(t, a, b)
	if !streamOf(t, a, b.key).pings || !streamOf(t, b, a.key).pings {
		t.Error("no pings on a stream between two that know them")
	}
}

// A peer of version 1 is let in, is sent no ping, and may send none.
func TestOlderPeerDials(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := connectRaw(t, 2, a)
	peer.Conn = tls.Client(peer.socket, older(id(2).ClientTLS(a.key)))
	if err := peer.hello(2, 1); err != nil {
		t.Fatal(err)
	}
	a.untilUp(t, id(2).PublicKey())
	if s := streamOf(t, a, id(2).PublicKey()); s.pings || s.vigil.timer != nil {
		t.Error("the older peer would be sent a ping")
	}
	if _, err := peer.Write([]byte{0x80, 0, 0, 2}); err != nil {
		t.Fatal(err)
	}
	assertIs(t, a.untilDown(t, id(2).PublicKey()), ErrProtocol)
}

func TestOlderPeerIsDialed(t *testing.T) {
	a := newNode(t, 1, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	served := make(chan error, 1)
	go func() {
		raw, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		t.Cleanup(func() { _ = raw.Close() })
		conn := tls.Server(raw, older(id(2).ServerTLS()))
		frames := frameReader{source: conn}
		if _, err = readHello(&frames); err == nil {
			err = (hello{verdict: accepted, instance: 2, sequence: 1}).writeTo(conn)
		}
		served <- err
	}()
	if err := a.Dial(t.Context(), id(2).PublicKey(), listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if streamOf(t, a, id(2).PublicKey()).pings {
		t.Error("the older peer would be sent a ping")
	}
}

// One who speaks no version that we know gets no further than the handshake.
func TestUnknownVersionIsRefused(t *testing.T) {
	a := newNode(t, 1, nil)
	peer := connectRaw(t, 2, a)
	config := id(2).ClientTLS(a.key)
	config.NextProtos = []string{"farewell/9"}
	if err := tls.Client(peer.socket, config).Handshake(); err == nil {
		t.Error("the handshake succeeded")
	}
	if len(a.Stats().Streams) > 0 {
		t.Error("there is a stream")
	}
}
