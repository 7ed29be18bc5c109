package shop

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

const headerTime = 5 * time.Second // for a client to send its headers

type web struct {
	store   *Store
	leaving <-chan struct{}
}

// NewWeb returns the HTTP server. It says good-bye on its WebSockets, each after the
// answer it owes, when leaving is closed.
func NewWeb(store *Store, leaving <-chan struct{}) *http.Server {
	w := &web{store, leaving}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{name}", w.order)
	mux.HandleFunc("GET /orders", w.socket)
	return &http.Server{Handler: otelhttp.NewHandler(mux, "web"), ReadHeaderTimeout: headerTime}
}

// order takes as long as ?takes= says.
func (s *web) order(w http.ResponseWriter, r *http.Request) {
	takes, err := time.ParseDuration(r.URL.Query().Get("takes"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.store.Place(r.Context(), r.PathValue("name"), takes); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	placed(r.Context())
}

// socket takes an order a message, and repeats its name when it is stored.
func (s *web) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	names := make(chan string)
	go receive(ctx, conn, names)
	for {
		select {
		case <-s.leaving:
			_ = conn.Close(websocket.StatusGoingAway, "leaving") // the client may be gone already
			return
		case name, open := <-names:
			if !open || s.store.Place(ctx, name, 0) != nil {
				return
			}
			placed(ctx)
			if conn.Write(ctx, websocket.MessageText, []byte(name)) != nil {
				return
			}
		}
	}
}

func receive(ctx context.Context, conn *websocket.Conn, names chan<- string) {
	defer close(names)
	for {
		_, name, err := conn.Read(ctx)
		if err != nil {
			return
		}
		select {
		case names <- string(name):
		case <-ctx.Done():
			return
		}
	}
}

// NewAdmin returns the server for those who watch: /readyz and /metrics.
func NewAdmin(readiness http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", readiness)
	mux.Handle("GET /metrics", promhttp.Handler())
	return &http.Server{Handler: mux, ReadHeaderTimeout: headerTime}
}
