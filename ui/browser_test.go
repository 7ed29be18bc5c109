package ui_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

// browser is a real Chromium, with one tab.
type browser struct {
	t        *testing.T
	ctx      context.Context
	started  bool
	problems chan string // what the console says
}

// browserTime is how long anything may take in the browser, on a loaded machine.
const browserTime = time.Minute

// openBrowser starts Chromium. Without one the test is skipped, but not in CI.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath(findBrowser(t)),
		chromedp.WSURLReadTimeout(2*time.Minute), chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"))
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &browser{t: t, ctx: ctx, problems: make(chan string, 100)}
	var listening sync.WaitGroup
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits until the process is gone
			t.Log("closing the browser:", err)
		}
		cancel()
		cancelAllocator()
		listening.Wait()
	})
	b.do()
	console := chromedp.Console(ctx)
	listening.Go(func() {
		for message, err := range console {
			if err != nil {
				return
			}
			b.problems <- message.Text
		}
	})
	return b
}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no Chromium here: the page was NOT tested in a browser (apt-get install chromium)"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	if b.started {
		b.must(chromedp.Do(ctx, actions...))
		return
	}
	b.started = true
	b.must(chromedp.Do(b.ctx, actions...)) // the browser would live no longer than its first context
}

func (b *browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// evaluate returns what an expression, or the promise that it is, comes to in the page.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	b.must(err)
	return value
}

// until waits until an expression holds in the page. It looks again and again,
// because what it looks at may be replaced, with all that waits in it, by a
// navigation that is not quite over.
func (b *browser) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if holds {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			b.t.Fatalf("%s: %v; the page shows:\n%s", expression, err, evaluate[string](b, "document.body.innerText"))
		}
	}
}

// shoot keeps a screenshot in the folder that the environment names, if it does.
func (b *browser) shoot(name string) {
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	image, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	b.must(err)
	if err := os.WriteFile(filepath.Join(folder, name+".png"), image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) noProblems() {
	b.t.Helper()
	select {
	case problem := <-b.problems:
		b.t.Error("the console says:", problem)
	default:
	}
}

// onDesktop and onPhone change what the page is looked at with.
func (b *browser) onDesktop(scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(1280, 900))
	b.prefer(scheme)
}

func (b *browser) onPhone(scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulatePortrait, chromedp.EmulateMobile))
	b.prefer(scheme)
}

func (b *browser) prefer(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	b.must(err)
}

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
	b.onDesktop("light")
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelector("#state").textContent === "Running"`)
	b.until(`document.querySelectorAll("#acks tbody tr").length === 4`)
	b.until(`document.querySelectorAll("#map .node").length === 6`)
	logger.Info("a line", "for", "the page")
	b.until(`document.querySelector("#log").textContent.includes("a line for=\"the page\"")`)
	b.until(`document.querySelector("#state-Running").classList.contains("lit")`)
	b.shoot("page-running")

	// The keyboard is enough: Enter on the button, a reason, Enter.
	b.do(chromedp.Focus(chromedp.CSS("#ask")), chromedp.KeyEvent("\r"))
	b.until(`document.querySelector("#dialog").open`)
	b.do(chromedp.KeyEvent("\x1b"))
	b.until(`!document.querySelector("#dialog").open`)
	if f.o.State() != fsm.Running {
		t.Fatal("the page did not wait for the confirmation")
	}
	b.do(chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "deploy 42"))
	b.shoot("page-confirm")
	b.do(chromedp.KeyEvent("\r"))
	b.until(`document.querySelector("#state").textContent === "Withdrawing"`)
	ack["neighborhood"]()
	b.until(`document.querySelector("#state").textContent === "AwaitingAcks"`)
	ack["streams"]()
	b.until(`document.querySelectorAll("#acks tr.acked").length === 2`)
	b.until(`document.querySelectorAll("#acks tr.stopping").length === 2`)
	b.shoot("page-shutdown")
	ack["queue"]()
	ack["db"]()
	b.until(`document.querySelector("#state").textContent === "Terminated"`)
	b.until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
	b.until(`document.querySelectorAll("#diagram .edge.taken").length === 3`)
	b.until(`document.querySelectorAll("#farewells tbody tr").length === 1`)
	b.until(`document.querySelector("#ask").disabled`)
	end := f.finish()
	if end.Report.Command.Reason != "deploy 42" || end.Answered != 1 {
		t.Errorf("%+v", end)
	}
	b.until(`document.querySelector("#summary").textContent.includes("deploy 42")`) // and it stays, now that the process is gone
	b.onDesktop("dark")
	b.shoot("page-report-dark")
	b.onPhone("dark")
	b.shoot("page-phone-dark")
	b.noProblems()
}

func TestBrowserFitsAPhone(t *testing.T) {
	b := openBrowser(t)
	f, _, _ := showcase(t)
	b.onPhone("light")
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelectorAll("#map .node").length === 6`)
	b.until(`document.documentElement.scrollWidth <= innerWidth`)
	b.noProblems()
}

