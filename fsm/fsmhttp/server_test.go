package fsmhttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// A browser's spare connection, a health check's: it has sent nothing, or not all
// of a request, and holds nobody.
func TestConnectionWithoutARequestCostsNothing(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "half a request": "GET / HT"} {
		t.Run(name, func(t *testing.T) {
			l, accepted := listen(t), make(chan struct{})
			server := serverOf(nil)
			server.ConnState = onNew(func() { close(accepted) })
			o := orchestrator(t, fsm.Config{})
			must(t, o.Register("http", Serve(server, l)))
			c := dial(t, l)
			<-accepted
			send(t, c, sent)
			shutDown(t, o, fsm.ExitOK)
			if got := answer(t, c); got != "" {
				t.Errorf("it was answered %q", got)
			}
		})
		t.Run(name+", in virtual time", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				o := orchestrator(t, fsm.Config{})
				must(t, o.Register("http", Serve(serverOf(nil), l)))
				for range 10 {
					send(t, l.dial(), sent)
				}
				synctest.Wait()
				if r := shutDown(t, o, fsm.ExitOK); r.Took != 0 {
					t.Errorf("nobody was being served, and it took %v", r.Took)
				}
			})
		})
	}
}

func onNew(f func()) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			f()
		}
	}
}

// slowPipes accept one more connection when they are closed, and after a second.
type slowPipes struct {
	*pipes
	last chan net.Conn
}

func (p *slowPipes) Accept() (net.Conn, error) {
	c, err := p.pipes.Accept()
	if errors.Is(err, net.ErrClosed) {
		select {
		case c := <-p.last:
			time.Sleep(time.Second)
			return c, nil
		default:
		}
	}
	return c, err
}

// What is accepted while the server is being shut down will not be read either.
func TestConnectionAcceptedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o := &slowPipes{newPipes(), make(chan net.Conn, 1)}, orchestrator(t, fsm.Config{})
		ours, theirs := net.Pipe()
		l.last <- theirs
		must(t, o.Register("http", Serve(serverOf(nil), l)))
		synctest.Wait()
		if r := shutDown(t, o, fsm.ExitOK); r.Took != time.Second {
			t.Errorf("it took %v", r.Took)
		}
		if got := answer(t, ours); got != "" {
			t.Errorf("it was answered %q", got)
		}
	})
}

// A request that is being served is served to its end, and nobody waits longer.
func TestRequestIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o := newPipes(), orchestrator(t, fsm.Config{})
		must(t, o.Register("http", Serve(serverOf(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(3 * time.Second)
			_, _ = io.WriteString(w, "served")
		}), l)))
		c := l.dial()
		send(t, c, get)
		synctest.Wait()
		read := make(chan string)
		go func() { read <- answer(t, c) }()
		go func() {
			if r := shutDown(t, o, fsm.ExitOK); r.Took != 3*time.Second {
				t.Errorf("a request of 3 s took %v", r.Took)
			}
		}()
		if got := <-read; !strings.HasSuffix(got, "served") || !strings.Contains(got, "Connection: close") {
			t.Errorf("the answer was %q", got)
		}
		<-o.Done()
	})
}

// store is a database that must not be closed under anybody.
type store struct{ users, wronged, closed atomic.Int32 }

func (s *store) use(f func()) {
	s.users.Add(1)
	defer s.users.Add(-1)
	f()
}

func (s *store) Close() error {
	s.wronged.Add(s.users.Load())
	s.closed.Add(1)
	return nil
}

func (s *store) check(t testing.TB) {
	t.Helper()
	if s.closed.Load() != 1 || s.wronged.Load() != 0 {
		t.Errorf("closed %d times, under %d users", s.closed.Load(), s.wronged.Load())
	}
}

