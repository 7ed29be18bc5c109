package main

import (
	"bufio"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// The page itself is tested in its own package, in a browser.
func TestPage(t *testing.T) {
	s := startNATS(t, withAccounts(t, "internal/page/testdata/page.conf"))
	s.user = "process"
	s.join("edge", "edge-1")
	s.join("api", "api-1")
	d, err := fleet.Begin(t.Context(), s.connect(), fleet.Plan{Group: "api"}, fleet.Options{Operator: "ben"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abandon()
	t.Setenv(userVariable, "page") // who may not ask anybody to leave
	t.Setenv(passwordVariable, "page")
	var line struct{ Page string }
	p := startUp(t, &line, "page", "api", "--listen", "127.0.0.1:0", "--host", "fleet.example", "--inbox-prefix", "_INBOX.page", "--nats", s.url())
	get := func(path, host string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, line.Page+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		return response
	}
	for host, want := range map[string]int{"": 200, "fleet.example": 200, "evil.example": 403} {
		if code := get("", host).StatusCode; code != want {
			t.Errorf("asked as %q: %d", host, code)
		}
	}
	stream := bufio.NewReader(get("events", "").Body)
	for found := map[string]bool{}; !found["api-1"] || !found["ben"]; {
		text, err := stream.ReadString('\n')
		if err != nil {
			t.Fatalf("%v, %v", found, err)
		}
		for _, word := range []string{"api-1", "ben"} {
			found[word] = found[word] || strings.Contains(text, word)
		}
		if strings.Contains(text, "edge-1") {
			t.Errorf("what is not of the group is shown: %s", text)
		}
	}
	p.ends(t, syscall.SIGTERM, fsm.ExitOK) // with a browser that looks
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestPageUsage(t *testing.T) {
	s := startNATS(t)
	for line, want := range map[string]string{
		"page a b":               "want one group at most",
		"page --alarm 0s":        "--alarm 0s: it is positive",
		"page --listen :0":       "--listen",
		"page --log-level loud":  "loud",
		"page a.b":               "a.b",
		"page --host a/b":        "a/b",
		"page --listen 10.0.0.1": "--listen",
	} {
		code, stdout, stderr := command(t, append(strings.Fields(line), "--nats", s.url())...)
		if code != cli.ExitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d: %s%s", line, code, stdout, stderr)
		}
	}
}
