package neighborhood

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/streams/identity"
)

// Network is what a Neighborhood needs of the streams. Its methods are called from several goroutines at once, but
// Deliver only once at a time for one peer. They must return soon after their ctx is done.
type Network interface {
	// Dial returns when a stream to the peer is up, or with an error when there will be none.
	Dial(ctx context.Context, peer identity.PublicKey, address string) error
	// Deliver returns nil when the frame is written to the peer's stream. The frame is not changed afterwards. An error
	// that wraps ErrPeerLeft says that the peer is leaving itself.
	Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error
	// Remove closes the peer's stream, the one of the last PeerUp, if it is not down. It must not block, nor call the
	// Neighborhood.
	Remove(peer identity.PublicKey)
}

// Errors that a caller may branch on.
var (
	ErrAddress = errors.New("not an address that others can dial")
	ErrStarted = errors.New("already started")
	ErrLeft    = errors.New("has left the network")
	// ErrPeerLeft: a neighbor was leaving itself, and closed its stream before it could be told.
	ErrPeerLeft = errors.New("the peer has left by itself")
)

// deliverTimeout bounds what one frame may take before the withdrawal. A peer that takes longer loses its stream: were
// it tolerated as long as isolated records are kept (30 s), the two might disagree on what both know.
const deliverTimeout = 10 * time.Second

// stuckAfter is how long Shutdown, when its ctx is done, and Snapshot wait for what takes milliseconds, unless Changed,
// the Logger or the Network does not return.
const stuckAfter = 500 * time.Millisecond

// Neighborhood is one node's. All methods are safe for concurrent use; those that are told of one peer's stream
// (PeerUp, Frame, PeerDown) must be called in the order of what happens to it.
type Neighborhood struct {
	cfg   Config
	log   *slog.Logger
	inbox chan func(*owner) // what the owner is to do; only it receives
	lines chan func()       // what it logs; only it sends

	mutex   sync.Mutex // guards started and viewed; and core and network until then
	started bool
	viewed  core.View  // the last that the owner has given
	core    *core.Core // the owner's while it runs
	network Network

	withdraw   chan struct{} // closed: the withdrawal is asked for
	askOnce    sync.Once
	over       bool                        // the owner's: nothing is left to do
	left       map[identity.PublicKey]bool // the owner's: who closed its stream politely during the withdrawal
	ended      chan struct{}               // closed: the owner has ended, core changes no more
	workers    sync.WaitGroup
	dialing    context.Context
	stopDials  context.CancelFunc
	delivering context.Context
	giveUp     context.CancelCauseFunc // on all deliveries
}

// New makes a Neighborhood that is not started and needs no Shutdown. An error wraps ErrConfig.
func New(cfg Config) (*Neighborhood, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Neighborhood{
		cfg: cfg, log: cfg.Logger,
		core:     core.New(cfg.core()),
		inbox:    make(chan func(*owner)),
		lines:    make(chan func(), maxLines),
		left:     make(map[identity.PublicKey]bool),
		withdraw: make(chan struct{}),
		ended:    make(chan struct{}),
	}
	n.dialing, n.stopDials = context.WithCancel(context.Background())
	n.delivering, n.giveUp = context.WithCancelCause(context.Background())
	return n, nil
}

