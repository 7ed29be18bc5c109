package ui

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// Bounds of the HTTP side. A WebSocket handshake is small and quick, and the page
// comes from the same machine.
const (
	requestTime = 5 * time.Second
	answerTime  = 30 * time.Second
	idleTime    = time.Minute
	headerBytes = 16 << 10
)

// ServeHTTP upgrades WebSocket requests, on any path, and serves the web page to
// others. A WebSocket request without a subprotocol that it speaks gets 400; a
// stranger's request 403; and when there are too many UIs, or the process is
// going, it is 503.
//
// So a service can mount the gateway on a server of its own, at a path that ends
// in a slash and is stripped, instead of calling [Gateway.Listen]. It then should
// set Config.CloseListener: existing clients report a failure if the port still
// answers when they have been told that the process is down.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !fromHere(r) {
		http.Error(w, "only this machine and this page may ask", http.StatusForbidden)
		return
	}
	if !websocket.IsWebSocketUpgrade(r) {
		servePage(w, r)
		return
	}
	g.upgrade(w, r)
}

func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(websocket.Subprotocols(r), wire.Subprotocol) {
		http.Error(w, "the subprotocol must be "+wire.Subprotocol, http.StatusBadRequest)
		return
	}
	if !g.reserve() {
		http.Error(w, "too many UIs, or the process is going", http.StatusServiceUnavailable)
		return
	}
	upgrader := websocket.Upgrader{
		HandshakeTimeout: requestTime,
		Subprotocols:     []string{wire.Subprotocol},
		CheckOrigin:      func(*http.Request) bool { return true }, // fromHere did
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.release()
		return
	}
	g.serve(ws)
}

// fromHere reports whether a request comes from this machine, and from no page
// but our own. A page from elsewhere gives itself away by its Origin, which
// browsers always send along with a WebSocket request; one that has its own name
// resolve to loopback, by the Host.
func fromHere(r *http.Request) bool {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !addr.IP.IsLoopback() {
		return false
	}
	return isLoopback(r.Host) && isOwnOrigin(r.Header["Origin"], r.Host)
}

// isLoopback reports whether a Host header names this machine. Which port it
// names does not matter: behind a forwarded port it is another one.
func isLoopback(hostport string) bool {
	u := url.URL{Host: hostport}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isOwnOrigin(origins []string, host string) bool {
	switch len(origins) {
	case 0:
		return true
	case 1:
		return origins[0] == "http://"+host || origins[0] == "https://"+host
	}
	return false
}
