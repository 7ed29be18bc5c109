package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// bucket is a leaseStore in virtual time, with the drain's record beside it.
type bucket struct {
	mu       sync.Mutex
	entry    tenure
	revision uint64 // of the last write, also of an expiry
	expires  time.Time
	record   string // who has written it last
	fault    fault
	lost     bool
}

type fault uint8

const (
	none      fault = iota
	cut             // nothing arrives
	unheard         // what is written arrives, and its answer does not
	late            // it arrives, and is answered when that is of no use any more
	faultKind       // how many there are
)

var errCut = errors.New("no answer")

func (b *bucket) expire() {
	if b.entry.Token != "" && !time.Now().Before(b.expires) {
		b.entry = tenure{}
		b.revision++ // the marker
	}
}

// exchange is how long who writes waits.
const exchange = DefaultLease / 5

// write is one write as it fares on its way.
func (b *bucket) write(apply func() error) error {
	b.mu.Lock()
	fault := b.fault
	b.mu.Unlock()
	if fault == late {
		time.Sleep(exchange - time.Millisecond)
	}
	var err error
	if fault != cut {
		b.mu.Lock()
		b.expire()
		err = apply()
		b.mu.Unlock()
	}
	if fault != none && fault != late {
		time.Sleep(exchange)
		return errCut
	}
	return err
}

func (b *bucket) put(t tenure, revision uint64, ttl time.Duration) error {
	if b.revision != revision {
		return errConflict
	}
	b.revision++
	b.entry, b.expires = t, time.Now().Add(ttl)
	return nil
}

func (b *bucket) create(_ context.Context, t tenure, ttl time.Duration) (revision uint64, err error) {
	err = b.write(func() error {
		if b.entry.Token != "" {
			return errConflict
		}
		err := b.put(t, b.revision, ttl)
		revision = b.revision
		return err
	})
	return revision, err
}

func (b *bucket) update(_ context.Context, t tenure, was uint64, ttl time.Duration) (revision uint64, err error) {
	err = b.write(func() error {
		if b.entry.Token == "" {
			return errConflict
		}
		err := b.put(t, was, ttl)
		revision = b.revision
		return err
	})
	return revision, err
}

func (b *bucket) get(context.Context) (t tenure, revision uint64, err error) {
	err = b.write(func() error {
		t, revision = b.entry, b.revision
		if t.Token == "" {
			return errNone
		}
		return nil
	})
	return t, revision, err
}

func (b *bucket) remove(_ context.Context, revision uint64) error {
	return b.write(func() error {
		if b.revision != revision || b.entry.Token == "" {
			return errConflict
		}
		b.entry = tenure{}
		b.revision++
		return nil
	})
}

func (b *bucket) gone(context.Context) bool { return b.lost }

// leaseOf is the lease of one who has begun a drain.
func leaseOf(t *testing.T, b *bucket, token string, log *natstest.Buffer) *lease {
	t.Helper()
	l := &lease{
		store: b, group: "api", ttl: DefaultLease, logger: slog.New(slog.NewTextHandler(log, nil)),
		entry: tenure{Token: token, Operator: token}, say: func() {},
	}
	l.fence = func(context.Context) error {
		return b.write(func() error {
			if b.record != token {
				return errConflict
			}
			return nil
		})
	}
	if err := l.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.record = token
	return l
}

// kept renews it until the test ends.
func (l *lease) kept(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { l.keep(ctx, nil) })
	t.Cleanup(func() { cancel(); keeping.Wait() })
}

// Who cannot renew relies on it no longer before it can have expired, says so, and has
// it again when it can and nobody had it meanwhile.
func TestLeaseIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := new(bucket), new(natstest.Buffer)
		l := leaseOf(t, b, "ana", log)
		l.kept(t)
		time.Sleep(7 * DefaultLease) // it is renewed
		if !l.holds() {
			t.Fatal("it was not renewed")
		}
		b.set(cut)
		for l.holds() {
			time.Sleep(time.Millisecond)
		}
		b.mu.Lock()
		left := time.Until(b.expires)
		b.mu.Unlock()
		if left < l.margin() || left > l.margin()+exchange {
			t.Errorf("it is relied upon until %v before it expires", left)
		}
		time.Sleep(DefaultLease)
		if !strings.Contains(log.String(), "cannot be renewed") {
			t.Errorf("it does not say so: %s", log)
		}
		b.set(none)
		waited := make(chan error, 1)
		go func() { waited <- l.await(t.Context(), nil) }()
		if err := <-waited; err != nil || !l.holds() || !strings.Contains(log.String(), "held again") {
			t.Errorf("it has not got it back: %v\n%s", err, log)
		}
		if err := l.release(t.Context()); err != nil || b.entry.Token != "" {
			t.Errorf("giving it back: %v", err)
		}
	})
}

func (b *bucket) set(f fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = f
}

// Somebody else's is never taken over, neither while he has it nor after he had.
func TestLeaseIsSomebodyElses(t *testing.T) {
	for name, done := range map[string]bool{"and he has it": false, "and he is done": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, log := new(bucket), new(natstest.Buffer)
				l := leaseOf(t, b, "ana", log)
				l.kept(t)
				b.set(cut)
				time.Sleep(2 * DefaultLease)
				b.set(none)
				bob := leaseOf(t, b, "bob", log) // at the very moment at which NATS is back
				if done {
					if err := bob.release(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if err := l.await(t.Context(), nil); !errors.Is(err, ErrHeld) || l.holds() {
					t.Errorf("got %v", err)
				}
				if err := l.release(t.Context()); err != nil || (b.entry.Token == "bob") == done {
					t.Errorf("%q has it: %v", b.entry.Token, err)
				}
			})
		})
	}
}

func TestLeaseAndItsBucketIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, log := new(bucket), new(natstest.Buffer)
		l := leaseOf(t, b, "ana", log)
		b.lost = true
		l.kept(t)
		b.set(cut)
		time.Sleep(2 * DefaultLease)
		if err := l.await(t.Context(), nil); !errors.Is(err, errNoBucket) {
			t.Errorf("got %v", err)
		}
	})
}

// TestLeaseAtRandom: whatever becomes of what is written and answered, two never hold
// the lease at once, and who has lost it does not get it back.
func TestLeaseAtRandom(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			b, log := new(bucket), new(natstest.Buffer)
			l := leaseOf(t, b, "ana", log)
			l.kept(t)
			for range 300 {
				b.set(fault(random.IntN(int(faultKind))))
				if random.IntN(3) == 0 {
					b.set(none)
				}
				time.Sleep(time.Duration(random.IntN(9000)) * time.Millisecond)
				b.mu.Lock()
				b.expire()
				if random.IntN(4) == 0 && b.entry.Token == "" { // somebody else begins, and may be done at once
					b.record = "bob"
					if random.IntN(2) == 0 {
						b.entry, b.expires = tenure{Token: "bob"}, time.Now().Add(DefaultLease)
					}
					b.revision++
				}
				holder, record := b.entry.Token, b.record
				b.mu.Unlock()
				if l.holds() && (holder != "ana" || record != "ana") {
					t.Fatalf("seed %d: it is held by ana, %q has it, and %q drains\n%s", seed, holder, record, log)
				}
			}
		})
	}
}
