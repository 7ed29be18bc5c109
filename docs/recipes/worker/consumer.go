package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	inFlight  = 16              // jobs at a time
	heartbeat = time.Second     // without two of them in a row the consumer may be gone
	redeliver = 2 * time.Second // after so long a job that was not acked is somebody else's
)

// consumer works on jobs, up to inFlight at a time. A job is acked when its result
// is stored, so what kills the worker in between costs a redelivery; and so may
// draining, of jobs that were on the wire when the subscription ended.
type consumer struct {
	results *producer
	jobs    jetstream.ConsumeContext
	info    func(context.Context) error // of the consumer on the server
	working sync.WaitGroup
	insist  context.Context // of the jobs
	give    context.CancelFunc
	asked   atomic.Bool
	broken  atomic.Pointer[error]
	done    atomic.Int64
}

func consume(ctx context.Context, js jetstream.JetStream, results *producer) (*consumer, error) {
	jobs, err := js.CreateOrUpdateConsumer(ctx, "JOBS", jetstream.ConsumerConfig{
		Durable: "worker", AckPolicy: jetstream.AckExplicitPolicy, AckWait: redeliver, MaxAckPending: inFlight,
	})
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	c := &consumer{results: results, info: func(ctx context.Context) error { _, err := jobs.Info(ctx); return err }}
	c.insist, c.give = context.WithCancel(context.Background())
	c.jobs, err = jobs.Consume(func(job jetstream.Msg) { c.working.Go(func() { c.work(job) }) },
		jetstream.PullMaxMessages(inFlight), jetstream.PullHeartbeat(heartbeat), jetstream.ConsumeErrHandler(c.failed))
	return c, err
}

// failed ends the run of a consumer that has been deleted. The server says so only
// to a request that is waiting; else nothing comes any more, and one has to ask.
func (c *consumer) failed(running jetstream.ConsumeContext, err error) {
	if errors.Is(err, jetstream.ErrNoHeartbeat) || errors.Is(err, nats.ErrNoResponders) {
		ctx, cancel := context.WithTimeout(c.insist, redeliver)
		defer cancel()
		if !errors.Is(c.info(ctx), jetstream.ErrConsumerNotFound) {
			return // the server is away, or slow: it is waited for
		}
		err = jetstream.ErrConsumerDeleted
		defer running.Stop()
	}
	c.broken.Store(&err)
}

// Run returns when no jobs come any more, with the reason if nobody has asked for that.
func (c *consumer) Run() error {
	<-c.jobs.Closed()
	if c.asked.Load() {
		return nil
	}
	err := errors.New("no jobs any more")
	if broken := c.broken.Load(); broken != nil {
		err = fmt.Errorf("%w: %w", err, *broken)
	}
	return err
}

// Shutdown takes no new jobs and finishes those that are here. Insisted upon it
// gives them back, to be redelivered at once.
func (c *consumer) Shutdown(ctx context.Context) error {
	c.asked.Store(true)
	c.jobs.Drain()
	ended := make(chan struct{})
	go func() {
		<-c.jobs.Closed()
		c.working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		c.give()
		<-ended
	}
	return nil
}

func (c *consumer) work(job jetstream.Msg) {
	name := strings.TrimPrefix(job.Subject(), "jobs.")
	result, err := compute(c.insist, job.Data())
	if err == nil {
		err = c.results.publish(c.insist, name, result)
	}
	if err != nil {
		slog.Warn("given back", "job", name, "error", err)
		_ = job.Nak() // or it is redelivered when its time is over
		return
	}
	ctx, cancel := context.WithTimeout(c.insist, redeliver)
	defer cancel()
	if err := job.DoubleAck(ctx); err != nil {
		slog.Warn("will be redelivered", "job", name, "error", err)
		return
	}
	c.done.Add(1)
}

// compute is what the application does with a job: it takes as long as that says.
func compute(ctx context.Context, job []byte) (result []byte, err error) {
	takes, err := time.ParseDuration(string(job))
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(takes):
		return []byte("done"), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
