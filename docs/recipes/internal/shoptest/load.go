// Package shoptest is everybody whom a shop deals with: clients, the load balancer
// before it, the collector of its telemetry, the database behind it.
package shoptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/farewell-node/farewell/docs/recipes/shop"
)

const clients = 4 // of each kind

// Load is clients that place orders, one after the other, until a load balancer that
// looks at the shop's readiness gives them none any more, or the shop says good-bye.
type Load struct {
	web, rpc, admin string
	transport       http.Transport
	calls           *grpc.ClientConn

	balanced atomic.Bool // orders are sent
	checks   context.CancelFunc
	unready  atomic.Bool // the balancer was told so
	next     atomic.Int64
	clients  sync.WaitGroup
	mu       sync.Mutex
	placed   map[string][]string // by kind of client, the orders that were confirmed
	failures []string
	ticks    int64
}

// Begin starts it, at a shop that listens there.
func Begin(t testing.TB, web, rpc, admin string) *Load {
	t.Helper()
	calls, err := grpc.NewClient(rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	l := &Load{web: web, rpc: rpc, admin: admin, calls: calls, placed: map[string][]string{}}
	l.transport.MaxIdleConnsPerHost = 2 * clients
	l.balanced.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	l.checks = cancel
	t.Cleanup(func() { cancel(); _ = calls.Close(); l.transport.CloseIdleConnections() })
	go l.balance(ctx)
	for range clients {
		l.clients.Go(func() { l.whileBalanced("web", func(name string) error { return l.Order(name, 20*time.Millisecond) }) })
		l.clients.Go(func() { l.whileBalanced("rpc", l.call) })
		l.clients.Go(l.socket)
		l.clients.Go(l.watch)
	}
	return l
}

// balance asks whether the shop is ready, as load balancers do, though more often.
func (l *Load) balance(ctx context.Context) {
	for ctx.Err() == nil {
		response, err := l.get(ctx, "/readyz")
		if err != nil || response != http.StatusOK {
			l.unready.Store(err == nil && response == http.StatusServiceUnavailable)
			l.balanced.Store(false)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *Load) get(ctx context.Context, path string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.admin+path, nil)
	if err != nil {
		return 0, err
	}
	response, err := l.transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

func (l *Load) whileBalanced(kind string, place func(name string) error) {
	for l.balanced.Load() {
		name := l.name()
		if err := place(name); err != nil {
			l.failed(kind, name, err)
			return
		}
		l.confirmed(kind, name)
	}
}

// Order places one over HTTP, which takes so long.
func (l *Load) Order(name string, takes time.Duration) error {
	request, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://%s/orders/%s?takes=%s", l.web, name, takes), nil)
	if err != nil {
		return err
	}
	response, err := l.transport.RoundTrip(request) // no client: it would repeat what fails
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if said, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s %w", response.Status, said, err)
	}
	return nil
}

// InFlight places orders that take so long, and returns at once.
func (l *Load) InFlight(orders int, takes time.Duration) {
	for range orders {
		l.clients.Go(func() {
			name := l.name()
			if err := l.Order(name, takes); err != nil {
				l.failed("long", name, err)
				return
			}
			l.confirmed("long", name)
		})
	}
}

func (l *Load) call(name string) error {
	return l.calls.Invoke(context.Background(), shop.PlaceMethod, wrapperspb.String(name), new(emptypb.Empty))
}

// socket places orders until the shop closes with 1001.
func (l *Load) socket() {
	ctx := context.Background()
	conn, _, err := websocket.Dial(ctx, "ws://"+l.web+"/orders", nil)
	if err != nil {
		l.failed("socket", "", err)
		return
	}
	defer conn.CloseNow()
	for {
		name := l.name()
		err := conn.Write(ctx, websocket.MessageText, []byte(name))
		if err == nil || websocket.CloseStatus(err) == -1 { // the close frame is behind what is unread
			_, _, err = conn.Read(ctx)
		}
		switch {
		case websocket.CloseStatus(err) == websocket.StatusGoingAway:
			return // what was not confirmed is for the next server
		case err != nil:
			l.failed("socket", name, err)
			return
		}
		l.confirmed("socket", name)
	}
}

// watch follows the stream until the shop ends it with Unavailable.
func (l *Load) watch() {
	stream, err := l.calls.NewStream(context.Background(), &shop.WatchStream, shop.WatchMethod)
	if err == nil {
		err = errors.Join(stream.SendMsg(new(emptypb.Empty)), stream.CloseSend())
	}
	for n := int64(0); err == nil; n++ {
		tick := new(wrapperspb.Int64Value)
		if err = stream.RecvMsg(tick); err == nil && tick.Value != n {
			err = fmt.Errorf("tick %d came after %d", tick.Value, n-1)
		}
		atomic.AddInt64(&l.ticks, 1)
	}
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "leaving" {
		l.failed("watch", "", err)
	}
}

func (l *Load) name() string { return fmt.Sprintf("order-%d", l.next.Add(1)) }

func (l *Load) confirmed(kind, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.placed[kind] = append(l.placed[kind], name)
}

func (l *Load) failed(kind, name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, fmt.Sprintf("%s %s: %v", kind, name, err))
}

// AwaitOrders returns when each kind of client has placed that many.
func (l *Load) AwaitOrders(t testing.TB, orders int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for l.Count("web") < orders || l.Count("rpc") < orders || l.Count("socket") < orders {
		if failures := l.Failures(); len(failures) > 0 || time.Now().After(deadline) {
			t.Fatalf("the load does not run: %v", failures)
		}
		time.Sleep(time.Millisecond)
	}
}

// Count is how many orders of one kind of client were confirmed.
func (l *Load) Count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.placed[kind])
}

// Placed are the orders that were confirmed, sorted.
func (l *Load) Placed() (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, of := range l.placed {
		names = append(names, of...)
	}
	slices.Sort(names)
	return names
}

// Failures says what went wrong for the clients.
func (l *Load) Failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failures)
}

// SawUnready reports whether the balancer was told that the shop is not ready,
// rather than found it gone.
func (l *Load) SawUnready() bool { return l.unready.Load() }

// Wait waits until all clients have ended.
func (l *Load) Wait() {
	l.clients.Wait()
	l.checks()
}
