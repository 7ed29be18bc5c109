package fsmhttp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/farewell-node/farewell/fsm"
)

// Hijacked connections that come and go leave nothing behind.
func TestHijackedComeAndGo(t *testing.T) {
	l, o := listen(t), orchestrator(t, fsm.Config{})
	server := serverOf(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		must(t, err)
		go func() {
			_, _ = io.WriteString(c, "bye")
			_ = c.Close()
		}()
	})
	must(t, o.Register("http", Serve(server, l)))
	for range 10 * fewOutlived {
		c := dial(t, l)
		send(t, c, get)
		if got := answer(t, c); got != "bye" {
			t.Fatal(got)
		}
		_ = c.Close()
	}
	tracker := tracked(server)
	tracker.mu.Lock()
	kept := len(tracker.hijacked)
	tracker.mu.Unlock()
	if kept > 2*fewOutlived {
		t.Errorf("%d connections are kept", kept)
	}
	shutDown(t, o, fsm.ExitOK)
	tracker.open.Range(func(c, _ any) bool { t.Errorf("%v is kept", c.(net.Conn).RemoteAddr()); return true })
	if len(tracker.hijacked) > 0 || tracker.conns.Load() != 0 || tracker.handlers.Load() != 0 {
		t.Errorf("%d hijacked, %d connections, %d handlers", len(tracker.hijacked), tracker.conns.Load(), tracker.handlers.Load())
	}
}

// dialIdle opens n connections, each of which has had a request answered.
func dialIdle(t testing.TB, l net.Listener, n int) (conns []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		send(t, c, get)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		must(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, err, resp.Body.Close())
		conns = append(conns, c)
	}
	return conns
}
