package main

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/browsertest"
)

// A person opens the page of a real node that has a neighbor, presses the button,
// gives a reason, and is left with the final report when the process is gone.
func TestPageOfARealNode(t *testing.T) {
	needTool(t, "chromium", "the page of a real node")
	leaver := nodeProcess(t, "--listen", "127.0.0.1:0")
	nodeProcess(t, "--neighbor", *leaver.Descriptor)
	statusWhen(t, dial(t, leaver.UI), func(s *ui.Status) bool { return fullNeighbors(1)(s) })

	b := browsertest.Open(t)
	b.Do(chromedp.Navigate("http://" + leaver.UI + "/"))
	b.Until(`document.querySelector("#state").textContent === "Running"`)
	b.Until(`document.querySelectorAll("#map .node").length === 2`)
	b.Do(chromedp.Click(chromedp.CSS("#ask")), chromedp.SendKeys(chromedp.CSS("#reason"), "deploy 42"), chromedp.KeyEvent("\r"))
	if code := leaver.awaitExit(t); code != cli.ExitOK {
		t.Errorf("the node exits with %d", code)
	}
	b.Until(`document.querySelector("#notice").textContent.includes("Exit code 0")`)
	b.Until(`document.querySelector("#summary").textContent.includes("deploy 42")`)
	b.Until(`document.querySelector("#farewells").textContent.includes("confirmed")`)
}