// Start begins: it debuts to the configured neighbors over network. address is where others may dial this node, an IP
// address and a port; it is shown to neighbors. Empty: this node takes no connections. It does not block. Errors wrap
// ErrAddress, ErrStarted or ErrLeft; only after the first may it be called again.
func (n *Neighborhood) Start(network Network, address string) error {
	at, err := parseOwnAddress(address)
	if err != nil {
		return err
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.started {
		return fmt.Errorf("neighborhood: %w", ErrStarted)
	}
	if n.asked() {
		return fmt.Errorf("neighborhood: %w", ErrLeft)
	}
	n.started, n.network, n.viewed = true, network, n.core.View()
	n.workers.Go(n.writeLog)
	o := &owner{Neighborhood: n, began: time.Now(), timer: time.NewTimer(0)}
	go o.run(at)
	return nil
}

func parseOwnAddress(address string) (netip.AddrPort, error) {
	if address == "" {
		return netip.AddrPort{}, nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return at, fmt.Errorf("neighborhood: %w: want IP:PORT: %w", ErrAddress, err)
	}
	if at.Port() == 0 || at.Addr().IsUnspecified() || at.Addr().IsMulticast() || at.Addr().Zone() != "" {
		return at, fmt.Errorf("neighborhood: %w: %s", ErrAddress, at)
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// PeerUp is told that an authenticated stream is up. It blocks until the owner has seen to it; before Start until then.
// After the withdrawal it does nothing, like Frame and PeerDown.
func (n *Neighborhood) PeerUp(peer identity.PublicKey) { n.tell(core.PeerUp{Peer: peer}) }

// Frame is told what came over a stream. It blocks until that is handled, which is the back-pressure on a peer that
// talks too much; frame is not kept.
func (n *Neighborhood) Frame(peer identity.PublicKey, frame []byte) {
	n.tell(core.Frame{Peer: peer, Bytes: frame})
}

// PeerDown is told that a stream has ended; err is nil if the peer closed it politely. For the neighborhood an end is an
// end, but who leaves by itself during the withdrawal need not be told.
func (n *Neighborhood) PeerDown(peer identity.PublicKey, err error) {
	n.do(func(o *owner) {
		if err == nil && n.asked() {
			n.left[peer] = true
		}
		o.step(core.PeerDown{Peer: peer})
	})
}

// Ping is told that the peer asks whether this node still works. It blocks until the owner, who handles the frames, is
// free; it returns at once after the end.
func (n *Neighborhood) Ping(identity.PublicKey) { n.do(func(*owner) {}) }

// AddNeighbor has one more neighbor dialed, now and whenever it cannot be reached, as if it had been in Config.Neighbors;
// of one that was, the address is replaced. It blocks until the owner has seen to it; before Start until then. Errors
// wrap ErrConfig or ErrLeft.
func (n *Neighborhood) AddNeighbor(d Descriptor) error {
	if err := checkAddress(d.Address); err != nil {
		return fmt.Errorf("neighborhood: %w: neighbor %s: %w", ErrConfig, d.Key, err)
	}
	if d.Key == n.cfg.Identity.PublicKey() {
		return fmt.Errorf("neighborhood: %w: neighbor %s is this node itself", ErrConfig, d.Key)
	}
	return n.change(core.AddNeighbor{Target: core.Target(d)})
}

// SetAddress says that others may dial this node somewhere else from now on, or at all. address is as for Start, and not
// empty. It blocks until the owner has seen to it; before Start until then. Errors wrap ErrAddress or ErrLeft.
func (n *Neighborhood) SetAddress(address string) error {
	if address == "" {
		return fmt.Errorf("neighborhood: %w: none", ErrAddress)
	}
	at, err := parseOwnAddress(address)
	if err != nil {
		return err
	}
	return n.change(core.Readdress{At: at})
}

func (n *Neighborhood) change(asked core.Event) error {
	done := false
	n.do(func(o *owner) {
		if !n.asked() {
			done = true
			o.step(asked)
		}
	})
	if !done {
		return fmt.Errorf("neighborhood: %w", ErrLeft)
	}
	return nil
}

// WithdrawFromNetwork begins to leave, once: it may be called again and from anywhere. It does not block. Incoming
// gossip is ignored from then on.
func (n *Neighborhood) WithdrawFromNetwork() {
	n.askOnce.Do(func() {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		close(n.withdraw)
		if !n.started {
			close(n.ended)
		}
	})
}

// Shutdown leaves: it joins the withdrawal, or begins it. It returns when the farewell to each neighbor is written or
// has failed, which takes FarewellTimeout at most, and everything of the Neighborhood has ended. When ctx is done it
// gives up what is not written at once. The error is a *NotReachedError that names the neighbors not reached, but for
// those that have left by themselves. Another call returns the same. What has not ended half a second after ctx, because
// Changed, the Logger or the Network does not return, is left behind; the error then is, or wraps too, ctx's cause.
func (n *Neighborhood) Shutdown(ctx context.Context) error {
	n.WithdrawFromNetwork()
	stop := context.AfterFunc(ctx, func() { n.giveUp(context.Cause(ctx)) })
	defer stop()
	err := n.awaitEnd(ctx)
	if err != nil {
		return errors.Join(err, notReached(n.Withdrawal()))
	}
	return notReached(n.Withdrawal())
}

func (n *Neighborhood) awaitEnd(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		<-n.ended
		n.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done:
		return nil
	case <-time.After(stuckAfter):
		return fmt.Errorf("neighborhood: shutdown: %w: something does not return: %s", context.Cause(ctx), n.busy())
	}
}

// busy says what Shutdown has waited for.
func (n *Neighborhood) busy() string {
	select {
	case <-n.ended:
		return "the log, or the network"
	default:
		return "Config.Changed"
	}
}

func (n *Neighborhood) asked() bool {
	select {
	case <-n.withdraw:
		return true
	default:
		return false
	}
}

// tell has the owner handle an event, and waits until it has; not at all after the end.
func (n *Neighborhood) tell(happened core.Event) {
	n.do(func(o *owner) { o.step(happened) })
}

// post is tell without the wait, for those who have nothing to wait for.
func (n *Neighborhood) post(happened core.Event) {
	select {
	case n.inbox <- func(o *owner) { o.step(happened) }:
	case <-n.ended:
	}
}

func (n *Neighborhood) do(f func(*owner)) {
	done := make(chan struct{})
	select {
	case n.inbox <- func(o *owner) { f(o); close(done) }:
		<-done
	case <-n.ended:
	}
}

// view copies what the core knows, before, while and after the owner runs. If the owner is stuck it is an old copy.
func (n *Neighborhood) view() core.View {
	n.mutex.Lock()
	if !n.started {
		defer n.mutex.Unlock()
		return n.core.View()
	}
	n.mutex.Unlock()
	copied := make(chan core.View, 1)
	select {
	case n.inbox <- func(o *owner) {
		o.step(core.Tick{}) // the copy tells how long things have lasted
		copied <- o.core.View()
	}:
		view := <-copied
		n.mutex.Lock()
		defer n.mutex.Unlock()
		n.viewed = view
		return view
	case <-n.ended:
		return n.core.View()
	case <-time.After(stuckAfter):
		n.mutex.Lock()
		defer n.mutex.Unlock()
		return n.viewed
	}
}
