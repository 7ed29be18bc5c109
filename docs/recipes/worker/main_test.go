package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

func TestMain(m *testing.M) { recipetest.Main(m, main) }

const slack = 2 * time.Second // for a busy machine

type broker struct {
	url  string
	nats *nats.Conn
	js   jetstream.JetStream
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	server, err := embedded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	b := &broker{url: server.ClientURL()}
	if b.nats, err = nats.Connect(b.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.nats.Close)
	if b.js, err = jetstream.New(b.nats); err != nil {
		t.Fatal(err)
	}
	if err := createStreams(t.Context(), b.js); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *broker) publish(t *testing.T, jobs int, takes string) {
	t.Helper()
	for i := range jobs {
		if _, err := b.js.PublishAsync(fmt.Sprintf("jobs.%s-%d", takes, i), []byte(takes)); err != nil {
			t.Fatal(err)
		}
	}
	<-b.js.PublishAsyncComplete()
}

func (b *broker) results(t *testing.T) int {
	t.Helper()
	stream, err := b.js.Stream(context.Background(), "RESULTS")
	if err != nil {
		t.Fatal(err)
	}
	return int(stream.CachedInfo().State.Msgs)
}

func (b *broker) awaitResults(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); b.results(t) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d results of %d", b.results(t), n)
		}
	}
}

func (b *broker) consumer(t *testing.T) *jetstream.ConsumerInfo {
	t.Helper()
	c, err := b.js.Consumer(context.Background(), "JOBS", "worker")
	if err != nil {
		t.Fatal(err)
	}
	return c.CachedInfo()
}

func (b *broker) begin(t *testing.T, flags ...string) *recipetest.Process {
	t.Helper()
	return recipetest.Start(t, append([]string{"-nats", b.url, "-admin", "127.0.0.1:0"}, flags...)...)
}

func TestTerminatedAndKilledInALoop(t *testing.T) {
	const jobs, rounds = 3000, 6
	b := newBroker(t)
	b.publish(t, jobs, "5ms")
	var gone atomic.Int64
	if _, err := b.nats.Subscribe("worker.gone", func(*nats.Msg) { gone.Add(1) }); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		p := b.begin(t)
		b.awaitResults(t, b.results(t)+jobs/rounds/2)
		if round%2 == 1 {
			p.Signal(t, syscall.SIGKILL)
			p.ExpectExit(t, 128+int(syscall.SIGKILL))
			continue
		}
		p.Signal(t, syscall.SIGTERM)
		p.ExpectExit(t, 0)
		p.Expect(t, "4 acked; exit code 0")
	}
	p := b.begin(t)
	b.awaitResults(t, jobs)
	for deadline := time.Now().Add(time.Minute); b.consumer(t).AckFloor.Stream < jobs && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // what was killed after its result was stored is done again
	}
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
	info := b.consumer(t)
	if results := b.results(t); results != jobs || info.NumPending != 0 || info.NumAckPending != 0 {
		t.Errorf("%d results of %d jobs; %d are pending, %d not acked", results, jobs, info.NumPending, info.NumAckPending)
	}
	if err := b.nats.Flush(); err != nil || gone.Load() != rounds/2+1 {
		t.Errorf("%d workers said that they have gone, %v", gone.Load(), err)
	}
	t.Logf("%d deliveries of %d jobs", info.Delivered.Consumer, jobs)
}

func TestJobsAreGivenBackWhenInsistedUpon(t *testing.T) {
	b := newBroker(t)
	b.publish(t, 4, "1m")
	p := b.begin(t, "-alarm", "2s")
	for b.consumerDelivered(t) < 4 {
		time.Sleep(time.Millisecond)
	}
	p.Signal(t, syscall.SIGTERM)
	if took := p.ExpectExit(t, 4); took < 1600*time.Millisecond || took > 1600*time.Millisecond+slack {
		t.Errorf("it took %v", took)
	}
	p.Expect(t, "given back.*1m-3", "Insisted.*consumer")
	if results := b.results(t); results != 0 {
		t.Errorf("%d results", results)
	}
}

func (b *broker) consumerDelivered(t *testing.T) uint64 {
	t.Helper()
	c, err := b.js.Consumer(context.Background(), "JOBS", "worker")
	if err != nil {
		return 0 // the worker has not made it yet
	}
	return c.CachedInfo().Delivered.Consumer
}

func TestConsumerThatIsDeletedEndsTheWorker(t *testing.T) {
	b := newBroker(t)
	b.publish(t, 100, "5ms")
	p := b.begin(t)
	b.awaitResults(t, 50)
	if err := b.js.DeleteConsumer(t.Context(), "JOBS", "worker"); err != nil {
		t.Fatal(err)
	}
	p.ExpectExit(t, 1)
	p.Expect(t, `component \\"consumer\\" died: no jobs any more: nats: consumer deleted`)
}

func TestTry(t *testing.T) {
	p := recipetest.Start(t, "-admin", "127.0.0.1:0")
	p.Await(t, "listening")
	p.Signal(t, syscall.SIGTERM)
	p.ExpectExit(t, 0)
}
