package ui_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
)

// FuzzGateway: whatever a UI sends, the gateway stands, and answers what comes
// after it.
func FuzzGateway(f *testing.F) {
	for _, text := range []string{
		`hello`, `{"opcode":"shutdown","payload":{}}`, `{"opcode":"shutdown","contextId":1,"payload":{"reason":7}}`,
		`{"opcode":"watch","contextId":0,"payload":{}}`, `{"opcode":"status","contextId":1,"error":{"code":1,"message":""}}`,
		`{"opcode":"logBroadcast","payload":{"msg":"x","logLevel":"Info"}}`, strings.Repeat(`[`, 20_000),
	} {
		f.Add([]byte(text))
	}
	running := newFixture(f, &node{}, fsm.Config{Alarm: time.Hour})
	running.gateway.Unpaced()
	running.register("stays") // so that a shutdown that is asked for has no end
	running.listenAndRun()
	ws, _, err := running.dialer.Dial(running.url, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { ws.Close() })
	n := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) || len(data) > 64<<10 {
			t.Skip("the connection ends")
		}
		if err := ws.WriteMessage(websocket.TextMessage, data); err != nil {
			t.Fatal(err)
		}
		n++
		mark := fmt.Sprintf(`{"opcode":"connectionStatus","contextId":%d,`, 1<<60+n)
		if err := ws.WriteMessage(websocket.TextMessage, []byte(mark+`"payload":{}}`)); err != nil {
			t.Fatal(err)
		}
		for {
			_, answer, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(string(answer), mark) {
				return
			}
		}
	})
}
