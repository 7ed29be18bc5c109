package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// DefaultLease is how long a lease lasts that is not renewed: how long a group cannot
// be drained by others after an operator has died. It is renewed three times as often.
const DefaultLease = 15 * time.Second

// releaseTime is how long giving the lease back may take: it expires by itself too.
const releaseTime = 2 * time.Second

// HeldError says who drains a group. It wraps [ErrHeld].
type HeldError struct{ Standing }

// Error implements error.
func (e *HeldError) Error() string {
	text := fmt.Sprintf("group %s is %v by %s since %s", e.Group, ErrHeld, said(e.Holder), e.Since.Format(time.RFC3339))
	if e.Total > 0 {
		text += fmt.Sprintf(": %d of %d done, %d failed", e.Done, e.Total, e.Failed)
	}
	return text
}

// Unwrap returns [ErrHeld].
func (e *HeldError) Unwrap() error { return ErrHeld }

// leaseStore is where the lease stands. Every write names the revision that it
// replaces; errors wrap errConflict if that is another one, and errNone if nothing
// stands there.
type leaseStore interface {
	create(ctx context.Context, t tenure, ttl time.Duration) (revision uint64, err error)
	update(ctx context.Context, t tenure, revision uint64, ttl time.Duration) (uint64, error)
	get(ctx context.Context) (tenure, uint64, error)
	remove(ctx context.Context, revision uint64) error
	gone(ctx context.Context) bool
}

// lease is the right to ask the instances of one group, for as long as it is renewed.
type lease struct {
	store  leaseStore
	group  string
	ttl    time.Duration // whole seconds, as the server has them
	logger *slog.Logger
	// fence writes the drain's record once more, which fails with errConflict if
	// somebody else has held the lease since.
	fence func(ctx context.Context) error
	say   func() // whenever what holds and err return may have changed

	mu       sync.Mutex
	entry    tenure
	revision uint64
	sent     time.Time // the last renewal that succeeded, before it was sent
	unfenced bool      // it had expired, and somebody else may have had it since
	lost     error     // for good
	doubtful bool      // as it was said
	changed  chan struct{}
}

// acquire takes the lease, or fails with a HeldError.
func (l *lease) acquire(ctx context.Context) error {
	l.changed = make(chan struct{})
	for range 3 {
		sent := time.Now()
		revision, err := l.store.create(ctx, l.entry, l.ttl)
		if err == nil {
			l.revision, l.sent = revision, sent
			return nil
		}
		holder, at, held := l.store.get(ctx)
		switch {
		case held == nil && holder.Token == l.entry.Token: // the answer was lost
			l.revision, l.sent = at, sent
			return nil
		case !errors.Is(err, errConflict):
			return fmt.Errorf("lease: %w", err)
		case held == nil:
			return &HeldError{holder.standing(l.group)}
		case !errors.Is(held, errNone):
			return fmt.Errorf("%w, and it cannot be told by whom: %w", ErrHeld, held)
		} // it was given back in between
	}
	return fmt.Errorf("lease: %w: it changes hands too fast", ErrHeld)
}

// margin is how long before the lease can have expired it is no longer relied upon:
// for what is on its way when it is looked at.
func (l *lease) margin() time.Duration { return l.ttl / 6 }

// holds reports whether nobody else can have the lease now.
func (l *lease) holds() bool { return l.left() > 0 }

// left is for how long it is relied upon, unless it is renewed.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return 0
	}
	return l.ttl - l.margin() - elapsed(l.sent)
}

