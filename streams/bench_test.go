package streams

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// Each benchmark measures a bare loop over the same kind of connection beside the pool, in turns, so that both see the
// same machine, and reports the medians and their ratio; and the ratio of the fastest of each, which other work on the
// machine disturbs least.

// link is one end of a connection that the benchmarks make: plain, or with TLS on top.
type link struct {
	net.Conn
	socket *socket
}

// closeWrite is the bare polite end of a direction.
func (l link) closeWrite() error {
	if secure, ok := l.Conn.(*tls.Conn); ok {
		if err := secure.CloseWrite(); err != nil {
			return err
		}
	}
	return l.socket.CloseWrite()
}

// benchKey names the benchmark's peers; the identity behind it is the child's for all of them.
func benchKey(i int) (key identity.PublicKey) {
	binary.BigEndian.PutUint64(key[:], uint64(i))
	return key
}

var benchServer, benchClient = id(200), id(201)

func dialLink(address string, secure bool) (link, error) {
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return link{}, err
	}
	s := newSocket(context.Background(), raw.(*net.TCPConn))
	if !secure {
		return link{raw, s}, nil
	}
	conn := tls.Client(s, benchClient.ClientTLS(benchServer.PublicKey()))
	return link{conn, s}, conn.Handshake()
}

func acceptLink(listener net.Listener, secure bool) (link, error) {
	raw, err := listener.Accept()
	if err != nil {
		return link{}, err
	}
	s := newSocket(context.Background(), raw.(*net.TCPConn))
	if !secure {
		return link{raw, s}, nil
	}
	return link{tls.Server(s, benchServer.ServerTLS()), s}, nil
}

// attach makes a link a stream of a pool, without the hello. Its other end knows no pings.
func attach(p *Pool, peer identity.PublicKey, l link) *stream { return attachAs(p, peer, l, false) }

func attachAs(p *Pool, peer identity.PublicKey, l link, pings bool) *stream {
	s := newStream(p, peer, l.Conn, l.socket)
	s.pings = pings
	if p.install(s).verdict != accepted {
		panic("not installed")
	}
	s.start()
	return s
}

// silent is a Handler that ignores everything.
type silent struct{}

func (silent) PeerUp(identity.PublicKey)          {}
func (silent) Frame(identity.PublicKey, []byte)   {}
func (silent) PeerDown(identity.PublicKey, error) {}

func benchPool(b *testing.B, handler Handler) *Pool {
	p, err := New(Config{Identity: benchClient, Handler: handler, MaxStreams: 100_000, Linger: patience})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// respond is the other process: it answers an end with an end.
func respond(secure bool) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	go func() { // end with the parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		l, err := acceptLink(listener, secure)
		if err != nil {
			panic(err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{l.Conn})
			_ = l.closeWrite()
			_ = l.socket.Close()
		}()
	}
}

// startChild starts another process that prints where it listens, and ends it with the test.
func startChild(tb testing.TB, kind string) (child *exec.Cmd, address string) {
	tb.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+kind)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = child.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return child, strings.TrimSpace(address)
}

