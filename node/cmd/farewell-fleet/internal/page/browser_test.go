package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/ui/browsertest"
)

// openBrowser starts Chromium, for which a name of strangers is this machine's.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	return &browser{browsertest.Open(t, chromedp.Flag("host-resolver-rules", "MAP evil.example 127.0.0.1"))}
}

type browser struct{ *browsertest.Browser }

// shoot takes a picture of the screen, when what has come into view is painted.
func (b *browser) shoot(name string) {
	browsertest.Evaluate[bool](b.Browser, `new Promise((resolve) => setTimeout(() => requestAnimationFrame(() => resolve(true)), 300))`)
	b.Shoot(name, chromedp.CaptureScreenshot())
}

// rolling asks the instances to leave, so many at once, in their order.
func rolling(t *testing.T, nc *nats.Conn, list []remote.Instance, atOnce int, within time.Duration, each func(int, *fsm.Report)) {
	t.Helper()
	var asking sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i, instance := range list {
		places <- struct{}{}
		asking.Go(func() {
			defer func() { <-places }()
			ctx, cancel := context.WithTimeout(context.Background(), generous)
			defer cancel()
			report, _ := remote.Shutdown(ctx, nc, instance, "", fsm.Command{Reason: "deploy 42", By: "ana", Within: within})
			if each != nil {
				each(i, report)
			}
		})
	}
	asking.Wait()
}

// A rolling leave, three at a time, in which one fails and one hangs: what a person
// must see.
func TestBrowserShowsARollingLeave(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	hung := make(chan struct{})
	release := sync.OnceFunc(func() { close(hung) })
	defer release()
	for i := range 4 {
		join(t, nats.connect(), "edge", fmt.Sprintf("edge-%d", i+1), fsm.Config{}).stops("http", takes(80*time.Millisecond))
	}
	for i := range 3 {
		join(t, nats.connect(), "store", fmt.Sprintf("store-%d", i+1), fsm.Config{}).stops("disk", takes(200*time.Millisecond))
	}
	operator := nats.connect()
	for i := range 24 {
		config := fsm.Config{Alarm: generous}
		if i == 10 {
			config.InsistAfter = 3 * time.Second
		}
		p := join(t, nats.connect(), "api", fmt.Sprintf("api-%d", i+1), config)
		switch p.stops("db", takes(time.Duration(150+i*20)*time.Millisecond)); i {
		case 6:
			p.stops("cache", fails(300*time.Millisecond, "flush: disk is full"), fsm.Before("db"))
		case 10:
			p.stops("queue", waitsFor(hung), fsm.Before("db"))
		default:
			p.stops("cache", takes(time.Duration(200+i%5*90)*time.Millisecond), fsm.Before("db"))
		}
		p.stops("http", takes(time.Duration(300+i%7*100)*time.Millisecond), fsm.Before("db"))
		instances(t, operator, "api", i+1) // in this order
	}
	list := instances(t, operator, "api", 24)
	drains := drainsOf("api", len(list), "3")
	page := serve(t, nats.connect(), Config{Drains: drains.list})
	b.OnDesktop("light")
	b.Do(chromedp.Navigate(page.URL))
	b.Until(`document.querySelector("#state").textContent === "live"`)
	b.Until(`document.querySelectorAll(".group").length === 3`)
	b.Until(`document.querySelectorAll(".group tbody tr").length === 31`)
	b.Until(`document.querySelector("#now").textContent === "Nobody is leaving: 31 instances there."`)

	over := make(chan struct{})
	go func() {
		defer close(over)
		rolling(t, operator, list, 3, 0, drains.done)
	}()
	b.Until(`document.querySelector('tr[data-rank="0"]')?.textContent.match(/api-11.*hangs on queue \(\d+ s\), insisted upon/)`)
	b.Until(`document.querySelector("#now").textContent.match(/^1 hangs, .*1 has failed\.$/)`)
	b.Until(`document.querySelector("#trouble li").textContent.includes("api/api-11hangs on queue")`)
	b.Do(chromedp.EmulateViewport(1280, 1560))
	b.shoot("fleet-page")
	b.OnPhone("dark")
	b.Until(`document.documentElement.scrollWidth <= innerWidth`)
	b.shoot("fleet-page-phone-dark")
	b.OnDesktop("light")
	release()
	<-over
	b.Until(`document.querySelector("#now").textContent === "2 have failed."`)
	b.Until(`document.querySelector('tr[data-rank="1"]').textContent.match(/^api-11queue acked when insisted upon; exit code 4 after/)`)
	b.Until(`document.title === "2 have failed. Farewell fleet"`)
	b.Do(chromedp.Click(chromedp.CSS("#trouble li button")))
	b.Until(`document.querySelector("#dialog").open && document.querySelector("#dialog .components")`)
	b.NoProblems()
}

