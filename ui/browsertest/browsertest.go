// Package browsertest looks at a page in a real Chromium, for the tests of the pages of
// this project.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Browser is a real Chromium, with one tab. What goes wrong in it fails the test.
type Browser struct {
	Problems chan string // what the console says

	t       *testing.T
	ctx     context.Context
	started bool
}

// browserTime is how long anything may take in the browser, on a loaded machine.
const browserTime = time.Minute

// Open starts Chromium, with these options beside its own; the test's end stops it.
// Without one the test is skipped, but not in CI.
func Open(t *testing.T, options ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	own := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath(find(t)), chromedp.WSURLReadTimeout(2*time.Minute))
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(), append(own, options...)...)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &Browser{Problems: make(chan string, 100), t: t, ctx: ctx}
	var listening sync.WaitGroup
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // waits until the process is gone
			t.Log("closing the browser:", err)
		}
		cancel()
		cancelAllocator()
		listening.Wait()
	})
	b.Do()
	console := chromedp.Console(ctx)
	listening.Go(func() {
		for message, err := range console {
			if err != nil {
				return
			}
			b.Problems <- message.Text
		}
	})
	return b
}

func find(t *testing.T) string {
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

// Do does these things.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
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

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// Evaluate returns what an expression, or the promise that it is, comes to in the page.
func Evaluate[T any](b *Browser, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, browserTime)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	b.must(err)
	return value
}

// Until waits until an expression holds in the page. It looks again and again,
// because what it looks at may be replaced, with all that waits in it, by a
// navigation that is not quite over.
func (b *Browser) Until(expression string) {
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
			b.t.Fatalf("%s: %v; the page shows:\n%s", expression, err, Evaluate[string](b, "document.body.innerText"))
		}
	}
}

// Shoot keeps a picture, as one of chromedp's actions takes it, in the folder that
// SCREENSHOTS in the environment names, if it does.
func (b *Browser) Shoot(name string, take chromedp.Action[[]byte]) {
	b.t.Helper()
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		return
	}
	image, err := chromedp.Run(b.ctx, take)
	b.must(err)
	if err := os.WriteFile(filepath.Join(folder, name+".png"), image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// NoProblems fails the test if the console has said anything.
func (b *Browser) NoProblems() {
	b.t.Helper()
	select {
	case problem := <-b.Problems:
		b.t.Error("the console says:", problem)
	default:
	}
}

// OnDesktop and OnPhone change what the page is looked at with, in a scheme: light or
// dark.
func (b *Browser) OnDesktop(scheme string) {
	b.t.Helper()
	b.Do(chromedp.EmulateViewport(1280, 900))
	b.Prefer("prefers-color-scheme", scheme)
}

// OnPhone: see OnDesktop.
func (b *Browser) OnPhone(scheme string) {
	b.t.Helper()
	b.Do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulatePortrait, chromedp.EmulateMobile))
	b.Prefer("prefers-color-scheme", scheme)
}

// Prefer has the system want something, as prefers-reduced-motion: reduce.
func (b *Browser) Prefer(feature, value string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
	})
	b.must(err)
}
