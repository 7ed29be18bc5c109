package streams

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// Defaults of Config.
const (
	DefaultMaxFrame             = 4 << 20
	DefaultMaxQueue             = 1 << 20
	DefaultMaxStreams           = 1024
	DefaultMaxStreamsPerAddress = 64
	DefaultMaxHandshakes        = 256
	DefaultHandshakeTimeout     = 5 * time.Second
	DefaultWriteTimeout         = 10 * time.Second
	DefaultDeadAfter            = 30 * time.Second
	DefaultPingAfter            = 15 * time.Second
	DefaultPingTimeout          = 10 * time.Second
	DefaultLinger               = 5 * time.Second
	DefaultMaxDrain             = 64 << 20 // more than a polite peer's queue and both kernels' buffers hold
)

// maxMaxFrame keeps lengths clear of the control bit, and sums of them within an int of 32 bits.
const maxMaxFrame = 1 << 29

// Handler is told what happens on the streams. Calls for one peer are serial and in the order PeerUp, Frame…,
// PeerDown, over all streams with that peer, one after the other; calls for different peers are concurrent. A call that
// blocks holds back its own peer only, which is how back-pressure reaches the sender. A call may use the Pool, but not
// wait for Shutdown, which waits for it.
type Handler interface {
	// PeerUp says that a stream with peer is up: hello frames have gone both ways.
	PeerUp(peer identity.PublicKey)
	// Frame hands over a frame as it was given to Send or Deliver. It is valid during the call only.
	Frame(peer identity.PublicKey, frame []byte)
	// PeerDown says that nothing more will come from peer on this stream. err is nil if the peer closed politely: then
	// everything it wrote has been handed over.
	PeerDown(peer identity.PublicKey, err error)
}

// PingHandler is a Handler that is asked before a ping is answered, in its turn among the calls for that peer: the
// answer is sent when Ping returns. Of a Handler that is none, the answer says that Frame has returned for all that came
// before. A call that does not return within the peer's Config.PingTimeout costs the stream, as a Frame does.
type PingHandler interface {
	Handler
	Ping(peer identity.PublicKey)
}

// Withdrawer is told, once, that the process is leaving.
type Withdrawer interface {
	// WithdrawFromNetwork must not block: it begins the withdrawal and returns.
	WithdrawFromNetwork()
}

// Config is what a Pool is made of. Zero values mean the defaults; bytes are those of frames plus their headers.
type Config struct {
	Identity   *identity.Identity // who we are; required
	Handler    Handler            // required
	Withdrawer Withdrawer         // may be nil
	Logger     *slog.Logger       // nil: silent

	// Allowed are the only keys let in. Nil lets in everybody: the key is then authenticated, but not known.
	Allowed []identity.PublicKey

	MaxFrame int // bytes in one frame, sent or received; a peer that announces more is cut off
	MaxQueue int // bytes accepted by Send and not yet written, per stream; an empty queue takes any one frame

	MaxStreams           int // streams at a time, dialed and accepted, also those being closed; 8 with one peer
	MaxStreamsPerAddress int // connections accepted from one IPv4 address or IPv6 /64, handshakes included
	MaxHandshakes        int // accepted connections whose handshake is under way; more wait in the kernel's backlog

	HandshakeTimeout time.Duration // from TCP connect, or accept, to the second hello frame
	WriteTimeout     time.Duration // for the kernel to take one buffer of at most 64 KiB; a slower peer is cut off
	// DeadAfter is when a peer that vanished without FIN or RST is given up, in whole seconds, at least 4; the kernel's
	// timers add up to an eighth. On Linux so is a peer that is alive and takes nothing of what was written to it.
	DeadAfter time.Duration
	// PingAfter is how long nothing may come from a peer before it is asked for a sign of life, and PingTimeout how long
	// that may take, once it is written; the next ping is not sent before it is over. A peer whose process hangs, or whose Handler does, is then given up with
	// ErrSilent, although its kernel still answers. Peers that speak version 1 of the protocol cannot be asked.
	PingAfter   time.Duration
	PingTimeout time.Duration
	Linger      time.Duration // from the end of a stream being decided to its socket being closed, at the latest
	MaxDrain    int           // bytes read from a peer after that
}

func (c Config) withDefaults() (Config, error) {
	if c.Identity == nil || c.Handler == nil {
		return c, errors.New("streams: New: Identity and Handler are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	err := errors.Join(
		setDefault("MaxFrame", &c.MaxFrame, DefaultMaxFrame),
		setDefault("MaxQueue", &c.MaxQueue, DefaultMaxQueue),
		setDefault("MaxStreams", &c.MaxStreams, DefaultMaxStreams),
		setDefault("MaxStreamsPerAddress", &c.MaxStreamsPerAddress, DefaultMaxStreamsPerAddress),
		setDefault("MaxHandshakes", &c.MaxHandshakes, DefaultMaxHandshakes),
		setDefault("HandshakeTimeout", &c.HandshakeTimeout, DefaultHandshakeTimeout),
		setDefault("WriteTimeout", &c.WriteTimeout, DefaultWriteTimeout),
		setDefault("DeadAfter", &c.DeadAfter, DefaultDeadAfter),
		setDefault("PingAfter", &c.PingAfter, DefaultPingAfter),
		setDefault("PingTimeout", &c.PingTimeout, DefaultPingTimeout),
		setDefault("Linger", &c.Linger, DefaultLinger),
		setDefault("MaxDrain", &c.MaxDrain, DefaultMaxDrain),
	)
	if c.DeadAfter < minDeadAfter || c.DeadAfter != c.DeadAfter.Truncate(time.Second) {
		err = errors.Join(err, fmt.Errorf("streams: New: DeadAfter is %v, want whole seconds, at least 4", c.DeadAfter))
	}
	if c.MaxFrame > maxMaxFrame {
		err = errors.Join(err, fmt.Errorf("streams: New: MaxFrame is %d, at most %d", c.MaxFrame, maxMaxFrame))
	}
	return c, err
}

func setDefault[T int | time.Duration](name string, value *T, fallback T) error {
	if *value < 0 {
		return fmt.Errorf("streams: New: %s is negative: %v", name, *value)
	}
	if *value == 0 {
		*value = fallback
	}
	return nil
}
