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
// bare TLS writes of 1 KiB over streams to the same five. The floor: twice as long. Reported besides: until the last
// neighbor has dropped its half-neighborship.
func BenchmarkWithdrawal5(b *testing.B) {
	var others []*tlsNetwork
	var descriptors []Descriptor
	dropped := make(chan time.Time, 100)
	conns := bareStreams(b, 5)
	for i := range 5 {
		o, d := openTLS(b, byte(i+1))
		others, descriptors = append(others, o), append(descriptors, d)
	}
	var written, heard, bare []time.Duration
	for seed := byte(100); b.Loop(); seed++ {
		leaver, own := openTLS(b, seed, descriptors...)
		leaver.awaitNeighbors(b, 5)
		for _, o := range others {
			o.mutex.Lock()
			o.heard = func(peer identity.PublicKey) {
				now := time.Now()
				if peer == own.Key && len(o.handler.Snapshot().Neighbors) == 0 {
					dropped <- now
				}
			}
			o.mutex.Unlock()
		}
		bare = append(bare, bareWrites(b, conns))
		begun := time.Now()
		if err := leaver.handler.Shutdown(b.Context()); err != nil {
			b.Fatal(err)
		}
		written = append(written, time.Since(begun))
		for range others {
			heard = append(heard, (<-dropped).Sub(begun))
		}
		leaver.close()
		for _, o := range others {
			o.awaitNeighbors(b, 0)
		}
	}
	closeAll(b, others...)
	slices.Sort(heard)
	b.ReportMetric(float64(median(written).Microseconds()), "µs-written")
	b.ReportMetric(float64(heard[len(heard)*9/10].Microseconds()), "µs-dropped-p90")
	b.ReportMetric(float64(median(bare).Microseconds()), "µs-bare")
	if ratio := float64(median(written)) / float64(median(bare)); b.N > 5 && ratio > 2 {
		b.Errorf("%.2f times as long as five bare writes, want at most 2", ratio)
	}
}

// bareStreams are as many TLS streams over loopback, whose other ends read.
func bareStreams(b *testing.B, n int) []*tls.Conn {
	b.Helper()
	here, there := identity.FromSeed([32]byte{1, 2}), identity.FromSeed([32]byte{2, 2})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", there.ServerTLS())
	if err != nil {
		b.Fatal(err)
	}
	var conns []*tls.Conn
	for range n {
		var readers sync.WaitGroup
		readers.Go(func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		})
		conn, err := tls.Dial("tcp", listener.Addr().String(), here.ClientTLS(there.PublicKey()))
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
		b.Cleanup(func() { _ = conn.Close(); readers.Wait() })
	}
	_ = listener.Close()
	return conns
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

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
