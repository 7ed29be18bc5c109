package ui_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// In a process that is no node, what only a node has is empty.
func TestAProcessThatIsNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		a := f.connect()
		for opcode, want := range map[string]string{
			"descriptor":        `{"nodeDescriptorOpt":null}`,
			"connectionStatus":  `{"stage":"NotConnected"}`,
			"neighborhoodGraph": `{"graph":"digraph db { }"}`,
		} {
			a.send(`{"opcode":"` + opcode + `","contextId":1,"payload":{}}`)
			a.expect(`{"opcode":"` + opcode + `","contextId":1,"payload":` + want + `}`)
		}
		if status := a.status(); status.Node != nil || status.UIs != 1 {
			t.Errorf("%+v", status)
		}
		a.ask()
		if got := a.next(); strings.Contains(got, "farewells") {
			t.Error(got)
		}
	})
}

// status asks for the status.
func (p *peer) status() (status ui.Status) {
	p.t.Helper()
	p.send(`{"opcode":"status","contextId":1,"payload":{}}`)
	var answer struct{ Payload ui.Status }
	if err := json.Unmarshal([]byte(p.next()), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer.Payload
}

// A status is kept for a moment, but not when something has happened.
func TestStatusIsNeverWrongAboutTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		ack := f.register("slow")
		time.Sleep(time.Second)
		a := f.connect()
		synctest.Wait()
		for range 2 {
			if status := a.status(); status.Report.State != fsm.Running || time.Duration(status.Uptime) != time.Second {
				t.Errorf("%+v", status)
			}
			time.Sleep(5 * time.Millisecond) // the second one is the first
		}
		if uptime := a.status().Uptime.String(); uptime != "1.01s" {
			t.Errorf("up for %s", uptime)
		}
		f.o.Request(fsm.Command{})
		synctest.Wait()
		if status := a.status(); status.Report.State != fsm.AwaitingAcks {
			t.Errorf("%+v", status)
		}
		ack()
		synctest.Wait()
		a.next() // the notice
		if status := a.status(); status.Report.State != fsm.Terminated {
			t.Errorf("%+v", status)
		}
	})
}

// Who asks too often is told, and the others are not held up.
func TestTooManyRequestsForTheShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := virtual(t, nil, fsm.Config{})
		ack := f.register("slow")
		a := f.connect()
		for range 65 {
			a.ask()
		}
		a.expect(`{"opcode":"shutdown","contextId":1,"error":{"code":9223372036854775812,"message":"64 requests for a shutdown wait already"}}`)
		ack()
		for range 64 {
			if got := a.next(); !strings.Contains(got, `"report":`) {
				t.Error(got)
			}
		}
		_ = a.ws.Close()
		if end := f.finish(); end.Answered != 64 {
			t.Errorf("%+v", end)
		}
	})
}
