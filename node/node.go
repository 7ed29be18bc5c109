package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/systemd"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/node/internal/metrics"
	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

// The IDs of the node's own components.
const (
	NeighborhoodID fsm.ID = "neighborhood"
	StreamsID      fsm.ID = "streams"
)

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	config       Config
	key          identity.PublicKey
	advertised   advertised   // where others dial, if that is not where the pool listens
	memory       *memory      // whom to dial in the lives to come
	log          *logWriter   // whom all lines are left to
	story        *slog.Logger // for what UIs are told anyway, and need not see in the log
	orchestrator *fsm.Orchestrator
	neighborhood *neighborhood.Neighborhood
	pool         *streams.Pool
	gateway      *ui.Gateway
	systemd      *systemd.Notifier
	metrics      *metrics.Node
	uiAddress    net.Addr
	descriptor   atomic.Pointer[neighborhood.Descriptor] // nil: it takes no connections
	changed      chan struct{}                           // has room for one: the neighborhood has changed
	moved        chan struct{}                           // likewise, for whoever resolves what is advertised

	lock *identity.Lock // on the key file; nil if there is none, or none can be had
	gone chan struct{}  // closed when the process may exit
}

// logTime is what the last log lines may take once the gateway is done, within the budget of the last steps.
const logTime = 100 * time.Millisecond

// memoryTime is what writing whom to dial in the next life may take then; mostly it has long been written.
const memoryTime = 50 * time.Millisecond

// Start starts a node: when it returns, UIs and neighbors can connect, and the configured neighbors are being dialed;
// one that cannot be reached is tried again. It owns SIGINT, SIGTERM and SIGHUP from then on, until the node has ended.
//
// The key file is locked until the node has ended: a second start on it fails with an error that wraps
// [identity.ErrInUse].
//
// On an error (ErrConfig in it if the configuration is wrong) everything that had been started is shut down again. A
// shutdown that is asked for meanwhile is no error: Wait then returns its report.
func Start(config Config) (*Node, error) {
	n, err := prepare(config)
	if err != nil {
		return nil, err
	}
	return n.start()
}

// prepare makes the rooms. What it leaves behind on an error needs no shutdown: nothing runs yet.
func prepare(config Config) (*Node, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	n := &Node{changed: make(chan struct{}, 1), moved: make(chan struct{}, 1), gone: make(chan struct{}), log: newLogWriter()}
	written := queued{config.Logger.Handler(), n.log}
	shown := ui.NewLogHandler(written)
	n.story, config.Logger = slog.New(written), slog.New(shown)
	if config.Alarm == 0 {
		config.Alarm = alarmOfSystemd(config.Logger)
	}
	n.config = config
	var err error
	n.orchestrator, err = fsm.New(fsm.Config{Alarm: config.Alarm, InsistAfter: config.InsistAfter, Logger: config.Logger})
	if err != nil { // systemd allows less than the polite time that is configured
		return nil, fmt.Errorf("node: %w: %w", ErrConfig, err)
	}
	n.systemd = n.newNotifier()
	if err := n.openUI(shown); err != nil {
		return nil, err
	}
	if err := n.makeRooms(); err != nil {
		n.lock.Release()
		n.closeUI()
		return nil, err
	}
	return n, nil
}

// openUI binds the UI's port, which nobody serves before start.
func (n *Node) openUI(shown *ui.LogHandler) error {
	token, err := loadOrCreateToken(n.config.UIToken)
	if err != nil {
		return err
	}
	n.metrics = &metrics.Node{
		Version: Version(), Orchestrator: n.orchestrator, LinesDropped: n.log.lost.Load,
		// All of these are made before anybody is served.
		Neighborhood: func() neighborhood.Snapshot { return n.neighborhood.Snapshot() },
		Streams:      func() streams.Stats { return n.pool.Stats() },
		UIs:          func() int { return n.gateway.UIs() },
	}
	n.gateway, err = ui.New(ui.Config{
		Orchestrator: n.orchestrator, Node: view{n}, Version: Version(), Log: shown, Token: token, Hosts: n.config.UIHosts,
		Metrics: n.metrics.Handler(), Logger: n.config.Logger.With("room", "ui"),
	})
	if err != nil {
		return err
	}
	n.uiAddress, err = n.gateway.Listen(n.config.UI)
	return err
}

