// Package core is the neighborhood as a value: what happened and the time go in, frames to deliver, dials, removals and
// the time of the next wake-up come out. It starts no goroutine, opens no socket, reads no clock and draws no random
// number, so the same code runs in a node and two thousand times in one process under a simulator's clock.
//
// Data flows one way: Step takes an Event and returns an Output. Whoever drives a Core owes it four things. Calls do
// not overlap. Time does not go backwards. Each Delivery is answered by exactly one Delivered, each Dial by PeerUp or
// DialFailed. PeerUp, Frame and PeerDown of one peer come in the order of its streams.
package core

import (
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Constants of docs/gossip.md; those marked are the MASQ Node's, v0.9.1.
const (
	DialTimeout   = 5 * time.Second  // what a dial may take, to its hello (MASQ Node)
	answerWait    = 10 * time.Second // how long an answer to a Debut is waited for (MASQ Node)
	guestTime     = 10 * time.Second // how long a stream without a neighborship may stay: a Debut's answer has come by then
	isolatedKept  = 30 * time.Second // how long a record that nothing references is kept (MASQ Node)
	passedAgain   = 60 * time.Second // how long the same Pass target is not tried again (MASQ Node)
	changeEvery   = time.Second      // how often a change is taken from one owner
	debutEvery    = time.Second      // how often a Debut is answered on one stream
	dialEvery     = time.Second      // how often a stranger's address is dialed in the long run ...
	dialBurst     = 10               // ... and how many at once
	firstRetry    = 500 * time.Millisecond
	longestRetry  = time.Minute     // between dials of a configured neighbor ...
	seldomRetry   = 5 * time.Minute // ... and of a remembered one, which may be gone for good
	lonelyDebuter = 1               // a debuter that lists fewer than this many is introduced to somebody
)

// Target is a neighbor to dial. Address is for the network alone: the core compares only keys.
type Target struct {
	Key     identity.PublicKey
	Address string
}

// Config is what a Core needs to know; it is not checked here.
type Config struct {
	Identity   *identity.Identity
	Neighbors  []Target      // without doubles and without the own key
	Remembered []Target      // full neighbors of an earlier life, the last ones first; likewise
	Window     time.Duration // several changes within it make one round of gossip; 0: each makes its own
	MaxRecords int           // records held beside the own
	// Verify checks the signature of a record; nil: wire.Record.Verify. A simulator, whose thousand cores see the same
	// record, need not do that a thousand times.
	Verify func(*wire.Record) bool
}

// Event is what happened: one of the types below.
type Event interface{ event() }

// The events.
type (
	// Start begins: debuts to the configured neighbors. At is where others may dial, the zero value for nowhere.
	Start struct{ At netip.AddrPort }
	// PeerUp says that the stream of Peer is up.
	PeerUp struct{ Peer identity.PublicKey }
	// PeerDown says that it has ended.
	PeerDown struct{ Peer identity.PublicKey }
	// Frame is what came over it; Bytes are not kept.
	Frame struct {
		Peer  identity.PublicKey
		Bytes []byte
	}
	// Delivered says how the Delivery of that ID ended: nil, when it was written.
	Delivered struct {
		Peer identity.PublicKey
		ID   uint64
		Err  error
	}
	// DialFailed says that a Dial led to no stream.
	DialFailed struct {
		Peer identity.PublicKey
		Err  error
	}
	// AddNeighbor configures one more neighbor, or the address of one that is configured, and dials it now.
	AddNeighbor struct{ Target Target }
	// Readdress says that others may dial this node somewhere else from now on.
	Readdress struct{ At netip.AddrPort }
	// Withdraw leaves the network. What comes after it, except Delivered, is ignored.
	Withdraw struct{}
	// Tick says only that the time has come that an Output asked for.
	Tick struct{}
)

func (Start) event()       {}
func (PeerUp) event()      {}
func (PeerDown) event()    {}
func (Frame) event()       {}
func (Delivered) event()   {}
func (DialFailed) event()  {}
func (AddNeighbor) event() {}
func (Readdress) event()   {}
func (Withdraw) event()    {}
func (Tick) event()        {}

// Output is what is to be done now.
type Output struct {
	Deliver   []Delivery
	Dial      []Target
	Remove    []identity.PublicKey // streams to close
	Notes     []Note
	Remember  []Target  // the last full neighbors, the newest first, if they have changed
	Changed   bool      // a record did, the own or another's
	Wake      time.Time // when Step wants to be called at the latest; zero: when something happens
	Withdrawn bool      // the withdrawal is over; nothing more will come out
}

// Delivery is one frame for one peer. There is at most one under way to each peer.
type Delivery struct {
	ID    uint64
	Peer  identity.PublicKey
	Kind  wire.Kind
	Frame []byte
}

// Note is something worth a line in a log.
type Note struct {
	Text    string
	Peer    identity.PublicKey
	Err     error
	Retry   time.Time // when it is tried again; zero: not, as far as is known now
	Another bool      // in a row of the same
}

// Core is one node's neighborhood. Use it through Step and View, from one goroutine at a time.
type Core struct {
	cfg     Config
	self    identity.PublicKey
	now     time.Time
	out     Output
	started bool

	root        *wire.Record  // the own record: what it lists is exactly the peers that are neighbors
	address     *wire.Address // nil: takes no connections
	flags       wire.Flags    // of the own record
	peers       map[identity.PublicKey]*peer
	outstanding map[identity.PublicKey]*debut
	sought      []*sought // the configured neighbors, and then the remembered ones
	second      second
	parted      parted
	madeRoom    time.Time
	passed      map[identity.PublicKey]time.Time // Pass targets, and until when they are not tried again
	passes      int                              // Passes given, for taking turns
	strangers   *rate.Limiter                    // of dials to where gossip sent us

	records      map[identity.PublicKey]*entry
	deferred     map[identity.PublicKey]deferred
	changes      agenda // that were deferred
	culls        agenda // of records that are isolated
	generation   uint32 // of the last walk over the graph
	linked       uint32 // of the last look at who can be reached over full neighborships
	graphChanged bool
	selfSeen     uint64 // the highest version of the own record that others have shown
	wentPast     time.Time
	foreign      bool // a record under the own key has been seen that this process did not sign

	roundAt    time.Time // zero: no round of gossip is due
	lastID     uint64
	withdrawal *withdrawal
	stats      Stats
	gossip     map[identity.PublicKey]*PeerGossip
}

// New makes a Core that waits for Start.
func New(cfg Config) *Core {
	c := &Core{
		cfg:         cfg,
		self:        cfg.Identity.PublicKey(),
		peers:       make(map[identity.PublicKey]*peer),
		outstanding: make(map[identity.PublicKey]*debut),
		passed:      make(map[identity.PublicKey]time.Time),
		strangers:   rate.NewLimiter(rate.Every(dialEvery), dialBurst),
		records:     make(map[identity.PublicKey]*entry),
		deferred:    make(map[identity.PublicKey]deferred),
		stats:       Stats{Rejected: make(map[Reason]uint64)},
		gossip:      make(map[identity.PublicKey]*PeerGossip),
	}
	if c.cfg.Verify == nil {
		c.cfg.Verify = (*wire.Record).Verify
	}
	c.seekFirst()
	return c
}

// Step tells the core what happened at now and returns what is to be done. Before Start it does nothing.
func (c *Core) Step(now time.Time, happened Event) Output {
	c.now, c.out = now, Output{}
	if start, ok := happened.(Start); ok && !c.started {
		c.start(start.At)
	}
	if !c.started {
		return c.out
	}
	if c.withdrawal != nil {
		c.whileWithdrawing(happened)
		return c.out
	}
	c.handle(happened)
	if c.withdrawal == nil {
		c.runTimers()
		c.out.Wake = c.nextTimer()
	}
	return c.out
}

// noteChange is called for every change of a record that is held.
func (c *Core) noteChange() { c.graphChanged, c.out.Changed = true, true }

func (c *Core) handle(happened Event) {
	switch e := happened.(type) {
	case PeerUp:
		c.peerUp(e.Peer)
	case PeerDown:
		c.peerDown(e.Peer)
	case Frame:
		c.receive(e.Peer, e.Bytes)
	case Delivered:
		c.delivered(e)
	case DialFailed:
		c.dialFailed(e)
	case AddNeighbor:
		c.addSought(e.Target)
	case Readdress:
		c.readdress(e.At)
	case Withdraw:
		c.withdraw()
	}
}

// start numbers versions from the time, so that a restarted node goes past its former record without having kept it.
func (c *Core) start(at netip.AddrPort) {
	c.started = true
	c.startSeeking()
	version := uint64(max(c.now.UnixMilli(), 0))
	if at.IsValid() {
		c.flags = wire.AcceptsConnections
		c.address = wire.SignAddress(c.cfg.Identity, version, at)
	}
	c.root = wire.SignRecord(c.cfg.Identity, version, c.flags, nil)
}

// readdress shows the neighbors the new address with a new record.
func (c *Core) readdress(at netip.AddrPort) {
	if c.address != nil && c.address.At == at {
		return
	}
	version := uint64(max(c.now.UnixMilli(), 0))
	if c.address != nil {
		version = max(version, c.address.Version+1)
	}
	c.address = wire.SignAddress(c.cfg.Identity, version, at)
	c.flags |= wire.AcceptsConnections
	c.seal(c.root.Version+1, c.root.Neighbors)
}

func (c *Core) note(text string, peer identity.PublicKey, err error) {
	c.out.Notes = append(c.out.Notes, Note{Text: text, Peer: peer, Err: err})
}

// runTimers does what the time has come for.
func (c *Core) runTimers() {
	c.runAgenda()
	c.expireDebuts()
	c.expireGuests()
	if !c.roundAt.IsZero() && !c.now.Before(c.roundAt) {
		c.round()
	}
	c.seek()
	c.seekSecond()
	c.noteParts()
}

func (c *Core) nextTimer() time.Time {
	next := c.roundAt
	earlier := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	earlier(c.changes.next())
	earlier(c.culls.next())
	for _, d := range c.outstanding {
		earlier(d.until)
	}
	for _, p := range c.peers {
		earlier(p.guestUntil)
	}
	for _, t := range c.sought {
		if c.wants(t) {
			earlier(t.next)
		}
	}
	earlier(c.second.next)
	earlier(c.parted.next)
	return next
}
