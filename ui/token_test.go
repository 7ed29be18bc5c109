package ui_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

const right = `{"opcode":"token","contextId":1,"payload":{"token":"0123456789abcdef"}}`

const refusal = `"message":"this gateway must be shown its token first"`

func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &node{}, fsm.Config{})
		f.gateway.SetToken("0123456789abcdef")
		f.runVirtually()
		for _, first := range []string{
			`{"opcode":"shutdown","contextId":1,"payload":{}}`,
			`{"opcode":"token","contextId":1,"payload":{"token":"0123456789abcdeg"}}`,
			`{"opcode":"token","contextId":1,"payload":{"token":7}}`,
			`{"opcode":"token","payload":{"token":"0123456789abcdef"}}`,
			`nonsense`,
		} {
			p := f.connect()
			p.send(first)
			_ = p.ws.WriteMessage(websocket.TextMessage, []byte(right)) // too late
			if got := p.next(); !strings.Contains(got, refusal) {
				t.Error(got)
			}
			p.expect("close 1008")
		}
		silent := f.connect()
		began := time.Now()
		silent.expect("cut")
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("a UI without a token was kept for %v", waited)
		}
		outside, inside := f.connect(), f.connect()
		inside.send(right)
		inside.expect(`{"opcode":"token","contextId":1,"payload":{}}`)
		f.o.Request(fsm.Command{})
		if got := inside.next(); !strings.Contains(got, "logBroadcast") {
			t.Error(got)
		}
		inside.expect("close 1001")
		outside.expect("close 1001")
		if end := f.finish(); end.Told != 1 {
			t.Errorf("%+v", end)
		}
	})
}

func TestParseToken(t *testing.T) {
	token := ui.NewToken()
	if got, err := ui.ParseToken([]byte(" " + token + "\r\n")); err != nil || got != token {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", "\n", "guess me\n", "123456789012345"} {
		if got, err := ui.ParseToken([]byte(text)); err == nil {
			t.Errorf("%q was taken for the token %q", text, got)
		}
	}
}

func TestUnixSocketAndToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ui")
	abandon(t, path)
	f := newFixture(t, &node{stage: ui.RouteFound}, fsm.Config{})
	f.gateway.SetToken("0123456789abcdef")
	address, err := f.gateway.Listen("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || address.String() != path {
		t.Error(info, err, address)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Error(left)
	}
	if _, err := newFixture(t, nil, fsm.Config{}).gateway.Listen("unix:" + path); err == nil {
		t.Error("the socket was taken from one who uses it")
	}
	f.run()
	if _, err := client.Dial(t.Context(), "unix:"+path, client.Token("fedcba9876543210")); !errors.Is(err, client.ErrRefused) {
		t.Error(err)
	}
	c, err := client.Dial(t.Context(), "unix:"+path, client.Token("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	if stage, err := c.Stage(t.Context()); err != nil || stage != ui.RouteFound {
		t.Error(stage, err)
	}
	if _, err := c.Shutdown(t.Context(), "", nil); err != nil {
		t.Error(err)
	}
	f.finish()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("the socket is left", err)
	}
}

func TestUnixSocketNeedsAPath(t *testing.T) {
	_, err := newFixture(t, nil, fsm.Config{}).gateway.Listen("unix:")
	if err == nil || err.Error() != `ui: listen on "unix:": no path, want unix:PATH` {
		t.Error(err)
	}
}

// abandon leaves a socket behind that nobody listens on.
func abandon(t *testing.T, path string) {
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
}

func TestUnixSocketRemovesNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newFixture(t, nil, fsm.Config{}).gateway.Listen("unix:" + path); err == nil {
		t.Error("a file was replaced")
	}
	if data, _ := os.ReadFile(path); string(data) != "data" {
		t.Errorf("%q", data)
	}
}
