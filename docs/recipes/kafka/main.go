// Command kafka takes jobs from a topic, 16 at a time, and produces their results to
// another. However it ends, every job has a result; who is killed may leave two.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/farewell-node/farewell/fsm"
)

const (
	inFlight = 16              // jobs at a time
	session  = 6 * time.Second // after so long a worker that was killed is missed; brokers allow no less
)

func main() {
	brokers := flag.String("brokers", "127.0.0.1:9092", "addresses, separated by commas")
	alarm := flag.Duration("alarm", fsm.DefaultAlarm, "how long a shutdown may take")
	flag.Parse()
	os.Exit(fsm.Main(fsm.Config{Alarm: *alarm}, func(_ context.Context, o *fsm.Orchestrator) error {
		return start(o, strings.Split(*brokers, ","))
	}))
}

func start(o *fsm.Orchestrator, brokers []string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ConsumerGroup("workers"), kgo.ConsumeTopics("jobs"), kgo.SessionTimeout(session),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	// The others of the group need not wait for the session to end.
	leave := fsm.Func(func(ctx context.Context) error {
		defer client.Close()
		return client.LeaveGroupContext(ctx)
	})
	if err := o.Register("client", leave); err != nil {
		return err
	}
	return o.Go("consumer", func(ctx context.Context) error { return consume(ctx, client) }, fsm.Before("client"))
}

// consume polls until ctx ends, and finishes what it has polled. A job is committed
// when its result is there, so whatever else happens it is done again.
func consume(ctx context.Context, client *kgo.Client) error {
	for {
		fetches := client.PollRecords(ctx, inFlight)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			client.AllowRebalance()
			return nil
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			slog.Warn("fetch", "topic", topic, "partition", partition, "error", err) // it is tried again
		})
		err := work(client, fetches.Records())
		client.AllowRebalance() // now nobody else gets what is not committed yet
		if err != nil {
			return err
		}
	}
}

// work does jobs at the same time, and commits them when all are done.
func work(client *kgo.Client, jobs []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), session)
	defer cancel()
	var doing errgroup.Group
	for _, job := range jobs {
		doing.Go(func() error {
			result, err := compute(job.Value)
			if err != nil {
				return fmt.Errorf("job %s: %w", job.Key, err)
			}
			return client.ProduceSync(ctx, &kgo.Record{Topic: "results", Key: job.Key, Value: result}).FirstErr()
		})
	}
	if err := doing.Wait(); err != nil {
		return err
	}
	return client.CommitRecords(ctx, jobs...)
}

// compute is what the application does with a job: it takes as long as that says.
func compute(job []byte) (result []byte, err error) {
	takes, err := time.ParseDuration(string(job))
	if err != nil {
		return nil, err
	}
	time.Sleep(takes)
	return []byte("done"), nil
}
