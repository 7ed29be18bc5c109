package ui

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"github.com/farewell-node/farewell/fsm"
)

// The paths that service managers and monitors ask for, as Kubernetes and Prometheus
// call them.
const (
	livePath    = "/livez"
	readyPath   = "/readyz"
	metricsPath = "/metrics"
)

// probe answers whether the process is alive and ready, and reports whether that was
// asked for. A kubelet asks by the address of the pod, so any Host is good enough here:
// to ask changes nothing, and the answer tells a page from elsewhere that there is a
// process, and no more.
//
// A process that leaves is alive to its end, so that nobody kills it while it does; it
// is not ready from the moment of the request on, so that no new work comes.
func (g *Gateway) probe(w http.ResponseWriter, r *http.Request) bool {
	state := g.orchestrator.State()
	code, text := http.StatusOK, "ok"
	switch {
	case r.URL.Path == livePath:
	case r.URL.Path != readyPath:
		return false
	case state != fsm.Running:
		code, text = http.StatusServiceUnavailable, "leaving"
	}
	if !isRead(w, r) {
		return true
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintf(w, "%s: %s\n", text, state)
	return true
}

// serveMetrics passes the request on, if it shows the token that is wanted.
func (g *Gateway) serveMetrics(w http.ResponseWriter, r *http.Request) {
	shown, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case g.metrics == nil:
		http.NotFound(w, r)
	case g.token != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(g.token)) != 1:
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the token is wanted: Authorization: Bearer TOKEN", http.StatusUnauthorized)
	case isRead(w, r):
		g.metrics.ServeHTTP(w, r)
	}
}

// isRead refuses what is neither GET nor HEAD.
func isRead(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "there is only something to look at", http.StatusMethodNotAllowed)
	return false
}
