package ui_test

import (
	"encoding/json"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

func TestBudget(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const alarm = 5 * time.Second
	for _, test := range []struct {
		name      string
		on        fsm.Kind
		took, now time.Duration // since it began
		want      time.Duration
	}{
		{"graceful", fsm.AllAcked, time.Second, time.Second, 2 * time.Second},
		{"graceful, near the alarm", fsm.AllAcked, 4900 * time.Millisecond, 4900 * time.Millisecond, 5250 * time.Millisecond},
		{"alarm", fsm.Timeout, alarm, alarm, 5250 * time.Millisecond},
		{"force", fsm.Timeout, time.Second, time.Second, 1250 * time.Millisecond},
		{"too late", fsm.Timeout, alarm, 6 * time.Second, 6050 * time.Millisecond},
	} {
		r := &fsm.Report{Began: began, Took: test.took, Edge: fsm.Transition{On: test.on}}
		if got := ui.Budget(r, alarm, began.Add(test.now)).Sub(began); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// finish waits until Run has returned.
func (f *fixture) finish() *ui.End {
	f.t.Helper()
	<-f.ended
	if f.err != nil {
		f.t.Fatal(f.err)
	}
	return f.end
}

func TestAskersHaveTimeToHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		a := f.connect()
		a.ask()
		synctest.Wait()
		time.Sleep(800 * time.Millisecond)
		a.next() // the answer
		select {
		case got := <-a.got:
			t.Fatalf("the asker was not left open: %s", got)
		default:
		}
		a.expect("close 1001")
		if end := f.finish(); end.Answered != 1 || end.Took != 900*time.Millisecond {
			t.Errorf("%+v", end)
		}
	})
}

func TestAStalledAskerCostsTheBudgetAndNoMore(t *testing.T) {
	for _, test := range []struct {
		name   string
		finish func(f *fixture, ack func())
		want   time.Duration // since the request
	}{
		{"graceful", func(_ *fixture, ack func()) { ack() }, time.Second},
		{"alarm", func(*fixture, func()) {}, 5250 * time.Millisecond},
		{"force", func(f *fixture, _ func()) { f.o.Force(fsm.Command{}) }, 250 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := virtual(t, nil, fsm.Config{})
				ack := f.register("slow")
				stalled, _, err := f.dialer.Dial(f.url, nil) // and never reads
				if err != nil {
					t.Fatal(err)
				}
				defer stalled.Close()
				p := &peer{t: t, ws: stalled}
				began := time.Now()
				p.ask()
				synctest.Wait()
				test.finish(f, ack)
				end := f.finish()
				if got := time.Since(began); got != test.want || end.Cut != 1 || end.Answered != 0 {
					t.Errorf("gone after %v, want %v: %+v", got, test.want, end)
				}
			})
		})
	}
}

func TestAStalledUIHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		stalled, _, err := f.dialer.Dial(f.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		a := f.connect()
		a.ask()
		a.next()
		_ = a.ws.Close()
		if end := f.finish(); end.Took != 200*time.Millisecond || end.Cut != 1 || end.Answered != 1 {
			t.Errorf("%+v", end)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		a := f.connect()
		f.interrupt()
		<-f.ended
		if f.err == nil || f.end != nil {
			t.Errorf("%+v, %v", f.end, f.err)
		}
		a.expect("cut")
	})
}

func TestEverybodyIsToldOnce(t *testing.T) {
	const watch = `{"opcode":"watch","contextId":2,"payload":{}}`
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		ack := f.register("slow")
		asksAndWatches, asks, watches, neither := f.connect(), f.connect(), f.connect(), f.connect()
		asksAndWatches.send(watch)
		watches.send(watch)
		asksAndWatches.ask()
		asks.ask()
		synctest.Wait()
		ack()
		synctest.Wait()
		asks.send(watch) // it knows already how it ended
		for _, test := range []struct {
			name string
			ui   *peer
			want string
		}{
			{"asks and watches", asksAndWatches, "shutdown"},
			{"asks", asks, "shutdown"},
			{"watches", watches, "goodbye"},
			{"neither", neither, "logBroadcast"},
		} {
			var told []string
			for got := test.ui.next(); got != "close 1001"; got = test.ui.next() {
				if opcode := parseJSON(t, []byte(got))["opcode"].(string); opcode != "watch" && opcode != "event" {
					told = append(told, opcode)
				}
			}
			if !slices.Equal(told, []string{test.want}) {
				t.Errorf("a UI that %s was sent %q", test.name, told)
			}
		}
		if end := f.finish(); end.Answered != 2 || end.Told != 2 {
			t.Errorf("%+v", end)
		}
	})
}

// blockedNode blocks where a UI asks it for something.
type blockedNode struct {
	node
	released chan struct{}
}

