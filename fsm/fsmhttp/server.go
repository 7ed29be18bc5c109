package fsmhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/farewell-node/farewell/fsm"
)

// Serve makes a component of a server and a listener that it serves: it accepts
// connections from its registration on, as [fsm.Serve] says of what runs, until
// it is shut down. If Accept fails before that, a shutdown is requested with the
// error. A component that is refused registration has not begun: close l.
//
// Its shutdown does what [http.Server.Shutdown] does, and is done when the last
// handler has returned and its response is on its way; it is not polled for.
// Further than that it goes in three ways:
//
//   - A connection that has not sent a whole request yet, as a browser's spare one
//     or a health check's, is closed at once. No request is lost by that: net/http
//     answers none that it has not read when the shutdown begins.
//   - Hijacked connections are waited for, until their handlers have returned and
//     they have been closed. One that outlives its handler is looked at every 20 ms
//     for that, and only if it is a [syscall.Conn], or has one below it that its
//     method NetConn returns, as those of package net and TLS.
//   - When it is insisted upon the contexts of all requests end, with cause
//     [fsm.ErrInsist], and all connections are closed, the hijacked ones too. It is
//     then done when the handlers have returned.
//
// From the first moment of a shutdown, so while a [Drain] goes on, responses tell
// clients to open other connections from then on: Connection: close, which for
// HTTP/2 becomes GOAWAY.
//
// The server has to be set up before: Serve puts itself before its Handler, and
// around its ConnState, BaseContext and ConnContext, which are called as ever. A
// server may serve several listeners, each of them a component; the first that is
// shut down ends them all.
func Serve(server *http.Server, l net.Listener) fsm.Component {
	return serve(server, l, func(l net.Listener) error { return server.Serve(l) })
}

// ServeTLS is [Serve] with TLS. Certificate and key are files, and may be empty if
// the server's TLSConfig has certificates, as [http.Server.ServeTLS] says.
func ServeTLS(server *http.Server, l net.Listener, certFile, keyFile string) fsm.Component {
	return serve(server, l, func(l net.Listener) error { return server.ServeTLS(l, certFile, keyFile) })
}

// HandOver returns l for [Serve] and [ServeTLS] as one that takes nobody new from
// the first moment of a shutdown, because another process accepts from the same
// socket and is to have them. Those who are connected are served on for as long as
// a [Drain] goes on, and asked to connect anew. Only a socket that both processes
// share, as one that was inherited, loses nobody by that: of two that listen on
// their own, as with SO_REUSEPORT, the one that is closed forgets who waits in it.
func HandOver(l net.Listener) net.Listener {
	if l == nil {
		return nil // for Serve to refuse
	}
	return &handingOver{l}
}

type handingOver struct{ net.Listener }

func serve(server *http.Server, l net.Listener, run func(net.Listener) error) fsm.Component {
	if server == nil || l == nil {
		return nil // for Register to refuse
	}
	own := &listener{Listener: l, ended: make(chan struct{})}
	if h, ok := l.(*handingOver); ok {
		own.Listener, own.handsOver = h.Listener, true
	}
	return fsm.Serve(func() error { return run(own) }, &stop{tracked(server), own})
}

// stop is the Shutdown of one listener's component.
type stop struct {
	tracker  *tracker
	listener *listener
}

// Quiesce asks clients to go elsewhere; a Drain gives them the time.
func (s *stop) Quiesce(context.Context) error {
	s.tracker.leaving.Store(true)
	if s.listener.handsOver {
		return s.listener.refuse()
	}
	return nil
}

func (s *stop) Shutdown(ctx context.Context) error {
	err := s.tracker.shutdown(ctx)
	return errors.Join(err, s.listener.Close()) // which has been closed, unless its server could not even begin
}

// listener is closed once, and keeps what came of it.
type listener struct {
	net.Listener
	handsOver bool          // it takes nobody new before its server ends
	ended     chan struct{} // closed when its server has ended it

	close, end sync.Once
	err        error
}

// refuse takes nobody new any more. For the server Accept only takes long.
func (l *listener) refuse() error {
	l.close.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if l.handsOver && errors.Is(err, net.ErrClosed) {
		<-l.ended
	}
	return c, err
}

func (l *listener) Close() error {
	l.end.Do(func() { close(l.ended) })
	return l.refuse()
}
