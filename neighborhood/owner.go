package neighborhood

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
)

// errFarewellTimeout is the cause when a farewell took too long.
var errFarewellTimeout = errors.New("not written in time")

// owner is the one goroutine that steps the core, with its clock and its timer.
type owner struct {
	*Neighborhood
	began time.Time
	timer *time.Timer
	lost  int // notes that the log was too slow for
}

// run owns the core until nothing is left to do.
func (o *owner) run(at netip.AddrPort) {
	defer close(o.ended)
	defer close(o.lines)
	defer o.giveUp(ErrLeft)
	defer o.stopDials()
	defer o.timer.Stop()
	o.step(core.Start{At: at})
	withdraw := o.withdraw
	for !o.over {
		select {
		case handle := <-o.inbox:
			handle(o)
		case <-o.timer.C:
			o.step(core.Tick{})
		case <-withdraw:
			withdraw = nil
			o.stopDials()
			defer time.AfterFunc(o.cfg.FarewellTimeout, func() { o.giveUp(errFarewellTimeout) }).Stop()
			o.step(core.Withdraw{})
		}
	}
}

// step tells the core what happened and does what it says. Its time is the wall clock's at the start, carried on by the
// monotonic clock, so that it never goes backwards.
func (o *owner) step(happened core.Event) {
	now := o.began.Add(time.Since(o.began))
	out := o.core.Step(now, happened)
	for _, d := range out.Deliver {
		o.workers.Go(func() { o.deliver(d) })
	}
	for _, target := range out.Dial {
		o.workers.Go(func() { o.dial(target) })
	}
	for _, peer := range out.Remove {
		o.network.Remove(peer) // now, while it cannot be another stream of this peer
	}
	for _, note := range out.Notes {
		o.logNote(note, now)
	}
	if out.Remember != nil {
		o.remember(out.Remember)
	}
	if out.Changed {
		o.cfg.Changed()
	}
	o.over = o.over || out.Withdrawn
	o.timer.Stop()
	if !out.Wake.IsZero() {
		o.timer.Reset(out.Wake.Sub(now))
	}
}

func (o *owner) remember(targets []core.Target) {
	all := make([]Descriptor, len(targets))
	for i, t := range targets {
		all[i] = Descriptor(t)
	}
	o.cfg.Remember(all)
}

// maxLines is how many lines wait for a log that is slow. Those beyond it are lost, and counted.
const maxLines = 256

// logNote never waits: a log that is stuck holds nobody up.
func (o *owner) logNote(note core.Note, now time.Time) {
	lost := o.lost
	write := func() {
		if lost > 0 {
			o.log.Warn("the log was too slow", "lines lost", lost)
		}
		o.writeNote(note, now)
	}
	select {
	case o.lines <- write:
		o.lost = 0
	default:
		o.lost++
	}
}

func (n *Neighborhood) writeLog() {
	for write := range n.lines {
		write()
	}
}

// writeNote warns of what failed, but of a neighbor that cannot be reached only the first time.
func (n *Neighborhood) writeNote(note core.Note, now time.Time) {
	level, details := slog.LevelInfo, []any{"peer", note.Peer}
	if note.Err != nil {
		details = append(details, "err", note.Err)
		if !note.Another {
			level = slog.LevelWarn
		}
	}
	if !note.Retry.IsZero() {
		details = append(details, "retry in", note.Retry.Sub(now).Round(time.Millisecond))
	}
	n.log.Log(context.Background(), level, note.Text, details...)
}

func (n *Neighborhood) deliver(d core.Delivery) {
	ctx, cancel := context.WithTimeout(n.delivering, deliverTimeout)
	defer cancel()
	err := n.network.Deliver(ctx, d.Peer, d.Frame)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // says more than "context canceled"
	}
	n.post(core.Delivered{Peer: d.Peer, ID: d.ID, Err: err})
}

// dial says nothing when it has succeeded: the peer's stream is up, and PeerUp has said or will say so.
func (n *Neighborhood) dial(target core.Target) {
	ctx, cancel := context.WithTimeout(n.dialing, core.DialTimeout)
	defer cancel()
	if err := n.network.Dial(ctx, target.Key, target.Address); err != nil {
		n.post(core.DialFailed{Peer: target.Key, Err: err})
	}
}
