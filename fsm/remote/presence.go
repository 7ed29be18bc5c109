package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
)

// retry is how long after a failure the registry is tried again.
const retry = time.Second

// errTaken: a newer process uses this one's name.
var errTaken = errors.New("a newer process has joined under this name")

// presence keeps one process in the registry. All but born belongs to the goroutine
// of keep, and once that has ended to withdraw.
type presence struct {
	nc     *nats.Conn
	self   Instance
	logger *slog.Logger
	born   *atomic.Uint64

	leaving chan struct{} // closed by stop
	stop    func()
	kept    chan struct{} // closed when keep has ended

	buckets  *buckets
	revision uint64    // of the entry, 0 if it is not known
	recorded time.Time // when it was written down last that this incarnation is the last one
	standing standing  // as it was logged

	mu        sync.Mutex // held by withdraw
	withdrawn bool
}

type standing uint8

const (
	unknown standing = iota
	joined
	alone    // NATS is away, or does not let it join
	replaced // by a newer process of the same name
)

func newPresence(nc *nats.Conn, self Instance, logger *slog.Logger) *presence {
	p := &presence{
		nc: nc, self: self, logger: logger, born: new(atomic.Uint64),
		leaving: make(chan struct{}), kept: make(chan struct{}),
	}
	p.stop = sync.OnceFunc(func() { close(p.leaving) })
	return p
}

// idle is instead of keep, for one that never gets there.
func (p *presence) idle() { close(p.kept) }

// keep renews the entry until the shutdown begins, and at once when NATS is back.
func (p *presence) keep() {
	defer close(p.kept)
	back := p.nc.StatusChanged(nats.CONNECTED)
	defer p.nc.RemoveStatusListener(back)
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case _, open := <-back:
			if !open { // for good
				back = nil
			}
		case <-p.leaving:
			return
		}
		err := p.renew()
		p.say(err)
		if pause := retry; err != nil {
			next.Reset(pause)
		} else {
			next.Reset(p.buckets.ttl / 3)
		}
	}
}

// renew puts the entry into the registry, or extends it.
func (p *presence) renew() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if !p.nc.IsConnected() {
		return ErrAway
	}
	if err := p.open(ctx); err != nil {
		return err
	}
	err := p.put(ctx)
	if err == nil && time.Since(p.recorded) > p.buckets.keep/3 {
		err = p.record(ctx)
	}
	if err != nil && !errors.Is(err, errTaken) {
		p.buckets, p.revision = nil, 0 // the server may have lost them
	}
	return err
}

func (p *presence) open(ctx context.Context) (err error) {
	if p.buckets == nil {
		p.buckets, err = openBuckets(ctx, p.nc, true)
		p.recorded = time.Time{}
	}
	return err
}

// put writes the entry. Every write names the revision that it replaces, so that a
// late one cannot undo what came after it.
func (p *presence) put(ctx context.Context) error {
	if p.revision != 0 {
		err := p.update(ctx, p.revision)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return err
		}
		p.revision = 0 // it has expired, or is somebody else's
	}
	entry, err := p.buckets.present.Get(ctx, p.self.key())
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return p.create(ctx)
	case err != nil:
		return err
	}
	other, err := decodeEntry(entry.Key(), entry.Value())
	if born := p.born.Load(); err == nil && other.Incarnation != p.self.Incarnation && born != 0 && bornOf(other, entry) > born {
		return fmt.Errorf("%w: since %v", errTaken, other.Since)
	}
	return p.update(ctx, entry.Revision())
}

func bornOf(i Instance, entry jetstream.KeyValueEntry) uint64 {
	if i.Born != 0 {
		return i.Born
	}
	return entry.Revision()
}

func (p *presence) create(ctx context.Context) error {
	revision, err := p.buckets.present.Create(ctx, p.self.key(), p.value())
	p.wrote(revision, err)
	return err
}

func (p *presence) update(ctx context.Context, revision uint64) error {
	revision, err := p.buckets.present.Update(ctx, p.self.key(), p.value(), revision)
	p.wrote(revision, err)
	return err
}

func (p *presence) wrote(revision uint64, err error) {
	if err == nil {
		p.revision = revision
		p.born.CompareAndSwap(0, revision)
	}
}

func (p *presence) value() []byte {
	self := p.self
	self.Born = p.born.Load()
	value, _ := json.Marshal(self) // strings, a number and a time
	return value
}

// record writes down that this incarnation is the last one under its name.
func (p *presence) record(ctx context.Context) error {
	value, _ := json.Marshal(lastEntry{p.self.Incarnation})
	_, err := p.buckets.reports.Put(ctx, lastKey(p.self), value)
	if err == nil {
		p.recorded = time.Now()
	}
	return err
}

// say logs what has changed, once.
func (p *presence) say(err error) {
	was := p.standing
	switch {
	case err == nil:
		p.standing = joined
	case errors.Is(err, errTaken):
		p.standing = replaced
	default:
		p.standing = alone
	}
	if p.standing == was {
		return
	}
	switch p.standing {
	case joined:
		p.logger.Info("remote: joined", "incarnation", p.self.Incarnation, "again", p.born.Load() != p.revision)
	case replaced:
		p.logger.Error("remote: no longer in the registry", "error", err)
	case alone:
		p.logger.Warn("remote: NATS is away: working as if alone", "error", err, "connection", p.nc.Status().String())
	}
}

// withdraw is the component that takes the process off the registry.
func (p *presence) withdraw(ctx context.Context) error {
	p.stop()
	select {
	case <-p.kept: // at most one exchange later
	case <-ctx.Done():
		return fmt.Errorf("remote: withdraw: %w", context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.withdrawn {
		return nil
	}
	if !p.nc.IsConnected() {
		return fmt.Errorf("remote: withdraw: %w: the entry expires by itself", ErrAway)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.remove(ctx); err != nil {
		return fmt.Errorf("remote: withdraw: %w", err)
	}
	p.withdrawn = true
	return nil
}

func (p *presence) remove(ctx context.Context) error {
	registry, err := p.registry(ctx)
	if err != nil {
		return err
	}
	if p.revision != 0 {
		err := registry.present.Delete(ctx, p.self.key(), jetstream.LastRevision(p.revision))
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return err
		}
	}
	entry, err := registry.present.Get(ctx, p.self.key())
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if other, err := decodeEntry(entry.Key(), entry.Value()); err == nil && other.Incarnation != p.self.Incarnation {
		return nil // a newer process's
	}
	return registry.present.Delete(ctx, p.self.key(), jetstream.LastRevision(entry.Revision()))
}

// keepReport writes down how this incarnation has left.
func (p *presence) keepReport(ctx context.Context, report *fsm.Report) error {
	if !p.nc.IsConnected() {
		return ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	data, err := json.Marshal(told{Instance: p.self, Report: report, Over: true})
	if err != nil {
		return err
	}
	b, err := p.registry(ctx)
	if err == nil {
		_, err = b.reports.Put(ctx, reportKey(p.self), data)
	}
	return err
}

// registry is for when keep has been told to end.
func (p *presence) registry(ctx context.Context) (*buckets, error) {
	select {
	case <-p.kept:
		if p.buckets != nil {
			return p.buckets, nil
		}
	default:
	}
	return openBuckets(ctx, p.nc, true)
}
