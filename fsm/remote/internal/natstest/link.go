package natstest

import (
	"net"
	"sync"
	"testing"
)

// Link is a wire to the server that can be cut for a while: what is sent meanwhile
// is neither refused nor lost, it arrives later.
type Link struct {
	listener net.Listener
	mu       sync.Mutex
	open     *sync.Cond
	cut      bool
	closed   bool
	conns    []net.Conn
	running  sync.WaitGroup
}

// NewLink is a link to host:port that ends with the test.
func NewLink(t testing.TB, to string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{listener: listener}
	l.open = sync.NewCond(&l.mu)
	l.running.Go(func() { l.accept(to) })
	t.Cleanup(l.close)
	return l
}

// URL is where clients find its near end.
func (l *Link) URL() string { return "nats://" + l.listener.Addr().String() }

func (l *Link) accept(to string) {
	for {
		here, err := l.listener.Accept()
		if err != nil {
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil || !l.keep(here, there) {
			here.Close()
			continue
		}
		l.running.Go(func() { l.carry(here, there) })
		l.running.Go(func() { l.carry(there, here) })
	}
}

func (l *Link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, conns...)
	return !l.closed
}

func (l *Link) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		for l.cut && !l.closed {
			l.open.Wait()
		}
		l.mu.Unlock()
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// SetCut cuts it, or joins it again.
func (l *Link) SetCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	l.open.Broadcast()
}

// BreakOff ends the connections, as a restart of a router does.
func (l *Link) BreakOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

func (l *Link) close() {
	l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.open.Broadcast()
	l.mu.Unlock()
	l.BreakOff()
	l.running.Wait()
}
