package page

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
	"github.com/farewell-node/farewell/ui"
)

// Bounds of the HTTP side, as the node's page has them.
const (
	requestTime = 5 * time.Second
	answerTime  = 30 * time.Second // of all but streams
	idleTime    = time.Minute
	headerBytes = 16 << 10
)

// Listen binds a TCP address of this machine, "127.0.0.1:0" for any port. The error
// wraps [ui.ErrNotLoopback] if others could reach it.
func Listen(address string) (net.Listener, error) {
	resolved, err := net.ResolveTCPAddr("tcp", address)
	if err == nil && !resolved.IP.IsLoopback() {
		err = ui.ErrNotLoopback
	}
	if err != nil {
		return nil, fmt.Errorf("page: listen on %q: %w", address, err)
	}
	l, err := net.ListenTCP("tcp", resolved)
	if err != nil {
		return nil, fmt.Errorf("page: listen: %w", err)
	}
	return l, nil
}

// Register makes two components of the page: "page", which tells the browsers goodbye,
// and after it "page-http", its server, which serves l from now on. If o refuses them
// the page has ended and l is closed.
func (p *Page) Register(o *fsm.Orchestrator, l net.Listener) error {
	if err := o.Register("page", p); err != nil {
		p.stop()
		p.working.Wait()
		return errors.Join(fmt.Errorf("page: %w", err), l.Close())
	}
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
	}
	if err := o.Register("page-http", fsmhttp.Serve(server, l), fsm.After("page")); err != nil {
		_ = o.Deregister("page") // a shutdown that has begun ends it
		p.stop()
		p.working.Wait()
		return errors.Join(fmt.Errorf("page: %w", err), l.Close())
	}
	return nil
}
