package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// alone is a page without a NATS that could be reached.
func alone(t testing.TB, config Config) *served {
	t.Helper()
	s := startServer(t)
	nc := s.connect()
	s.kill()
	return serve(t, nc, config)
}

func get(t testing.TB, url string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func TestPageIsServedWithItsPolicy(t *testing.T) {
	page := alone(t, Config{})
	defer http.DefaultClient.CloseIdleConnections()
	answer := get(t, page.URL)
	if text := body(t, answer.Body); answer.StatusCode != http.StatusOK || !strings.Contains(text, "<title>Farewell fleet</title>") {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"Access-Control-Allow-Origin": "",
	} {
		if got := answer.Header.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %q", policy)
	}
	for _, file := range []string{"main.js", "style.css", "icon.svg"} {
		if answer := get(t, page.URL+"/"+file); answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: %v", file, answer)
		}
	}
}

// What the page and docs/fleet.md say of its bounds and of its rights is so.
func TestPromises(t *testing.T) {
	docs := "../../../../../docs/fleet.md"
	for file, wants := range map[string][]string{
		"files/index.html": {
			"up to " + grouped(MaxPresent, " ") + " instances", "the last " + grouped(MaxLeft, " ") + " that",
			fmt.Sprintf("the last %d runs and %d components", maxRuns, maxParts),
		},
		docs: {
			"up to " + grouped(MaxPresent, ",") + " instances", "the last " + grouped(MaxLeft, ",") + " that",
			fmt.Sprintf("the last %d runs and %d components", maxRuns, maxParts), fmt.Sprintf("(%d at most)", MaxBrowsers),
			fmt.Sprintf("%d MiB of reports", maxReports>>20), fmt.Sprintf("nothing for %v s is cut off", writeTime.Seconds()),
			fmt.Sprintf("nothing for %v s is asked", silence.Seconds()), read(t, "testdata/page.conf"),
		},
	} {
		text := read(t, file)
		for _, want := range wants {
			if !strings.Contains(text, want) && !strings.Contains(strings.Join(strings.Fields(text), " "), want) {
				t.Errorf("%s does not say %q", file, want)
			}
		}
	}
}

