package streams

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// wire is one end of a connection in virtual time: a pipe for each direction, so that one can be closed alone.
type wire struct {
	net.Conn          // what is written
	in       net.Conn // what is read
	traffic  atomic.Int64
	writes   atomic.Int64
}

// wires are two ends with a direction each way, made by pipe.
func wires(pipe func() (in, out net.Conn)) (a, b *wire) {
	there, fromThere := pipe()
	back, fromBack := pipe()
	return &wire{Conn: there, in: fromBack}, &wire{Conn: back, in: fromThere}
}

// kernels is a pipe that takes what is written before it is read, as two kernels do for processes that hang.
func kernels() (in, out net.Conn) {
	in, near := net.Pipe()
	far, out := net.Pipe()
	buffer := make(chan []byte, 100_000)
	go func() {
		defer close(buffer)
		for {
			data := make([]byte, chunkSize)
			n, err := near.Read(data)
			if err != nil {
				_ = near.Close()
				return
			}
			buffer <- data[:n]
		}
	}()
	go func() {
		for data := range buffer {
			if _, err := far.Write(data); err != nil {
				_ = near.Close()
			}
		}
		_ = far.Close()
	}()
	return in, out
}

func (w *wire) Read(b []byte) (int, error) { return w.in.Read(b) }

func (w *wire) Write(b []byte) (int, error) {
	w.writes.Add(1)
	n, err := w.Conn.Write(b)
	w.traffic.Add(int64(n))
	return n, err
}

func (w *wire) SetReadDeadline(t time.Time) error { return w.in.SetReadDeadline(t) }
func (w *wire) CloseWrite() error                 { return w.Conn.Close() }
func (w *wire) Close() error                      { return errors.Join(w.Conn.Close(), w.in.Close()) }

// careful is a recorder that is asked before a ping is answered.
type careful struct {
	*recorder
	asked func()
}

func (c careful) Ping(identity.PublicKey) { c.asked() }

// virtual is a pool in a bubble.
func virtual(t *testing.T, seed byte, handler Handler) *Pool {
	t.Helper()
	p, err := New(Config{Identity: id(seed), Handler: handler})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = p.Shutdown(ctx)
	})
	return p
}

// couple joins two pools by a stream of version 2.
func couple(a, b *Pool) (*wire, *wire) {
	near, far := wires(kernels)
	attachAs(a, b.config.Identity.PublicKey(), link{near, newSocket(context.Background(), near)}, true)
	attachAs(b, a.config.Identity.PublicKey(), link{far, newSocket(context.Background(), far)}, true)
	return near, far
}

// coupleTLS does the same over TLS.
func coupleTLS(t *testing.T, a, b *Pool) (*wire, *wire) {
	t.Helper()
	near, far := wires(kernels)
	dialed, taken := newSocket(context.Background(), near), newSocket(context.Background(), far)
	client := tls.Client(dialed, a.config.Identity.ClientTLS(keyB))
	server := tls.Server(taken, b.config.Identity.ServerTLS())
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	attachAs(a, keyB, link{client, dialed}, knowsPings(client))
	attachAs(b, keyA, link{server, taken}, knowsPings(server))
	return near, far
}

// alone joins a to what only takes and says what the test does.
func alone(a *Pool) *wire {
	near, far := wires(kernels)
	attachAs(a, keyB, link{near, newSocket(context.Background(), near)}, true)
	return far
}

var keyA, keyB = id(1).PublicKey(), id(2).PublicKey()

const givenUpAfter = DefaultPingAfter + DefaultPingTimeout

// downAfter says when and why r has lost a peer, in whole seconds from a beginning.
func (r *recorder) downAfter(t *testing.T, peer identity.PublicKey, began time.Time) (time.Duration, error) {
	t.Helper()
	err := r.untilDown(t, peer)
	return time.Since(began).Truncate(time.Second), err
}

