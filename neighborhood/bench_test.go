package neighborhood

import (
	"crypto/tls"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// BenchmarkWithdrawal5 is a withdrawal with five neighbors over real sockets, until all frames are written, beside five
// bare TLS writes of 1 KiB in the same run. The aim: twice as long. The neighbors begin to work on what they read only
// when all is written: they are other machines, and not to compete for this one's processors. Reported besides, from
// withdrawals in which they do: until the last of them has dropped its half-neighborship.
func BenchmarkWithdrawal5(b *testing.B) {
	var others []*tlsNetwork
	var descriptors []Descriptor
	for i := range 5 {
		o, d := openTLS(b, byte(i+1))
		others, descriptors = append(others, o), append(descriptors, d)
	}
	var written, dropped, bare []time.Duration
	for b.Loop() {
		alone, took := untilWritten(b, others, descriptors)
		bare, written = append(bare, alone), append(written, took)
		dropped = append(dropped, untilDropped(b, others, descriptors))
	}
	closeAll(b, others...)
	b.ReportMetric(float64(median(written).Microseconds()), "µs-written")
	b.ReportMetric(float64(median(dropped).Microseconds()), "µs-dropped")
	b.ReportMetric(float64(median(bare).Microseconds()), "µs-bare")
	b.ReportMetric(float64(median(written))/float64(median(bare)), "×bare")
}

// untilWritten also times the bare writes, over streams that have been idle as long.
func untilWritten(b *testing.B, others []*tlsNetwork, descriptors []Descriptor) (bare, took time.Duration) {
	b.Helper()
	conns, closeConns := bareStreams(b, len(others))
	defer closeConns()
	leaver, _ := openTLS(b, 100, descriptors...)
	leaver.awaitNeighbors(b, len(others))
	gate := make(chan struct{})
	for _, o := range others {
		o.listen(gate, nil)
	}
	bare = bareWrites(b, conns)
	begun := time.Now()
	err := leaver.handler.Shutdown(b.Context())
	took = time.Since(begun)
	close(gate)
	if err != nil {
		b.Fatal(err)
	}
	finish(b, leaver, others)
	return bare, took
}

func untilDropped(b *testing.B, others []*tlsNetwork, descriptors []Descriptor) time.Duration {
	b.Helper()
	leaver, _ := openTLS(b, 101, descriptors...)
	leaver.awaitNeighbors(b, len(others))
	var left sync.WaitGroup
	for _, o := range others {
		left.Add(1)
		done := sync.OnceFunc(left.Done)
		o.listen(nil, func(identity.PublicKey) {
			if len(o.handler.Snapshot().Neighbors) == 0 {
				done()
			}
		})
	}
	begun := time.Now()
	if err := leaver.handler.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
	left.Wait()
	took := time.Since(begun)
	finish(b, leaver, others)
	return took
}

func finish(b *testing.B, leaver *tlsNetwork, others []*tlsNetwork) {
	b.Helper()
	leaver.close()
	for _, o := range others {
		o.listen(nil, nil)
		o.awaitNeighbors(b, 0)
	}
}

func bareWrites(b *testing.B, conns []*tls.Conn) time.Duration {
	b.Helper()
	frame := make([]byte, 1024)
	begun := time.Now()
	for _, conn := range conns {
		if _, err := conn.Write(frame); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begun)
}

// bareStreams are n TLS streams over loopback, whose other ends read.
func bareStreams(b *testing.B, n int) (conns []*tls.Conn, finish func()) {
	b.Helper()
	here, there := identity.FromSeed([32]byte{1, 2}), identity.FromSeed([32]byte{2, 2})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", there.ServerTLS())
	if err != nil {
		b.Fatal(err)
	}
	var readers sync.WaitGroup
	for range n {
		readers.Go(func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}
		})
		conn, err := tls.Dial("tcp", listener.Addr().String(), here.ClientTLS(there.PublicKey()))
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return conns, func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		readers.Wait()
		_ = listener.Close()
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