// A handler that has hijacked its connection is waited for, and so is the
// connection if it goes on without the handler.
func TestHijackedIsWaitedFor(t *testing.T) {
	for name, outlives := range map[string]bool{"handler": false, "connection": true} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, secured), func(t *testing.T) {
				db, l, o := new(store), listen(t), orchestrator(t, fsm.Config{Alarm: time.Minute})
				begun, back := make(chan struct{}), make(chan struct{})
				server := serverOf(func(w http.ResponseWriter, _ *http.Request) {
					c, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					db.users.Add(1)
					message := func() {
						<-o.Context().Done()
						time.Sleep(20 * time.Millisecond) // handles a message
						db.users.Add(-1)
						_ = c.Close()
					}
					if outlives {
						go message()
					} else {
						defer message()
					}
					close(begun)
				})
				server.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateHijacked {
						close(back)
					}
				}
				must(t, o.Register("db", fsm.Closer(db)))
				c := serveOn(t, o, server, l, secured)
				send(t, c, get)
				<-begun
				<-back
				shutDown(t, o, fsm.ExitOK)
				db.check(t)
			})
		}
	}
}

// serveOn registers a server before "db" and connects to it.
func serveOn(t *testing.T, o *fsm.Orchestrator, server *http.Server, l net.Listener, secured bool) net.Conn {
	t.Helper()
	if !secured {
		must(t, o.Register("http", Serve(server, l), fsm.Before("db")))
		return dial(t, l)
	}
	clients := certify(t, server)
	must(t, o.Register("http", ServeTLS(server, l, "", ""), fsm.Before("db")))
	return dialTLS(t, l, clients)
}

func TestHijackedHandlerInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, l, o := new(store), newPipes(), orchestrator(t, fsm.Config{})
		must(t, o.Register("db", fsm.Closer(db)))
		must(t, o.Register("http", Serve(serverOf(func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer func() { _ = c.Close() }()
			db.use(func() { time.Sleep(time.Second) })
		}), l), fsm.Before("db")))
		send(t, l.dial(), get)
		synctest.Wait()
		if r := shutDown(t, o, fsm.ExitOK); r.Took != time.Second {
			t.Errorf("a handler of 1 s took %v", r.Took)
		}
		db.check(t)
	})
}

// rows are written behind the requests, 40 ms after the last of them.
func flush(db *store) error {
	for range 20 {
		time.Sleep(2 * time.Millisecond)
		if db.closed.Load() > 0 {
			return errors.New("rows lost: the database is closed")
		}
	}
	return nil
}

// One stream that does not notice the shutdown: the server is insisted upon, and
// nobody behind it loses anything by that.
func TestStreamThatDoesNotEndLosesNothing(t *testing.T) {
	for name, options := range map[string][]fsm.Option{"": nil, " with Grace": {fsm.Grace(time.Second)}} {
		register := func(t *testing.T, l net.Listener) *fsm.Orchestrator {
			o, db := orchestrator(t, fsm.Config{Alarm: 3 * time.Second}), new(store)
			must(t,
				o.Register("db", fsm.Closer(db)),
				o.Register("buffer", fsm.Func(func(context.Context) error { return flush(db) }), fsm.Before("db")),
				o.Register("http", Serve(serverOf(func(w http.ResponseWriter, r *http.Request) {
					_, _ = fmt.Fprint(w, "data: hello\n\n")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
					if cause := context.Cause(r.Context()); !errors.Is(cause, fsm.ErrInsist) {
						t.Errorf("the request ended because of %v", cause)
					}
				}), l), append(options, fsm.Before("buffer"))...))
			return o
		}
		check := func(t *testing.T, r *fsm.Report) {
			t.Helper()
			if l := lineOf(t, r, "http"); !l.Insisted || l.Outcome != fsm.OutcomeFailed ||
				!strings.Contains(l.Err.Error(), "cut 1 busy and 0 hijacked connections, 1 handlers") {
				t.Errorf("http\n%s", r)
			}
			if l := lineOf(t, r, "buffer"); l.Err != nil {
				t.Errorf("buffer: %v\n%s", l.Err, r)
			}
		}
		t.Run("sockets"+name, func(t *testing.T) {
			l := listen(t)
			o := register(t, l)
			resp, err := http.Get("http://" + l.Addr().String())
			must(t, err)
			defer func() { _ = resp.Body.Close() }()
			check(t, shutDown(t, o, fsm.ExitImpolite))
		})
		t.Run("virtual time"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				o := register(t, l)
				c := l.dial()
				send(t, c, get)
				go func() { _, _ = io.Copy(io.Discard, c) }()
				synctest.Wait()
				r := shutDown(t, o, fsm.ExitImpolite)
				check(t, r)
				if want := lineOf(t, r, "http").Ran + 40*time.Millisecond; r.Took != want {
					t.Errorf("it took %v, want %v", r.Took, want)
				}
			})
		})
	}
}

