package ui_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/browsertest"
)

// openBrowser starts Chromium, for which a name of strangers is this machine's.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	return &browser{browsertest.Open(t, chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"))}
}

type browser struct{ *browsertest.Browser }

// showcase is a gateway that has something to show.
func showcase(t *testing.T) (f *fixture, ack map[string]func(), logger *slog.Logger) {
	f = newFixture(t, &neighborhood{node: node{stage: ui.RouteFound}}, fsm.Config{Alarm: time.Minute, InsistAfter: 48 * time.Second})
	lines := ui.NewLogHandler(slog.DiscardHandler)
	f.gateway.SetLog(lines)
	ack = map[string]func(){"neighborhood": f.register("neighborhood", fsm.Withdraws())}
	for _, id := range []string{"streams", "queue", "db"} {
		ack[id] = f.register(fsm.ID(id))
	}
	f.listenAndRun()
	return f, ack, slog.New(lines)
}

// neighborhood is a node that knows five others.
type neighborhood struct{ node }

func (*neighborhood) Graph() string {
	return `digraph db { "A" [label="A\nv7"] [style=filled]; "B" [label="B\nv9"]; "C" [label="C\nv2"]; "D" [label="D\nv4"]; ` +
		`"E" [label="E\nv1"]; "F" [shape=none]; "A" -> "B"; "B" -> "A"; "A" -> "C"; "C" -> "A"; "B" -> "D"; "D" -> "B"; ` +
		`"C" -> "D"; "D" -> "C"; "D" -> "E"; "E" -> "D"; "E" -> "F"; }`
}

func (f *fixture) pageURL() string { return strings.Replace(f.url, "ws", "http", 1) }

func TestBrowserWatchesAndShutsDown(t *testing.T) {
	b := openBrowser(t)
	f, ack, logger := showcase(t)
	b.OnDesktop("light")
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	b.Until(`document.querySelectorAll("#acks tbody tr").length === 4`)
	b.Until(`document.querySelectorAll("#map .node").length === 6`)
	logger.Info("a line", "for", "the page")
	b.Until(`document.querySelector("#log").textContent.includes("a line for=\"the page\"")`)
	b.Until(`document.querySelector("#state-Running").classList.contains("lit")`)
	b.Shoot("page-running", chromedp.FullScreenshot(100))

	// The keyboard is enough: Enter on the button, a reason, Enter.
	b.Do(chromedp.Focus(chromedp.CSS("#ask")), chromedp.KeyEvent("\r"))
	b.Until(`document.querySelector("#dialog").open`)
	b.Do(chromedp.KeyEvent("\x1b"))
	b.Until(`!document.querySelector("#dialog").open`)
	if f.o.State() != fsm.Running {
		t.Fatal("the page did not wait for the confirmation")
	}
	b.Do(chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "deploy 42"))
	b.Shoot("page-confirm", chromedp.FullScreenshot(100))
	b.Do(chromedp.KeyEvent("\r"))
	b.Until(`document.querySelector("#state").textContent === "Withdrawing"`)
	ack["neighborhood"]()
	b.Until(`document.querySelector("#state").textContent === "AwaitingAcks"`)
	ack["streams"]()
	b.Until(`document.querySelectorAll("#acks tr.acked").length === 2`)
	b.Until(`document.querySelectorAll("#acks tr.stopping").length === 2`)
	b.Shoot("page-shutdown", chromedp.FullScreenshot(100))
	ack["queue"]()
	ack["db"]()
	b.Until(`document.querySelector("#state").textContent === "Terminated"`)
	b.Until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
	b.Until(`document.querySelectorAll("#diagram .edge.taken").length === 3`)
	b.Until(`document.querySelectorAll("#farewells tbody tr").length === 1`)
	b.Until(`document.querySelector("#ask").disabled`)
	end := f.finish()
	if end.Report.Command.Reason != "deploy 42" || end.Answered != 1 {
		t.Errorf("%+v", end)
	}
	b.Until(`document.querySelector("#summary").textContent.includes("deploy 42")`) // and it stays, now that the process is gone
	b.OnDesktop("dark")
	b.Shoot("page-report-dark", chromedp.FullScreenshot(100))
	b.OnPhone("dark")
	b.Shoot("page-phone-dark", chromedp.FullScreenshot(100))
	b.NoProblems()
}

