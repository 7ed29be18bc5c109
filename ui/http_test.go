package ui_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
)

// handshake returns the status that an upgrade request gets.
func (f *fixture) handshake(path string, header http.Header, subprotocols ...string) int {
	f.t.Helper()
	dialer := websocket.Dialer{Subprotocols: subprotocols}
	ws, response, err := dialer.Dial(strings.TrimSuffix(f.url, "/")+path, header)
	if err == nil {
		ws.Close()
	} else if !errors.Is(err, websocket.ErrBadHandshake) {
		f.t.Fatal(err)
	}
	return response.StatusCode
}

func TestHandshake(t *testing.T) {
	f := real(t, nil, fsm.Config{})
	own := strings.TrimSuffix(strings.Replace(f.url, "ws", "http", 1), "/")
	port := own[strings.LastIndex(own, ":"):]
	const protocol = "MASQNode-UIv2"
	for _, test := range []struct {
		name, path, host string
		origin           []string
		subprotocols     []string
		want             int
	}{
		{"plain", "/", "", nil, []string{protocol}, 101},
		{"any path", "/UI/x?y", "", nil, []string{protocol}, 101},
		{"one of several", "/", "", nil, []string{"chat", protocol}, 101},
		{"own page", "/", "", []string{own}, []string{protocol}, 101},
		{"own page by name", "/", "localhost" + port, []string{"http://localhost" + port}, []string{protocol}, 101},
		{"forwarded port", "/", "localhost:8080", []string{"http://localhost:8080"}, []string{protocol}, 101},
		{"IPv6", "/", "[::1]" + port, nil, []string{protocol}, 101},
		{"capitals", "/", "LocalHost" + port, []string{"http://localhost" + port}, []string{protocol}, 101},
		{"a proxy's name that is not allowed", "/", "ui.example", []string{"https://ui.example"}, []string{protocol}, 403},
		{"no subprotocol", "/", "", nil, nil, 400},
		{"no subprotocol, other path", "/UI", "", nil, nil, 400},
		{"another subprotocol", "/", "", nil, []string{"MASQNode-UIv1"}, 400},
		{"the subprotocol in other letters", "/", "", nil, []string{"masqnode-uiv2"}, 400},
		{"cross-site", "/", "", []string{"https://evil.example"}, []string{protocol}, 403},
		{"another page of this machine", "/", "", []string{"http://127.0.0.1:1"}, []string{protocol}, 403},
		{"sandboxed page", "/", "", []string{"null"}, []string{protocol}, 403},
		{"two origins", "/", "", []string{own, own}, []string{protocol}, 403},
		{"rebound name", "/", "evil.example" + port, []string{"http://evil.example" + port}, []string{protocol}, 403},
		{"rebound name, no origin", "/", "evil.example" + port, nil, []string{protocol}, 403},
		{"name that begins well", "/", "localhost.evil.example", nil, []string{protocol}, 403},
		{"address that is not loopback", "/", "192.0.2.1", nil, []string{protocol}, 403},
	} {
		header := http.Header{}
		if test.host != "" {
			header.Set("Host", test.host)
		}
		if test.origin != nil {
			header["Origin"] = test.origin
		}
		if got := f.handshake(test.path, header, test.subprotocols...); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestTooManyUIs(t *testing.T) {
	f := newFixture(t, nil, fsm.Config{})
	f.gateway.SetLimits(2, 1<<10, 0)
	f.listenAndRun()
	f.connect()
	second := f.connect()
	if got := f.handshake("/", nil, "MASQNode-UIv2"); got != 503 {
		t.Fatal(got)
	}
	_ = second.ws.Close()
	<-second.gone
	for f.handshake("/", nil, "MASQNode-UIv2") != 101 { // until the gateway has seen it too
		t.Log("not yet")
	}
}

func TestTooBigAMessage(t *testing.T) {
	f := real(t, nil, fsm.Config{})
	a := f.connect()
	a.send(strings.Repeat(" ", 64<<10) + "{}")
	a.expect("close 1009")
	b := f.connect()
	b.send("\"\xff\"")
	b.expect("close 1007")
}