func (n *blockedNode) Status() ui.NodeStatus {
	<-n.released
	return ui.NodeStatus{}
}

func TestABlockedNodeDoesNotKeepTheProcess(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(f *fixture)
		most time.Duration // until Run returns
	}{
		{"graceful", func(f *fixture) { f.o.Request(fsm.Command{}) }, time.Second},
		{"force", func(f *fixture) { f.o.Force(fsm.Command{}) }, 270 * time.Millisecond},
		{"cancelled", func(f *fixture) { f.interrupt() }, 20 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &blockedNode{released: make(chan struct{})}
				f := newFixture(t, n, fsm.Config{})
				defer close(n.released)
				f.runVirtually()
				f.connect().send(`{"opcode":"status","contextId":1,"payload":{}}`)
				synctest.Wait()
				began := time.Now()
				test.end(f)
				<-f.ended
				if took := time.Since(began); took > test.most {
					t.Errorf("gone after %v", took)
				}
			})
		})
	}
}

// secretiveNode blocks when it is asked how the farewells went.
type secretiveNode struct {
	node
	released chan struct{}
}

func (n *secretiveNode) Farewells() []ui.Farewell {
	<-n.released
	return nil
}

func TestTheAnswerDoesNotWaitForTheFarewells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &secretiveNode{released: make(chan struct{})}
		f := newFixture(t, n, fsm.Config{})
		defer close(n.released)
		f.runVirtually()
		a := f.connect()
		a.ask()
		if got := a.next(); !strings.Contains(got, `"opcode":"shutdown"`) || strings.Contains(got, "farewells") {
			t.Error(got)
		}
		a.expect("close 1001")
		if end := f.finish(); end.Took > time.Second {
			t.Errorf("%+v", end)
		}
	})
}

// The order that existing UIs need: whoever has the answer finds the listener
// closed, and its own connection still open.
func TestTheListenerIsClosedBeforeTheAnswer(t *testing.T) {
	f := real(t, nil, fsm.Config{})
	a := f.connect()
	a.ask()
	if got := a.next(); !strings.HasPrefix(got, `{"opcode":"shutdown","contextId":1,"payload":{`) {
		t.Fatal(got)
	}
	conn, err := net.Dial("tcp", strings.Trim(f.url, "ws:/"))
	if err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
	_ = a.ws.Close()
	if end := f.finish(); end.Answered != 1 || end.Report.ExitCode() != 0 {
		t.Errorf("%+v", end)
	}
}

func TestFiftyAskAtOnce(t *testing.T) {
	f := real(t, &node{}, fsm.Config{})
	release := f.register("slow")
	const askers, others = 50, 3
	var sent, answered sync.WaitGroup
	payloads := make([]json.RawMessage, askers)
	for i := range askers {
		p := f.connect()
		sent.Add(1)
		answered.Go(func() {
			p.ask()
			p.send(`{"opcode":"descriptor","contextId":2,"payload":{}}`)
			p.next() // so the request before it was read
			sent.Done()
			var answer struct{ Payload json.RawMessage }
			if err := json.Unmarshal([]byte(p.next()), &answer); err != nil {
				t.Error(err)
			}
			payloads[i] = answer.Payload
			_ = p.ws.Close()
		})
	}
	for range others {
		p := f.connect()
		answered.Go(func() {
			if got := p.next(); !strings.Contains(got, `"opcode":"logBroadcast"`) {
				t.Error(got)
			}
			p.expect("close 1001")
		})
	}
	sent.Wait()
	release()
	answered.Wait()
	for _, payload := range payloads {
		if string(payload) != string(payloads[0]) {
			t.Errorf("%s\nis not\n%s", payload, payloads[0])
		}
	}
	if end := f.finish(); end.Answered != askers || end.Told != others {
		t.Errorf("%+v", end)
	}
}

func TestListenRefuses(t *testing.T) {
	o, _ := fsm.New(fsm.Config{})
	g, err := ui.New(ui.Config{Orchestrator: o})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "[::]:0"} {
		if _, err := g.Listen(address); !errors.Is(err, ui.ErrNotLoopback) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "nonsense", "127.0.0.1:99999", "99999"} {
		if _, err := g.Listen(address); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := g.Listen(taken.Addr().String()); err == nil {
		t.Error("a port in use was accepted")
	}
}

func TestListenTakesABarePort(t *testing.T) {
	f := newFixture(t, nil, fsm.Config{})
	address, err := f.gateway.Listen("0")
	if err != nil {
		t.Fatal(err)
	}
	f.run()
	if host, _, _ := net.SplitHostPort(address.String()); host != "127.0.0.1" {
		t.Error(address)
	}
}
