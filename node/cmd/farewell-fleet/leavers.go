package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm/remote"
)

// leavers returns those of a group who may be leaving now: they have been there, are
// not listed any more, since that is the first thing that a shutdown does, and have
// not reported that they are gone. Some of them may have died without a word.
func leavers(ctx context.Context, nc *nats.Conn, group string, listed []remote.Instance) (all []remote.Instance, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, remote.ReportsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil // nobody has ever joined
	}
	if err != nil {
		return nil, err
	}
	over := map[string]bool{}
	for _, i := range listed {
		over[i.Name+"."+i.Incarnation] = true
	}
	err = eachEntry(ctx, bucket, "report."+group+".", func(run string, _ []byte) { over[run] = true }, jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	err = eachEntry(ctx, bucket, "last."+group+".", func(name string, value []byte) {
		var last remote.Instance // of which the entry has the incarnation
		if json.Unmarshal(value, &last) == nil && !over[name+"."+last.Incarnation] {
			all = append(all, remote.Instance{Group: group, Name: name, Incarnation: last.Incarnation})
		}
	})
	return all, err
}

// wasThere reports whether somebody of that name is remembered, with a report or without.
func wasThere(ctx context.Context, nc *nats.Conn, instance remote.Instance) (bool, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return false, err
	}
	bucket, err := js.KeyValue(ctx, remote.ReportsBucket)
	if err == nil {
		_, err = bucket.Get(ctx, "last."+instance.Group+"."+instance.Name)
	}
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// eachEntry tells of all entries whose key begins with prefix, without that.
func eachEntry(ctx context.Context, bucket jetstream.KeyValue, prefix string, tell func(key string, value []byte), how ...jetstream.WatchOpt) error {
	watcher, err := bucket.Watch(ctx, prefix+">", append(how, jetstream.IgnoreDeletes())...)
	if err != nil {
		return err
	}
	defer func() {
		_ = watcher.Stop()
		go func() { // its callback may wait for somebody to read
			for range watcher.Updates() {
			}
		}()
	}()
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return nats.ErrConnectionClosed
			case entry == nil: // that was all
				return nil
			}
			tell(strings.TrimPrefix(entry.Key(), prefix), entry.Value())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
