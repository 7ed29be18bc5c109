package page

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/ui"
)

func TestListensOnThisMachineOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		if _, err := Listen(address); !errors.Is(err, ui.ErrNotLoopback) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := Listen("nothing"); err == nil {
		t.Error("an address without a port is taken")
	}
}

// The page and its server leave politely, with a browser that looks, long before they
// would be insisted upon.
func TestPageLeavesPolitely(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	nats := startServer(t)
	o, err := fsm.New(fsm.Config{Alarm: 2 * generous, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	page, err := New(nats.connect(), Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := page.Register(o, listener); err != nil {
		t.Fatal(err)
	}
	f := follow(t, get(t, fmt.Sprintf("http://%s/events", listener.Addr())).Body)
	f.until(func() bool { return f.last.Reset != nil })
	report := make(chan *fsm.Report, 1)
	go func() {
		r, _ := o.Shutdown(t.Context(), fsm.Command{Reason: "the test is over"})
		report <- r
	}()
	f.until(func() bool { return f.last.Goodbye })
	if r := <-report; r.ExitCode() != fsm.ExitOK || r.Took > generous {
		t.Errorf("%s", r)
	}

	// Who comes too late is refused, and nothing is left behind.
	late, err := New(page.nc, Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listener, err = Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Register(o, listener); !errors.Is(err, fsm.ErrShutdownBegun) {
		t.Error(err)
	}
	if _, err := listener.Accept(); err == nil {
		t.Error("the listener is open")
	}
}

// The page needs no right to give commands, nor any that testdata/page.conf does not
// give; docs/fleet.md shows that file.
func TestPageNeedsNoRightToCommand(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	options, err := server.ProcessConfigFile("testdata/page.conf")
	if err != nil {
		t.Fatal(err)
	}
	s := &natsServer{t: t, options: *options}
	s.options.Host, s.options.Port, s.options.NoLog, s.options.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, true
	s.options.JetStream, s.options.StoreDir = true, t.TempDir()
	s.start()
	t.Cleanup(s.kill)
	process := s.connect(nats.UserInfo("process", "process"))
	p := join(t, process, "api", "api-1", fsm.Config{Alarm: time.Minute})
	let := make(chan struct{})
	p.stops("http", waitsFor(let))
	list := instances(t, process, "api", 1)

	var refused atomic.Int32
	nc := s.connect(nats.UserInfo("page", "page"), nats.CustomInboxPrefix("_INBOX.page"),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { refused.Add(1) }))
	page := serve(t, nc, Config{})
	f := follow(t, get(t, page.URL+"/events").Body)
	f.until(f.stands("api/api-1", running))
	p.Request(fsm.Command{})
	f.until(f.stands("api/api-1", awaitingAcks))
	page.reports = newReports(0) // so that it has to ask
	url := fmt.Sprintf("%s/report?group=api&name=api-1&incarnation=%s", page.URL, list[0].Incarnation)
	if answer := get(t, url); answer.StatusCode != http.StatusOK {
		t.Errorf("its report as it stands: %s", answer.Status)
	}
	close(let)
	f.until(func() bool { return f.rows["api/api-1"].Runs[0].Reported })
	if answer := get(t, url); answer.StatusCode != http.StatusOK || !strings.Contains(body(t, answer.Body), `"exitCode":0`) {
		t.Errorf("its report: %s", answer.Status)
	}
	if n := refused.Load(); n != 0 {
		t.Errorf("NATS has refused the page %d times", n)
	}
	another := join(t, process, "api", "api-2", fsm.Config{})
	instances(t, process, "api", 1)
	if _, err := remote.Shutdown(t.Context(), nc, another.member.Instance(), "", fsm.Command{Within: time.Second}); err == nil {
		t.Error("who has the page's rights can give commands")
	}
	if another.State() != fsm.Running {
		t.Error("a command of the page's user has taken effect")
	}
}
