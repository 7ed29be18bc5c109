package ui_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// A thousand UIs watch, a tenth of which take nothing in; one of the others asks.
// On pipes, which hold nothing, and in virtual time, which shows who waited.
func TestAThousandUIsATenthStalled(t *testing.T) {
	const uis, stalled = 1000, 100
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, &node{}, fsm.Config{})
		ack := f.register("slow")
		for i := range uis {
			ws, _, err := f.dialer.Dial(f.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"opcode":"watch","contextId":1,"payload":{}}`)); err != nil {
				t.Fatal(err)
			}
			if i >= stalled {
				go readTo(t, ws, `"opcode":"goodbye"`)
			}
		}
		a := f.connect()
		a.ask()
		synctest.Wait()
		began := time.Now()
		ack()
		if got := a.next(); !strings.Contains(got, `"exitCode":0`) {
			t.Error(got)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the asker waited %v", waited)
		}
		_ = a.ws.Close()
		end := f.finish()
		if end.Answered != 1 || end.Told != uis-stalled || end.Cut != stalled || end.Took != 200*time.Millisecond {
			t.Errorf("%d answered, %d told, %d cut, in %v", end.Answered, end.Told, end.Cut, end.Took)
		}
	})
}

// readTo reads up to a message, and then to the close frame.
func readTo(t *testing.T, ws *websocket.Conn, last string) {
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			t.Error("ended before the last message:", err)
			return
		}
		if strings.Contains(string(data), last) {
			break
		}
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Error(err)
	}
}

// A UI that asks without end and reads nothing slows nobody but itself, and is cut
// off in the end.
func TestAFloodCostsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, &node{}, fsm.Config{})
		flood, _, err := f.dialer.Dial(f.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		var flooding sync.WaitGroup
		flooding.Go(func() {
			for flood.WriteMessage(websocket.TextMessage, []byte(`{"opcode":"status","contextId":1,"payload":{}}`)) == nil {
			}
		})
		a := f.connect()
		for i := range 100 {
			began := time.Now()
			a.send(fmt.Sprintf(`{"opcode":"connectionStatus","contextId":%d,"payload":{}}`, i))
			if got := a.next(); !strings.Contains(got, fmt.Sprintf(`"contextId":%d,`, i)) {
				t.Fatal(got)
			}
			if waited := time.Since(began); waited != 0 {
				t.Fatalf("waited %v", waited)
			}
			time.Sleep(10 * time.Millisecond)
		}
		began := time.Now()
		flooding.Wait()
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("it was cut off only after %v more", waited)
		}
		_ = flood.Close()
	})
}

// Requests that come faster than the limit are answered all the same, later.
func TestRequestsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, &node{}, fsm.Config{})
		a := f.connect()
		began := time.Now()
		const requests = 400
		go func() {
			for range requests {
				_ = a.ws.WriteMessage(websocket.TextMessage, []byte(`{"opcode":"connectionStatus","contextId":1,"payload":{}}`))
			}
		}()
		for range requests {
			a.next()
		}
		if took := time.Since(began).Round(100 * time.Millisecond); took != 2*time.Second {
			t.Errorf("%d requests took %v", requests, took)
		}
	})
}

func TestPingsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, &node{}, fsm.Config{})
		a := f.connect()
		began := time.Now()
		for range 400 {
			if err := a.ws.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		a.send(`{"opcode":"connectionStatus","contextId":1,"payload":{}}`)
		a.next()
		if took := time.Since(began).Round(100 * time.Millisecond); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// UIs that die in the middle are nobody's concern.
func TestUIsDieInTheMiddle(t *testing.T) {
	f := real(t, &node{}, fsm.Config{})
	ack := f.register("slow")
	var alive []*peer
	for i := range 60 {
		p := f.connect()
		p.send(`{"opcode":"watch","contextId":1,"payload":{}}`)
		p.ask()
		p.next()
		if i%3 == 0 {
			alive = append(alive, p)
		} else {
			_ = p.ws.NetConn().Close()
		}
	}
	ack()
	for _, p := range alive {
		for !strings.Contains(p.next(), `"opcode":"shutdown"`) {
		}
		_ = p.ws.Close()
	}
	f.finish()
}

// A second implementation of WebSockets, so that gorilla does not only talk to
// itself: handshake, ping, the end.
func TestAnotherImplementation(t *testing.T) {
	f := real(t, &node{stage: ui.RouteFound}, fsm.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dial := func() *coder.Conn {
		ws, _, err := coder.Dial(ctx, f.url, &coder.DialOptions{Subprotocols: []string{ui.Subprotocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		if ws.Subprotocol() != ui.Subprotocol {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
		return ws
	}
	read := func(ws *coder.Conn, want string) {
		t.Helper()
		kind, data, err := ws.Read(ctx)
		if err != nil || kind != coder.MessageText || !strings.HasPrefix(string(data), want) {
			t.Fatalf("%v %s, %v", kind, data, err)
		}
	}
	asker, other := dial(), dial()
	pinged := make(chan error)
	go func() { pinged <- asker.Ping(ctx) }()
	write := func(text string) {
		t.Helper()
		if err := asker.Write(ctx, coder.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"opcode":"connectionStatus","contextId":0,"payload":{}}`)
	read(asker, `{"opcode":"connectionStatus","contextId":0,"payload":{"stage":"RouteFound"}}`)
	write(`{"opcode":"shutdown","contextId":18446744073709551615,"payload":{}}`)
	read(asker, `{"opcode":"shutdown","contextId":18446744073709551615,"payload":{"report":`)
	if err := <-pinged; err != nil {
		t.Error(err)
	}
	if err := asker.Close(coder.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	read(other, `{"opcode":"logBroadcast"`)
	if _, _, err := other.Read(ctx); coder.CloseStatus(err) != coder.StatusGoingAway {
		t.Error(err)
	}
	if end := f.finish(); end.Answered != 1 || end.Told != 1 {
		t.Errorf("%+v", end)
	}
}