func dialLinks(b *testing.B, address string, n int, secure bool) []link {
	links := make([]link, n)
	next := make(chan int)
	var dials sync.WaitGroup
	for range 8 {
		dials.Go(func() {
			for i := range next {
				var err error
				if links[i], err = dialLink(address, secure); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range links {
		next <- i
	}
	close(next)
	dials.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return links
}

func bareClose(b *testing.B, links []link) {
	buffer := make([]byte, 1)
	for _, l := range links {
		if err := l.closeWrite(); err != nil {
			b.Fatal(err)
		}
	}
	for _, l := range links {
		if _, err := l.Read(buffer); !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		_ = l.socket.Close()
	}
}

func poolClose(b *testing.B, p *Pool) {
	if err := p.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// rounds measures floor and ours in turns and reports them per unit. Each function returns the time it took.
func rounds(b *testing.B, units int, floor, ours func() time.Duration) {
	var floors, own []time.Duration
	for b.Loop() {
		floors = append(floors, floor())
		own = append(own, ours())
	}
	f, o := median(floors), median(own)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(f.Nanoseconds())/float64(units), "floor-ns/each")
	b.ReportMetric(float64(o.Nanoseconds())/float64(units), "pool-ns/each")
	b.ReportMetric(float64(o)/float64(f), "ratio")
	b.ReportMetric(float64(own[0])/float64(floors[0]), "fastest-ratio") // sorted by median
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func timed(f func()) time.Duration {
	runtime.GC() // none of the other's garbage
	start := time.Now()
	f()
	return time.Since(start)
}

func kinds(b *testing.B, run func(b *testing.B, kind string, secure bool)) {
	b.Run("plain", func(b *testing.B) { run(b, "plain", false) })
	b.Run("tls", func(b *testing.B) { run(b, "tls", true) })
}

// BenchmarkClose closes many idle streams to another process.
func BenchmarkClose(b *testing.B) {
	kinds(b, func(b *testing.B, kind string, secure bool) {
		_, address := startChild(b, kind)
		for _, n := range []int{1000, 8000} {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				rounds(b, n, func() time.Duration {
					links := dialLinks(b, address, n, secure)
					return timed(func() { bareClose(b, links) })
				}, func() time.Duration {
					links := dialLinks(b, address, n, secure)
					p := benchPool(b, silent{})
					for i, l := range links {
						attach(p, benchKey(i), l)
					}
					return timed(func() { poolClose(b, p) })
				})
			})
		}
	})
}

// linkPair is two ends of one connection within this process.
func linkPair(b *testing.B, secure bool) (dialed, taken link) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ends := make(chan link, 1)
	go func() {
		l, err := acceptLink(listener, secure)
		if conn, ok := l.Conn.(*tls.Conn); ok && err == nil {
			err = conn.Handshake()
		}
		if err != nil {
			b.Error(err)
		}
		ends <- l
	}()
	if dialed, err = dialLink(listener.Addr().String(), secure); err != nil {
		b.Fatal(err)
	}
	return dialed, <-ends
}

// bareFrames sends total bytes in frames of one size through a length-prefixed loop with 64 KiB buffers.
func bareFrames(b *testing.B, size, total int, secure bool) time.Duration {
	from, to := linkPair(b, secure)
	received := make(chan error, 1)
	return timed(func() {
		go func() { received <- bareReceive(to, size, total) }()
		writer, frame := bufio.NewWriterSize(from, chunkSize), make([]byte, size)
		for range total / size {
			_, _ = writer.Write(binary.BigEndian.AppendUint32(writer.AvailableBuffer(), uint32(size)))
			_, _ = writer.Write(frame)
		}
		if err := errors.Join(writer.Flush(), <-received, from.socket.Close(), to.socket.Close()); err != nil {
			b.Fatal(err)
		}
	})
}

func bareReceive(from io.Reader, size, total int) error {
	reader, header, frame := bufio.NewReaderSize(from, chunkSize), make([]byte, headerSize), make([]byte, size)
	for range total / size {
		if _, err := io.ReadFull(reader, header); err != nil {
			return err
		}
		if _, err := io.ReadFull(reader, frame[:binary.BigEndian.Uint32(header)]); err != nil {
			return err
		}
	}
	return nil
}

// counter is a Handler that closes done after so many bytes.
type counter struct {
	silent
	left int
	done chan struct{}
}

func (c *counter) Frame(_ identity.PublicKey, frame []byte) {
	if c.left -= len(frame); c.left == 0 {
		close(c.done)
	}
}

// poolFrames sends the same through Send and the other side's Handler.
func poolFrames(b *testing.B, size, total int, secure bool) time.Duration {
	from, to := linkPair(b, secure)
	handler := &counter{left: total, done: make(chan struct{})}
	sender, receiver := benchPool(b, silent{}), benchPool(b, handler)
	attachAs(sender, benchKey(1), from, true)
	attachAs(receiver, benchKey(2), to, true)
	took := timed(func() {
		frame := make([]byte, size)
		for range total / size {
			for sender.Send(benchKey(1), frame) != nil {
				if err := sender.Flush(context.Background(), benchKey(1)); err != nil {
					b.Fatal(err)
				}
			}
		}
		<-handler.done
	})
	poolClose(b, sender)
	poolClose(b, receiver)
	return took
}

// BenchmarkFrames measures throughput: each is a frame.
func BenchmarkFrames(b *testing.B) {
	const total = 256 << 20
	kinds(b, func(b *testing.B, _ string, secure bool) {
		for _, size := range []int{1 << 10, 16 << 10} {
			b.Run(fmt.Sprint(size), func(b *testing.B) {
				rounds(b, total/size, func() time.Duration { return bareFrames(b, size, total, secure) },
					func() time.Duration { return poolFrames(b, size, total, secure) })
			})
		}
	})
}

// bareFarewell is what a polite end costs at least: last bytes, close_notify, FIN, the peer's end, for all at once.
func bareFarewell(b *testing.B, links []link, last []byte) {
	var wait sync.WaitGroup
	for _, l := range links {
		wait.Go(func() {
			_, err := l.Write(last)
			err = errors.Join(err, l.closeWrite())
			if _, readErr := io.Copy(io.Discard, struct{ io.Reader }{l.Conn}); readErr != nil {
				err = errors.Join(err, readErr)
			}
			if err = errors.Join(err, l.socket.Close()); err != nil {
				b.Error(err)
			}
		})
	}
	wait.Wait()
}

// BenchmarkShutdown is a node's: a last 1 KiB to each of a few TLS neighbors, then Shutdown. Each is a neighbor.
func BenchmarkShutdown(b *testing.B) {
	_, address := startChild(b, "tls")
	last := make([]byte, 1<<10)
	for _, n := range []int{1, 2, 4, 9, 29} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rounds(b, n, func() time.Duration {
				links := dialLinks(b, address, n, true)
				return timed(func() { bareFarewell(b, links, last) })
			}, func() time.Duration {
				links := dialLinks(b, address, n, true)
				p := benchPool(b, silent{})
				for i, l := range links {
					attach(p, benchKey(i), l)
				}
				return timed(func() {
					for i := range links {
						if err := p.Send(benchKey(i), last); err != nil {
							b.Fatal(err)
						}
					}
					poolClose(b, p)
				})
			})
		})
	}
}

