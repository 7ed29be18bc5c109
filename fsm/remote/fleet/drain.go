package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/farewell-node/farewell/fsm/remote"
)

// Options say who drains.
type Options struct {
	Operator string // for people, and for whoever wants to drain the same group; at most 256 bytes
	// Logger is told of the lease, of a drain that this one takes the place of, and of
	// every failure; slog.Default() if nil.
	Logger *slog.Logger
	// Lease is how long the group stays held after the operator has died; whole seconds,
	// rounded up, at most [Keep]; [DefaultLease] if zero.
	Lease time.Duration
	// Forgive is for [Resume]: the failures that there were do not count any more.
	Forgive bool
}

func (o *Options) validate() error {
	if o.Lease < 0 || o.Lease > Keep || !within(maxName, o.Operator) {
		return fmt.Errorf("%w: an operator has at most %d bytes, and a lease is not negative and at most %v", ErrInvalid, maxName, Keep)
	}
	o.Lease = (cmp.Or(o.Lease, DefaultLease) + time.Second - 1).Truncate(time.Second)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return nil
}

// Drain is one rolling leave that holds the lease of its group: from [Begin] or
// [Resume], until [Drain.Run] or [Drain.Abandon] gives it back. Its methods are safe
// for concurrent use.
type Drain struct {
	nc      *nats.Conn
	journal *journal
	lease   *lease
	logger  *slog.Logger

	record   record
	revision uint64            // of the record; of keep until that has ended
	present  map[string]string // the incarnation that is in the registry, by name; of Run
	index    map[string]int    // the members' numbers by name; fixed
	core     core              // of Run
	forgive  bool              // the failures that there were
	begun    time.Time         // of this run

	ctx      context.Context // ends what was begun for the drain
	cancel   context.CancelCauseFunc
	started  sync.WaitGroup
	kept     sync.WaitGroup // keep, which ends before the lease is given back
	endKeep  context.CancelFunc
	again    chan struct{} // the lease is to be renewed now
	inbox    inbox
	log      progressLog
	stopping chan struct{} // closed when nobody else is asked
	leaving  chan struct{} // closed by Abandon
	abandon  func()
	ready    atomic.Bool // the record is this drain's, and only keep writes it
	claimed  atomic.Bool // by Run or Abandon

	done, failed atomic.Int64 // for the record

	mu      sync.Mutex
	lines   []Line
	stopped string
	took    time.Duration // of earlier runs; of all, when it is over
	over    bool
}

// Preview returns the report of a drain that has not begun: who would be asked, in
// which order. It takes and changes nothing. It blocks until the registry has answered.
func Preview(ctx context.Context, nc *nats.Conn, plan Plan) (*Report, error) {
	r, err := preview(ctx, nc, plan)
	if err != nil {
		return nil, fmt.Errorf("fleet: preview: %w", err)
	}
	return r, nil
}

func preview(ctx context.Context, nc *nats.Conn, plan Plan) (*Report, error) {
	if err := plan.validate(); err != nil {
		return nil, err
	}
	instances, err := remote.List(ctx, nc, plan.Group)
	if err != nil {
		return nil, err
	}
	plan.Order.sort(instances)
	r := &Report{Group: plan.Group, Plan: plan, AtOnce: plan.AtOnce.Of(len(instances)), Lines: make([]Line, 0, len(instances))}
	for _, i := range instances {
		r.Lines = append(r.Lines, Line{Instance: i})
	}
	return r, nil
}

// Begin takes the lease of a group and writes down who is to leave: all that are in the
// registry now. Nobody is asked before [Drain.Run]. It fails with a [*HeldError] if
// somebody else drains the group, and with [remote.ErrAway] if NATS is away. It takes
// the place of a drain that was not finished and that nobody runs, and logs that. It
// blocks until the bucket has answered, a few seconds at most per exchange, and ends
// early with ctx; nothing is held after an error. Whoever has a Drain calls Run or Abandon.
func Begin(ctx context.Context, nc *nats.Conn, plan Plan, options Options) (*Drain, error) {
	d, err := begin(ctx, nc, plan, options)
	if err != nil {
		return nil, fmt.Errorf("fleet: begin: %w", err)
	}
	return d, nil
}