// look opens a page.
func (b *browser) look(page *served) {
	b.OnDesktop("light")
	b.Do(chromedp.Navigate(page.URL))
	b.Until(`document.querySelector("#state").textContent === "live"`)
}

// Who joins appears, and the acks of who leaves stand on the axis in their order.
func TestBrowserShowsAcksInOrder(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	join(t, nats.connect(), "edge", "edge-1", fsm.Config{})
	instances(t, nats.connect(), "edge", 1)
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	b.Until(`document.querySelector("tr .joined") === null`) // it was there before

	p := join(t, nats.connect(), "store", "store-1", fsm.Config{Alarm: generous})
	p.stops("disk", takes(300*time.Millisecond))
	p.stops("cache", fails(200*time.Millisecond, "flush: disk is full"), fsm.Before("disk"))
	p.stops("http", takes(300*time.Millisecond), fsm.Before("cache"))
	b.Until(`[...document.querySelectorAll(".group")].map((group) => group.innerText).join().includes("store-1")`)
	b.Until(`document.querySelectorAll("tr .joined").length === 1`)
	p.Request(fsm.Command{By: "ana", Reason: "deploy 42"})
	b.Until(`document.querySelector('tr[data-rank="1"]')?.textContent.includes("store-1cache failed; exit code 4 after")`)
	b.Until(`document.querySelector("#trouble").textContent.includes("store/store-1cache failed")`)
	b.Until(`document.querySelectorAll('tr[data-rank="1"] .part').length === 4`)
	// Where they are on the screen is when they were.
	b.Until(`(() => {
		const box = (id) => [...document.querySelectorAll('tr[data-rank="1"] .part')].find(({ title }) => title.startsWith(id + ":")).getBoundingClientRect();
		const [http, cache, disk] = ["http", "cache", "disk"].map(box);
		return http.left < cache.left && cache.left < disk.left && http.right <= cache.left + 3 && cache.right <= disk.left + 3 && http.width > 3;
	})()`)
	b.Until(`document.querySelector('tr[data-rank="1"] .part.failed').title.startsWith("cache: failed after")`)
	b.Until(`document.querySelector('tr[data-rank="1"] .withdrew') && document.querySelector('tr[data-rank="1"] .end.failed')`)
	b.NoProblems()
}

// The keyboard is enough for the report of an instance, which says all that it does.
func TestBrowserShowsAReport(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	hung := make(chan struct{})
	defer close(hung)
	p := join(t, nats.connect(), "store", "store-1", fsm.Config{Alarm: 1500 * time.Millisecond})
	p.stops("disk", waitsFor(hung))
	p.stops("http", fails(0, "<img src=x onerror=alert(1)>"), fsm.Before("disk"))
	instances(t, nats.connect(), "store", 1)
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	b.Do(chromedp.Focus(chromedp.CSS("tr button.name")), chromedp.KeyEvent("\r"))
	b.Until(`document.querySelector("#dialog").open && document.querySelector("#dialog-report").textContent.startsWith("It runs.")`)
	p.Request(fsm.Command{By: "ana", Reason: "deploy 42"})
	b.Until(`document.querySelector("#dialog-state").textContent.startsWith("disk hung, http failed; alarm; exit code 3 after ")`) // while it is open
	b.Until(`document.querySelector("#dialog tr.hung")?.textContent.includes("disk")`)
	b.Until(`document.querySelector("#dialog tr.failed").textContent.includes("<img src=x")`)
	b.Until(`document.querySelector("#dialog .stack[open]").textContent.includes("waitsFor")`)
	b.Until(`document.querySelector("#dialog-facts").textContent.includes("ana, because of deploy 42")`)
	b.Until(`document.querySelectorAll("img").length === 0`)
	b.Do(chromedp.KeyEvent("\x1b"))
	b.Until(`!document.querySelector("#dialog").open && document.activeElement.className === "name"`)
	b.Do(chromedp.Click(chromedp.CSS("tr .state")))
	b.Until(`document.querySelector("#dialog").open`)
	b.Do(chromedp.Click(chromedp.CSS("#close")))
	b.Until(`!document.querySelector("#dialog").open`)
	b.NoProblems()
}