func grouped(n int, by string) string { return fmt.Sprintf("%d%s%03d", n/1000, by, n%1000) }

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Only this machine, by its own names, may ask, and no page but this one.
func TestStrangersAreKeptOut(t *testing.T) {
	page := alone(t, Config{Hosts: []string{"Fleet.example"}})
	defer http.DefaultClient.CloseIdleConnections()
	for _, test := range []struct {
		path   string
		header []string
		want   int
	}{
		{"/", nil, http.StatusOK},
		{"/", []string{"Host", "localhost:8080"}, http.StatusOK},
		{"/", []string{"Host", "fleet.example"}, http.StatusOK},
		{"/", []string{"Host", "evil.example"}, http.StatusForbidden},
		{"/events", []string{"Host", "evil.example"}, http.StatusForbidden},
		{"/report", []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		{"/", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusOK}, // a link
		{"/events", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"/report", []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden}, // another port
		{"/report", []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNotFound},
		{"/nothing", nil, http.StatusNotFound},
	} {
		if answer := get(t, page.URL+test.path, test.header...); answer.StatusCode != test.want {
			t.Errorf("%s %q: %d, not %d", test.path, test.header, answer.StatusCode, test.want)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodOptions} {
		r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost/", nil)
		w := httptest.NewRecorder()
		if page.ServeHTTP(w, r); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	w := httptest.NewRecorder()
	if page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "http://localhost/events", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a stream without a body: %d", w.Code)
	}
	if _, err := New(page.nc, Config{Hosts: []string{"fleet.example:80"}}); err == nil {
		t.Error("a host with a port is taken")
	}
	if _, err := New(page.nc, Config{Group: "no group"}); !errors.Is(err, remote.ErrInvalid) {
		t.Error(err)
	}
	if _, err := New(nil, Config{}); err == nil {
		t.Error("no connection is taken")
	}
}

// follower reads a stream, as a browser does.
type follower struct {
	t      testing.TB
	lines  *bufio.Scanner
	rows   map[string]row
	last   message
	resets int
}

func follow(t testing.TB, r io.Reader) *follower {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	return &follower{t: t, lines: lines, rows: map[string]row{}}
}

// next takes in one message; it is false at the end.
func (f *follower) next() bool {
	f.t.Helper()
	for f.lines.Scan() {
		data, found := strings.CutPrefix(f.lines.Text(), "data: ")
		if !found {
			continue
		}
		f.last = message{}
		if err := json.Unmarshal([]byte(data), &f.last); err != nil {
			f.t.Fatal(err)
		}
		if f.last.Reset != nil {
			f.resets++
		}
		for _, text := range f.last.Rows {
			var r row
			if err := json.Unmarshal(text, &r); err != nil {
				f.t.Fatal(err)
			}
			f.rows[r.name()] = r
		}
		return true
	}
	return false
}

// until reads on until something holds.
func (f *follower) until(holds func() bool) {
	f.t.Helper()
	for !holds() {
		if !f.next() {
			f.t.Fatalf("the stream ends: %v\n%+v", f.lines.Err(), f.rows)
		}
	}
}

func (f *follower) stands(name string, as standing) func() bool {
	return func() bool {
		r, known := f.rows[name]
		return known && r.Runs[len(r.Runs)-1].State == as
	}
}

// A browser gets a snapshot, and then what is new: with real processes.
func TestStreamTellsAFleet(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	nats := startServer(t)
	ready := make(chan struct{})
	store := join(t, nats.connect(), "store", "store-1", fsm.Config{})
	store.stops("disk", waitsFor(ready))
	instances(t, nats.connect(), "store", 1)
	page := serve(t, nats.connect(), Config{})
	answer := get(t, page.URL+"/events")
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("the content is %s", got)
	}
	f := follow(t, answer.Body)
	f.until(f.stands("store/store-1", running))
	if f.resets != 1 || f.rows["store/store-1"].Runs[0].Joined != 0 {
		t.Errorf("%+v", f.rows)
	}
	edge := join(t, nats.connect(), "edge", "edge-1", fsm.Config{})
	edge.stops("http", fails(0, "<b>bad</b>"))
	f.until(f.stands("edge/edge-1", running))
	if f.rows["edge/edge-1"].Runs[0].Joined == 0 || len(f.last.Rows) != 1 {
		t.Errorf("%+v", f.last)
	}
	store.Request(fsm.Command{By: "ana", Reason: "deploy 42"})
	f.until(f.stands("store/store-1", awaitingAcks))
	edge.Request(fsm.Command{})
	f.until(f.stands("edge/edge-1", failed))
	f.until(func() bool { return f.rows["edge/edge-1"].Runs[0].Reported })
	close(ready)
	f.until(func() bool { return f.rows["store/store-1"].Runs[0].Reported })
	u := f.rows["store/store-1"].Runs[0]
	if u.State != left || u.By != "ana" || u.Began == 0 || u.Ended < u.Began || u.Withdrew == 0 {
		t.Errorf("%+v", u)
	}

	// Their reports, from what is kept here and from the registry.
	for name, want := range map[string]string{"edge-1": `"<b>bad</b>"`, "store-1": `"deploy 42"`} {
		group, _, _ := strings.Cut(name, "-")
		url := fmt.Sprintf("%s/report?group=%s&name=%s&incarnation=%s", page.URL, group, name, f.rows[group+"/"+name].Runs[0].Incarnation)
		for _, from := range []string{"the page", "the registry"} {
			answer := get(t, url)
			text := body(t, answer.Body)
			if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/json" ||
				!strings.Contains(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(text), want) {
				t.Errorf("%s from %s: %d %s", name, from, answer.StatusCode, text)
			}
			page.reports = newReports(0)
		}
	}

	// A second browser gets everything at once.
	second := follow(t, get(t, page.URL+"/events").Body)
	second.until(func() bool { return second.last.Whole })
	if len(second.rows) != 2 {
		t.Errorf("%+v", second.rows)
	}

	// The page ends, and says so.
	ended := make(chan error, 1)
	go func() { ended <- page.Shutdown(t.Context()) }()
	f.until(func() bool { return f.last.Goodbye })
	second.until(func() bool { return second.last.Goodbye })
	if f.next() || second.next() {
		t.Error("something follows the goodbye")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := page.Shutdown(t.Context()); err != nil {
		t.Error("once more:", err)
	}
	if answer := get(t, page.URL+"/events"); answer.StatusCode != http.StatusServiceUnavailable {
		t.Error(answer.Status)
	}
}

// The report of one that still leaves is asked of it.
func TestReportAsItStands(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	nats := startServer(t)
	ready := make(chan struct{})
	store := join(t, nats.connect(), "store", "store-1", fsm.Config{Alarm: generous})
	store.stops("disk", waitsFor(ready))
	defer close(ready)
	instances(t, nats.connect(), "store", 1)
	page := serve(t, nats.connect(), Config{Group: "store"})
	f := follow(t, get(t, page.URL+"/events").Body)
	f.until(f.stands("store/store-1", running))
	url := fmt.Sprintf("%s/report?group=store&name=store-1&incarnation=%s", page.URL, store.member.Instance().Incarnation)
	if answer := get(t, url); answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
	store.Request(fsm.Command{})
	f.until(f.stands("store/store-1", awaitingAcks))
	answer := get(t, url)
	var report fsm.Report
	if err := json.Unmarshal([]byte(body(t, answer.Body)), &report); err != nil || report.State != fsm.AwaitingAcks {
		t.Errorf("%s %v\n%s", answer.Status, err, &report)
	}
	if answer := get(t, url+"x"); answer.StatusCode != http.StatusNotFound {
		t.Error(answer.Status)
	}
}

// A page without NATS, or without anybody who has joined, says so, and goes on when there is.
func TestPageComesBackByItself(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	nats := startServer(t)
	nc := nats.connect()
	nats.kill()
	page := serve(t, nc, Config{})
	f := follow(t, get(t, page.URL+"/events").Body)
	f.until(func() bool { return f.last.Status != nil && !f.last.Status.NATS })
	nats.start()
	f.until(func() bool { return f.last.Status != nil && f.last.Status.NATS })
	f.until(func() bool {
		return f.last.Status != nil && strings.Contains(f.last.Status.Problem, "nobody has joined")
	})
	p := join(t, nats.connect(), "api", "api-1", fsm.Config{})
	f.until(f.stands("api/api-1", running))
	f.until(func() bool { return f.last.Status != nil && f.last.Status.Problem == "" && f.last.Status.Listed })
	nats.kill()
	f.until(func() bool { return f.last.Status != nil && !f.last.Status.NATS })
	nats.start()
	f.until(func() bool { return f.last.Status != nil && f.last.Status.NATS })
	p.Request(fsm.Command{})
	f.until(f.stands("api/api-1", left))
}

// pipes is a listener of connections in memory, which hold nothing back.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { close(l.done); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (l *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.conns <- theirs
	return ours
}

// offline is a page that watches nothing, for virtual time.
func offline() *Page { return newPage(Config{Logger: quiet}) }

// A browser that does not read is cut off after 5 s, and holds nobody up meanwhile.
func TestSlowBrowserIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := offline()
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: p}
		serving := make(chan error, 1)
		go func() { serving <- server.Serve(listener) }()
		slow, quick := listener.dial(), listener.dial()
		for _, conn := range []net.Conn{slow, quick} {
			fmt.Fprint(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}
		f := follow(t, quick)
		f.until(func() bool { return f.last.Whole })
		began := time.Now()
		p.fleet.tell(remote.News{Kind: remote.Joined, Instance: one("api", "api-1", "A", 1)}, p.now())
		f.until(f.stands("api/api-1", running))
		if took := time.Since(began); took > 2*pace {
			t.Errorf("it took %v", took)
		}
		for time.Since(began) < writeTime+heartbeat {
			f.next() // goes on
		}
		if n := p.browsers.count(); n != 1 {
			t.Errorf("%d streams are open", n)
		}
		quick.Close()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		slow.Close()
		server.Close()
		if err := <-serving; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// Shutdown waits for a browser that does not read, but not longer than it may.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := offline()
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		server := &http.Server{Handler: p}
		go func() { _ = server.Serve(listener) }()
		slow := listener.dial()
		fmt.Fprint(slow, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		synctest.Wait()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, fsm.ErrInsist)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, fsm.ErrInsist) {
			t.Error(err)
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		slow.Close()
		server.Close()
	})
}

