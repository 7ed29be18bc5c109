package ui_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

func TestLogLinesReachTheUIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil, fsm.Config{})
		var out bytes.Buffer
		handler := ui.NewLogHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError}))
		f.gateway.SetLog(handler)
		f.runVirtually()
		logger := slog.New(handler)
		logger.Info("before anybody came")
		synctest.Wait()
		a := f.connect()
		synctest.Wait()
		logger.Debug("too fine")
		logger.With("peer", "a b").WithGroup("stream").Warn("slow", "for", 3*time.Second, slog.Group("q", "n", 7), "empty", "")
		a.expect(`{"opcode":"logBroadcast","payload":{"msg":"slow peer=\"a b\" stream.for=3s stream.q.n=7 stream.empty=\"\"","logLevel":"Warn"}}`)
		logger.Error("broken", "error", "it \"broke\"\n")
		a.expect(`{"opcode":"logBroadcast","payload":{"msg":"broken error=\"it \\\"broke\\\"\\n\"","logLevel":"Error"}}`)
		a.send(`{"opcode":"watch","contextId":1,"payload":{}}`)
		if got := a.next(); !strings.Contains(got, `"log":[{"msg":"before anybody came","logLevel":"Info"},{"msg":"slow`) {
			t.Error(got)
		}
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "broken") {
			t.Errorf("the next handler got %s", got)
		}
	})
}

// Whatever the UIs do, and whether or not the gateway runs, logging goes on.
func TestLoggingNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler := ui.NewLogHandler(slog.DiscardHandler)
		logger := slog.New(handler)
		for range 10_000 {
			logger.Info("nobody listens")
		}
		f := newFixture(t, nil, fsm.Config{})
		f.gateway.SetLog(handler)
		f.runVirtually()
		stalled, _, err := f.dialer.Dial(f.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Close()
		for range 10_000 {
			logger.Info(strings.Repeat("a long line ", 100))
			synctest.Wait()
		}
	})
}

// What passes through is what the other handler would have got.
func TestLogHandlerIsTransparent(t *testing.T) {
	var out bytes.Buffer
	newHandler := func(*testing.T) slog.Handler {
		out.Reset()
		return ui.NewLogHandler(slog.NewJSONHandler(&out, nil))
	}
	slogtest.Run(t, newHandler, func(t *testing.T) map[string]any { return parseJSON(t, out.Bytes()) })
}