func begin(ctx context.Context, nc *nats.Conn, plan Plan, options Options) (*Drain, error) {
	if err := errors.Join(plan.validate(), options.validate()); err != nil {
		return nil, err
	}
	j, err := openJournal(ctx, nc, plan.Group, true)
	if err != nil {
		return nil, err
	}
	plan.Command.Err, plan.Command.Signal = nil, 0
	plan.Command.By = cmp.Or(plan.Command.By, options.Operator) // and stays, whoever takes it up again
	d := newDrain(ctx, nc, j, record{ID: nuid.Next(), Operator: options.Operator, Plan: plan, Began: time.Now()}, options)
	if err := d.lease.acquire(ctx); err != nil {
		d.cancel(err)
		return nil, howFar(ctx, j, err)
	}
	d.start()
	if err := d.writeDown(ctx); err != nil {
		d.giveUp(err)
		return nil, err
	}
	d.ready.Store(true)
	return d, nil
}

// writeDown makes the plan of who is there. The record comes last: what stands before
// it is no drain.
func (d *Drain) writeDown(ctx context.Context) error {
	instances, err := d.listed(ctx)
	if err != nil {
		return err
	}
	if len(instances) > maxMembers {
		return fmt.Errorf("%w: a group of %d instances; at most %d leave in one drain", ErrInvalid, len(instances), maxMembers)
	}
	d.record.Plan.Order.sort(instances)
	d.record.counts = counts{Total: len(instances)}
	d.setMembers(instances, nil)
	if d.record.Parts, err = d.journal.writePlan(ctx, d.record.ID, instances); err != nil {
		return err
	}
	return d.claim(ctx, d.replace)
}

// replace reads what the record will take the place of.
func (d *Drain) replace(ctx context.Context) error {
	before, revision, err := d.journal.record(ctx)
	switch {
	case errors.Is(err, ErrInvalid):
		d.logger.Warn("fleet: what stands as the latest drain cannot be read, and is replaced", "error", err)
		_, revision, err = d.journal.read(ctx, recordKey(d.journal.group))
	case errors.Is(err, errNone):
		err = nil
	case err == nil && !before.Finished:
		d.record.Replaced = before.ID
		d.logger.Warn("fleet: an unfinished drain is replaced", "replaced", before.ID,
			"operator", before.Operator, "began", before.Began, "resumed", before.Resumed)
	}
	d.revision = revision
	return err
}