// What hangs on another host is named in the report of the one that waits for it.
func TestBrowserShowsWhatHangsElsewhere(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	hung := make(chan struct{})
	defer close(hung)
	store := join(t, nats.connect(), "store", "store-1", fsm.Config{})
	store.stops("disk", waitsFor(hung))
	edge := join(t, nats.connect(), "edge", "edge-1", fsm.Config{Alarm: 3 * time.Second})
	edge.stops("http", takes(300*time.Millisecond))
	if err := edge.Register("store", edge.member.Component("store/store-1"), fsm.After("http")); err != nil {
		t.Fatal(err)
	}
	instances(t, nats.connect(), "", 2)
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 2`)
	edge.Request(fsm.Command{By: "ana", Reason: "deploy 42"})
	b.Until(`document.querySelector("#now").textContent === "2 have failed."`)
	b.Until(`[...document.querySelectorAll("#trouble li")].map(({ textContent }) => textContent.split(";")[0]).sort().join() === "edge/edge-1store failed (there: disk hung),store/store-1disk hung"`)
	b.Do(chromedp.Click(chromedp.CSS("#trouble li:first-child button")))
	b.Until(`document.querySelector("#dialog .inner h3").textContent === "Inside store"`)
	b.Until(`document.querySelector("#dialog .inner tr.hung").textContent.startsWith("disk")`)
	b.Until(`document.querySelector("#dialog .inner .stack").textContent.includes("waitsFor")`)
	b.NoProblems()
}

// What others write can neither be HTML nor reorder what stands around it.
func TestBrowserIsolatesWhatOthersWrite(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	evil := "<b>ev</b>\x1b[31mil\nforged \u202E0 edoc tixE\u202C \u2066x \u05d0\u05d1"
	p := join(t, nats.connect(), "store", "store-1", fsm.Config{})
	p.stops(fsm.ID("queue"+evil), fails(0, evil))
	instances(t, nats.connect(), "store", 1)
	drain := Drain{Group: "store", Operator: evil, Total: 1, AtOnce: evil, Stopped: evil}
	b.look(serve(t, nats.connect(), Config{Drains: func(context.Context) ([]Drain, error) { return []Drain{drain}, nil }}))
	b.Until(`document.querySelector(".drain").textContent.includes("forged")`)
	p.Request(fsm.Command{By: evil, Reason: evil})
	b.Until(`document.querySelector('tr[data-rank="1"] .state bdi')?.textContent.includes("forged")`)
	b.Do(chromedp.Click(chromedp.CSS("#trouble button")))
	b.Until(`document.querySelector("#dialog tr.failed")?.textContent.includes("forged")`)
	b.Until(`document.querySelectorAll("b").length === 0`)
	b.Until(`!/[\u202A-\u202E\u2066-\u2069\x1b\x85]/.test(document.body.textContent + [...document.querySelectorAll("[title]")].map(({ title }) => title).join())`)
	b.Until(`[...document.querySelectorAll("bdi")].every((e) => getComputedStyle(e).unicodeBidi.startsWith("isolate"))`)
	b.Until(`document.querySelector("#dialog pre").textContent.includes("\\u202e0 edoc")`)
	b.NoProblems()
}

// In a rolling restart the names come back: who has not is away, and one sees how long.
func TestBrowserShowsARollingRestart(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	start := func(i int) *process {
		p := join(t, nats.connect(), "api", fmt.Sprintf("api-%d", i), fsm.Config{})
		if i == 3 {
			p.stops("http", fails(100*time.Millisecond, "bad"))
		} else {
			p.stops("http", takes(100*time.Millisecond))
		}
		return p
	}
	old := make([]*process, 6)
	for i := range old {
		old[i] = start(i)
	}
	instances(t, nats.connect(), "api", len(old))
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 6`)
	for i, p := range old[:5] {
		p.Request(fsm.Command{Reason: "deploy 42"})
		p.ended()
		if i < 4 {
			start(i)
		}
	}
	b.Until(`document.querySelector("#now").textContent === "1 is away."`)
	b.Until(`document.querySelector("#trouble").textContent.match(/^api\/api-4left politely after .*, not back for \d+ s$/)`)
	b.Until(`document.querySelector(".counts").textContent === "1 away · 5 there · 4 back"`)
	// The one whose last run failed comes before those with whom all is well.
	b.Until(`document.querySelector('tr[data-rank="3"]').textContent.match(/^api-3running, back after .*; its last run: http failed; exit code 4 after/)`)
	b.Until(`[...document.querySelectorAll("tr[data-rank]")].map(({ dataset }) => dataset.rank).join("") === "345555"`)
	start(4)
	b.Until(`document.querySelector("#now").textContent === "Nobody is leaving: 6 instances there."`)
	b.NoProblems()
}