// A kernel that answers for a process that hangs: what is written is taken, and nothing ever comes.
func TestHungPeerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		a := virtual(t, 1, r)
		far := alone(a)
		took, err := r.downAfter(t, keyB, time.Now())
		assertIs(t, err, ErrSilent)
		if took != givenUpAfter {
			t.Errorf("given up after %v, want %v", took, givenUpAfter)
		}
		taken, _ := io.ReadAll(far)
		_ = far.Close()
		if fmt.Sprintf("%x", taken) != "80000002" {
			t.Errorf("sent %x, want one ping", taken)
		}
	})
}

// What answers is whoever handles frames: a process whose handler hangs is as good as one that hangs. It does not blame
// the other for that.
func TestHungHandlerIsGivenUp(t *testing.T) {
	for name, handle := range map[string]func(hang func()) (Handler, *recorder){
		"in a frame": func(hang func()) (Handler, *recorder) {
			r := newRecorder()
			r.onFrame = func(identity.PublicKey, []byte) { hang() }
			return r, r
		},
		"in a ping": func(hang func()) (Handler, *recorder) {
			r := newRecorder()
			return careful{r, hang}, r
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				var began time.Time
				handler, hung := handle(func() { began = time.Now(); <-release })
				r := newRecorder()
				a, b := virtual(t, 1, r), virtual(t, 2, handler)
				couple(a, b)
				if err := a.Send(keyB, []byte("hang")); err != nil {
					t.Fatal(err)
				}
				_ = r.untilDown(t, keyB)
				synctest.Wait()
				took, err := r.downAfter(t, keyB, began)
				assertIs(t, err, ErrSilent)
				if took != givenUpAfter {
					t.Errorf("given up after %v, want %v", took, givenUpAfter)
				}
				time.Sleep(10 * time.Minute)
				close(release)
				if err := hung.untilDown(t, keyA); errors.Is(err, ErrSilent) {
					t.Errorf("the hung one saw %v", err)
				}
			})
		})
	}
}

// An idle stream lives on, and costs next to nothing.
func TestIdleStreamLivesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, asked := newRecorder(), 0
		a, b := virtual(t, 1, r), virtual(t, 2, careful{newRecorder(), func() { asked++ }})
		near, far := coupleTLS(t, a, b)
		shaking := [2]int64{near.traffic.Load() + far.traffic.Load(), near.writes.Load() + far.writes.Load()}
		const hours = 4
		time.Sleep(hours * time.Hour)
		synctest.Wait()
		if len(r.down[keyB]) > 0 {
			t.Fatalf("down: %v", r.down[keyB])
		}
		bytes := (near.traffic.Load() + far.traffic.Load() - shaking[0]) / hours
		words := (near.writes.Load() + far.writes.Load() - shaking[1]) / hours
		t.Logf("an idle stream carries %d control words an hour, both ways together: %d bytes of TLS", words, bytes)
		if words > 960 || bytes > 960*26 || asked == 0 { // at most a ping and an answer each way every 15 s
			t.Errorf("%d words and %d bytes an hour, %d pings handled", words, bytes, asked)
		}
		if total := a.Stats().Total; total != (Traffic{}) {
			t.Errorf("control words were counted as traffic: %+v", total)
		}
	})
}

