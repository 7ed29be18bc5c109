package ui

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui/internal/wire"
)

// What the last steps may take.
const (
	gracefulTime = time.Second            // after a graceful end, but never later than
	alarmTime    = 250 * time.Millisecond // after the moment of the alarm; and after a force
	// askTime is how long UIs that have not asked are kept: what they sent before
	// they were told may still be on its way, and may be a request.
	askTime = 100 * time.Millisecond
	// leastTime is for a machine so loaded that all the time is over before the
	// last steps begin: the answers go out even so.
	leastTime = 50 * time.Millisecond
	// cutTime is the least that UIs have to end once they are cut off: they do so at
	// once, unless the node blocks.
	cutTime = 20 * time.Millisecond
)

// End says how the gateway left.
type End struct {
	Report   *fsm.Report
	Answered int           // requests for the shutdown whose answer was written
	Told     int           // UIs that had not asked and were told
	Cut      int           // UIs that had not hung up when the time was over
	Took     time.Duration // the last steps
}

// budget returns when the last steps, which begin now, must be over.
func budget(report *fsm.Report, alarm time.Duration, now time.Time) time.Time {
	ended := report.Began.Add(report.Took)
	deadline := ended.Add(gracefulTime)
	if latest := report.Began.Add(alarm + alarmTime); latest.Before(deadline) {
		deadline = latest
	}
	if report.Edge.On == fsm.Timeout {
		deadline = ended.Add(alarmTime)
	}
	if least := now.Add(leastTime); least.After(deadline) {
		return least
	}
	return deadline
}

// goodbye is what UIs are told in the end.
type goodbye struct {
	payload     []byte // of the answer to those who asked
	forWatchers item   // who have not asked
	forOthers   item   // in words that every UI understands
}

func (g *Gateway) newGoodbye(report *fsm.Report, farewells []Farewell) *goodbye {
	payload := wire.JSON(Goodbye{Report: report, Farewells: farewells})
	words := logPayload{"the process leaves: " + report.Summary(), levelName(slog.LevelWarn)}
	b := &goodbye{
		payload:     payload,
		forWatchers: prepare(wire.Message{Opcode: wire.Goodbye, Payload: payload}),
		forOthers:   prepare(logMessage(words)),
	}
	b.forWatchers.written, b.forOthers.written = &g.told, &g.told
	return b
}

// farewells are those that the node says it has sent, unless it blocks.
func (g *Gateway) farewells(limit time.Duration) []Farewell {
	said := make(chan []Farewell, 1)
	if endsWithin(limit, func() { said <- g.node.Farewells() }) {
		return <-said
	}
	g.warn("ui: UIs are not told of the farewells: the node does not say how they went")
	return nil
}

// warn does not wait for a log that blocks: it may be what the node waits for, too.
func (g *Gateway) warn(text string, args ...any) {
	endsWithin(cutTime, func() { g.logger.Warn(text, args...) })
}

// leave takes the last steps.
func (g *Gateway) leave(ctx context.Context, report *fsm.Report) *End {
	began := time.Now()
	deadline := budget(report, g.orchestrator.Alarm(), began)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	g.closeDoor()
	g.tell(g.newGoodbye(report, g.farewells(deadline.Sub(began)/2)))
	g.waitForAskers(ctx, began, deadline.Add(-closeTime))
	g.closeRest(ctx)
	end := &End{Report: report, Cut: g.present()}
	g.cut(deadline)
	end.Answered, end.Told, end.Took = int(g.answered.Load()), int(g.told.Load()), time.Since(began)
	return end
}

// closeDoor lets nobody in any more. Existing UIs take the answer for a lie if
// they can still connect after it.
func (g *Gateway) closeDoor() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	if err := g.closeListener(); err != nil && !errors.Is(err, net.ErrClosed) {
		g.warn("ui: the listener was not closed", "error", err)
	}
}

// tell answers those who asked, and tells the others, each once. The answers go
// out first.
func (g *Gateway) tell(b *goodbye) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.goodbye = b
	for c := range g.conns {
		for _, id := range c.asked {
			g.answer(c, id)
		}
	}
	for c := range g.conns {
		switch {
		case len(c.asked) > 0 || !c.admitted:
		case c.watching:
			c.out.put(b.forWatchers)
		default:
			c.out.put(b.forOthers)
		}
	}
}

// answer answers one request for the shutdown. The caller holds mu.
func (g *Gateway) answer(c *conn, id uint64) {
	text := wire.Message{Opcode: wire.Shutdown, Conversation: true, ID: id, Payload: g.goodbye.payload}.Encode()
	c.out.put(item{text: text, size: len(text), written: &g.answered})
}

// waitForAskers waits until all who asked have hung up, and no request of the
// others can be on its way any more; at most until the deadline.
func (g *Gateway) waitForAskers(ctx context.Context, began, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	asking, stop := context.WithDeadline(ctx, began.Add(askTime))
	defer stop()
	g.wait(asking, func() bool { return g.present() == 0 })
	g.wait(ctx, func() bool { return g.askers() == 0 })
}

// wait waits until the UIs are as they should be, or ctx ends.
func (g *Gateway) wait(ctx context.Context, done func() bool) {
	for !done() {
		select {
		case <-g.changed:
		case <-ctx.Done():
			return
		}
	}
}

// present counts the UIs that are here, or about to be: in the handshake.
func (g *Gateway) present() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reserved
}

func (g *Gateway) askers() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		if len(c.asked) > 0 {
			n++
		}
	}
	return n
}

// closeRest sends whoever is left away, and gives them time to go.
func (g *Gateway) closeRest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	g.mu.Lock()
	for c := range g.conns {
		c.out.put(item{close: websocket.CloseGoingAway})
	}
	g.mu.Unlock()
	g.wait(ctx, func() bool { return g.present() == 0 })
}

// cut ends all UIs, and waits until nothing of them runs any more. What the node
// keeps beyond the deadline, and beyond cutTime, is left behind: the process can
// exit even so.
func (g *Gateway) cut(deadline time.Time) {
	g.mu.Lock()
	g.closed, g.cutOff = true, true
	rest := slices.Collect(maps.Keys(g.conns))
	g.mu.Unlock()
	for _, c := range rest {
		_ = c.ws.Close()
	}
	if endsWithin(max(time.Until(deadline), cutTime), g.uisGone.Wait) {
		return
	}
	g.warn("ui: UIs were left behind: the node does not answer what they asked", "uis", g.present())
}

// endsWithin reports whether f ends in time. If not, it goes on by itself.
func endsWithin(limit time.Duration, f func()) bool {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