// closeUI gives the port back.
func (n *Node) closeUI() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _ = n.gateway.Run(ctx) // closes everything, and says that ctx has ended
}

// makeRooms makes what meets the neighbors. A port that is in use, or a file that is not right, shows here, before
// anything has begun.
func (n *Node) makeRooms() error {
	if err := n.config.tryListen(); err != nil {
		return err
	}
	id, err := loadIdentity(n.config.KeyFile)
	if err != nil {
		return err
	}
	if err := n.lockKey(); err != nil {
		return err
	}
	n.key = id.PublicKey()
	if n.advertised, err = n.config.advertised(n.key); err != nil {
		return err
	}
	n.memory = openMemory(n.config.KeyFile, n.memoryFailed)
	neighbors, last := n.memory.neighbors(n.config.Neighbors)
	n.neighborhood, err = neighborhood.New(neighborhood.Config{
		Identity: id, Neighbors: neighbors, Remembered: last, Remember: n.memory.last, Changed: n.neighborhoodChanged,
		Logger: n.config.Logger.With("room", "neighborhood"),
	})
	if errors.Is(err, neighborhood.ErrConfig) {
		return fmt.Errorf("node: %w: %w", ErrConfig, err)
	}
	if err != nil {
		return err
	}
	n.pool, err = streams.New(streams.Config{
		Identity: id, Handler: n.neighborhood, Withdrawer: n.neighborhood,
		MaxFrame: neighborhood.MaxMessage, Linger: n.orchestrator.Polite() / lingerShare,
		Logger: n.config.Logger.With("room", "streams"),
	})
	return err
}

// lingerShare is the part of the polite time that a stream is given to end once it is being closed: a peer that does
// not read must not keep the streams until they are insisted upon.
const lingerShare = 4

// start sets the rooms going.
func (n *Node) start() (*Node, error) {
	if n.config.sharedUI() {
		n.config.Logger.Warn("other users of this machine can reach the UI: a token file or a Unix socket keeps them out",
			"room", "node", "ui", n.UI())
	}
	go n.log.run()
	go n.memory.run()
	go n.live(n.orchestrator.HandleSignals())
	err := n.open()
	if err != nil && n.orchestrator.Request(fsm.Command{Reason: "the node could not start", By: "node", Err: err}) {
		<-n.gone
		return nil, err
	}
	n.ready()
	return n, nil
}

func loadIdentity(keyFile string) (*identity.Identity, error) {
	if keyFile == "" {
		return identity.New()
	}
	return identity.LoadOrCreate(keyFile)
}

// lockKey keeps the key file to this node. Where that is impossible it says so, and goes on.
func (n *Node) lockKey() (err error) {
	if n.config.KeyFile == "" {
		return nil
	}
	n.lock, err = identity.LockKeyFile(n.config.KeyFile)
	if errors.Is(err, identity.ErrNoLocks) {
		n.config.Logger.Warn("nothing keeps another process from running on this key", "room", "node", "error", err)
		return nil
	}
	return err
}

// open registers the components, and lets the neighbors in.
func (n *Node) open() error {
	err := errors.Join(
		n.orchestrator.Register(NeighborhoodID, neighborhoodComponent{n.neighborhood}, fsm.Withdraws()),
		n.orchestrator.Register(StreamsID, streamsComponent{n.pool}),
	)
	if err != nil {
		return err
	}
	address := ""
	if n.config.Listen != "" {
		listening, err := n.pool.Listen(n.config.Listen)
		if err != nil {
			return err
		}
		address = n.addressFor(listening.String())
		n.descriptor.Store(&neighborhood.Descriptor{Key: n.key, Address: cmp.Or(n.advertised.name, address)})
	}
	if err := n.neighborhood.Start(network{n.pool}, address); err != nil {
		return err
	}
	if n.advertised.isName() {
		n.followName(address)
	}
	return nil
}

