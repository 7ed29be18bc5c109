package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/internal/kvwatch"
)

// The names of the buckets, for permissions and for looking into them.
const (
	PresentBucket = "farewell-present" // who is there; keys group.name
	ReportsBucket = "farewell-reports" // who has left; keys last.group.name and report.group.name.incarnation
)

const (
	// DefaultTTL is how long after its last renewal a process is taken for there. It
	// renews three times as often.
	DefaultTTL = 15 * time.Second
	// DefaultKeep is how long the reports of those who have left are kept.
	DefaultKeep = 24 * time.Hour

	// markerTTL is how long the registry remembers that an entry has expired, to tell
	// those who watch.
	markerTTL = time.Minute
	// patience is what one exchange with the registry may take.
	patience = time.Second
)

// Registry says how the buckets of the registry are kept. Its zero value is valid.
type Registry struct {
	TTL      time.Duration // of an entry that is not renewed; [DefaultTTL] if zero, at least 1 s
	Keep     time.Duration // of reports; [DefaultKeep] if zero
	Replicas int           // servers that keep them, 1 to 5; 1 if zero
}

// Setup makes the registry's two buckets, or changes them. It needs the right to
// create streams, which members then do not. Where nobody calls it the first who
// joins does, with a zero Registry. It needs a nats-server from 2.11 on, with
// JetStream. It blocks until the server has answered, 5 s at most; errors wrap
// [ErrInvalid] or are of package jetstream.
func Setup(ctx context.Context, nc *nats.Conn, registry Registry) error {
	if registry.TTL != 0 && registry.TTL < time.Second || registry.Keep < 0 || registry.Replicas < 0 {
		return fmt.Errorf("remote: setup: %w: a TTL of %v, reports kept for %v, %d replicas",
			ErrInvalid, registry.TTL, registry.Keep, registry.Replicas)
	}
	js, err := newJetStream(nc)
	if err != nil {
		return fmt.Errorf("remote: setup: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*patience)
	defer cancel()
	for _, config := range registry.buckets() {
		if _, err := js.CreateOrUpdateKeyValue(ctx, config); err != nil {
			return fmt.Errorf("remote: setup: bucket %s: %w", config.Bucket, err)
		}
	}
	return nil
}

func (r Registry) buckets() []jetstream.KeyValueConfig {
	return []jetstream.KeyValueConfig{
		{
			Bucket: PresentBucket, Description: "farewell: who is there",
			TTL: cmp.Or(r.TTL, DefaultTTL), LimitMarkerTTL: markerTTL, MaxValueSize: maxEntry, Replicas: cmp.Or(r.Replicas, 1),
		},
		{
			Bucket: ReportsBucket, Description: "farewell: who has left, and how",
			TTL: cmp.Or(r.Keep, DefaultKeep), Replicas: cmp.Or(r.Replicas, 1),
		},
	}
}

func newJetStream(nc *nats.Conn) (jetstream.JetStream, error) {
	if nc == nil {
		return nil, fmt.Errorf("%w: it needs a connection", ErrInvalid)
	}
	return jetstream.New(nc, jetstream.WithDefaultTimeout(patience))
}

// buckets are the registry as one process uses it.
type buckets struct {
	present, reports jetstream.KeyValue
	ttl, keep        time.Duration
}

// openBuckets finds the buckets; with create it makes those that are not there.
func openBuckets(ctx context.Context, nc *nats.Conn, create bool) (*buckets, error) {
	js, err := newJetStream(nc)
	if err != nil {
		return nil, err
	}
	if !nc.IsConnected() {
		return nil, ErrAway
	}
	var open [2]jetstream.KeyValue
	var ttl [2]time.Duration
	for i, config := range (Registry{}).buckets() {
		if open[i], err = js.KeyValue(ctx, config.Bucket); errors.Is(err, jetstream.ErrBucketNotFound) && create {
			open[i], err = js.CreateKeyValue(ctx, config)
			if errors.Is(err, jetstream.ErrBucketExists) { // somebody was faster
				open[i], err = js.KeyValue(ctx, config.Bucket)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", config.Bucket, err)
		}
		status, err := open[i].Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", config.Bucket, err)
		}
		ttl[i] = status.TTL()
	}
	return &buckets{open[0], open[1], cmp.Or(ttl[0], DefaultTTL), cmp.Or(ttl[1], DefaultKeep)}, nil
}

// lastEntry says which incarnation of a name was there last.
type lastEntry struct {
	Incarnation string `json:"incarnation"`
}

func lastKey(i Instance) string   { return "last." + i.key() }
func reportKey(i Instance) string { return "report." + i.runKey() }

// decodeEntry reads what stands in [PresentBucket] under a key.
func decodeEntry(key string, data []byte) (i Instance, err error) {
	if len(data) > maxEntry {
		return Instance{}, fmt.Errorf("%w: an entry of %d bytes", ErrInvalid, len(data))
	}
	if err := decode(data, "entry", &i); err != nil {
		return Instance{}, err
	}
	if err := i.valid(); err != nil {
		return Instance{}, err
	}
	if i.key() != key {
		return Instance{}, fmt.Errorf("%w: entry %q is about %s", ErrInvalid, key, i)
	}
	return i, validIncarnation(i.Incarnation)
}

// List returns the instances of a group that are there now, or of all groups if
// group is empty, ordered by their group and when they joined. An instance that
// fell silent is listed until its entry expires. No registry is an empty one. It
// blocks until the registry has answered or ctx ends.
func List(ctx context.Context, nc *nats.Conn, group string) ([]Instance, error) {
	list, err := list(ctx, nc, group)
	if err != nil {
		return nil, fmt.Errorf("remote: list: %w", err)
	}
	return list, nil
}

func list(ctx context.Context, nc *nats.Conn, group string) (list []Instance, err error) {
	pattern, err := groupPattern(group)
	if err != nil {
		return nil, err
	}
	b, err := openBuckets(ctx, nc, false)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = each(ctx, b.present, pattern, func(entry jetstream.KeyValueEntry) {
		if i, err := decodeEntry(entry.Key(), entry.Value()); err == nil { // else it is no instance
			i.Born = cmp.Or(i.Born, entry.Revision())
			list = append(list, i)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, inOrder)
	return list, nil
}

// each tells of all entries of a bucket whose keys match.
func each(ctx context.Context, bucket jetstream.KeyValue, pattern string, tell func(jetstream.KeyValueEntry), how ...jetstream.WatchOpt) error {
	watcher, err := bucket.Watch(ctx, pattern, append(how, jetstream.IgnoreDeletes())...)
	if err != nil {
		return err
	}
	defer kvwatch.End(watcher)
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return fmt.Errorf("%w: the connection was closed", ErrAway)
			case entry == nil: // that was all
				return nil
			}
			tell(entry)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Leavers returns those of a group who may be leaving now: they have been there, are not
// among those that [List] has returned, since that is the first thing that a shutdown
// does, and have not reported that they are gone. Some of them may have died without a
// word: [Ask] tells. No registry is an empty one. It blocks until the registry has
// answered or ctx ends.
func Leavers(ctx context.Context, nc *nats.Conn, group string, listed []Instance) ([]Instance, error) {
	all, err := leavers(ctx, nc, group, listed)
	if err != nil {
		return nil, fmt.Errorf("remote: leavers: %w", err)
	}
	return all, nil
}

func leavers(ctx context.Context, nc *nats.Conn, group string, listed []Instance) (all []Instance, err error) {
	if err := validGroup(group); err != nil {
		return nil, err
	}
	b, err := openBuckets(ctx, nc, false)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	over := map[string]bool{} // runs, by their keys
	for _, i := range listed {
		over[i.runKey()] = true
	}
	err = each(ctx, b.reports, "report."+group+".>", func(entry jetstream.KeyValueEntry) {
		over[strings.TrimPrefix(entry.Key(), "report.")] = true
	}, jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	err = each(ctx, b.reports, "last."+group+".>", func(entry jetstream.KeyValueEntry) {
		name := strings.TrimPrefix(entry.Key(), "last."+group+".")
		if i, err := decodeLast(group, name, entry.Value()); err == nil && !over[i.runKey()] {
			all = append(all, i)
		}
	})
	return all, err
}

// decodeLast reads which run of a name was there last.
func decodeLast(group, name string, data []byte) (Instance, error) {
	if len(data) > maxEntry {
		return Instance{}, fmt.Errorf("%w: an entry of %d bytes", ErrInvalid, len(data))
	}
	var last lastEntry
	if err := decode(data, "entry", &last); err != nil {
		return Instance{}, err
	}
	i := Instance{Group: group, Name: name, Incarnation: last.Incarnation}
	return i, firstErr(i.valid(), validIncarnation(i.Incarnation))
}

func inOrder(a, b Instance) int {
	return cmp.Or(strings.Compare(a.Group, b.Group), cmp.Compare(a.Born, b.Born), strings.Compare(a.Name, b.Name))
}

func groupPattern(group string) (string, error) {
	if group == "" {
		return ">", nil
	}
	return group + ".>", validGroup(group)
}

// LastReport returns the report of the run of a process that instance names, or of
// the last run under its name if it names no incarnation. It blocks until the
// registry has answered, or ctx ends. The error wraps [ErrNotFound] if there is
// none: it lives, has died without one, or it was too long ago. It is [ErrNoReport]
// where a run under that name is remembered.
func LastReport(ctx context.Context, nc *nats.Conn, instance Instance) (*fsm.Report, error) {
	report, err := lastReport(ctx, nc, instance)
	if err != nil {
		return nil, fmt.Errorf("remote: report of %s: %w", instance, err)
	}
	return report, nil
}

func lastReport(ctx context.Context, nc *nats.Conn, instance Instance) (*fsm.Report, error) {
	if err := instance.valid(); err != nil {
		return nil, err
	}
	b, err := openBuckets(ctx, nc, false)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return b.report(ctx, instance)
}

func (b *buckets) report(ctx context.Context, instance Instance) (*fsm.Report, error) {
	missing := ErrNotFound
	if instance.Incarnation == "" {
		entry, err := b.reports.Get(ctx, lastKey(instance))
		if err != nil {
			return nil, notFound(err)
		}
		if instance, err = decodeLast(instance.Group, instance.Name, entry.Value()); err != nil {
			return nil, err
		}
		missing = ErrNoReport
	}
	if err := validIncarnation(instance.Incarnation); err != nil {
		return nil, err
	}
	entry, err := b.reports.Get(ctx, reportKey(instance))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	t, err := decodeTold(entry.Value())
	if err == nil && (t.Report == nil || t.Instance.runKey() != instance.runKey()) {
		err = fmt.Errorf("%w: it is about %s", ErrInvalid, t.Instance)
	}
	return t.Report, err
}

// isPresent reports whether there is an entry of the instance, of the incarnation
// that it names or of any.
func (b *buckets) isPresent(ctx context.Context, instance Instance) (bool, error) {
	entry, err := b.present.Get(ctx, instance.key())
	if err != nil {
		if err = notFound(err); errors.Is(err, ErrNotFound) {
			err = nil
		}
		return false, err
	}
	i, err := decodeEntry(entry.Key(), entry.Value())
	return err == nil && (instance.Incarnation == "" || instance.Incarnation == i.Incarnation), nil
}

func notFound(err error) error {
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ErrNotFound
	}
	return err
}
