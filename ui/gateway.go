package ui

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// Subprotocol is what both sides name in the WebSocket handshake.
const Subprotocol = wire.Subprotocol

// Config configures a Gateway.
type Config struct {
	// Orchestrator is what the gateway watches and asks. It must not be nil.
	Orchestrator *fsm.Orchestrator
	// Node is what UIs are shown of the node; nil in a process that is none.
	Node Node
	// Version is what status says of the program; "" for nothing.
	Version string
	// Log is what UIs are shown of the log, if it is not nil.
	Log *LogHandler
	// Token is what a UI must show first, if it is not empty: at least 16
	// characters. Existing UIs cannot do it.
	Token string
	// Hosts are names by which UIs may ask beside those of this machine: those of
	// reverse proxies, without ports. They need a Token.
	Hosts []string
	// Metrics answers /metrics; nil: there are none.
	Metrics http.Handler
	// CloseListener closes the listener of a server that the gateway is mounted on
	// (see [Gateway.ServeHTTP]). It is called when the machine is terminated, and
	// must not wait for connections.
	CloseListener func() error
	// Logger is told of what fails; slog.Default() if nil.
	Logger *slog.Logger
}

// Gateway serves UIs. All its methods are safe for concurrent use.
type Gateway struct {
	orchestrator   *fsm.Orchestrator
	node           Node
	log            *LogHandler
	token          string
	version        string
	logger         *slog.Logger
	limits         limits
	began          time.Time
	hosts          hosts
	metrics        http.Handler   // nil: there are none
	listeners      []net.Listener // none without Listen
	closeListener  func() error
	uisGone        sync.WaitGroup
	answered, told atomic.Int64

	mu          sync.Mutex
	reserved    int // connected, or in the handshake
	conns       map[*conn]struct{}
	changed     chan struct{} // has room for one: a UI asked or hung up
	closed      bool          // no UI comes in any more
	cutOff      bool          // nobody is served any more
	events      []item        // all so far, for those who watch
	lastLines   []logPayload  // of the log
	stage       Stage         // what UIs were told last, or NotConnected
	goodbye     *goodbye      // once it is known
	statusCache *statusCache
}

// New returns a gateway that listens nowhere yet.
func New(config Config) (*Gateway, error) {
	if config.Orchestrator == nil {
		return nil, errors.New("ui: config: no orchestrator")
	}
	if n := len(config.Token); n > 0 && n < minToken {
		return nil, fmt.Errorf("ui: config: the token has %d characters, and needs %d", n, minToken)
	}
	hosts, err := parseHosts(config.Hosts, config.Token)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		hosts: hosts, metrics: config.Metrics,
		orchestrator: config.Orchestrator, node: config.Node, log: config.Log, token: config.Token, version: config.Version, logger: config.Logger,
		limits: defaultLimits, began: time.Now(), closeListener: config.CloseListener,
		conns: map[*conn]struct{}{}, changed: make(chan struct{}, 1), stage: NotConnected, statusCache: &statusCache{},
	}
	if g.node == nil {
		g.node = noNode{}
	}
	if g.log == nil {
		g.log = &LogHandler{} // which no line comes from
	}
	if g.closeListener == nil {
		g.closeListener = func() error { return nil }
	}
	if g.logger == nil {
		g.logger = slog.Default()
	}
	return g, nil
}

// Run serves the UIs until the machine is terminated and the last steps are done,
// and says how it went: from then on the process may exit. If ctx ends before
// that, it closes everything at once and returns ctx's cause. Everything that
// the gateway began has ended when it returns, but for what waits for a [Node]
// that blocks: that is left behind, and the log says so. It can be called once.
func (g *Gateway) Run(ctx context.Context) (*End, error) {
	stop := g.accept()
	defer stop()
	showing, hide := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() { g.forwardLog(showing) })
	defer shown.Wait()
	defer hide()
	g.follow(ctx)
	report, err := g.orchestrator.Wait(ctx)
	if err != nil {
		g.cut(time.Now())
		return nil, fmt.Errorf("ui: run: %w", context.Cause(ctx))
	}
	return g.leave(ctx, report), nil
}

// accept serves the listeners. Its stop ends what is not a WebSocket.
func (g *Gateway) accept() (stop func()) {
	if len(g.listeners) == 0 {
		return func() {}
	}
	server := &http.Server{
		Handler: g, ReadTimeout: requestTime, WriteTimeout: answerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		ErrorLog: slog.NewLogLogger(g.logger.Handler(), slog.LevelDebug),
	}
	var served sync.WaitGroup
	for _, listener := range g.listeners {
		served.Go(func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				g.logger.Error("ui: no UI can connect any more", "address", listener.Addr(), "error", err)
			}
		})
	}
	return func() {
		_ = server.Close()
		served.Wait()
	}
}
