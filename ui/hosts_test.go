package ui_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// A proxy's name is let in, as Host or as Origin, with any port; and none beside it.
func TestHostsOfProxies(t *testing.T) {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := ui.New(ui.Config{
		Orchestrator: o, Token: "0123456789abcdef", Hosts: []string{"UI.example", "2001:db8::1"},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, o: o, gateway: g, ended: make(chan struct{})}
	f.listenAndRun()
	for _, test := range []struct {
		host, origin string
		want         int
	}{
		{"ui.example", "https://ui.example", 101},
		{"ui.example", "", 101},
		{"Ui.Example:8443", "https://ui.example:8443", 101},
		{"ui.example", "https://ui.example:8443", 101},     // proxy_set_header Host $host
		{"127.0.0.1:5333", "https://ui.example:8443", 101}, // a proxy that passes no Host on
		{"localhost", "http://localhost", 101},
		{"[2001:db8::1]:80", "http://[2001:db8::1]", 101},
		{"ui.example", "https://evil.example", 403},
		{"127.0.0.1", "https://evil.example", 403},
		{"evil.example", "https://ui.example", 403},
		{"evil.example", "", 403},
		{"ui.example.evil.example", "https://ui.example.evil.example", 403},
		{"ui.example", "ftp://ui.example", 403},
		{"ui.example", "null", 403},
	} {
		header := http.Header{"Host": {test.host}}
		if test.origin != "" {
			header["Origin"] = []string{test.origin}
		}
		if got := f.handshake("/", header, "MASQNode-UIv2"); got != test.want {
			t.Errorf("Host %s, Origin %s: %d, want %d", test.host, test.origin, got, test.want)
		}
	}
}

func TestHostsAreRefused(t *testing.T) {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ui.New(ui.Config{Orchestrator: o, Hosts: []string{"ui.example"}}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without a token: %v", err)
	}
	for _, host := range []string{"", "*", "*.example", "https://ui.example", "ui.example:80", "ui.example/x", "a b", ".", "ui..example", "[::1]"} {
		if _, err := ui.New(ui.Config{Orchestrator: o, Token: "0123456789abcdef", Hosts: []string{host}}); err == nil {
			t.Errorf("%q was taken", host)
		}
	}
}

// A UI finds localhost, whichever of its addresses it tries, and in whatever case it
// is written.
func TestListenTakesBothAddressesOfLocalhost(t *testing.T) {
	for _, name := range []string{"localhost", "LocalHost"} {
		f := newFixture(t, nil, fsm.Config{})
		address, err := f.gateway.Listen(name + ":0")
		if err != nil {
			t.Fatal(err)
		}
		f.run()
		_, port, _ := net.SplitHostPort(address.String())
		both := []string{"127.0.0.1"}
		if probe, err := net.Listen("tcp", "[::1]:0"); err == nil {
			_ = probe.Close()
			both = append(both, "::1")
		} else {
			t.Log("this machine has no ::1:", err)
		}
		for _, host := range both {
			f.url = "ws://" + net.JoinHostPort(host, port) + "/"
			if got := f.handshake("/", nil, "MASQNode-UIv2"); got != 101 {
				t.Errorf("%s: %d", f.url, got)
			}
		}
		second := newFixture(t, nil, fsm.Config{})
		if _, err := second.gateway.Listen(name + ":" + port); err == nil {
			t.Error("both addresses were bound twice")
		}
		f.o.Request(fsm.Command{})
		f.finish()
		for _, host := range both {
			if conn, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
				_ = conn.Close()
				t.Errorf("%s still answers after the end", host)
			}
		}
	}
}

func TestListenRefusesHalfOfLocalhost(t *testing.T) {
	taken, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no ::1:", err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	f := newFixture(t, nil, fsm.Config{})
	if _, err := f.gateway.Listen("localhost:" + port); err == nil {
		t.Error("a UI would find somebody else at ::1")
	}
	if again, err := net.Listen("tcp", "127.0.0.1:"+port); err != nil {
		t.Error("the other address is still bound:", err)
	} else {
		_ = again.Close()
	}
}

// probe asks with a Host of its own, and shows a token if it has one.
func (f *fixture) probe(method, path, host, token string) (code int, body string) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), method, f.pageURL()+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	request.Host = host
	request.Close = true
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		f.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A kubelet asks by the address of the pod. It learns at once that a process leaves,
// and does not kill it for that.
func TestProbes(t *testing.T) {
	f := real(t, nil, fsm.Config{})
	ack := f.register("db")
	want := func(live, ready int) {
		t.Helper()
		for path, code := range map[string]int{"livez": live, "readyz": ready} {
			for _, host := range []string{"", "10.1.2.3:5333", "stranger.example"} {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					if got, body := f.probe(method, path, host, ""); got != code {
						t.Errorf("%s %s from %q: %d, want %d: %s", method, path, host, got, code, body)
					}
				}
			}
		}
	}
	want(200, 200)
	if code, _ := f.probe(http.MethodPost, "readyz", "", ""); code != 405 {
		t.Errorf("POST: %d", code)
	}
	if code, _ := f.probe(http.MethodGet, "metrics", "", ""); code != 404 {
		t.Errorf("metrics, where there are none: %d", code)
	}
	f.o.Request(fsm.Command{})
	want(200, 503)
	ack()
	f.finish()
}

func TestMetricsAreNotForStrangers(t *testing.T) {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	const token = "0123456789abcdef"
	g, err := ui.New(ui.Config{
		Orchestrator: o, Token: token, Logger: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "farewell_up 1\n") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, o: o, gateway: g, ended: make(chan struct{})}
	f.listenAndRun()
	for _, test := range []struct {
		host, token string
		want        int
	}{
		{"", token, 200}, {"", "", 401}, {"", "0123456789abcdeg", 401}, {"10.1.2.3", token, 403}, {"evil.example", token, 403},
	} {
		if got, body := f.probe(http.MethodGet, "metrics", test.host, test.token); got != test.want {
			t.Errorf("%+v: %d %s", test, got, body)
		}
	}
}

// Servers of other pages are told what the gateway would do.
func TestMayAsk(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost:80": true, "127.0.0.1": true, "ui.example": true, "UI.example:81": true, "evil.example": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil)
		if got := ui.MayAsk(r, []string{"Ui.Example"}); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
	r.Header.Set("Origin", "http://evil.example")
	if ui.MayAsk(r, nil) {
		t.Error("another page may ask")
	}
}