// elapsed is the time since then, also that in which the machine was suspended, which
// the monotonic clock does not count.
func elapsed(since time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// await blocks until the lease is held. It fails if it is lost, or when ctx or stopped
// end.
func (l *lease) await(ctx context.Context, stopped <-chan struct{}) error {
	for {
		l.mu.Lock()
		changed, lost := l.changed, l.lost
		l.mu.Unlock()
		if lost != nil {
			return lost
		}
		if l.holds() {
			return nil
		}
		select {
		case <-changed:
		case <-stopped:
			return errStopped
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var (
	errStopped  = errors.New("the drain was stopped")
	errDoubtful = errors.New("the lease cannot be renewed")
)

// lookTime is how often somebody who relies on the lease looks at it: a timer does not
// count the time in which the machine was suspended.
const lookTime = 500 * time.Millisecond

// until blocks until the lease is not to be relied upon, and returns errDoubtful, or
// until ctx ends.
func (l *lease) until(ctx context.Context) error {
	for left := l.left(); left > 0; left = l.left() {
		if err := pause(ctx, min(left, lookTime)); err != nil {
			return err
		}
	}
	return errDoubtful
}

// err returns why the lease is lost for good, or nil.
func (l *lease) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// keep renews the lease until ctx ends or it is lost; at once when again has something.
func (l *lease) keep(ctx context.Context, again <-chan struct{}) {
	pause := l.ttl / 3
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for l.err() == nil {
		select {
		case <-timer.C:
		case <-again:
		case <-ctx.Done():
			return
		}
		err := l.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		l.tell(err)
		pause = l.ttl / 3
		if err != nil {
			pause = min(l.ttl/15, time.Second)
		}
		timer.Reset(pause)
	}
}

// tell logs what has changed, once, and has everybody look.
func (l *lease) tell(err error) {
	holds := l.holds()
	l.mu.Lock()
	was, lost := l.doubtful, l.lost
	l.doubtful = !holds
	l.mu.Unlock()
	switch {
	case lost != nil:
		l.logger.Error("fleet: the lease is lost, nobody else is asked", "error", lost)
	case !holds && !was:
		l.logger.Warn("fleet: the lease cannot be renewed, nobody is asked until it can", "error", err)
	case holds && was:
		l.logger.Info("fleet: the lease is held again")
	}
	l.mu.Lock()
	close(l.changed)
	l.changed = make(chan struct{})
	l.mu.Unlock()
	l.say()
}

// renew extends the lease. It takes nobody's over: one that has expired it has again
// only if nobody has had it since.
func (l *lease) renew(ctx context.Context) error {
	l.mu.Lock()
	entry, revision := l.entry, l.revision
	l.mu.Unlock()
	sent := time.Now()
	next, err := l.store.update(ctx, entry, revision, l.ttl)
	if err == nil {
		return l.renewed(ctx, next, sent)
	}
	if !errors.Is(err, errConflict) {
		if !l.holds() && l.store.gone(ctx) {
			l.lose(errNoBucket)
		}
		return err
	}
	holder, at, held := l.store.get(ctx)
	switch {
	case errors.Is(held, errNone):
		return l.regain(ctx, entry)
	case held != nil:
		return held
	case holder.Token == entry.Token: // the answer to an earlier renewal was lost
		l.mu.Lock()
		l.revision = max(l.revision, at)
		l.mu.Unlock()
		return err // the next attempt names it
	case at < revision:
		return err // read from a server that lags behind
	}
	l.lose(&HeldError{holder.standing(l.group)})
	return err
}

// regain takes the lease that has expired and that nobody has now.
func (l *lease) regain(ctx context.Context, entry tenure) error {
	l.mu.Lock()
	l.unfenced = true
	l.mu.Unlock()
	sent := time.Now()
	revision, err := l.store.create(ctx, entry, l.ttl)
	if err != nil {
		return err
	}
	return l.renewed(ctx, revision, sent)
}

// renewed notes a renewal. One after the lease had expired counts only if nobody else
// has had it meanwhile.
func (l *lease) renewed(ctx context.Context, revision uint64, sent time.Time) error {
	l.mu.Lock()
	l.revision = revision
	unfenced := l.unfenced
	l.mu.Unlock()
	if unfenced {
		if err := l.fence(ctx); errors.Is(err, errConflict) {
			l.lose(fmt.Errorf("%w: somebody else has drained the group meanwhile", ErrHeld))
			return errors.Join(err, l.store.remove(ctx, revision))
		} else if err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfenced, l.sent = false, sent
	return nil
}

func (l *lease) lose(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = err
}

// release gives the lease back, if it is ours. It is called when keep has ended.
func (l *lease) release(ctx context.Context) error {
	if l.err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	err := l.store.remove(ctx, l.revision)
	if errors.Is(err, errConflict) {
		holder, at, held := l.store.get(ctx)
		if held == nil && holder.Token == l.entry.Token {
			return l.store.remove(ctx, at)
		}
		return nil // expired, or somebody else's
	}
	return err
}
