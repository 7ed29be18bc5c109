package shoptest

import (
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/recipes/internal/recipetest"
)

// Alarm is that of a shop that was told no other.
const Alarm = 10 * time.Second

// Shop is one that runs and is ready.
type Shop struct {
	*recipetest.Process
	Web, RPC, Admin string // addresses
	Database        string // its URL
	Collector       *Collector
}

// Start starts one, with a database and a collector of its own.
func Start(t testing.TB, arguments ...string) *Shop {
	t.Helper()
	s := &Shop{Database: recipetest.Postgres(t), Collector: NewCollector(t)}
	s.Process = StartAt(t, s.Database, s.Collector.Address, arguments...)
	s.Web, s.RPC, s.Admin = s.Await(t, `web=(\S+)`), s.Await(t, `rpc=(\S+)`), s.Await(t, `admin=(\S+)`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		response, err := http.Get("http://" + s.Admin + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not ready")
		}
	}
}

// StartAt starts one and does not wait for it to be ready.
func StartAt(t testing.TB, database, collector string, more ...string) *recipetest.Process {
	t.Helper()
	arguments := []string{
		"-web", "127.0.0.1:0", "-rpc", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-database", database,
		"-collector", collector, "-alarm", Alarm.String(), "-drain", "300ms",
	}
	return recipetest.Start(t, append(arguments, more...)...)
}

// Load begins a load on it.
func (s *Shop) Load(t testing.TB) *Load {
	t.Helper()
	return Begin(t, s.Web, s.RPC, s.Admin)
}

// Terminate sends SIGTERM to a shop under load, with orders in flight that take
// longer than the drain, and returns when all is over.
func (s *Shop) Terminate(t testing.TB, load *Load) (took time.Duration) {
	t.Helper()
	load.AwaitOrders(t, 10)
	load.InFlight(4, 2*time.Second)
	load.AwaitOrders(t, load.Count("web")+10)
	s.Signal(t, syscall.SIGTERM)
	took = s.ExpectExit(t, 0)
	load.Wait()
	return took
}

// ExpectStored fails the test if an order that was confirmed is not stored.
func (s *Shop) ExpectStored(t testing.TB, load *Load) {
	t.Helper()
	stored := Orders(t, s.Database)
	for _, name := range load.Placed() {
		if _, found := slices.BinarySearch(stored, name); !found {
			t.Errorf("%s was confirmed and is not stored", name)
		}
	}
}

// ExpectNothingLost fails the test if anything failed, or if what is stored is not
// exactly what was confirmed.
func (s *Shop) ExpectNothingLost(t testing.TB, load *Load) {
	t.Helper()
	for _, failure := range load.Failures() {
		t.Error(failure)
	}
	if !load.SawUnready() {
		t.Error("the load balancer was not told in time")
	}
	if placed, stored := load.Placed(), Orders(t, s.Database); !slices.Equal(placed, stored) {
		t.Errorf("%d orders were confirmed, %d are stored", len(placed), len(stored))
	}
}

// ExpectEveryStepLosesNothing terminates the service at each of three steps under load.
func ExpectEveryStepLosesNothing(t *testing.T) {
	for _, step := range []string{"0", "1", "2"} {
		t.Run(step, func(t *testing.T) {
			s := Start(t, "-step", step)
			load := s.Load(t)
			s.Terminate(t, load)
			s.ExpectNothingLost(t, load)
			if step != "0" {
				s.Expect(t, `shutdown \(signal terminated\) Terminated by AllAcked after .* acked; exit code 0`)
			}
		})
	}
}