func TestBrowserShowsItsToken(t *testing.T) {
	b := openBrowser(t)
	f := newFixture(t, nil, fsm.Config{})
	f.gateway.SetToken("0123456789abcdef")
	f.listenAndRun()
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelector("#notice").textContent.includes("wants a token")`)
	b.do(chromedp.Navigate(f.pageURL()+"#0123456789abcdef"), chromedp.Reload())
	b.until(`document.querySelector("#state").textContent === "Running"`)
	b.until(`location.hash === ""`)
	b.do(chromedp.Reload())
	b.until(`document.querySelector("#state").textContent === "Running"`)
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
	b.do(chromedp.Navigate(rebound(f.pageURL())))
	b.until(`document.body.innerText.includes("only this machine")`)
	for _, url := range []string{elsewhere.URL, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), rebound(elsewhere.URL)} {
		b.do(chromedp.Navigate(url))
		b.until(`document.title === "out"`)
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
	b.do(chromedp.Navigate(elsewhere.URL))
	for problem := range b.problems {
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
	b.onDesktop("light")
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelector("#state").textContent === "Running"`)
	logger.Info(evil)
	b.until(`document.querySelector("#log").textContent.includes("forged")`)
	f.o.Request(fsm.Command{Reason: evil, By: evil})
	b.until(`document.querySelector("#notice").textContent.includes("forged") && document.querySelectorAll("#notice bdi").length === 2`)
	b.until(`document.querySelector("#acks").textContent.includes("queueev")`)
	for _, done := range ack {
		done()
	}
	id()
	b.until(`document.querySelector("#summary").textContent.includes("forged")`)
	b.until(`!/[\u202A-\u202E\u2066-\u2069\x1b\x85]/.test(document.body.textContent)`)
	// Each of them stands in an element of its own that is isolated.
	b.until(`["#summary", "#acks tbody th", "#log li"].every((place) => document.querySelector(place + " bdi"))`)
	b.until(`[...document.querySelectorAll("bdi")].every((e) => getComputedStyle(e).unicodeBidi.startsWith("isolate"))`)
	b.until(`document.querySelector("#report").textContent.includes("\\u202e0 edoc")`)
	b.until(`JSON.parse(document.querySelector("#report").textContent).report.command.reason.includes("\u202e")`)
	f.finish()
	b.noProblems()
}

func TestBrowserSaysWhomItWaitsFor(t *testing.T) {
	b := openBrowser(t)
	f, ack, _ := showcase(t)
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelector("#state").textContent === "Running"`)
	b.until(`document.querySelector("#waiting").hidden`)
	f.o.Request(fsm.Command{})
	b.until(`document.querySelector("#waiting").textContent.match(/^Waits for neighborhood \(for \d+ s\); 3 not begun yet\. Alarm in \d+ s\.$/)`)
	ack["neighborhood"]()
	ack["streams"]()
	b.until(`document.querySelector("#waiting").textContent.match(/^Waits for queue \(for \d+ s\), db \(for \d+ s\)\. Alarm in \d+ s\.$/)`)
	// Who comes late is told the same time.
	<-time.After(2 * time.Second)
	b.do(chromedp.Reload())
	b.until(`Number(document.querySelector("#waiting").textContent.match(/Alarm in (\d+) s/)?.[1]) < 58`)
	ack["queue"]()
	ack["db"]()
	b.until(`document.querySelector("#state").textContent === "Terminated" && document.querySelector("#waiting").hidden`)
	f.finish()
}

// After the end the page keeps the report, looks quietly who comes, and offers it.
func TestBrowserOffersTheReturn(t *testing.T) {
	b := openBrowser(t)
	f, ack, _ := showcase(t)
	b.do(chromedp.Navigate(f.pageURL()))
	b.until(`document.querySelector("#facts").textContent.includes("node A")`)
	f.o.Request(fsm.Command{Reason: "deploy 42"})
	for _, done := range ack {
		done()
	}
	f.finish()
	b.until(`document.querySelector("#summary").textContent.includes("deploy 42")`)
	said := evaluate[string](b, `document.querySelector("#notice").textContent`)
	<-time.After(3 * time.Second) // in which it has looked, and found nobody
	b.until(`document.querySelector("#return").hidden && document.querySelector("#state").textContent === "Terminated"`)
	if got := evaluate[string](b, `document.querySelector("#notice").textContent`); got != said {
		t.Errorf("the page looks for a return, but not quietly: %s", got)
	}
	next := newFixture(t, &neighborhood{node: node{stage: ui.RouteFound}}, fsm.Config{})
	if _, err := next.gateway.Listen(strings.Trim(strings.TrimPrefix(f.url, "ws:"), "/")); err != nil {
		t.Fatal(err)
	}
	next.url = f.url
	next.run()
	b.until(`document.querySelector("#returned").textContent.includes("The node A… is back")`)
	b.until(`document.querySelector("#summary").textContent.includes("deploy 42") && !document.querySelector("#report-card").hidden`)
	b.do(chromedp.Click(chromedp.CSS("#look")))
	b.until(`document.querySelector("#state").textContent === "Running" && document.querySelector("#report-card").hidden`)
	b.until(`document.querySelector("#return").hidden`)
}
