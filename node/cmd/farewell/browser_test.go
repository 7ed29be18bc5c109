package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

// tab is a page in a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openTab starts a browser, which the test's end stops.
func openTab(t *testing.T, path string, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	options = slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{chromedp.NoSandbox, chromedp.ExecPath(path)}, options)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits until the browser is gone
		closeTab()
		stop()
		cancel()
	})
	return &tab{t, ctx}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) navigate(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// until waits until an expression holds in the page.
func (b *tab) until(holds string) {
	b.t.Helper()
	for {
		if ok, _ := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+holds+")")); ok {
			return
		}
		select {
		case <-time.After(pollPause):
		case <-b.ctx.Done():
			b.t.Fatalf("the page does not show %s", holds)
		}
	}
}

// A person opens the page of a real node that has a neighbor, presses the button,
// gives a reason, and is left with the final report when the process is gone.
func TestPageOfARealNode(t *testing.T) {
	path := needTool(t, "chromium", "the page of a real node")
	leaver := nodeProcess(t, "--listen", "127.0.0.1:0")
	nodeProcess(t, "--neighbor", *leaver.Descriptor)
	statusWhen(t, dial(t, leaver.UI), func(s *ui.Status) bool { return fullNeighbors(1)(s) })

	b := openTab(t, path)
	b.navigate("http://" + leaver.UI + "/")
	b.until(`document.querySelector("#state").textContent === "Running"`)
	b.until(`document.querySelectorAll("#map .node").length === 2`)
	b.do(chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "deploy 42"), chromedp.KeyEvent("\r"))
	if code := leaver.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the node exits with %d", code)
	}
	b.until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
	b.until(`document.querySelector("#summary").textContent.includes("deploy 42")`)
	b.until(`document.querySelector("#farewells").textContent.includes("confirmed")`)
}
