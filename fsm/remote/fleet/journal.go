package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/kvwatch"
)

const (
	// Bucket is the name of the bucket in which leases and drains stand, for
	// permissions and for looking into it. Keys: lease.group, drain.group,
	// plan.group.drain.part, done.group.drain.number.
	Bucket = "farewell-drains"
	// Keep is how long a drain is remembered.
	Keep = 24 * time.Hour

	// markerTTL is how long the bucket remembers that a lease has expired.
	markerTTL = time.Minute
	// patience is what one exchange with the bucket may take; it is long, since what it
	// is for cannot go on without, and a busy server answers late.
	patience = 5 * time.Second
)

var (
	errNone     = errors.New("nothing stands there")
	errConflict = errors.New("somebody else has written there")
	errNoBucket = errors.New("the bucket " + Bucket + " is not there")
)

// Setup makes the bucket in which leases and drains stand, or changes it, beside those
// of [remote.Setup], which it calls: for both it needs the right to make streams, which
// operators then do not. Where nobody calls it the first [Begin] makes the bucket. It
// blocks until the server has answered, 10 s at most.
func Setup(ctx context.Context, nc *nats.Conn, registry remote.Registry) error {
	if err := remote.Setup(ctx, nc, registry); err != nil {
		return err
	}
	js, err := newJetStream(nc)
	if err != nil {
		return fmt.Errorf("fleet: setup: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := js.CreateOrUpdateKeyValue(ctx, bucketConfig(registry.Replicas)); err != nil {
		return fmt.Errorf("fleet: setup: bucket %s: %w", Bucket, err)
	}
	return nil
}

func bucketConfig(replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: Bucket, Description: "farewell: who drains which group, and how far that is", History: 1,
		TTL: Keep, LimitMarkerTTL: markerTTL, MaxValueSize: maxValue, Replicas: cmp.Or(replicas, 1),
	}
}

func newJetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if nc == nil {
		return nil, fmt.Errorf("%w: it needs a connection", ErrInvalid)
	}
	return jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
}

// journal is the bucket as it is used for one group.
type journal struct {
	js    jetstream.JetStream
	kv    jetstream.KeyValue
	group string
}

// openJournal finds the bucket; with create it makes it.
func openJournal(ctx context.Context, nc *nats.Conn, group string, create bool) (*journal, error) {
	if group != "" && !keyToken(group) {
		return nil, fmt.Errorf("%w: group %q: A-Z a-z 0-9 _ -", ErrInvalid, clipped(group, 64))
	}
	js, err := newJetStream(nc)
	if err != nil {
		return nil, err
	}
	if !nc.IsConnected() {
		return nil, remote.ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	kv, err := js.KeyValue(ctx, Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && create {
		kv, err = js.CreateKeyValue(ctx, bucketConfig(0))
		if errors.Is(err, jetstream.ErrBucketExists) { // somebody was faster
			kv, err = js.KeyValue(ctx, Bucket)
		}
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, errNoBucket
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", Bucket, err)
	}
	return &journal{js, kv, group}, nil
}

func leaseKey(group string) string  { return "lease." + group }
func recordKey(group string) string { return "drain." + group }
func partKey(group, drain string, n int) string {
	return "plan." + group + "." + drain + "." + strconv.Itoa(n)
}

func doneKey(group, drain string, n int) string {
	return "done." + group + "." + drain + "." + strconv.Itoa(n)
}

// write puts a value under a key that has this revision; 0 is for one that does not
// exist. With a ttl it is gone after that time. It returns the new revision.
func (j *journal) write(ctx context.Context, key string, value any, revision uint64, ttl time.Duration) (uint64, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if revision == 0 {
		var options []jetstream.KVCreateOpt
		if ttl > 0 {
			options = append(options, jetstream.KeyTTL(ttl))
		}
		revision, err = j.kv.Create(ctx, key, data, options...)
		if errors.Is(err, jetstream.ErrKeyExists) {
			err = fmt.Errorf("%w: %w", errConflict, err)
		}
		return revision, err
	}
	options := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision)}
	if ttl > 0 { // Update of the bucket's own interface would have the key stay
		options = append(options, jetstream.WithMsgTTL(ttl))
	}
	ack, err := j.js.PublishMsg(ctx, &nats.Msg{Subject: "$KV." + Bucket + "." + key, Data: data}, options...)
	if err != nil {
		return 0, conflict(err)
	}
	return ack.Sequence, nil
}

// conflict finds out that the revision was another one. Replicated streams have a code
// of their own for it.
func conflict(err error) error {
	const replicated = 10164
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == replicated) {
		return fmt.Errorf("%w: %w", errConflict, err)
	}
	return err
}