func TestBrowserFitsAPhone(t *testing.T) {
	b := openBrowser(t)
	f, _, _ := showcase(t)
	b.OnPhone("light")
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelectorAll("#map .node").length === 6`)
	b.Until(`document.documentElement.scrollWidth <= innerWidth`)
	b.NoProblems()
}

func TestBrowserShowsItsToken(t *testing.T) {
	b := openBrowser(t)
	f := newFixture(t, nil, fsm.Config{})
	f.gateway.SetToken("0123456789abcdef")
	f.listenAndRun()
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelector("#notice").textContent.includes("wants a token")`)
	b.Do(chromedp.Navigate(f.pageURL()+"#0123456789abcdef"), chromedp.Reload())
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	b.Until(`location.hash === ""`)
	b.Do(chromedp.Reload())
	b.Until(`document.querySelector("#state").textContent === "Running"`)
}

// A page from elsewhere, though the browser may be on the same machine, and though
// its name may resolve to it, cannot talk to the gateway.
func TestBrowserKeepsOtherPagesOut(t *testing.T) {
	b := openBrowser(t)
	f := real(t, nil, fsm.Config{})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<script>
			const url = new URL(%q);
			if (location.hostname === "evil.example") url.hostname = location.hostname;
			const socket = new WebSocket(url, "MASQNode-UIv2");
			socket.onopen = () => { socket.send('{"opcode":"shutdown","contextId":1,"payload":{}}'); document.title = "in" };
			socket.onerror = () => { document.title = "out" };
		</script>`, f.url)
	}))
	defer elsewhere.Close()
	b.Do(chromedp.Navigate(rebound(f.pageURL())))
	b.Until(`document.body.innerText.includes("only this machine")`)
	for _, url := range []string{elsewhere.URL, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), rebound(elsewhere.URL)} {
		b.Do(chromedp.Navigate(url))
		b.Until(`document.title === "out"`)
	}
	if f.o.State() != fsm.Running {
		t.Error("a page from elsewhere shut the process down")
	}
}

// rebound is a URL by a name that an attacker has bound to this machine.
func rebound(url string) string { return strings.Replace(url, "127.0.0.1", "evil.example", 1) }

// Nobody can put the page into a frame and have its button pressed unseen.
func TestBrowserFramesNothing(t *testing.T) {
	b := openBrowser(t)
	f := real(t, nil, fsm.Config{})
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<iframe src=%q></iframe>`, f.pageURL())
	}))
	defer elsewhere.Close()
	b.Do(chromedp.Navigate(elsewhere.URL))
	for problem := range b.Problems {
		if strings.Contains(problem, "frame-ancestors") {
			return
		}
	}
}