// BenchmarkIdle is what a stream that has been used and is idle holds. The floor is the bare connection.
func BenchmarkIdle(b *testing.B) {
	const n = 2000
	kinds(b, func(b *testing.B, kind string, secure bool) {
		_, address := startChild(b, kind)
		for b.Loop() {
			nothing := footprint()
			links := dialLinks(b, address, n, secure)
			bare := footprint()
			p := benchPool(b, silent{})
			for i, l := range links {
				attach(p, benchKey(i), l)
				if err := p.Deliver(context.Background(), benchKey(i), make([]byte, 1<<10)); err != nil {
					b.Fatal(err)
				}
			}
			full := footprint()
			for name, value := range map[string]func(memory) float64{
				"goroutines": func(m memory) float64 { return m.goroutines },
				"heap-B":     func(m memory) float64 { return m.heap },
				"stack-B":    func(m memory) float64 { return m.stack },
				"resident-B": func(m memory) float64 { return m.resident },
			} {
				b.ReportMetric((value(bare)-value(nothing))/n, "floor-"+name)
				b.ReportMetric((value(full)-value(bare))/n, "pool-"+name)
			}
			poolClose(b, p)
		}
		b.ReportMetric(0, "ns/op")
	})
}

type memory struct{ goroutines, heap, stack, resident float64 }

func footprint() memory {
	for range 3 { // sync.Pool gives back what nobody borrowed for two collections
		debug.FreeOSMemory()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	m := memory{float64(runtime.NumGoroutine()), float64(stats.HeapAlloc), float64(stats.StackInuse), 0}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil { // Linux
		var size, resident int
		_, _ = fmt.Sscan(string(text), &size, &resident)
		m.resident = float64(resident * os.Getpagesize())
	}
	return m
}
