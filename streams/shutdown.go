package streams

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// cutGrace is how long Shutdown waits, once cut short, for goroutines whose sockets it has closed: milliseconds, unless
// a Handler does not return.
const cutGrace = 500 * time.Millisecond

// Quiesce stops accepting and dialing, cancels what of that is under way, and tells the Withdrawer, once. Streams that
// are up stay up. It returns when no new stream can come up any more.
func (p *Pool) Quiesce(ctx context.Context) error {
	p.refuseArrivals()
	err := p.awaitArrivals(ctx)
	p.withdraw.Do(func() {
		if p.config.Withdrawer != nil {
			p.config.Withdrawer.WithdrawFromNetwork()
		}
	})
	return err
}

func (p *Pool) refuseArrivals() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = true
	p.quiesce()
	for _, listener := range p.listeners {
		_ = listener.Close()
	}
	p.listeners = nil
}

func (p *Pool) awaitArrivals(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends soon, even if ctx has ended: all that it waits for is cancelled
		p.arrivals.Wait()
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
	case <-time.After(cutGrace):
		return fmt.Errorf("streams: quiesce: %w", context.Cause(ctx))
	}
}

// Shutdown closes all streams in parallel: each is flushed, half-closed, read on to the peer's end, and closed. It
// returns when all are closed and every goroutine of the pool has ended; Results then says how each stream ended. If all
// that went wrong is that peers hung, or broke their streams, the error is an *UnconfirmedError and nothing else: whether
// that is a failure is the caller's to say. When ctx ends, what is still open is cut short: its socket is closed at once.
// A Handler's call that still runs half a second after that is left behind, and named. Shutdown does what Quiesce does first
// if that was not called; frames that the Withdrawer sends before it returns are then still flushed. Later calls wait
// for the first.
func (p *Pool) Shutdown(ctx context.Context) error {
	err := p.Quiesce(ctx)
	for _, s := range p.beginClose() {
		s.close()
	}
	err = errors.Join(err, p.awaitClosed(ctx))
	switch unconfirmed := p.unconfirmed(); {
	case unconfirmed == nil:
		return err
	case err == nil:
		return unconfirmed
	default:
		return errors.Join(err, unconfirmed)
	}
}

// beginClose marks the pool closing and returns the streams to close.
func (p *Pool) beginClose() []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closing = true
	p.checkClosed()
	streams := make([]*stream, 0, len(p.live))
	for s := range p.live {
		streams = append(streams, s)
	}
	return streams
}

// checkClosed tells Shutdown when the last stream has ended. The caller holds the lock.
func (p *Pool) checkClosed() {
	if !p.closing || len(p.live) > 0 {
		return
	}
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
}

func (p *Pool) awaitClosed(ctx context.Context) error {
	select {
	case <-p.closed:
		return nil
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	for _, s := range p.beginClose() {
		s.abort(Cut, fmt.Errorf("%w: %w", ErrCut, cause))
	}
	select {
	case <-p.closed:
		return nil
	case <-time.After(cutGrace):
		return fmt.Errorf("streams: shutdown: %w: handler still busy with %v", cause, p.busy())
	}
}

// busy names the first few peers whose streams have not ended.
func (p *Pool) busy() []identity.PublicKey {
	var peers []identity.PublicKey
	for _, s := range p.beginClose() {
		if len(peers) < named {
			peers = append(peers, s.peer)
		}
	}
	return peers
}

// named is how many of possibly thousands of peers an error names.
const named = 10

// unconfirmed lists the streams that were cut or reset, if we had something to say on them: a stranger that says hello
// and never closes its end is not worth a word.
func (p *Pool) unconfirmed() *UnconfirmedError {
	var results []Result
	for _, r := range p.Results() {
		if (r.Outcome == Cut || r.Outcome == Reset) && r.Traffic.Accepted > 0 {
			results = append(results, r)
		}
	}
	if results == nil {
		return nil
	}
	return &UnconfirmedError{Results: results}
}
