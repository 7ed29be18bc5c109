package node

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// logQueue is how many lines may wait for whoever reads the log; what comes while so many wait is dropped, and counted.
const logQueue = 4096

// logWriter writes the log in a goroutine of its own. Whoever reads the log may stop reading, and every line is written
// by somebody with better things to do: the owner of the neighborhood, a component that has panicked. A full pipe must
// not stop them, nor keep the process.
type logWriter struct {
	lines   chan logLine
	dropped atomic.Int64 // since the last line that was taken
	lost    atomic.Int64 // since the start
	stop    chan struct{}
	stopped chan struct{}
}

type logLine struct {
	handler slog.Handler
	record  slog.Record
}

func newLogWriter() *logWriter {
	return &logWriter{lines: make(chan logLine, logQueue), stop: make(chan struct{}), stopped: make(chan struct{})}
}

// run writes lines until flush is called, and then what is left.
func (w *logWriter) run() {
	defer close(w.stopped)
	for {
		select {
		case line := <-w.lines:
			line.write()
		case <-w.stop:
			w.rest()
			return
		}
	}
}

func (w *logWriter) rest() {
	for {
		select {
		case line := <-w.lines:
			line.write()
		default:
			return
		}
	}
}

// write has nobody to tell that a line could not be written.
func (l logLine) write() { _ = l.handler.Handle(context.Background(), l.record) }

// flush ends run, and waits for that for a while.
func (w *logWriter) flush(patience time.Duration) {
	close(w.stop)
	select {
	case <-w.stopped:
	case <-time.After(patience): // whoever should read the log does not: that is no reason to stay
	}
}

// queued is a handler that leaves its lines to a logWriter.
type queued struct {
	slog.Handler
	writer *logWriter
}

func (q queued) Handle(_ context.Context, r slog.Record) error {
	r = r.Clone()
	dropped := q.writer.dropped.Swap(0)
	if dropped > 0 {
		r.AddAttrs(slog.Int64("linesDroppedBefore", dropped))
	}
	select {
	case q.writer.lines <- logLine{q.Handler, r}:
	default:
		q.writer.dropped.Add(dropped + 1)
		q.writer.lost.Add(1)
	}
	return nil
}

func (q queued) WithAttrs(attrs []slog.Attr) slog.Handler {
	return queued{q.Handler.WithAttrs(attrs), q.writer}
}

func (q queued) WithGroup(name string) slog.Handler {
	return queued{q.Handler.WithGroup(name), q.writer}
}