// A peer that is slow, and busy with what it has been sent, is not one that hangs: with frames that take a while, with
// one that comes in bit by bit, and in one direction only.
func TestSlowPeerIsNotGivenUp(t *testing.T) {
	t.Run("handler", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, slow := newRecorder(), newRecorder()
			slow.onFrame = func(identity.PublicKey, []byte) { time.Sleep(9 * time.Second) }
			a, b := virtual(t, 1, r), virtual(t, 2, slow)
			couple(a, b)
			const frames = 100 // all of them come in one read
			for range frames {
				if err := a.Send(keyB, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(frames * 9 * time.Second)
			synctest.Wait()
			if slow.bytes[keyA] != frames {
				t.Errorf("%d of %d frames were handled", slow.bytes[keyA], frames)
			}
			if len(r.down[keyB])+len(slow.down[keyA]) > 0 {
				t.Errorf("down: %v, %v", r.down[keyB], slow.down[keyA])
			}
		})
	})
	t.Run("line", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRecorder()
			a := virtual(t, 1, r)
			far := alone(a)
			for _, octet := range frameOf(make([]byte, 60)) {
				time.Sleep(givenUpAfter - time.Second)
				if _, err := far.Write([]byte{octet}); err != nil {
					t.Fatal(err)
				}
			}
			r.untilBytes(t, keyB, 60)
			if len(r.down[keyB]) > 0 {
				t.Errorf("down: %v", r.down[keyB])
			}
			_ = far.Close()
		})
	})
	t.Run("one way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, s := newRecorder(), newRecorder()
			a, b := virtual(t, 1, r), virtual(t, 2, s)
			_, far := couple(a, b)
			for range 3600 {
				if err := a.Send(keyB, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			if words := far.traffic.Load() / headerSize; words < 200 || words > 600 {
				t.Errorf("%d words came back in an hour", words)
			}
			if len(r.down[keyB])+len(s.down[keyA]) > 0 {
				t.Errorf("down: %v, %v", r.down[keyB], s.down[keyA])
			}
		})
	})
}

// A ping that cannot even be written is no unanswered ping: who takes nothing is a stalled peer.
func TestUnwrittenPingIsNotUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		a := virtual(t, 1, r)
		near, far := wires(net.Pipe) // no kernel
		attachAs(a, keyB, link{near, newSocket(context.Background(), near)}, true)
		time.Sleep(DefaultPingAfter - time.Second)
		if err := a.Send(keyB, []byte("taken by nobody")); err != nil {
			t.Fatal(err)
		}
		took, err := r.downAfter(t, keyB, time.Now())
		assertIs(t, err, ErrStalled)
		if took != DefaultWriteTimeout {
			t.Errorf("given up after %v, want %v", took, DefaultWriteTimeout)
		}
		_ = far.Close()
	})
}

// A process that was stopped itself finds its timers overdue, and the answer unread.
func TestOwnStandstillIsNotBlamedOnThePeer(t *testing.T) {
	config := Config{PingAfter: DefaultPingAfter, PingTimeout: DefaultPingTimeout}
	v := vigil{due: DefaultPingAfter}
	at := sight{since: 1}
	if do, _ := v.look(config, DefaultPingAfter, at); do != sayPing {
		t.Fatalf("action %d, want a ping", do)
	}
	v.written, v.due = DefaultPingAfter, givenUpAfter
	stopped := 10 * time.Hour
	if do, next := v.look(config, givenUpAfter+stopped, at); do != wait || next != DefaultPingTimeout {
		t.Errorf("action %d, next in %v", do, next)
	}
	v.due = givenUpAfter + stopped + DefaultPingTimeout
	if do, _ := v.look(config, v.due, at); do != giveUp {
		t.Errorf("action %d, want to give up", do)
	}
}

// Pings, however many, are answered by one word at a time: a peer that does not read cannot make our queue grow.
func TestFloodOfPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		a := virtual(t, 1, r)
		near, far := wires(net.Pipe)
		attachAs(a, keyB, link{near, newSocket(context.Background(), near)}, true)
		for range 10_000 {
			if _, err := far.Write([]byte{0x80, 0, 0, 2}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		a.mu.Lock()
		s := a.peers[keyB]
		a.mu.Unlock()
		s.mu.Lock()
		if queued := s.queue.head; queued != nil && (queued.next != nil || queued.used > headerSize) {
			t.Errorf("%d bytes queued", queued.used)
		}
		s.mu.Unlock()
		_ = far.Close()
		_ = r.untilDown(t, keyB)
	})
}