// NATS is killed in the middle of a leave and comes back: the page says that it is stale
// meanwhile, and then how it went.
func TestBrowserSurvivesNATS(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	ready := make(chan struct{})
	for i := range 3 {
		p := join(t, nats.connect(), "api", fmt.Sprintf("api-%d", i+1), fsm.Config{Alarm: time.Minute})
		p.stops("http", waitsFor(ready))
		defer p.Request(fsm.Command{})
	}
	operator := nats.connect()
	list := instances(t, operator, "api", 3)
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 3`)
	over := make(chan struct{})
	go func() {
		defer close(over)
		rolling(t, operator, list[:1], 1, 0, nil)
	}()
	b.Until(`document.querySelector("#now").textContent === "1 leaves."`)
	nats.kill()
	b.Until(`document.querySelector("#state").textContent === "stale" && document.body.classList.contains("stale")`)
	b.Until(`document.querySelector("#notice").textContent.match(/^NATS cannot be reached\. What is shown is \d+ s old\.$/)`)
	b.Until(`document.querySelector("#axis .tick").textContent.endsWith(" ago")`)
	close(ready)
	nats.start()
	b.Until(`document.querySelector("#state").textContent === "live" && document.querySelector("#notice").hidden`)
	<-over
	b.Until(`document.querySelector('tr[data-rank="4"]')?.textContent.includes("left politely after")`)
	b.Until(`document.querySelector("#now").textContent === "Nobody is leaving: 2 instances there."`)
	b.NoProblems()
}

// The page's server ends and another one comes: the page finds it by itself.
func TestBrowserFindsTheNextServer(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	join(t, nats.connect(), "api", "api-1", fsm.Config{})
	instances(t, nats.connect(), "api", 1)
	first := serve(t, nats.connect(), Config{})
	b.look(first)
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	b.Do(chromedp.Click(chromedp.CSS(".fold"))) // which is remembered
	b.Until(`document.querySelector(".inside").hidden`)
	first.end()
	b.Until(`document.querySelector("#state").textContent === "not connected"`)
	b.Until(`document.querySelector("#notice").textContent.includes("Trying again in ")`)
	join(t, nats.connect(), "store", "store-1", fsm.Config{})
	instances(t, nats.connect(), "store", 1)
	listener, err := net.Listen("tcp", strings.TrimPrefix(first.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(nats.connect(), Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: second}}
	server.Start()
	defer func() { (&served{second, server}).end() }()
	b.Until(`document.querySelector("#state").textContent === "live"`)
	b.Until(`document.querySelectorAll(".group").length === 2 && document.querySelector(".inside").hidden`)
}

// Two hundred instances of one group leave ten at a time: what one sees is a page or two,
// of which the top says what is wrong.
func TestBrowserShowsTwoHundred(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	hung := make(chan struct{})
	defer close(hung)
	shared := nats.connect()
	for i := range 200 {
		p := join(t, shared, "api", fmt.Sprintf("api-%d", i+1), fsm.Config{Alarm: 10 * time.Second, InsistAfter: 2 * time.Second})
		p.stops("db", takes(50*time.Millisecond))
		if i == 120 {
			p.stops("queue", waitsFor(hung), fsm.Before("db"))
		}
		p.stops("http", takes(time.Duration(100+i%9*30)*time.Millisecond), fsm.Before("db"))
	}
	for _, group := range []string{"edge", "store", "web"} {
		for i := range 30 {
			join(t, shared, group, fmt.Sprintf("%s-%d", group, i+1), fsm.Config{})
		}
	}
	operator := nats.connect()
	instances(t, operator, "", 290)
	list := instances(t, operator, "api", 200)
	drains := drainsOf("api", 200, "10")
	b.look(serve(t, nats.connect(), Config{Drains: drains.list}))
	b.Until(`document.querySelector("#now").textContent === "Nobody is leaving: 290 instances there."`)
	b.Until(`document.querySelectorAll(".group").length === 4 && document.querySelectorAll(".group tbody tr").length === 0`) // all folded
	over := make(chan struct{})
	go func() {
		defer close(over)
		rolling(t, operator, list, 10, 0, drains.done)
	}()
	b.Until(`document.querySelector("#trouble li")?.textContent.match(/^api\/api-121hangs on queue \(\d+ s\), insisted upon/)`)
	b.Until(`document.querySelectorAll(".group tbody tr").length === 40`) // one group is unfolded
	b.Until(`document.querySelector(".drain").textContent.match(/^ana drains it: \d+ of 200, 10 at once/)`)
	b.Until(`document.querySelector(".rest").textContent.match(/^and 160 others, /)`)
	b.Until(`document.documentElement.scrollHeight < 3 * innerHeight`)
	<-over
	b.Until(`document.querySelector(".counts").textContent === "1 failed · 0 there · 199 left"`)
	// All of them are in the overview, in about as many lanes as left at once.
	b.Until(`document.querySelector(".lanes").dataset.bars === "200" && Number(document.querySelector(".lanes").dataset.lanes) <= 16`)
	b.Do(chromedp.SendKeys(chromedp.CSS("#filter"), "QUEUE hung"))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1 && document.querySelector(".group tbody tr").textContent.includes("api-121")`)
	b.Until(`[...document.querySelectorAll(".group")].filter(({ hidden }) => !hidden).length === 1`)
	browsertest.Evaluate[bool](b.Browser, `document.querySelector("#filter").value = "", document.querySelector("#filter").dispatchEvent(new Event("input"))`)
	b.Until(`document.querySelectorAll(".group tbody tr").length === 40`)
	b.Do(chromedp.Click(chromedp.CSS(".inside > button")))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 140`)
	b.NoProblems()
}

// Ten thousand in the registry do not kill the page, even if all leave at once, and hang.
func TestBrowserShowsTenThousand(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	const n = 10_000
	list := make([]remote.Instance, n)
	for i := range list {
		list[i] = one(fmt.Sprint("group-", i%20), fmt.Sprint("i-", i), fmt.Sprint("A", i), 0)
	}
	nc := nats.connect()
	if err := remote.Setup(t.Context(), nc, remote.Registry{TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	publish := func(subject func(remote.Instance) string, about func(remote.Instance) any) {
		for _, i := range list {
			data, err := json.Marshal(about(i))
			if err == nil {
				err = nc.Publish(subject(i), data)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	publish(func(i remote.Instance) string {
		return fmt.Sprintf("$KV.%s.%s.%s", remote.PresentBucket, i.Group, i.Name)
	},
		func(i remote.Instance) any { return i })
	instances(t, nc, "", n)
	page := serve(t, nats.connect(), Config{})
	began := time.Now()
	b.look(page)
	b.Until(`document.querySelector("#now").textContent === "Nobody is leaving: 10,000 instances there."`)
	t.Logf("a registry of %d is shown after %v", n, time.Since(began).Round(time.Millisecond))
	began = time.Now()
	for seq, kind := range []fsm.Kind{fsm.ShutdownRequested, fsm.Started, fsm.Insisted} {
		event := fsm.Event{Seq: seq, Kind: kind, State: fsm.AwaitingAcks, At: theirs(seq), From: "http"}
		publish(func(i remote.Instance) string {
			return fmt.Sprintf("farewell.event.%s.%s.%s", i.Group, i.Name, i.Incarnation)
		},
			func(i remote.Instance) any { return map[string]any{"instance": i, "event": event} })
	}
	b.Until(`document.querySelector("#now").textContent === "10,000 hang."`)
	t.Logf("that all hang is shown after %v", time.Since(began).Round(time.Millisecond))
	b.Until(`document.querySelectorAll(".group tbody tr").length <= 240`)
	// The page still answers a person.
	browsertest.Evaluate[bool](b.Browser, `new Promise((resolve) => {
		let longest = 0;
		const observer = new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) longest = Math.max(longest, duration); });
		observer.observe({ entryTypes: ["longtask"] });
		setTimeout(() => { observer.disconnect(); document.title = "longest " + longest; resolve(true); }, 3000);
	})`)
	t.Logf("in three seconds, the longest task took (ms): %s", browsertest.Evaluate[string](b.Browser, `document.title`))
	began = time.Now()
	b.Do(chromedp.SendKeys(chromedp.CSS("#filter"), "i-4321"))
	b.Until(`[...document.querySelectorAll(".group tbody tr")].filter((row) => row.checkVisibility()).length === 1`)
	t.Logf("a filter takes %v", time.Since(began).Round(time.Millisecond))
	b.NoProblems()
}

// What is paused stays as it is, and then is as it has become.
func TestBrowserPauses(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	p := join(t, nats.connect(), "api", "api-1", fsm.Config{})
	instances(t, nats.connect(), "api", 1)
	b.look(serve(t, nats.connect(), Config{}))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	b.Do(chromedp.Click(chromedp.CSS("#pause")))
	b.Until(`document.querySelector("#state").textContent === "paused"`)
	now := browsertest.Evaluate[string](b.Browser, `document.documentElement.style.getPropertyValue("--now")`)
	p.Request(fsm.Command{})
	p.ended()
	<-time.After(time.Second) // in which it has been told
	b.Until(`document.querySelector("#now").textContent.startsWith("Nobody is leaving: 1 ")`)
	b.Until(`document.documentElement.style.getPropertyValue("--now") === "` + now + `"`)
	b.Do(chromedp.Click(chromedp.CSS("#pause")))
	b.Until(`document.querySelector(".counts").textContent === "0 there · 1 left"`)
	b.NoProblems()
}

// For who wants less motion the axis moves once a second.
func TestBrowserMovesLess(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	join(t, nats.connect(), "api", "api-1", fsm.Config{})
	instances(t, nats.connect(), "api", 1)
	b.OnDesktop("light")
	b.Prefer("prefers-reduced-motion", "reduce")
	b.Do(chromedp.Navigate(serve(t, nats.connect(), Config{}).URL))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	moves := browsertest.Evaluate[int](b.Browser, `new Promise((resolve) => {
		const seen = new Set();
		const look = () => { seen.add(document.documentElement.style.getPropertyValue("--now")); requestAnimationFrame(look); };
		look();
		setTimeout(() => resolve(seen.size - 1), 2500);
	})`)
	if moves < 1 || moves > 3 {
		t.Errorf("it has moved %d times in two and a half seconds", moves)
	}
	b.NoProblems()
}

// Text has a contrast of at least 4.5 to what is behind it (WCAG 2.2, 1.4.3).
func TestBrowserHasContrast(t *testing.T) {
	b := openBrowser(t)
	page := serve(t, startServer(t).connect(), Config{})
	for _, scheme := range []string{"light", "dark"} {
		b.OnDesktop(scheme)
		b.Do(chromedp.Navigate(page.URL))
		b.Until(`document.querySelector("#notice").textContent.includes("nobody has joined")`)
		low := browsertest.Evaluate[string](b.Browser, `(() => {
			const value = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
			const light = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
				.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
			const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
			const pairs = ["ink", "faint", "good", "bad", "lit", "warn"].flatMap((text) => ["card", "paper"].map((back) => [text, back]));
			pairs.push(["on-lit", "lit"]);
			return pairs.filter(([text, back]) => !(contrast(value(text), value(back)) >= 4.5)).join("; ");
		})()`)
		if low != "" {
			t.Errorf("%s: too little contrast: %s", scheme, low)
		}
	}
}

// The policy holds: nothing runs and nothing is loaded but the page's own files. Here
// the page is served below a path.
func TestBrowserRunsNothingElse(t *testing.T) {
	b := openBrowser(t)
	page := serve(t, startServer(t).connect(), Config{})
	below := httptest.NewServer(http.StripPrefix("/fleet", page.Page))
	defer func() { page.end(); below.Close() }() // which waits for the stream
	b.Do(chromedp.Navigate(below.URL + "/fleet/"))
	b.Until(`document.querySelector("#notice").textContent.includes("nobody has joined")`)
	b.NoProblems()
	refused := browsertest.Evaluate[[]string](b.Browser, `new Promise((resolve) => {
		const refused = [];
		document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => {
			if (refused.push(effectiveDirective) === 3) resolve(refused.sort());
		});
		document.head.append(Object.assign(document.createElement("script"), { textContent: "document.title = 'evil'" }));
		document.body.append(Object.assign(document.createElement("img"), { src: "http://evil.example/" }));
		document.body.append(Object.assign(document.createElement("iframe"), { src: "http://evil.example/" }));
	})`)
	if want := "[frame-src img-src script-src-elem]"; fmt.Sprint(refused) != want {
		t.Errorf("refused are %v, not %s", refused, want)
	}
}

func TestBrowserFitsAPhone(t *testing.T) {
	b := openBrowser(t)
	nats := startServer(t)
	p := join(t, nats.connect(), "a-group-of-a-rather-long-name-that-goes-on-and-on-and-on", strings.Repeat("a-long-name.", 9)+"x", fsm.Config{})
	p.stops("a component of which the name is long enough to need a line of its own", fails(0, strings.Repeat("long ", 30)))
	instances(t, nats.connect(), "", 1)
	page := serve(t, nats.connect(), Config{})
	b.OnPhone("dark")
	b.Do(chromedp.Navigate(page.URL))
	b.Until(`document.querySelectorAll(".group tbody tr").length === 1`)
	p.Request(fsm.Command{By: strings.Repeat("who", 90), Reason: "why"})
	b.Until(`document.querySelector('tr[data-rank="1"]')`)
	b.Until(`document.documentElement.scrollWidth <= innerWidth`)
	b.Do(chromedp.Click(chromedp.CSS("#trouble button")))
	b.Until(`document.querySelector("#dialog tr.failed")`)
	b.Until(`document.querySelector("#dialog").getBoundingClientRect().right <= innerWidth`)
	b.Until(`document.querySelector("#dialog").scrollWidth <= document.querySelector("#dialog").clientWidth`)
	b.NoProblems()
}

// A page from elsewhere, by a name that is bound to this machine, gets nothing.
func TestBrowserKeepsOtherPagesOut(t *testing.T) {
	b := openBrowser(t)
	page := serve(t, startServer(t).connect(), Config{})
	b.Do(chromedp.Navigate(strings.Replace(page.URL, "127.0.0.1", "evil.example", 1)))
	b.Until(`document.body.innerText.includes("only this machine")`)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<script>
			const source = new EventSource(%q);
			source.onmessage = () => { document.title = "in" };
			source.onerror = () => { document.title = "out" };
		</script>`, page.URL+"/events")
	}))
	defer elsewhere.Close()
	for _, url := range []string{elsewhere.URL, strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)} {
		b.Do(chromedp.Navigate(url))
		b.Until(`document.title === "out"`)
	}
}

// draining stands in for the engine of rolling leaves.
type draining struct {
	mu    sync.Mutex
	drain Drain
}

func drainsOf(group string, total int, atOnce string) *draining {
	return &draining{drain: Drain{Group: group, Operator: "ana", Total: total, AtOnce: atOnce, Held: true}}
}

func (d *draining) done(_ int, r *fsm.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drain.Done++
	if r == nil || r.ExitCode() != fsm.ExitOK {
		d.drain.Failed++
	}
}

func (d *draining) list(context.Context) ([]Drain, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drain.Done == d.drain.Total {
		return nil, nil
	}
	return []Drain{d.drain}, nil
}