// addressFor returns the address that neighbors are shown; "" as long as the name of it does not resolve.
func (n *Node) addressFor(listening string) string {
	if n.advertised.name == "" {
		return listening
	}
	ctx, cancel := context.WithTimeout(n.orchestrator.Context(), firstResolve)
	defer cancel()
	address, err := n.advertised.resolve(ctx, n.advertised.name)
	if err != nil {
		n.config.Logger.Warn("the advertised name does not resolve; it is tried again", "room", "node", "name", n.advertised.name, "error", err)
	}
	return address
}

// followName goes on resolving what is advertised, until the shutdown.
func (n *Node) followName(shown string) {
	go n.advertised.follow(n.orchestrator.Context(), shown, n.moved, n.neighborhood.SetAddress, func(address string, err error) {
		if err != nil {
			n.config.Logger.Warn("the advertised name no longer resolves; it is tried again", "room", "node", "name", n.advertised.name, "error", err)
			return
		}
		n.config.Logger.Info("the advertised name resolves", "room", "node", "name", n.advertised.name, "address", address)
	})
}

func (n *Node) memoryFailed(err error) {
	n.config.Logger.Warn("what this node remembers of its neighbors cannot be kept", "room", "node", "error", err)
}

// network is the pool as the neighborhood wants it.
type network struct{ *streams.Pool }

func (n network) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	err := n.Pool.Deliver(ctx, peer, frame)
	if errors.Is(err, streams.ErrPeerLeft) {
		return fmt.Errorf("%w: %w", neighborhood.ErrPeerLeft, err)
	}
	return err
}

// neighborhoodChanged is called by the neighborhood's owner, which must not wait.
func (n *Node) neighborhoodChanged() {
	for _, told := range []chan struct{}{n.changed, n.moved} {
		select {
		case told <- struct{}{}:
		default: // whoever looks next sees this change too
		}
	}
}

// tellUIs tells the UIs when the node is better or worse connected, until it has gone.
func (n *Node) tellUIs() {
	for {
		select {
		case <-n.changed:
			n.gateway.ConnectionChanged()
		case <-n.orchestrator.Done():
			return
		}
	}
}

// live serves the UIs until the gateway says that the process may exit.
func (n *Node) live(stopSignals func()) {
	defer close(n.gone)
	defer n.lock.Release()
	defer stopSignals()
	go n.tellUIs()
	var told sync.WaitGroup
	told.Go(func() { n.systemd.Follow(context.Background()) }) // 200 ms more than the shutdown at most, which are the gateway's too
	told.Go(func() { n.orchestrator.LogEvents(context.Background(), n.story.With("room", "fsm")) })
	if _, err := n.gateway.Run(context.Background()); err != nil {
		n.story.Error("gateway ended", "room", "node", "error", err)
	}
	told.Wait() // it does not wait for whoever reads the log
	logFarewells(n.story, view{n}.Farewells())
	n.story.Info(n.orchestrator.Report().Summary(), "room", "node")
	n.memory.close(memoryTime)
	n.log.flush(logTime)
}

// Orchestrator returns what owns the shutdown: to register components, to ask for it, to follow it.
func (n *Node) Orchestrator() *fsm.Orchestrator { return n.orchestrator }

// UI returns the address that UIs connect to, as package client takes it.
func (n *Node) UI() string {
	if n.uiAddress.Network() == "unix" {
		return "unix:" + n.uiAddress.String()
	}
	return n.uiAddress.String()
}

// Descriptor returns what others join the network with, and false if the node takes no connections.
func (n *Node) Descriptor() (string, bool) {
	if d := n.descriptor.Load(); d != nil {
		return d.String(), true
	}
	return "", false
}

// Wait blocks until the machine is terminated and the gateway has done its last steps: the process may exit now, with
// the code of the report.
func (n *Node) Wait() *fsm.Report {
	<-n.gone
	return n.orchestrator.Report()
}
