package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/streams/identity"
)

// childVariable turns this binary into another process, named in children.
const childVariable = "FAREWELL_TEST_CHILD"

// children are the mains of other processes. They end with their parent.
var children = map[string]func(){
	"plain": func() { respond(false) },
	"tls":   func() { respond(true) },
}

func TestMain(m *testing.M) {
	if child := children[os.Getenv(childVariable)]; child != nil {
		child()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds waits for events that come in milliseconds on an idle machine.
const patience = 60 * time.Second

// recorder is a Handler that keeps what it is told, and a Withdrawer that counts.
type recorder struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	up        map[identity.PublicKey]int
	frames    map[identity.PublicKey][][]byte
	bytes     map[identity.PublicKey]int
	down      map[identity.PublicKey][]error
	withdrawn int
	disorder  []string
	onFrame   func(peer identity.PublicKey, frame []byte) // if not nil, instead of keeping it
}

func newRecorder() *recorder {
	return &recorder{
		changed: make(chan struct{}),
		up:      make(map[identity.PublicKey]int),
		frames:  make(map[identity.PublicKey][][]byte),
		bytes:   make(map[identity.PublicKey]int),
		down:    make(map[identity.PublicKey][]error),
	}
}

func (r *recorder) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) isUp(peer identity.PublicKey) bool { return r.up[peer] == len(r.down[peer])+1 }

func (r *recorder) PeerUp(peer identity.PublicKey) {
	r.change(func() {
		if r.isUp(peer) {
			r.disorder = append(r.disorder, "PeerUp before PeerDown")
		}
		r.up[peer]++
	})
}

func (r *recorder) Frame(peer identity.PublicKey, frame []byte) {
	if r.onFrame != nil {
		r.onFrame(peer, frame)
	}
	r.change(func() {
		if !r.isUp(peer) {
			r.disorder = append(r.disorder, "Frame while down")
		}
		r.bytes[peer] += len(frame)
		if r.onFrame == nil {
			r.frames[peer] = append(r.frames[peer], slices.Clone(frame))
		}
	})
}

func (r *recorder) PeerDown(peer identity.PublicKey, err error) {
	r.change(func() {
		if !r.isUp(peer) {
			r.disorder = append(r.disorder, "PeerDown while down")
		}
		r.down[peer] = append(r.down[peer], err)
	})
}

func (r *recorder) WithdrawFromNetwork() { r.change(func() { r.withdrawn++ }) }

// until waits for a condition on what was recorded.
func (r *recorder) until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		ok, changed := condition(), r.changed
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-time.After(5 * time.Millisecond): // for conditions on more than what was recorded
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (r *recorder) untilUp(t testing.TB, peer identity.PublicKey) {
	t.Helper()
	r.until(t, "peer up", func() bool { return r.isUp(peer) })
}

func (r *recorder) untilDown(t testing.TB, peer identity.PublicKey) error {
	t.Helper()
	r.until(t, "peer down", func() bool { return r.up[peer] > 0 && !r.isUp(peer) })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down[peer][len(r.down[peer])-1]
}

func (r *recorder) untilBytes(t testing.TB, peer identity.PublicKey, n int) {
	t.Helper()
	r.until(t, "bytes", func() bool { return r.bytes[peer] >= n })
}

// node is a pool that listens, with its recorder.
type node struct {
	*Pool
	*recorder
	key     identity.PublicKey
	address string
}

func id(seed byte) *identity.Identity { return identity.FromSeed([32]byte{seed}) }

// newNode starts a pool; the test's end shuts it down and checks the order of the Handler's calls.
func newNode(t testing.TB, seed byte, change func(*Config)) *node {
	t.Helper()
	r := newRecorder()
	config := Config{Identity: id(seed), Handler: r, Withdrawer: r, Linger: patience, HandshakeTimeout: patience}
	if change != nil {
		change(&config)
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	address, err := p.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Pool: p, recorder: r, key: config.Identity.PublicKey(), address: address.String()}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Shutdown(ctx)
		<-p.closed
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.disorder) > 0 {
			t.Errorf("the handler was called out of order: %q", r.disorder)
		}
	})
	return n
}

// connect dials b from a and waits until both are up.
func connect(t testing.TB, a, b *node) {
	t.Helper()
	if err := a.Dial(t.Context(), b.key, b.address); err != nil {
		t.Fatal(err)
	}
	a.untilUp(t, b.key)
	b.untilUp(t, a.key)
}

// checkAccounts checks that accepted = written + unwritten, and returns the total.
func checkAccounts(t testing.TB, p *Pool) Traffic {
	t.Helper()
	total := p.Stats().Total
	if total.Accepted < total.Written {
		t.Errorf("accepted %d < written %d", total.Accepted, total.Written)
	}
	return total
}

// rawPeer speaks TLS to a pool by hand.
type rawPeer struct {
	*tls.Conn
	socket *net.TCPConn
}

// dialRaw connects to a node as seed and exchanges hellos.
func dialRaw(t testing.TB, seed byte, n *node) *rawPeer {
	t.Helper()
	peer := dialRawAs(t, seed, n, uint64(seed), 1)
	n.untilUp(t, id(seed).PublicKey())
	return peer
}

// dialRawAs does the same with a given hello, and does not wait.
func dialRawAs(t testing.TB, seed byte, n *node, instance, sequence uint64) *rawPeer {
	t.Helper()
	peer := connectRaw(t, seed, n)
	if err := peer.hello(instance, sequence); err != nil {
		t.Fatal(err)
	}
	return peer
}

// connectRaw connects to a node as seed and says nothing.
func connectRaw(t testing.TB, seed byte, n *node) *rawPeer {
	t.Helper()
	dialer := net.Dialer{Control: ethernetSegments}
	socket, err := dialer.Dial("tcp", n.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return &rawPeer{tls.Client(socket, id(seed).ClientTLS(n.key)), socket.(*net.TCPConn)}
}

func (r *rawPeer) hello(instance, sequence uint64) error {
	if err := (hello{accepted, instance, sequence}).writeTo(r); err != nil {
		return err
	}
	frames := frameReader{source: r}
	_, err := readHello(&frames)
	frames.release()
	return err
}

func assertIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}
