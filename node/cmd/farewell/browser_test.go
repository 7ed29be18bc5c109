package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/farewell-node/farewell/ui"
)

// A person opens the page of a real node that has a neighbor, presses the button,
// gives a reason, and is left with the final report when the process is gone.
func TestPageOfARealNode(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		const missing = "no Chromium here: the page of a real node was NOT tested (apt-get install chromium)"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	leaver := nodeProcess(t, "--listen", "127.0.0.1:0")
	nodeProcess(t, "--neighbor", *leaver.Descriptor)
	statusWhen(t, dial(t, leaver.UI), func(s *ui.Status) bool { return fullNeighbors(1)(s) })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath(path))
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, closeTab := chromedp.NewContext(ctx)
	defer closeTab()
	defer func() { _ = chromedp.Cancel(ctx) }() // waits until the browser is gone

	if err := chromedp.Do(ctx, chromedp.Navigate("http://"+leaver.UI+"/")); err != nil {
		t.Fatal(err)
	}
	until := func(holds string) {
		t.Helper()
		for {
			if ok, _ := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+holds+")")); ok {
				return
			}
			select {
			case <-time.After(pollPause):
			case <-ctx.Done():
				t.Fatalf("the page does not show %s", holds)
			}
		}
	}
	until(`document.querySelector("#state").textContent === "Running"`)
	until(`document.querySelectorAll("#map .node").length === 2`)
	err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "deploy 42"),
		chromedp.KeyEvent("\r"))
	if err != nil {
		t.Fatal(err)
	}
	if code := leaver.awaitExit(t); code != exitOK {
		t.Errorf("the node exits with %d", code)
	}
	until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
	until(`document.querySelector("#summary").textContent.includes("deploy 42")`)
	until(`document.querySelector("#farewells").textContent.includes("confirmed")`)
}
