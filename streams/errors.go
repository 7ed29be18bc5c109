package streams

import (
	"errors"
	"fmt"
	"strings"

	"github.com/farewell-node/farewell/streams/identity"
)

var (
	// ErrNoStream means that no stream with the peer is up, or that it is being closed.
	ErrNoStream = errors.New("no stream with this peer")
	// ErrPeerLeft is the ErrNoStream of a stream that the peer is closing politely.
	ErrPeerLeft = fmt.Errorf("%w: the peer is leaving", ErrNoStream)
	// ErrQueueFull means that the peer takes less than it is sent: the frame was not accepted. Flush waits for room.
	ErrQueueFull = errors.New("queue is full")
	// ErrFrameTooBig means that a frame exceeds Config.MaxFrame, ours at Send or the peer's on arrival.
	ErrFrameTooBig = errors.New("frame is too big")
	// ErrLeaving means that this pool has been told to quiesce or shut down: it takes no new streams.
	ErrLeaving = errors.New("pool is leaving")
	// ErrFull means that the pool holds Config.MaxStreams streams.
	ErrFull = errors.New("pool is full")
	// ErrSelf means that the peer is this node itself.
	ErrSelf = errors.New("peer is this node")
	// ErrNotAllowed means that the peer's key is not in Config.Allowed.
	ErrNotAllowed = errors.New("key is not allowed")
	// ErrRejected means that the peer answered our hello with a refusal.
	ErrRejected = errors.New("rejected by the peer")
	// ErrProtocol means that the peer sent what no peer of this version sends.
	ErrProtocol = errors.New("protocol violation")
	// ErrRemoved is PeerDown's error after Remove.
	ErrRemoved = errors.New("removed")
	// ErrReplaced is PeerDown's error when the peer's process restarted and came back.
	ErrReplaced = errors.New("replaced by a newer stream")
	// ErrStalled means that the peer did not take what was written within Config.WriteTimeout.
	ErrStalled = errors.New("peer stalled")
	// ErrSilent means that the peer's process hangs: its kernel is there, but it did not answer a ping.
	ErrSilent = errors.New("peer does not answer")
	// ErrCut means that a closing stream was cut short: by the context, Config.Linger or Config.MaxDrain.
	ErrCut = errors.New("cut short")
)

// UnconfirmedError says that peers did not confirm what was written to them: they hung, or broke their streams. What was
// written may have arrived all the same.
type UnconfirmedError struct {
	Results []Result // Cut or Reset
}

// Error names the first few peers.
func (e *UnconfirmedError) Error() string {
	var lines []string
	for _, r := range e.Results[:min(len(e.Results), named)] {
		lines = append(lines, r.err().Error())
	}
	if more := len(e.Results) - named; more > 0 {
		lines = append(lines, fmt.Sprintf("streams: and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns why each of the streams was cut or reset.
func (e *UnconfirmedError) Unwrap() []error {
	errs := make([]error, len(e.Results))
	for i, r := range e.Results {
		errs[i] = r.Err
	}
	return errs
}

// UnwrittenError says that Deliver or Flush ended before all that it waited for was written to the socket. Bytes that
// are still queued may be written later, unless the stream has ended.
type UnwrittenError struct {
	Peer  identity.PublicKey
	Bytes uint64 // of what was waited for, headers included
	Err   error  // why
}

func (e *UnwrittenError) Error() string {
	return fmt.Sprintf("streams: peer %v: %d bytes not written: %v", e.Peer, e.Bytes, e.Err)
}

// Unwrap returns the reason.
func (e *UnwrittenError) Unwrap() error { return e.Err }