func TestBrowsersAreLimited(t *testing.T) {
	page := alone(t, Config{})
	defer http.DefaultClient.CloseIdleConnections()
	for range MaxBrowsers {
		if answer := get(t, page.URL+"/events"); answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status)
		}
	}
	if answer := get(t, page.URL+"/events"); answer.StatusCode != http.StatusServiceUnavailable {
		t.Error(answer.Status)
	}
}

func TestReportsAreBounded(t *testing.T) {
	const most = 64 << 10
	r := newReports(most)
	big := &fsm.Report{Command: fsm.Command{Reason: strings.Repeat("x", 4<<10)}}
	for i := range 50 {
		r.keep(one("api", fmt.Sprint("api-", i), "A", 1), big)
		r.keep(one("api", fmt.Sprint("api-", i), "A", 1), big) // its final one
	}
	if r.bytes > most || len(r.texts) != len(r.order) || len(r.order) < 10 {
		t.Errorf("%d reports of %d bytes, in order %d", len(r.texts), r.bytes, len(r.order))
	}
	if r.find(one("api", "api-0", "A", 1)) != nil || r.find(one("api", "api-49", "A", 1)) == nil {
		t.Error("it is not the last ones that are kept")
	}
}

// Who drains is asked once a second while somebody looks, and what was known stays when
// nobody answers.
func TestDrainsAreAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		p := newPage(Config{Logger: quiet, Drains: func(context.Context) ([]Drain, error) {
			if asked++; asked > 2 {
				return nil, errors.New("away")
			}
			return []Drain{{Group: "api", Done: asked}}, nil
		}})
		p.working.Go(p.followDrains)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if asked != 0 {
			t.Errorf("it was asked %d times for nobody", asked)
		}
		p.browsers.enter()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := p.drains.current(); asked != 3 || len(got) != 1 || got[0].Done != 2 {
			t.Errorf("it was asked %d times: %+v", asked, got)
		}
		p.browsers.leave()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
