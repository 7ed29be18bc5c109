package ui

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/farewell-node/farewell/ui/internal/wire"
)

// logRoom is how many log lines may wait for the gateway; more are not shown.
const logRoom = 256

// LogHandler is a [slog.Handler] that passes everything on to another one, and
// what is Info and above to the UIs of the gateway that it is given to (see
// Config). It never waits for the gateway or for a UI: lines that come too fast
// are not shown to them.
type LogHandler struct {
	next  slog.Handler
	lines chan logPayload
	group string // of what is to come, with a dot at its end
	attrs string // so far, as text
}

// NewLogHandler returns a LogHandler before another handler.
func NewLogHandler(next slog.Handler) *LogHandler {
	return &LogHandler{next: next, lines: make(chan logPayload, logRoom)}
}

// Enabled implements [slog.Handler].
func (h *LogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// Handle implements [slog.Handler]. Its error is that of the other handler.
func (h *LogHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		select {
		case h.lines <- logPayload{h.text(r), levelName(r.Level)}:
		default:
		}
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.next = h.next.WithAttrs(attrs)
	b := []byte(h.attrs)
	for _, a := range attrs {
		b = appendAttr(b, h.group, a)
	}
	with.attrs = string(b)
	return &with
}

// WithGroup implements [slog.Handler].
func (h *LogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.next = h.next.WithGroup(name)
	with.group = h.group + name + "."
	return &with
}

func (h *LogHandler) text(r slog.Record) string {
	b := append([]byte(r.Message), h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return true
	})
	return string(b)
}

func appendAttr(b []byte, group string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		if a.Key == "" {
			return b
		}
		b = append(b, ' ')
		b = append(b, group+a.Key...)
		b = append(b, '=')
		return append(b, quoted(value.String())...)
	}
	if a.Key != "" {
		group += a.Key + "."
	}
	for _, member := range value.Group() {
		b = appendAttr(b, group, member)
	}
	return b
}

func quoted(text string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != ' ' && r != '"' && r != '=' }
	if text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// The levels of a logBroadcast.
func levelName(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "Error"
	case level >= slog.LevelWarn:
		return "Warn"
	}
	return "Info"
}

type logPayload struct {
	Message string `json:"msg"`
	Level   string `json:"logLevel"`
}

func logMessage(p logPayload) wire.Message {
	return wire.Message{Opcode: wire.LogBroadcast, Payload: wire.JSON(p)}
}

// logLines is how many of the last log lines a UI is given that comes to watch.
const logLines = 50

// forwardLog shows log lines to the UIs until ctx ends.
func (g *Gateway) forwardLog(ctx context.Context) {
	for {
		select {
		case line := <-g.log.lines:
			g.showLine(line)
		case <-ctx.Done():
			return
		}
	}
}

func (g *Gateway) showLine(line logPayload) {
	i := prepare(logMessage(line))
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.lastLines) == logLines {
		g.lastLines = slices.Delete(g.lastLines, 0, 1)
	}
	g.lastLines = append(g.lastLines, line)
	g.broadcast(i)
}
