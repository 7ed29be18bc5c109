package fsmhttp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// Those that are hijacked and have outlived their handlers are looked at after
	// leastPoll, then after twice as long, and so on to mostPoll.
	leastPoll, mostPoll = time.Millisecond, 20 * time.Millisecond
	// fewOutlived is how many that are hijacked are kept before anybody looks which
	// of them are closed.
	fewOutlived = 64
)

// tracker is a server's outermost handler, and knows its connections: those that
// the server still owns and those that were hijacked.
type tracker struct {
	server  *http.Server
	handler http.Handler // the user's

	leaving   atomic.Bool // clients are asked to go elsewhere
	stopping  atomic.Bool // the server takes no requests any more
	handlers  atomic.Int64
	returned  chan struct{} // has a token if the last handler returned when stopping
	conns     atomic.Int64  // that the server owns
	accepted  atomic.Bool   // there ever was one
	allClosed atomic.Pointer[context.CancelFunc]
	open      sync.Map // of net.Conn to *connection: those that the server owns

	mu       sync.Mutex
	begun    bool // the shutdown
	done     chan struct{}
	cancels  []context.CancelCauseFunc // of the contexts of all requests, by listener
	hijacked map[*connection]bool      // true when its handler has returned
	lookAt   int                       // more of them than that are looked at
}

type connection struct {
	net.Conn
	fresh    atomic.Bool // no request has been read
	hijacked atomic.Bool
}

type connectionKey struct{}

// tracked returns the server's tracker, which it makes at the first call.
func tracked(server *http.Server) *tracker {
	if t, ok := server.Handler.(*tracker); ok {
		return t
	}
	t := &tracker{
		server: server, handler: server.Handler, returned: make(chan struct{}, 1), done: make(chan struct{}),
		hijacked: map[*connection]bool{}, lookAt: fewOutlived,
	}
	if t.handler == nil {
		t.handler = http.DefaultServeMux
	}
	server.Handler = t
	server.BaseContext = t.baseContext(server.BaseContext)
	server.ConnContext = t.connContext(server.ConnContext)
	server.ConnState = t.connState(server.ConnState)
	server.RegisterOnShutdown(t.stop)
	return t
}

func (t *tracker) baseContext(theirs func(net.Listener) context.Context) func(net.Listener) context.Context {
	return func(l net.Listener) context.Context {
		if own, ok := l.(*listener); ok {
			l = own.Listener
		}
		base := context.Background()
		if theirs != nil {
			if base = theirs(l); base == nil {
				return nil // for net/http to say so
			}
		}
		ctx, cancel := context.WithCancelCause(base)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cancels = append(t.cancels, cancel)
		return ctx
	}
}

func (t *tracker) connContext(theirs func(context.Context, net.Conn) context.Context) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		k := &connection{Conn: c}
		k.fresh.Store(true)
		t.open.Store(c, k)
		if theirs != nil {
			if ctx = theirs(ctx, c); ctx == nil {
				return nil // for net/http to say so
			}
		}
		return context.WithValue(ctx, connectionKey{}, k)
	}
}

func (t *tracker) connState(theirs func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		if theirs != nil {
			theirs(c, state)
		}
		switch state {
		case http.StateNew:
			t.conns.Add(1)
			t.accepted.Store(true)
			if t.stopping.Load() {
				_ = c.Close() // nobody would read what it sends
			}
		case http.StateActive:
			if k, ok := t.open.Load(c); ok {
				k.(*connection).fresh.Store(false)
			}
		case http.StateHijacked:
			if k, ok := t.open.LoadAndDelete(c); ok {
				t.hijack(k.(*connection))
			}
			t.disown()
		case http.StateClosed:
			t.open.Delete(c)
			t.disown()
		}
	}
}

// disown counts a connection that the server does not own any more.
func (t *tracker) disown() {
	if t.conns.Add(-1) == 0 && t.stopping.Load() {
		t.tellAllClosed()
	}
}

func (t *tracker) tellAllClosed() {
	if cancel := t.allClosed.Load(); cancel != nil {
		(*cancel)()
	}
}

// stop is called when net/http has begun to shut the server down. From here on it
// answers no request that it has not read. Which it has, it tells connState before
// it looks whether it is shutting down, so whatever is fresh now is in vain.
func (t *tracker) stop() {
	t.stopping.Store(true)
	t.open.Range(func(_, k any) bool {
		if k := k.(*connection); k.fresh.Load() {
			_ = k.Close()
		}
		return true
	})
	if t.accepted.Load() && t.conns.Load() == 0 {
		t.tellAllClosed()
	}
}

