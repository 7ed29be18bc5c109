package fleet

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

const (
	benchInstances = 200
	benchAtOnce    = 20
)

// BenchmarkDrain has 200 instances leave that have nothing to do, 20 at a time, in
// three ways, in turn, over the same server and connection, and compares their medians:
//
//   - batches: the floor. 20 times [remote.Shutdown] at once, and the next 20 when the
//     slowest is done: no lease, nothing written down. Its time is the sum of its
//     batches' slowest.
//   - drain: what this package does, from Begin to the end of Run.
//   - polling: as scripts around kubectl do. 20 are told, and looked for once a second
//     until they are gone.
//
// The joining is not counted.
func BenchmarkDrain(b *testing.B) {
	server := natstest.Start(b)
	nc := server.Connect()
	times := map[string][]float64{}
	for b.Loop() {
		for name, way := range map[string]func(*testing.B, *nats.Conn, []remote.Instance){
			"batches": inBatches, "drain": drained, "polling": polled,
		} {
			list := benchMembers(b, server)
			began := time.Now()
			way(b, nc, list)
			times[name] = append(times[name], float64(time.Since(began)))
			listed(b, nc, 0)
		}
	}
	floor := median(times["batches"])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(floor/float64(time.Millisecond), "ms/batches")
	b.ReportMetric(median(times["drain"])/floor, "drain/batches")
	b.ReportMetric(median(times["polling"])/floor, "polling/batches")
}

func median(times []float64) float64 {
	slices.Sort(times)
	return times[len(times)/2]
}

// benchMembers are those who leave, over ten connections.
func benchMembers(b *testing.B, server *natstest.Server) []remote.Instance {
	var joining sync.WaitGroup
	for c := range 10 {
		nc := server.Connect()
		joining.Go(func() {
			for i := c; i < benchInstances; i += 10 {
				joinSimulated(b, nc, fmt.Sprint("api-", i), new(gauge))
			}
		})
	}
	joining.Wait()
	return listed(b, server.Connect(), benchInstances)
}

func inBatches(b *testing.B, nc *nats.Conn, list []remote.Instance) {
	for batch := range slices.Chunk(list, benchAtOnce) {
		var leaving sync.WaitGroup
		for _, i := range batch {
			leaving.Go(func() {
				if _, err := remote.Shutdown(b.Context(), nc, i, "", fsm.Command{Reason: "deploy 42"}); err != nil {
					b.Error(err)
				}
			})
		}
		leaving.Wait()
	}
}

func drained(b *testing.B, nc *nats.Conn, _ []remote.Instance) {
	d := begin1(b, nc, Plan{AtOnce: Count(benchAtOnce)}, Options{})
	if r := must(d.Run(b.Context()))(b); r.Count(Left) != benchInstances {
		b.Errorf("got\n%s", r)
	}
}

func polled(b *testing.B, nc *nats.Conn, list []remote.Instance) {
	var telling sync.WaitGroup
	defer telling.Wait()
	for batch := range slices.Chunk(list, benchAtOnce) {
		for _, i := range batch {
			telling.Go(func() { _, _ = remote.Shutdown(b.Context(), nc, i, "", fsm.Command{Reason: "deploy 42"}) })
		}
		for there := true; there; {
			time.Sleep(time.Second)
			now, err := remote.List(b.Context(), nc, "api")
			if err != nil {
				b.Fatal(err)
			}
			there = slices.ContainsFunc(now, func(i remote.Instance) bool {
				return slices.ContainsFunc(batch, func(asked remote.Instance) bool { return asked.Incarnation == i.Incarnation })
			})
		}
	}
}