// Insisting closes everything, also what was hijacked, and with a handler or not.
func TestInsistClosesAll(t *testing.T) {
	for _, secured := range []bool{false, true} {
		l, o := listen(t), orchestrator(t, fsm.Config{Alarm: time.Minute})
		began := make(chan struct{}, 3)
		server := serverOf(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				began <- struct{}{}
				<-r.Context().Done()
				return
			}
			c, _, err := w.(http.Hijacker).Hijack()
			must(t, err)
			read := func() { _, _ = io.Copy(io.Discard, c); _ = c.Close() }
			if r.URL.Path == "/outlives" {
				go func() { defer read(); began <- struct{}{} }()
				return
			}
			began <- struct{}{}
			read()
		})
		must(t, o.Register("db", fsm.Closer(new(store))))
		conns := []net.Conn{serveOn(t, o, server, l, secured)}
		clients := []func() net.Conn{func() net.Conn { return dial(t, l) }}
		if secured {
			clients[0] = func() net.Conn { return dialTLS(t, l, certificatesOf(t)) }
		}
		conns = append(conns, clients[0](), clients[0]())
		for i, path := range []string{"/", "/hijacks", "/outlives"} {
			send(t, conns[i], strings.Replace(get, "/", path, 1))
			<-began
		}
		waiting := make(chan *fsm.Report)
		go func() { waiting <- shutDown(t, o, fsm.ExitImpolite) }()
		<-o.Context().Done()
		for e := range o.Events(context.Background()) {
			if e.Kind == fsm.Started && e.From == "http" {
				break
			}
		}
		o.Insist(fsm.Command{Reason: "now"})
		r := <-waiting
		if l := lineOf(t, r, "http"); l.Outcome != fsm.OutcomeFailed || !errors.Is(l.Err, fsm.ErrInsist) {
			t.Errorf("TLS %v\n%s", secured, r)
		}
		for _, c := range conns {
			_, _ = io.Copy(io.Discard, c) // it ends
		}
	}
}

// A handler that ignores everything is named, with its stack.
func TestHandlerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, o, never := newPipes(), orchestrator(t, fsm.Config{}), make(chan struct{})
		must(t, o.Register("http", Serve(serverOf(func(http.ResponseWriter, *http.Request) { stuck(never) }), l)))
		send(t, l.dial(), get)
		synctest.Wait()
		r := shutDown(t, o, fsm.ExitAlarm)
		if l := lineOf(t, r, "http"); l.Outcome != fsm.OutcomeHung || !strings.Contains(l.Stack, "fsmhttp.stuck") {
			t.Errorf("no word of who hung:\n%s", r)
		}
		close(never)
	})
}

func stuck(never <-chan struct{}) { <-never }

// What the user has set is called as ever.
func TestUsersHooksAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key string
		l, o := newPipes(), orchestrator(t, fsm.Config{})
		var mu sync.Mutex
		var states []http.ConnState
		var onShutdown atomic.Int32
		server := serverOf(func(_ http.ResponseWriter, r *http.Request) {
			if r.Context().Value(key("base")) != "base" || r.Context().Value(key("conn")) != "conn" {
				t.Error("contexts lost")
			}
		})
		server.BaseContext = func(given net.Listener) context.Context {
			if _, ok := given.(*pipes); !ok {
				t.Errorf("BaseContext was given %T", given)
			}
			return context.WithValue(context.Background(), key("base"), "base")
		}
		server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key("conn"), "conn")
		}
		server.ConnState = func(_ net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, state)
		}
		server.RegisterOnShutdown(func() { onShutdown.Add(1) })
		other := newPipes()
		must(t, o.Register("http", Serve(server, l)), o.Register("other", Serve(server, other)))
		c := l.dial()
		send(t, c, get)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		synctest.Wait()
		shutDown(t, o, fsm.ExitOK)
		synctest.Wait()
		want := []http.ConnState{http.StateNew, http.StateActive, http.StateIdle, http.StateClosed}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(states, want) || onShutdown.Load() != 1 {
			t.Errorf("states %v, shut down %d times", states, onShutdown.Load())
		}
	})
}