// What others write can neither reorder what stands around it nor pass for the page's
// own words.
func TestBrowserIsolatesWhatOthersWrite(t *testing.T) {
	b := openBrowser(t)
	f, ack, logger := showcase(t)
	evil := "ev\x1b[31mil\nforged \u202E0 edoc tixE\u202C \u2066x \u05d0\u05d1"
	id := f.register(fsm.ID("queue" + evil))
	b.OnDesktop("light")
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	logger.Info(evil)
	b.Until(`document.querySelector("#log").textContent.includes("forged")`)
	f.o.Request(fsm.Command{Reason: evil, By: evil})
	b.Until(`document.querySelector("#notice").textContent.includes("forged") && document.querySelectorAll("#notice bdi").length === 2`)
	b.Until(`document.querySelector("#acks").textContent.includes("queueev")`)
	for _, done := range ack {
		done()
	}
	id()
	b.Until(`document.querySelector("#summary").textContent.includes("forged")`)
	b.Until(`!/[\u202A-\u202E\u2066-\u2069\x1b\x85]/.test(document.body.textContent)`)
	// Each of them stands in an element of its own that is isolated.
	b.Until(`["#summary", "#acks tbody th", "#log li"].every((place) => document.querySelector(place + " bdi"))`)
	b.Until(`[...document.querySelectorAll("bdi")].every((e) => getComputedStyle(e).unicodeBidi.startsWith("isolate"))`)
	b.Until(`document.querySelector("#report").textContent.includes("\\u202e0 edoc")`)
	b.Until(`JSON.parse(document.querySelector("#report").textContent).report.command.reason.includes("\u202e")`)
	f.finish()
	b.NoProblems()
}

func TestBrowserSaysWhomItWaitsFor(t *testing.T) {
	b := openBrowser(t)
	f, ack, _ := showcase(t)
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	b.Until(`document.querySelector("#waiting").hidden`)
	f.o.Request(fsm.Command{})
	b.Until(`document.querySelector("#waiting").textContent.match(/^Waits for neighborhood \(for \d+ s\); 3 not begun yet\. Alarm in \d+ s\.$/)`)
	ack["neighborhood"]()
	ack["streams"]()
	b.Until(`document.querySelector("#waiting").textContent.match(/^Waits for queue \(for \d+ s\), db \(for \d+ s\)\. Alarm in \d+ s\.$/)`)
	// Who comes late is told the same time.
	<-time.After(2 * time.Second)
	b.Do(chromedp.Reload())
	b.Until(`Number(document.querySelector("#waiting").textContent.match(/Alarm in (\d+) s/)?.[1]) < 58`)
	ack["queue"]()
	ack["db"]()
	b.Until(`document.querySelector("#state").textContent === "Terminated" && document.querySelector("#waiting").hidden`)
	f.finish()
}

// After the end the page keeps the report, looks quietly who comes, and offers it.
func TestBrowserOffersTheReturn(t *testing.T) {
	b := openBrowser(t)
	f, ack, _ := showcase(t)
	b.Do(chromedp.Navigate(f.pageURL()))
	b.Until(`document.querySelector("#facts").textContent.includes("node A")`)
	f.o.Request(fsm.Command{Reason: "deploy 42"})
	for _, done := range ack {
		done()
	}
	f.finish()
	b.Until(`document.querySelector("#summary").textContent.includes("deploy 42")`)
	said := browsertest.Evaluate[string](b.Browser, `document.querySelector("#notice").textContent`)
	<-time.After(3 * time.Second) // in which it has looked, and found nobody
	b.Until(`document.querySelector("#return").hidden && document.querySelector("#state").textContent === "Terminated"`)
	if got := browsertest.Evaluate[string](b.Browser, `document.querySelector("#notice").textContent`); got != said {
		t.Errorf("the page looks for a return, but not quietly: %s", got)
	}
	next := newFixture(t, &neighborhood{node: node{stage: ui.RouteFound}}, fsm.Config{})
	if _, err := next.gateway.Listen(strings.Trim(strings.TrimPrefix(f.url, "ws:"), "/")); err != nil {
		t.Fatal(err)
	}
	next.url = f.url
	next.run()
	b.Until(`document.querySelector("#returned").textContent.includes("The node A… is back")`)
	b.Until(`document.querySelector("#summary").textContent.includes("deploy 42") && !document.querySelector("#report-card").hidden`)
	b.Do(chromedp.Click(chromedp.CSS("#look")))
	b.Until(`document.querySelector("#state").textContent === "Running" && document.querySelector("#report-card").hidden`)
	b.Until(`document.querySelector("#return").hidden`)
}