func (j *journal) read(ctx context.Context, key string) (data []byte, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	entry, err := j.kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, 0, errNone
	case err != nil:
		return nil, 0, err
	}
	return entry.Value(), entry.Revision(), nil
}

func (j *journal) remove(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return conflict(j.kv.Delete(ctx, key, jetstream.LastRevision(revision)))
}

// record reads the group's latest drain.
func (j *journal) record(ctx context.Context) (record, uint64, error) {
	data, revision, err := j.read(ctx, recordKey(j.group))
	if err != nil {
		return record{}, 0, err
	}
	r, err := decodeRecord(j.group, data)
	return r, revision, err
}

// writePlan writes down who is to leave, in parts, and returns how many.
func (j *journal) writePlan(ctx context.Context, drain string, instances []remote.Instance) (int, error) {
	parts, err := inParts(instances)
	if err != nil {
		return 0, err
	}
	for n, part := range parts {
		if _, err := j.write(ctx, partKey(j.group, drain, n), json.RawMessage(part), 0, 0); err != nil {
			return 0, fmt.Errorf("plan: %w", err)
		}
	}
	return len(parts), nil
}

// plan reads who is to leave.
func (j *journal) plan(ctx context.Context, r record) ([]remote.Instance, error) {
	instances, names := make([]remote.Instance, 0, r.Total), make(map[string]bool, r.Total)
	for n := range r.Parts {
		data, _, err := j.read(ctx, partKey(j.group, r.ID, n))
		if err != nil {
			return nil, fmt.Errorf("plan, part %d of %d: %w", n+1, r.Parts, err)
		}
		part, err := decodePart(j.group, data)
		if err != nil {
			return nil, err
		}
		if len(instances)+len(part) > r.Total {
			return nil, fmt.Errorf("%w: plan: more than %d instances", ErrInvalid, r.Total)
		}
		for _, i := range part {
			if names[i.Name] {
				return nil, fmt.Errorf("%w: plan: %s is in it twice", ErrInvalid, i)
			}
			names[i.Name] = true
		}
		instances = append(instances, part...)
	}
	if len(instances) != r.Total {
		return nil, fmt.Errorf("%w: plan: %d instances of %d", ErrInvalid, len(instances), r.Total)
	}
	return instances, nil
}

// outcomes reads how those fared who are done, by their number in the plan.
func (j *journal) outcomes(ctx context.Context, r record) (map[int]outcome, error) {
	prefix := "done." + j.group + "." + r.ID + "."
	done := map[int]outcome{}
	err := j.each(ctx, prefix+"*", func(key string, data []byte) {
		n, err := strconv.Atoi(strings.TrimPrefix(key, prefix))
		if err != nil || n < 0 || n >= r.Total {
			return
		}
		if o, err := decodeOutcome(data); err == nil { // else it is asked again, which does no harm
			done[n] = o
		}
	})
	return done, err
}

// each reads all keys that match. It ends when the server says nothing for as long as patience.
func (j *journal) each(ctx context.Context, pattern string, read func(key string, data []byte)) error {
	watcher, err := j.kv.Watch(ctx, pattern, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer kvwatch.End(watcher)
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for {
		select {
		case entry, open := <-watcher.Updates():
			if !open {
				return remote.ErrAway
			}
			if entry == nil { // that was all
				return nil
			}
			read(entry.Key(), entry.Value())
			silence.Reset(patience)
		case <-silence.C:
			return fmt.Errorf("%w: the bucket %s is silent", remote.ErrAway, Bucket)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leaseKeeper is the lease in the bucket. An exchange takes a fraction of the lease at
// most, so that a lost message does not cost it.
type leaseKeeper struct {
	*journal
	patience time.Duration
}

func newLeaseKeeper(j *journal, ttl time.Duration) leaseKeeper {
	return leaseKeeper{j, min(max(ttl/5, 500*time.Millisecond), patience)}
}

func (k leaseKeeper) create(ctx context.Context, t tenure, ttl time.Duration) (uint64, error) {
	return k.update(ctx, t, 0, ttl)
}

func (k leaseKeeper) update(ctx context.Context, t tenure, revision uint64, ttl time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	return k.write(ctx, leaseKey(k.group), t, revision, ttl)
}

func (k leaseKeeper) get(ctx context.Context) (tenure, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	data, revision, err := k.read(ctx, leaseKey(k.group))
	if err != nil {
		return tenure{}, 0, err
	}
	t, err := decodeTenure(data)
	return t, revision, err
}

func (k leaseKeeper) remove(ctx context.Context, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	return k.journal.remove(ctx, leaseKey(k.group), revision)
}

// gone reports whether the bucket is not there any more.
func (k leaseKeeper) gone(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	_, err := k.js.KeyValue(ctx, Bucket)
	return errors.Is(err, jetstream.ErrBucketNotFound)
}
