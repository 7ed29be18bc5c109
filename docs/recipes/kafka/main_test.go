package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

const partitions = 4

type broker struct {
	addresses []string
	client    *kgo.Client
	mu        sync.Mutex
	results   map[string]int
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "jobs", "results"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b := &broker{addresses: cluster.ListenAddrs(), results: map[string]int{}}
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.addresses...), kgo.ConsumeTopics("results"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	go b.count()
	return b
}

func (b *broker) count() {
	for {
		fetches := b.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		b.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) { b.results[string(r.Key)]++ })
		b.mu.Unlock()
	}
}

func (b *broker) publish(t *testing.T, jobs int, takes string) {
	t.Helper()
	var records []*kgo.Record
	for i := range jobs {
		records = append(records, &kgo.Record{Topic: "jobs", Key: fmt.Appendf(nil, "job-%d", i), Value: []byte(takes)})
	}
	if err := b.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// done is how many jobs have a result, and how many results there are beyond that.
func (b *broker) done() (jobs, doubled int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.results {
		doubled += n - 1
	}
	return len(b.results), doubled
}

func (b *broker) await(t *testing.T, jobs int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		n, _ := b.done()
		if n >= jobs {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d jobs are done", n, jobs)
		}
	}
}

func (b *broker) begin(t *testing.T) *recipetest.Process {
	t.Helper()
	return recipetest.Start(t, "-brokers", strings.Join(b.addresses, ","))
}

// Who is asked to leave has done each job once.
func TestTerminatedInALoop(t *testing.T) {
	const jobs, rounds = 2000, 5
	b := newBroker(t)
	b.publish(t, jobs, "5ms")
	for range rounds {
		before, _ := b.done()
		p := b.begin(t)
		b.await(t, before+jobs/rounds/2)
		p.Signal(t, syscall.SIGTERM)
		p.ExpectExit(t, 0)
		p.Expect(t, "2 acked; exit code 0")
	}
	p := b.begin(t)
	b.await(t, jobs)
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
	if _, doubled := b.done(); doubled != 0 {
		t.Errorf("%d jobs were done twice", doubled)
	}
}

// Who is killed has lost none; what was in flight is done again.
func TestKilled(t *testing.T) {
	const jobs = 1000
	b := newBroker(t)
	b.publish(t, jobs, "5ms")
	p := b.begin(t)
	b.await(t, jobs/4)
	p.Signal(t, syscall.SIGKILL)
	p.ExpectExit(t, 128+int(syscall.SIGKILL))
	p = b.begin(t)
	b.await(t, jobs)
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
	if _, doubled := b.done(); doubled > inFlight {
		t.Errorf("%d jobs were done twice", doubled)
	}
}

// A job that cannot be done ends the process before others take it for done.
func TestJobThatFails(t *testing.T) {
	b := newBroker(t)
	b.publish(t, 1, "no duration")
	p := b.begin(t)
	p.ExpectExit(t, 1)
	p.Expect(t, `component \\"consumer\\" died: job job-0: .*invalid duration`)
}
