package neighborhood

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// tlsNetwork is the least that a Neighborhood can be run on over real sockets: TLS 1.3 with pinned keys, frames behind
// their length, one stream per peer.
type tlsNetwork struct {
	id       *identity.Identity
	handler  *Neighborhood
	listener net.Listener

	mutex sync.Mutex
	conns map[identity.PublicKey]*tlsConn
	gate  chan struct{}                 // if not nil: frames are handled when it is closed
	heard func(peer identity.PublicKey) // if not nil: called after a frame was handled
	tasks sync.WaitGroup
}

type tlsConn struct {
	*tls.Conn
	writing sync.Mutex
}

// openTLS starts a Neighborhood on a network of its own, on loopback.
func openTLS(tb testing.TB, seed byte, neighbors ...Descriptor) (*tlsNetwork, Descriptor) {
	tb.Helper()
	id := identity.FromSeed([32]byte{seed, 1})
	n, err := New(Config{Identity: id, Neighbors: neighbors, Coalescing: time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	t := &tlsNetwork{id: id, handler: n, listener: listener, conns: make(map[identity.PublicKey]*tlsConn)}
	t.tasks.Go(t.accept)
	if err := n.Start(t, listener.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	return t, Descriptor{Key: id.PublicKey(), Address: listener.Addr().String()}
}

// close ends it, after its Neighborhood.
func (t *tlsNetwork) close() {
	_ = t.listener.Close()
	t.mutex.Lock()
	for _, c := range t.conns {
		_ = c.Close()
	}
	t.mutex.Unlock()
	t.tasks.Wait()
}

func (t *tlsNetwork) accept() {
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		t.tasks.Go(func() { _ = t.serve(tls.Server(conn, t.id.ServerTLS()), nil) })
	}
}

// serve shakes hands, greets with an empty frame, and hands over what comes until the end.
func (t *tlsNetwork) serve(conn *tls.Conn, up chan<- error) error {
	defer conn.Close()
	c := &tlsConn{Conn: conn}
	reader := bufio.NewReader(conn)
	err := conn.Handshake()
	if err == nil {
		err = c.write(nil)
	}
	if err == nil {
		_, err = readFrame(reader)
	}
	var peer identity.PublicKey
	if err == nil {
		peer, err = identity.PeerKey(conn.ConnectionState())
	}
	if err == nil {
		t.mutex.Lock()
		t.conns[peer] = c
		t.mutex.Unlock()
		t.handler.PeerUp(peer)
	}
	if up != nil {
		up <- err
	}
	for err == nil {
		var frame []byte
		if frame, err = readFrame(reader); err == nil {
			t.handle(peer, frame)
		}
	}
	t.mutex.Lock()
	if t.conns[peer] == c {
		delete(t.conns, peer)
	}
	t.mutex.Unlock()
	t.handler.PeerDown(peer, err)
	return err
}

func (t *tlsNetwork) handle(peer identity.PublicKey, frame []byte) {
	t.mutex.Lock()
	gate, heard := t.gate, t.heard
	t.mutex.Unlock()
	if gate != nil {
		<-gate
	}
	t.handler.Frame(peer, frame)
	if heard != nil {
		heard(peer)
	}
}

func (t *tlsNetwork) listen(gate chan struct{}, heard func(peer identity.PublicKey)) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.gate, t.heard = gate, heard
}

func (t *tlsNetwork) Dial(ctx context.Context, peer identity.PublicKey, address string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	up := make(chan error, 1)
	t.tasks.Go(func() { _ = t.serve(tls.Client(conn, t.id.ClientTLS(peer)), up) })
	return <-up
}

func (t *tlsNetwork) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	t.mutex.Lock()
	c := t.conns[peer]
	t.mutex.Unlock()
	if c == nil {
		return errDown
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetWriteDeadline(deadline)
	}
	return c.write(frame)
}

func (t *tlsNetwork) Remove(peer identity.PublicKey) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if c := t.conns[peer]; c != nil {
		_ = c.Close()
	}
}

func (c *tlsConn) write(frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func closeAll(tb testing.TB, all ...*tlsNetwork) {
	tb.Helper()
	for _, t := range all {
		_ = t.handler.Shutdown(context.Background())
		t.close()
	}
}

// awaitNeighbors waits until t lists n neighbors, and these list it.
func (t *tlsNetwork) awaitNeighbors(tb testing.TB, n int) {
	tb.Helper()
	for {
		listed := t.handler.Snapshot().Neighbors
		half := slices.ContainsFunc(listed, func(nb Neighbor) bool { return !nb.Full })
		if len(listed) == n && !half {
			return
		}
		select {
		case <-tb.Context().Done():
			tb.Fatal("the neighbors do not come")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWithdrawalOverRealSockets(t *testing.T) {
	var others []*tlsNetwork
	var descriptors []Descriptor
	for i := range 5 {
		o, d := openTLS(t, byte(i+1))
		others, descriptors = append(others, o), append(descriptors, d)
	}
	leaver, own := openTLS(t, 100, descriptors...)
	leaver.awaitNeighbors(t, 5)
	version := leaver.handler.Snapshot().Version
	if err := leaver.handler.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range others {
		o.awaitNeighbors(t, 0)
		for _, r := range o.handler.Snapshot().Records {
			if r.Key == own.Key && r.Version != version+1 {
				t.Errorf("knows version %d of the leaver, want %d", r.Version, version+1)
			}
		}
	}
	leaver.close()
	closeAll(t, others...)
}
