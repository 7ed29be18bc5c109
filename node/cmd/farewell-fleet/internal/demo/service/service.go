// Package service is one of the services that `farewell fleet demo` starts, restarts
// and takes down: the whole of a program that takes requests over NATS, asks others
// for a part of the answer, and leaves without losing one.
package service

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

const (
	// work is what a request takes in the last of the services, which asks nobody.
	work = 20 * time.Millisecond
	// askTime is how long an answer is waited for.
	askTime = 2 * time.Second
	// farewellTime is how long the process stays after its end, at most, until its
	// last word is out: only an end by the alarm or by force needs any of it.
	farewellTime = time.Second
)

// Config says which service it is.
type Config struct {
	URL      string // of the NATS server
	Group    string // which is also what it answers for
	Instance string
	Asks     string        // the group that it has do a part of the work; empty: it does it itself
	Alarm    time.Duration // how long leaving may take
	Hangs    bool          // its journal will, when it is to be closed
	Parent   io.Reader     // ends with the parent process; nil: there is none to watch
}

// Subject is where a group takes requests: the number of the request, in decimal.
func Subject(group string) string { return "demo." + group }

// Answer is what a request is answered with.
type Answer struct {
	Square  int64    `json:"square"`            // of the number
	Via     []string `json:"via,omitempty"`     // the instances that worked on it, the last one first
	Leaving bool     `json:"leaving,omitempty"` // one of them had been asked to leave meanwhile
	Err     string   `json:"error,omitempty"`
}

// Main is the process, from its first line to its exit code.
func Main(config Config) int {
	joined := make(chan *remote.Member, 1)
	code := fsm.Main(fsm.Config{Alarm: config.Alarm}, func(_ context.Context, o *fsm.Orchestrator) error {
		member, err := start(o, config)
		if err == nil {
			joined <- member
		}
		return err
	})
	select {
	case member := <-joined:
		select {
		case <-member.Done(): // its last word is out
		case <-time.After(farewellTime):
		}
	default:
	}
	return code
}

func start(o *fsm.Orchestrator, config Config) (*remote.Member, error) {
	if config.Parent != nil {
		go leaveWith(config.Parent, o)
	}
	nc, err := nats.Connect(config.URL, nats.Name(config.Instance), nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	journal := &journal{hangs: config.Hangs}
	if err := o.Register("journal", journal); err != nil {
		return nil, err
	}
	requests, err := take(nc, config, journal)
	if err != nil {
		return nil, err
	}
	// What is begun is finished before the journal is closed.
	if err := o.Register("requests", requests, fsm.Before("journal")); err != nil {
		return nil, err
	}
	// It joins last: who is there takes requests. The connection is closed by the end of the process.
	return remote.Join(nc, remote.Config{Group: config.Group, Instance: config.Instance}, o)
}

// leaveWith asks for a shutdown when the process at the other end is gone.
func leaveWith(parent io.Reader, o *fsm.Orchestrator) {
	_, _ = io.Copy(io.Discard, parent)
	o.Request(fsm.Command{Reason: "the parent process is gone", By: "stdin"})
}

// requests takes requests and answers them, each in a goroutine of its own.
type requests struct {
	nc      *nats.Conn
	config  Config
	journal *journal
	sub     *nats.Subscription
	leaving atomic.Bool
	drained chan struct{} // closed when no request comes any more
	working sync.WaitGroup
}

func take(nc *nats.Conn, config Config, journal *journal) (*requests, error) {
	r := &requests{nc: nc, config: config, journal: journal, drained: make(chan struct{})}
	var err error
	// The queue's name is the group's: each request goes to one of those who are there.
	r.sub, err = nc.QueueSubscribe(Subject(config.Group), config.Group, func(m *nats.Msg) {
		r.working.Go(func() { r.answer(m) })
	})
	if err != nil {
		return nil, fmt.Errorf("take requests: %w", err)
	}
	r.sub.SetClosedHandler(func(string) { close(r.drained) })
	return r, nil
}

// Quiesce takes no new requests. Those that are on their way still come.
func (r *requests) Quiesce(context.Context) error { return r.drain() }

func (r *requests) drain() error {
	if r.leaving.Swap(true) {
		return nil
	}
	return r.sub.Drain()
}

// Shutdown finishes what was begun, and sees the answers off.
func (r *requests) Shutdown(ctx context.Context) error {
	if err := r.drain(); err != nil {
		return err
	}
	finished := make(chan error, 1)
	go func() {
		<-r.drained
		r.working.Wait()
		finished <- r.nc.FlushWithContext(ctx)
	}()
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *requests) answer(m *nats.Msg) {
	a, err := r.work(m.Data)
	if err != nil {
		a.Err = cmp.Or(a.Err, err.Error())
	}
	a.Via, a.Leaving = append(a.Via, r.config.Instance), a.Leaving || r.leaving.Load()
	data, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		slog.Error("a request is not answered", "error", err)
	}
	r.journal.answered.Add(1)
}

// work has the next group do it, or does it.
func (r *requests) work(request []byte) (a Answer, err error) {
	if r.config.Asks != "" {
		m, err := r.nc.Request(Subject(r.config.Asks), request, askTime)
		if err != nil {
			return a, fmt.Errorf("%s asks %s: %w", r.config.Instance, r.config.Asks, err)
		}
		return a, json.Unmarshal(m.Data, &a)
	}
	var n int64
	if err := json.Unmarshal(request, &n); err != nil {
		return a, err
	}
	time.Sleep(work)
	return Answer{Square: n * n}, nil
}

// journal counts what was answered, and writes it down at the end.
type journal struct {
	answered atomic.Int64
	hangs    bool // its disk will not answer
}

// Shutdown closes the journal.
func (j *journal) Shutdown(context.Context) error {
	if j.hangs {
		j.sync()
	}
	slog.Info("closed the journal", "requests answered", j.answered.Load())
	return nil
}

// sync waits for a disk that does not answer, and cannot be told that time is up.
func (j *journal) sync() { select {} }
