package fsm

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one thing that happened in a shutdown. The log of them is
// append-only and in order; each stands in it once. In JSON the error is a
// string; read back, it is an error with that text.
type Event struct {
	Seq     int       `json:"seq"` // its place in the log, from 0
	At      time.Time `json:"at"`  // when it took effect
	Kind    Kind      `json:"kind"`
	State   State     `json:"state"`             // the machine's state after it
	From    ID        `json:"from,omitempty"`    // the component it is about; "" if it is about the machine
	Err     error     `json:"-"`                 // of Acked and Quiesced
	Command *Command  `json:"command,omitempty"` // of ShutdownRequested and Forced; not to be changed
}

// Ack is a component's okay-I'm-done: one kind of message for all of them,
// made by the orchestrator when Shutdown returns. It always says who is done.
type Ack struct {
	From ID
	At   time.Time
	Err  error
}

// Ack returns the ack that the event carries, and false if it is not [Acked].
func (e Event) Ack() (Ack, bool) {
	return Ack{From: e.From, At: e.At, Err: e.Err}, e.Kind == Acked
}

// String returns the event in one line, without its time: "Acked db: disk is full".
func (e Event) String() string {
	text := e.Kind.String()
	if e.From != "" {
		text += " " + plain(string(e.From))
	}
	if e.Err != nil {
		text += ": " + plain(errorText(e.Err))
	}
	return text
}

// eventLog is finite and small, so that no reader needs to be waited for or to
// miss anything.
type eventLog struct {
	mu      sync.Mutex
	events  []Event
	ended   bool
	changed chan struct{} // closed at the next append; nil while nobody waits
}

func (l *eventLog) reserve(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = make([]Event, 0, n)
}

func (l *eventLog) append(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = len(l.events)
	l.events = append(l.events, *e)
	l.ended = e.State == Terminated
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// after returns what follows the first n events, and a channel that is closed
// when there is more, or nil after the end. The slice is clipped, so that a
// reader who appends to it cannot write into the log.
func (l *eventLog) after(n int) ([]Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return slices.Clip(l.events[n:]), nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return slices.Clip(l.events[n:]), l.changed
}

// Events returns what happened so far and then what happens, in order, up to
// and including the event that terminates the machine. It ends early, without
// an error, when ctx is cancelled. Between events it blocks. A reader, however
// slow or late, neither delays the shutdown nor misses anything, and there can
// be any number of them.
func (o *Orchestrator) Events(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		o.follow(ctx, yield, nil, nil)
	}
}

// follow yields events, and calls waited whenever tick comes between them.
func (o *Orchestrator) follow(ctx context.Context, yield func(Event) bool, tick <-chan time.Time, waited func()) {
	for next := 0; ; {
		events, changed := o.log.after(next)
		for _, e := range events {
			if ctx.Err() != nil || !yield(e) {
				return
			}
		}
		if next += len(events); changed == nil {
			return
		}
		select {
		case <-changed:
		case <-tick:
			waited()
		case <-ctx.Done():
			return
		}
	}
}

// LogEvents writes every event to logger, or to the one of [Config] if that is
// nil, as [Orchestrator.Events] yields them: it blocks until the machine is
// terminated or ctx is cancelled. A shutdown that is not over after a second is
// said to wait, and for whom and how long still; again after another second, two,
// four and so on.
//
// [Main] calls it. A main of your own that exits after Wait waits for it too, but
// not for ever, because whoever reads the log may not.
func (o *Orchestrator) LogEvents(ctx context.Context, logger *slog.Logger) {
	logger = cmp.Or(logger, o.logger)
	pause := time.Second
	tick := time.NewTimer(pause)
	defer tick.Stop()
	tick.Stop() // until a shutdown begins
	o.follow(ctx, func(e Event) bool {
		if e.Kind == ShutdownRequested {
			tick.Reset(pause - time.Since(e.At))
		}
		e.log(ctx, logger)
		return true
	}, tick.C, func() {
		o.Report().logWaiting(ctx, logger)
		tick.Reset(pause)
		pause *= 2
	})
}

func (e Event) log(ctx context.Context, logger *slog.Logger) {
	level := slog.LevelInfo
	if e.Err != nil || e.Kind == Insisted || e.Kind == Forced || e.Kind == Timeout {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.Time("at", e.At), slog.String("state", e.State.String())}
	if e.From != "" {
		attrs = append(attrs, slog.String("from", string(e.From)))
	}
	if e.Command != nil {
		attrs = append(attrs, slog.String("reason", e.Command.Reason), slog.String("by", e.Command.By))
		if e.Kind == ShutdownRequested && e.Command.Signal != 0 {
			attrs = append(attrs, slog.String("next", "a second signal forces the end"))
		}
		if e.Command.Err != nil {
			attrs = append(attrs, errorAttr(e.Command.Err))
		}
	}
	if e.Err != nil {
		attrs = append(attrs, errorAttr(e.Err))
	}
	logger.LogAttrs(ctx, level, e.Kind.String(), attrs...)
}

// logWaiting says whom a shutdown waits for.
func (r *Report) logWaiting(ctx context.Context, logger *slog.Logger) {
	if r.State == Terminated {
		return
	}
	const most = 8
	names := plainIDs(r.Outstanding())
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	logger.LogAttrs(ctx, slog.LevelWarn, "still waiting", slog.String("for", text),
		slog.Duration("since", round(r.Took)), slog.Duration("left", round(time.Until(r.Deadline))))
}
