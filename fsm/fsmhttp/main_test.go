package fsmhttp

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func orchestrator(t testing.TB, config fsm.Config) *fsm.Orchestrator {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	o, err := fsm.New(config)
	must(t, err)
	return o
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t testing.TB, c net.Conn, request string) {
	t.Helper()
	_, err := io.WriteString(c, request)
	must(t, err)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func serverOf(handler http.HandlerFunc) *http.Server {
	return &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
}

// shutDown ends what the test has set up and returns the report, whose exit code
// has to be the one given.
func shutDown(t testing.TB, o *fsm.Orchestrator, code int) *fsm.Report {
	t.Helper()
	r, err := o.Shutdown(context.Background(), fsm.Command{Reason: "test"})
	must(t, err)
	if r.ExitCode() != code {
		t.Errorf("exit code %d, want %d\n%s", r.ExitCode(), code, r)
	}
	return r
}

func lineOf(t testing.TB, r *fsm.Report, id fsm.ID) fsm.ComponentReport {
	t.Helper()
	for _, l := range r.Components {
		if l.ID == id {
			return l
		}
	}
	t.Fatalf("no %q in\n%s", id, r)
	return fsm.ComponentReport{}
}

// pipes is a listener without a network, for virtual time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
	fails    chan error // what Accept fails with
	err      error      // of Close
}

func newPipes() *pipes {
	return &pipes{accepted: make(chan net.Conn), closed: make(chan struct{}), fails: make(chan error, 1)}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case err := <-p.fails:
		return nil, err
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.err
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipes"} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.accepted <- theirs
	return ours
}

// answer reads all that a connection still brings.
func answer(t testing.TB, c net.Conn) string {
	t.Helper()
	all, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	return string(all)
}