func TestDefaultServeMux(t *testing.T) {
	w := httptest.NewRecorder()
	server := new(http.Server)
	Serve(server, newPipes())
	server.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/nowhere", nil))
	if w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
}

// A listener that fails is a death; one that cannot be closed is a failure.
func TestListenerFails(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		l, o := newPipes(), orchestrator(t, fsm.Config{})
		must(t, o.Register("http", Serve(serverOf(nil), l)))
		l.fails <- broken
		r, err := o.Wait(t.Context())
		must(t, err)
		if r.ExitCode() != fsm.ExitFailure || !errors.Is(r.Err(), broken) || lineOf(t, r, "http").Died.IsZero() {
			t.Errorf("%v\n%s", r.Err(), r)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		l, o := newPipes(), orchestrator(t, fsm.Config{})
		l.err = broken
		must(t, o.Register("http", Serve(serverOf(nil), l)))
		synctest.Wait()
		send(t, l.dial(), "")
		if r := shutDown(t, o, fsm.ExitImpolite); !errors.Is(lineOf(t, r, "http").Err, broken) {
			t.Errorf("\n%s", r)
		}
	})
}

func TestCertificateThatIsNotThere(t *testing.T) {
	l, o := listen(t), orchestrator(t, fsm.Config{})
	must(t, o.Register("http", ServeTLS(serverOf(nil), l, "nowhere.pem", "nowhere.key")))
	r, err := o.Wait(t.Context())
	must(t, err)
	if r.ExitCode() != fsm.ExitFailure {
		t.Errorf("exit code %d\n%s", r.ExitCode(), r)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its listener: %v", err)
	}
}

func TestServeRefuses(t *testing.T) {
	o := orchestrator(t, fsm.Config{})
	for _, c := range []fsm.Component{Serve(nil, newPipes()), Serve(serverOf(nil), nil), ServeTLS(nil, nil, "", "")} {
		if err := o.Register("http", c); !errors.Is(err, fsm.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
	shutDown(t, o, fsm.ExitOK)
	l := listen(t)
	if err := o.Register("http", Serve(serverOf(nil), l)); !errors.Is(err, fsm.ErrShutdownBegun) {
		t.Errorf("got %v", err)
	}
	go func() { _, _ = net.Dial("tcp", l.Addr().String()) }()
	c, err := l.Accept() // which nobody else does, and nobody has closed it
	must(t, err, c.Close())
}

// One server on two listeners: the first to be shut down ends both, the second
// waits for the same, and insists like the first.
func TestTwoListeners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, o := newPipes(), newPipes(), orchestrator(t, fsm.Config{})
		server := serverOf(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		must(t,
			o.Register("first", Serve(server, first)),
			o.Register("second", Serve(server, second), fsm.Grace(time.Second)))
		c := first.dial()
		send(t, c, get)
		go func() { _, _ = io.Copy(io.Discard, c) }()
		synctest.Wait()
		if r := shutDown(t, o, fsm.ExitImpolite); r.Took != time.Second || lineOf(t, r, "first").Insisted {
			t.Errorf("\n%s", r)
		}
	})
}

// Who is connected is served on while it drains; who comes then is for another process.
func TestHandOver(t *testing.T) {
	for _, name := range []string{"handed over", "kept"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := orchestrator(t, fsm.Config{})
				pipes := newPipes()
				l := net.Listener(pipes)
				if name == "handed over" {
					l = HandOver(pipes)
				}
				server := serverOf(func(http.ResponseWriter, *http.Request) {})
				must(t, o.Register("http", Serve(server, l)), Drain(o, "drain", time.Second))
				connected := pipes.dial()
				synctest.Wait()
				ended := make(chan struct{})
				go func() { defer close(ended); shutDown(t, o, 0) }()
				synctest.Wait()
				closed := false
				select {
				case <-pipes.closed:
					closed = true
				default:
				}
				if closed != (name == "handed over") {
					t.Errorf("while it drains, it takes nobody new: %t", closed)
				}
				send(t, connected, get)
				if got := answer(t, connected); !strings.Contains(got, "200 OK") || !strings.Contains(got, "Connection: close") {
					t.Errorf("who is connected is told %q", got)
				}
				<-ended
			})
		})
	}
}