// claim writes the record over the one that read has read, and reads again if that was
// from a server that lags behind.
func (d *Drain) claim(ctx context.Context, read func(context.Context) error) (err error) {
	for wait := 50 * time.Millisecond; wait < time.Second; wait *= 2 {
		if err := read(ctx); err != nil {
			return err
		}
		if !d.lease.holds() {
			return fmt.Errorf("%w: it took longer than the lease to begin", ErrHeld)
		}
		if err = d.writeRecord(ctx); !errors.Is(err, errConflict) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	return err
}

// Resume takes the latest drain of a group up again, if it was not finished: because
// the operator was killed, was interrupted, or had it stopped by too many failures. It
// goes on with the plan as it was: those that were asked are asked again with the same
// command, which takes effect once. The failures that there were count, so that a drain
// that they have stopped stays so unless [Options.Forgive] is set. It fails with a
// [*HeldError] if somebody runs it, and with [ErrNothing] if there is none or it is
// finished. Blocking is as with [Begin].
func Resume(ctx context.Context, nc *nats.Conn, group string, options Options) (*Drain, error) {
	d, err := resume(ctx, nc, group, options)
	if err != nil {
		return nil, fmt.Errorf("fleet: resume: group %s: %w", clipped(group, maxName), err)
	}
	return d, nil
}

func resume(ctx context.Context, nc *nats.Conn, group string, options Options) (*Drain, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	if group == "" {
		return nil, fmt.Errorf("%w: which group", ErrInvalid)
	}
	j, err := openJournal(ctx, nc, group, false)
	if errors.Is(err, errNoBucket) {
		return nil, ErrNothing
	}
	if err != nil {
		return nil, err
	}
	r, _, err := unfinished(ctx, j)
	if err != nil {
		return nil, err
	}
	d := newDrain(ctx, nc, j, r, options)
	if err := d.lease.acquire(ctx); err != nil {
		d.cancel(err)
		return nil, howFar(ctx, j, err)
	}
	d.start()
	if err := d.takeUp(ctx, options); err != nil {
		d.giveUp(err)
		return nil, err
	}
	d.ready.Store(true)
	return d, nil
}

// unfinished reads the record of a drain that can be taken up again.
func unfinished(ctx context.Context, j *journal) (record, uint64, error) {
	r, revision, err := j.record(ctx)
	switch {
	case errors.Is(err, errNone):
		return record{}, 0, ErrNothing
	case err == nil && r.Finished:
		return record{}, 0, fmt.Errorf("%w that is not finished: the latest is %s", ErrNothing, r.ID)
	}
	return r, revision, err
}

// takeUp reads what was written down, now that nobody else can write.
func (d *Drain) takeUp(ctx context.Context, options Options) (err error) {
	was := d.record.ID
	err = d.claim(ctx, func(ctx context.Context) (err error) {
		if d.record, d.revision, err = unfinished(ctx, d.journal); err != nil {
			return err
		}
		if d.record.ID != was {
			return fmt.Errorf("%w: another drain has begun meanwhile, %s", ErrHeld, d.record.ID)
		}
		d.record.Resumed++
		d.record.Operator, d.record.Run, d.record.Stopped = options.Operator, d.lease.entry.Token, ""
		return nil
	})
	if err != nil {
		return err
	}
	instances, err := d.journal.plan(ctx, d.record)
	if err != nil {
		return err
	}
	outcomes, err := d.journal.outcomes(ctx, d.record)
	if err != nil {
		return err
	}
	if _, err := d.listed(ctx); err != nil {
		return err
	}
	d.took = d.record.Took.duration()
	d.setMembers(instances, outcomes)
	return nil
}

func newDrain(ctx context.Context, nc *nats.Conn, j *journal, r record, options Options) *Drain {
	d := &Drain{
		nc: nc, journal: j, logger: options.Logger.With("group", r.Plan.Group, "drain", r.ID), record: r,
		forgive: options.Forgive, begun: time.Now(), present: map[string]string{},
		again:    make(chan struct{}, 1),
		inbox:    inbox{filled: make(chan struct{}, 1)},
		stopping: make(chan struct{}), leaving: make(chan struct{}),
	}
	d.record.Run = nuid.Next()
	d.abandon = sync.OnceFunc(func() { close(d.leaving) })
	d.ctx, d.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	d.lease = &lease{
		store: newLeaseKeeper(j, options.Lease), group: r.Plan.Group, ttl: options.Lease, logger: d.logger,
		entry: tenure{Token: d.record.Run, Drain: r.ID, Operator: options.Operator, Since: d.begun},
		fence: d.fence,
		say:   func() { d.inbox.post(message{kind: aboutLease}) },
	}
	return d
}

// start renews the lease and watches the registry, from now on until the drain ends.
func (d *Drain) start() {
	var ctx context.Context
	ctx, d.endKeep = context.WithCancel(d.ctx)
	d.kept.Go(func() {
		connected := d.nc.StatusChanged(nats.CONNECTED)
		defer d.nc.RemoveStatusListener(connected)
		var forwarding sync.WaitGroup
		defer forwarding.Wait()
		forwarding.Go(func() { d.forward(ctx, connected) })
		d.lease.keep(ctx, d.again)
	})
	d.started.Go(d.watch)
}

// forward has the lease renewed when the connection is back.
func (d *Drain) forward(ctx context.Context, connected <-chan nats.Status) {
	for {
		select {
		case _, open := <-connected:
			if !open { // for good
				return
			}
			d.renewSoon()
		case <-ctx.Done():
			return
		}
	}
}

func (d *Drain) renewSoon() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// watch follows the registry, over interruptions.
func (d *Drain) watch() {
	for d.ctx.Err() == nil {
		d.inbox.post(message{kind: relisting})
		for news, err := range remote.WatchRegistry(d.ctx, d.nc, d.journal.group) {
			if err != nil {
				d.inbox.post(message{kind: blind, err: err})
			} else {
				d.inbox.post(message{kind: aboutRegistry, news: news})
			}
		}
		_ = pause(d.ctx, time.Second)
	}
}

// listed returns who is in the registry, and notes it. The watch begins again by itself.
func (d *Drain) listed(ctx context.Context) (instances []remote.Instance, err error) {
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	for {
		select {
		case <-d.inbox.filled:
		case <-late.C:
			return nil, cmp.Or(err, remote.ErrAway)
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		}
		messages := d.inbox.take()
		for i, m := range messages {
			switch {
			case m.kind == blind && errors.Is(m.err, jetstream.ErrBucketNotFound):
				return nil, nil // no registry is an empty one
			case m.kind == blind:
				err = m.err
			case m.kind == relisting:
				instances = nil
				clear(d.present)
			case m.kind == aboutRegistry && m.news.Kind == remote.Joined:
				instances = append(instances, m.news.Instance)
				d.present[m.news.Instance.Name] = m.news.Instance.Incarnation
			case m.kind == aboutRegistry && (m.news.Kind == remote.Withdrawn || m.news.Kind == remote.Expired):
				instances = slices.DeleteFunc(instances, func(i remote.Instance) bool {
					return i.Name == m.news.Instance.Name && i.Incarnation == m.news.Instance.Incarnation
				})
				if d.present[m.news.Instance.Name] == m.news.Instance.Incarnation {
					delete(d.present, m.news.Instance.Name)
				}
			case m.kind == aboutRegistry && m.news.Kind == remote.Listed:
				d.inbox.putBack(messages[i+1:])
				return newestOf(instances), nil
			}
		}
	}
}

// newestOf keeps one instance of each name, the one that was told last: those that are
// told while the list is read may be told twice.
func newestOf(instances []remote.Instance) (newest []remote.Instance) {
	at := map[string]int{}
	for _, i := range instances {
		if n, known := at[i.Name]; known {
			newest[n] = i
			continue
		}
		at[i.Name] = len(newest)
		newest = append(newest, i)
	}
	return newest
}

// setMembers makes the members of a plan, with the outcomes that there are.
func (d *Drain) setMembers(instances []remote.Instance, outcomes map[int]outcome) {
	d.index = make(map[string]int, len(instances))
	states := make([]InstanceState, len(instances))
	lines := make([]Line, len(instances))
	for n, i := range instances {
		d.index[i.Name] = n
		lines[n] = Line{Instance: i}
		if o, done := outcomes[n]; done {
			states[n] = o.State
			lines[n] = Line{
				Instance: i, State: o.State, ExitCode: o.ExitCode, Err: textError(o.Error), Culprits: o.Culprits,
				Asked: o.Asked, Took: o.Took.duration(),
			}
			d.done.Add(1)
			if o.State.failure() {
				d.failed.Add(1)
			}
		}
	}
	d.core = newCore(d.record.Plan.AtOnce.Of(len(instances)), d.record.Plan.MaxFailed, d.record.Plan.Back > 0, states)
	if !d.forgive {
		d.core.failed = int(d.failed.Load())
	}
	d.mu.Lock()
	d.lines = lines
	d.mu.Unlock()
	progress := make([]Progress, len(lines))
	for n, l := range lines {
		progress[n] = Progress{At: time.Now(), Instance: l.Instance, State: l.State, Culprits: l.Culprits, Err: l.Err, Took: l.Took}
	}
	d.log.append(progress...)
}

// writeRecord writes the record over the one that this drain knows. It fails with
// errConflict if somebody else has written there.
func (d *Drain) writeRecord(ctx context.Context) error {
	for {
		revision, err := d.journal.write(ctx, recordKey(d.journal.group), d.record, d.revision, 0)
		if err == nil {
			d.revision = revision
			return nil
		}
		if !errors.Is(err, errConflict) {
			return err
		}
		// The answer to an earlier attempt may have been lost. A number does not do: two
		// may have taken the same drain up, the first of whom was frozen since.
		r, at, rerr := d.journal.record(ctx)
		if rerr != nil && !errors.Is(rerr, errNone) && !errors.Is(rerr, ErrInvalid) {
			return rerr
		}
		if rerr != nil || r.ID != d.record.ID || r.Run != d.record.Run || at <= d.revision {
			return err
		}
		d.revision = at
	}
}

// fence proves that nobody else has drained the group since.
func (d *Drain) fence(ctx context.Context) error {
	if !d.ready.Load() {
		return errors.New("the drain has not begun")
	}
	return d.writeRecord(ctx)
}

// giveUp ends a drain that has not begun.
func (d *Drain) giveUp(err error) {
	d.claimed.Store(true)
	d.cancel(err)
	d.giveBack()
	d.end()
}

// giveBack gives the lease back, in two seconds or so.
func (d *Drain) giveBack() {
	d.endKeep()
	d.kept.Wait()
	if err := d.lease.release(context.WithoutCancel(d.ctx)); err != nil {
		d.logger.Warn("fleet: the lease was not given back, it expires by itself", "error", err)
	}
}

// end ends all that was begun for the drain.
func (d *Drain) end() {
	d.cancel(errStopped)
	d.started.Wait()
	d.log.end()
}

// pause waits, and fails when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