// ServeHTTP calls the server's own handler.
func (t *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t.handlers.Add(1)
	defer t.leave(r)
	if t.leaving.Load() && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close")
	}
	t.handler.ServeHTTP(w, r)
}

func (t *tracker) leave(r *http.Request) {
	if k, ok := r.Context().Value(connectionKey{}).(*connection); ok && k.hijacked.Load() {
		t.outlive(k)
	}
	if t.handlers.Add(-1) == 0 && t.stopping.Load() {
		select {
		case t.returned <- struct{}{}:
		default:
		}
	}
}

func (t *tracker) hijack(k *connection) {
	k.hijacked.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hijacked[k] = false
}

// outlive keeps a hijacked connection whose handler has returned, if anybody can
// tell when it will be closed.
func (t *tracker) outlive(k *connection) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hijacked[k] = true
	if k.gone() {
		delete(t.hijacked, k)
	}
	if len(t.hijacked) > t.lookAt { // one look in so many makes it cheap
		t.lookAtOutlived()
		t.lookAt = max(fewOutlived, 2*len(t.hijacked))
	}
}

// lookAtOutlived forgets those that are closed, and counts the others that have
// outlived their handlers. The caller holds mu.
func (t *tracker) lookAtOutlived() (left int) {
	for k, outlived := range t.hijacked {
		switch {
		case outlived && k.gone():
			delete(t.hijacked, k)
		case outlived:
			left++
		}
	}
	return left
}

// gone reports whether a connection is closed, or cannot be asked.
func (k *connection) gone() bool {
	c := k.Conn
	for {
		switch below := c.(type) {
		case syscall.Conn:
			raw, err := below.SyscallConn()
			if err == nil {
				err = raw.Control(func(uintptr) {})
			}
			return err != nil
		case interface{ NetConn() net.Conn }:
			c = below.NetConn()
		default:
			return true
		}
	}
}

// cut closes a connection without a farewell, for which TLS would wait up to 5 s.
func (k *connection) cut() {
	if secured, ok := k.Conn.(*tls.Conn); ok {
		_ = secured.NetConn().Close()
	}
	_ = k.Close()
}

// shutdown ends the server, once; later calls wait for that.
func (t *tracker) shutdown(ctx context.Context) error {
	t.mu.Lock()
	first := !t.begun
	t.begun = true
	t.mu.Unlock()
	if !first {
		select {
		case <-t.done:
		case <-ctx.Done():
			t.cutAll(context.Cause(ctx))
			<-t.done
		}
		return nil
	}
	defer close(t.done)
	t.shutdownServer(ctx)
	if ctx.Err() == nil && t.wait(ctx) {
		return nil
	}
	err := fmt.Errorf("fsmhttp: shutdown: %s: %w", t.busy(), context.Cause(ctx))
	t.cutAll(context.Cause(ctx))
	t.wait(context.Background())
	return err
}

// shutdownServer is [http.Server.Shutdown], which polls; but the last connection
// to be closed ends that. What Shutdown returns is known: how its ctx ended, or
// what came of closing the listeners, which they keep.
func (t *tracker) shutdownServer(ctx context.Context) {
	quiet, cancel := context.WithCancel(ctx)
	defer cancel()
	t.allClosed.Store(&cancel)
	_ = t.server.Shutdown(quiet)
}

// wait waits until no handler runs and none of the hijacked connections is open
// any more. It reports whether that came before ctx ended.
func (t *tracker) wait(ctx context.Context) bool {
	for poll := leastPoll; ; poll = min(2*poll, mostPoll) {
		var again <-chan time.Time
		if t.handlers.Load() == 0 {
			t.mu.Lock()
			left := t.lookAtOutlived()
			t.mu.Unlock()
			if left == 0 {
				return true
			}
			again = time.After(poll)
		}
		select {
		case <-t.returned:
		case <-again:
		case <-ctx.Done():
			return false
		}
	}
}

// busy says what is about to be cut.
func (t *tracker) busy() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("cut %d busy and %d hijacked connections, %d handlers were running",
		t.conns.Load(), len(t.hijacked), t.handlers.Load())
}

// cutAll ends the contexts of all requests, and then closes every connection.
func (t *tracker) cutAll(why error) {
	t.mu.Lock()
	for _, cancel := range t.cancels {
		cancel(why)
	}
	t.mu.Unlock()
	t.open.Range(func(_, k any) bool {
		k.(*connection).cut()
		return true
	})
	t.mu.Lock()
	for k := range t.hijacked {
		k.cut()
	}
	t.mu.Unlock()
	_ = t.server.Close() // what it says of listeners is known
}
