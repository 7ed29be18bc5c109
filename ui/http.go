package ui

import (
	"fmt"
	"net/http"
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
// It also answers /livez with 200 and /readyz with 200 while the machine is Running
// and 503 from then on, whoever asks; and /metrics as Config.Metrics does, if the
// Authorization is "Bearer" and the token, where one is wanted.
//
// So a service can mount the gateway on a server of its own, at a path that ends
// in a slash and is stripped, instead of calling [Gateway.Listen]. It then should
// set Config.CloseListener: existing clients report a failure if the port still
// answers when they have been told that the process is down.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upgrade := websocket.IsWebSocketUpgrade(r)
	switch {
	case !upgrade && g.probe(w, r):
	case !g.hosts.mayAsk(r):
		http.Error(w, fmt.Sprintf("only this machine and this page may ask, and not %q from %q: a proxy's name must be allowed (--ui-host)",
			r.Host, r.Header.Get("Origin")), http.StatusForbidden)
	case upgrade:
		g.upgrade(w, r)
	case r.URL.Path == metricsPath:
		g.serveMetrics(w, r)
	default:
		servePage(w, r)
	}
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
		CheckOrigin:      func(*http.Request) bool { return true }, // mayAsk did
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		g.release()
		return
	}
	g.serve(ws)
}
