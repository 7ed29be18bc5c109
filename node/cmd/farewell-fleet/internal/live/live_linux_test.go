package live

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"golang.org/x/sys/unix"

	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

// shown runs Show on a terminal, until what it shows has gone on for a while, and returns
// all that was written to the terminal.
func shown(t *testing.T, terminal *clitest.PseudoTerminal, frame func(calls int64) Frame, meanwhile func()) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var calls atomic.Int64
	again := make(chan struct{}, 1)
	result := make(chan error, 1)
	text := make(chan string, 1)
	output, err := os.OpenFile(terminal.Slave.Name(), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() { text <- terminal.ReadAll() }()
	go func() {
		result <- Show(ctx, output, func() Frame {
			select {
			case again <- struct{}{}:
			default:
			}
			return frame(calls.Add(1))
		})
	}()
	for range 3 {
		<-again
	}
	meanwhile()
	for range 3 {
		<-again
	}
	cancel()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	_ = output.Close()
	return <-text
}

func TestShow(t *testing.T) {
	var last atomic.Int64
	text := shown(t, clitest.Terminal(t), func(calls int64) Frame {
		last.Store(calls)
		return Frame{Title: "a title", Rows: [][]string{{"NAME"}, {fmt.Sprintf("call-%d", calls)}}}
	}, func() {})
	plain := ansi.Strip(text)
	// What does not change is written at the beginning, and once more at the end.
	if n := strings.Count(plain, "a title"); n != 2 {
		t.Errorf("the title is written %d times: %q", n, text)
	}
	if !strings.Contains(plain, fmt.Sprint(last.Load())) {
		t.Errorf("the last frame, %d, does not stay: %q", last.Load(), text)
	}
	for _, query := range []string{"?2026$p", "?u", "\x1b[c", "\x1b[6n"} {
		if strings.Contains(text, query) {
			t.Errorf("it asks the terminal %q, and reads no answer: %q", query, text)
		}
	}
	if strings.Contains(text, ansi.SetModeAltScreenSaveCursor) {
		t.Errorf("what was there before is hidden: %q", text)
	}
	if hidden, back := strings.LastIndex(text, "\x1b[?25l"), strings.LastIndex(text, "\x1b[?25h"); hidden > back {
		t.Errorf("the cursor is not back: %q", text)
	}
}

// A terminal that becomes smaller has what fits.
func TestShowResized(t *testing.T) {
	terminal := clitest.Terminal(t)
	terminal.Resize(t, 80, 30)
	rows := [][]string{{"NAME"}}
	for i := range 20 {
		rows = append(rows, []string{fmt.Sprint("row-", i)})
	}
	text := shown(t, terminal, func(int64) Frame { return Frame{Rows: rows} }, func() {
		terminal.Resize(t, 80, 10)
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGWINCH) // the terminal does not control this process
	})
	if plain := ansi.Strip(text); !strings.Contains(plain, "row-19") || !strings.Contains(plain, "and 13 more") {
		t.Errorf("%q", text)
	}
}

// Signals are the caller's.
func TestShowLeavesSignalsAlone(t *testing.T) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	defer signal.Stop(signals)
	shown(t, clitest.Terminal(t), func(int64) Frame { return Frame{Title: "still here"} }, func() {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		<-signals
	})
}

// The ^C of a Ctrl-C does not break into the table, and what is typed after it is
// shown as ever.
func TestShowHidesWhatIsTyped(t *testing.T) {
	terminal := clitest.Terminal(t)
	tty, err := os.OpenFile(terminal.Slave.Name(), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	echoes := func() bool {
		settings, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		return err == nil && settings.Lflag&unix.ECHO != 0
	}
	before := echoes()
	var during, after bool
	func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _, _ = io.Copy(io.Discard, terminal) }() // ends with the terminal
		calls := 0
		if err := Show(ctx, tty, func() Frame {
			if calls++; calls == 2 {
				during = echoes()
				cancel()
			}
			return Frame{Title: "a title"}
		}); err != nil {
			t.Fatal(err)
		}
		after = echoes()
	}()
	_ = tty.Close()
	_ = terminal.Slave.Close()
	if !before || during || !after {
		t.Errorf("what is typed is shown before %t, during %t, after %t", before, during, after)
	}
}
