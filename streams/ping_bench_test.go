//go:build unix

package streams

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// pinged counts the pings that a Handler is asked to answer.
type pinged struct {
	silent
	count *atomic.Int64
}

func (p pinged) Ping(identity.PublicKey) { p.count.Add(1) }

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPing is what idle streams cost, both ends together: the processor's time for one ping with its answer, over
// TLS and real sockets, and what that makes in an hour at the usual pace. It runs at ten times that pace.
func BenchmarkPing(b *testing.B) {
	const streams, faster = 100, 10
	var count atomic.Int64
	change := func(c *Config) {
		c.PingAfter, c.PingTimeout = DefaultPingAfter/faster, DefaultPingTimeout/faster
		c.Handler = pinged{count: &count}
	}
	center := newNode(b, 1, func(c *Config) { change(c); c.MaxStreamsPerAddress = streams })
	var dials sync.WaitGroup
	for i := range streams {
		leaf := newNode(b, byte(10+i), change)
		dials.Go(func() {
			if err := leaf.Dial(context.Background(), center.key, center.address); err != nil {
				b.Error(err)
			}
		})
	}
	dials.Wait()
	var pings int64
	var used, took time.Duration
	for b.Loop() {
		pingsBefore, usedBefore, began := count.Load(), cpuTime(b), time.Now()
		<-time.After(3 * DefaultPingAfter / faster)
		pings, used, took = pings+count.Load()-pingsBefore, used+cpuTime(b)-usedBefore, took+time.Since(began)
	}
	perHour := float64(pings) / took.Hours() / streams / faster
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(used.Nanoseconds())/float64(pings), "cpu-ns/ping")
	b.ReportMetric(perHour, "pings/stream-hour")
	b.ReportMetric(perHour*float64(used.Microseconds())/float64(pings), "cpu-µs/stream-hour")
}

// BenchmarkHungPeer stops a process and measures how much later than PingAfter and PingTimeout together, here a tenth of
// the usual, it is given up.
func BenchmarkHungPeer(b *testing.B) {
	a := newNode(b, 2, func(c *Config) { c.PingAfter, c.PingTimeout = DefaultPingAfter/10, DefaultPingTimeout/10 })
	var late []time.Duration
	for b.Loop() {
		child, address := startChild(b, "peer")
		if err := a.Dial(b.Context(), id(1).PublicKey(), address); err != nil {
			b.Fatal(err)
		}
		a.untilUp(b, id(1).PublicKey())
		began := time.Now() // the hello was the last that came
		stop(b, child)
		assertIs(b, a.untilDown(b, id(1).PublicKey()), ErrSilent)
		late = append(late, time.Since(began)-givenUpAfter/10)
		_ = child.Process.Kill()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(givenUpAfter.Seconds(), "s/usually")
	b.ReportMetric(float64(median(late).Microseconds())/1000, "late-ms")
}
