package remote

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/farewell-node/farewell/fsm"
)

// BenchmarkAck takes the time of three things in turn, over the same connections and
// server, and compares their medians: a bare request-reply of NATS with the bytes of
// a command; a command until the other process has answered that it takes it (ack);
// and [Shutdown] until its report is there (leave), which includes what JetStream has
// to confirm before the process may close anything. The last two are each of a process
// that has joined for that, which is not counted.
func BenchmarkAck(b *testing.B) {
	s := startServer(b)
	here, there := s.connect(), s.connect()
	if _, err := there.Subscribe("bare", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	var bare, ack, leaving []time.Duration
	for b.Loop() {
		p := presentFor(b, here, there)
		r := request{
			Action: leave, ID: nuid.Next(), Incarnation: p.self.Incarnation, Until: p.uptime() + time.Minute,
			Command: fsm.Command{Reason: "deploy 42", By: "operator", Within: time.Minute},
		}
		bare = append(bare, timed(b, func() error { return second(here.Request("bare", marshal(b, r), generous)) }))
		ack = append(ack, timed(b, func() error {
			m, err := here.Request(commandPrefix+p.self.runKey(), marshal(b, r), generous)
			if err != nil {
				return err
			}
			return second(decodeReply(m.Data))
		}))
		<-p.Done()

		p = presentFor(b, here, there)
		leaving = append(leaving, timed(b, func() error {
			return second(Shutdown(b.Context(), here, p.self, "", fsm.Command{Reason: "deploy 42", By: "operator"}))
		}))
		<-p.Done()
	}
	floor := median(bare)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(floor, "ns/bare")
	b.ReportMetric(median(ack)/floor, "ack/bare")
	b.ReportMetric(median(leaving)/floor, "leave/bare")
}

func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2])
}

func timed(b *testing.B, f func() error) time.Duration {
	began := time.Now()
	err := f()
	took := time.Since(began)
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// presentFor is a process with one trivial component that is there for others.
func presentFor(b *testing.B, here, there *nats.Conn) *Member {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		b.Fatal(err)
	}
	m, err := Join(there, Config{Group: "api", Instance: "api-1", Logger: slog.New(slog.DiscardHandler)}, o)
	if err != nil {
		b.Fatal(err)
	}
	if err := o.Register("db", fsm.Closer(nothing{})); err != nil {
		b.Fatal(err)
	}
	for m.Instance().Born == 0 {
		time.Sleep(100 * time.Microsecond)
	}
	if _, err := Ask(b.Context(), here, "api/api-1"); err != nil {
		b.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // until what joining has begun is over
	return m
}

type nothing struct{}

func (nothing) Close() error { return nil }
