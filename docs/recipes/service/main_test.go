package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
	"github.com/farewell-node/farewell/docs/recipes/internal/shoptest"
	"github.com/farewell-node/farewell/docs/recipes/shop"
)

func TestMain(m *testing.M) {
	recipetest.Main(m, func() {
		listen, received := shop.Listen, make(chan os.Signal, 1)
		signal.Notify(received, syscall.SIGUSR1)
		shop.Listen = func(name, address string) (net.Listener, error) {
			l, err := listen(name, address)
			if name == "rpc" && err == nil {
				go func() { <-received; _ = l.Close() }()
			}
			return l, err
		}
		main()
	})
}

const slack = time.Second // for a busy machine, beyond the quarter second that is promised

// shutTime is the longest that a process may take that has an alarm of its own.
func shutTime(alarm time.Duration) time.Duration { return alarm + 250*time.Millisecond + slack }

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestSIGTERMUnderLoadLosesNothing(t *testing.T) {
	s := shoptest.Start(t)
	load := s.Load(t)
	load.AwaitOrders(t, 10)
	if _, metrics := get(t, "http://"+s.Admin+"/metrics"); !strings.Contains(metrics, "\nshop_orders_total{") {
		t.Errorf("Prometheus is told\n%s", metrics)
	}
	took := s.Terminate(t, load)
	if took < time.Second || took > shoptest.Alarm {
		t.Errorf("it took %v", took)
	}
	s.Expect(t, `shutdown \(signal terminated\) Terminated by AllAcked after .*: 7 acked; exit code 0`)
	s.ExpectNothingLost(t, load)
	placed := load.Placed()
	if told := s.Collector.Orders(); told != len(placed) {
		t.Errorf("the collector knows of %d orders, of %d", told, len(placed))
	}
	if spans, want := s.Collector.Spans("shop.Orders/Place"), load.Count("rpc"); spans != want {
		t.Errorf("the collector has %d spans of calls, of %d", spans, want)
	}
	if spans, want := s.Collector.Spans("POST /orders/{name}"), load.Count("web")+load.Count("long"); spans != want {
		t.Errorf("the collector has %d spans of the web, of %d", spans, want)
	}
	t.Logf("%d orders in %v", len(placed), took)
}

func TestSecondSIGTERMForces(t *testing.T) {
	s := shoptest.Start(t)
	load := s.Load(t)
	load.InFlight(1, time.Minute)
	load.AwaitOrders(t, 5)
	s.Signal(t, syscall.SIGTERM)
	s.Await(t, `Started.*from=web`)
	s.Signal(t, syscall.SIGTERM)
	if took := s.ExpectExit(t, 128+int(syscall.SIGTERM)); took > shoptest.Alarm {
		t.Errorf("it took %v", took)
	}
	s.Expect(t, `hung: web; .*exit code 143`, `component \\"web\\": hung`)
}

func TestHungDatabaseIsNamed(t *testing.T) {
	const alarm = 4 * time.Second
	s := shoptest.Start(t, "-alarm", alarm.String(), "-drain", "0s")
	load := s.Load(t)
	load.AwaitOrders(t, 5)
	shoptest.Freeze(t, s.Database)
	s.Signal(t, syscall.SIGTERM)
	if took := s.ExpectExit(t, 3); took < alarm/2 || took > shutTime(alarm) {
		t.Errorf("it took %v", took)
	}
	s.Expect(t, `hung: store; exit code 3`, `component \\"store\\": hung.*stack=.*puddle.*Close`,
		`cut [1-9]\d* busy and [1-9]\d* hijacked connections`)
}

func TestListenerThatDiesEndsTheProcess(t *testing.T) {
	s := shoptest.Start(t)
	load := s.Load(t)
	load.AwaitOrders(t, 5)
	s.Signal(t, syscall.SIGUSR1)
	if took := s.ExpectExit(t, 1); took > shoptest.Alarm {
		t.Errorf("it took %v", took)
	}
	load.Wait()
	s.Expect(t, `component \\"rpc\\" died: .*use of closed network connection`, `exit code 1`)
	s.ExpectStored(t, load)
}

func TestStartUpThatFailsHalfWay(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	begun := time.Now()
	p := shoptest.StartAt(t, recipetest.Postgres(t), shoptest.NewCollector(t).Address, "-rpc", taken.Addr().String())
	p.ExpectExit(t, 1)
	if took := time.Since(begun); took > shutTime(shoptest.Alarm) {
		t.Errorf("it took %v", took)
	}
	p.Expect(t, `error="rpc: listen tcp `+taken.Addr().String()+`: bind: address already in use"`,
		`Acked.*from=web`, `Acked.*from=store`, `Acked.*from=telemetry`, `exit code 1`)
}

func TestSIGTERMBeforeTheDatabaseIsThere(t *testing.T) {
	p := shoptest.StartAt(t, "postgres://recipe@/postgres?host="+t.TempDir(), shoptest.NewCollector(t).Address)
	admin := p.Await(t, `admin=(\S+)`)
	p.Await(t, "waiting for the database")
	if code, _ := get(t, "http://"+admin+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("readiness is %d", code)
	}
	p.Signal(t, syscall.SIGTERM)
	if took := p.ExpectExit(t, 0); took > shoptest.Alarm/2 {
		t.Errorf("it took %v", took)
	}
	p.Expect(t, `shutdown \(signal terminated\) Terminated by AllAcked after .*: 3 acked; exit code 0`)
}
