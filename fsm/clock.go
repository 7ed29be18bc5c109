package fsm

import (
	"context"
	"sync/atomic"
	"time"
)

// clock is the one clock of a shutdown: when each of its times is over. The
// caller of its methods holds the orchestrator's mu.
type clock struct {
	// The next two are zero until the polite time is over, the last until Quiesce is called.
	alarm, polite, lastCall, late, quiesce time.Time

	timers [5]*time.Timer // of those five
	others []*time.Timer
}

// mostOf is the share of a time after which one stops being polite: 80 %.
func mostOf(d time.Duration) time.Duration { return d - d/5 }

// lastCallAfter is the share of what is left, of the alarm or of a Grace again,
// for which those who wait go on waiting for the acks of those who were told.
func lastCallAfter(left time.Duration) time.Duration { return left / 4 }

// politePart is the polite part of a time that is not the alarm's.
func (o *Orchestrator) politePart(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (float64(o.polite) / float64(o.alarm)))
}

// startClock begins the shutdown's times, for a command that may leave it less.
func (o *Orchestrator) startClock(within time.Duration, now time.Time) {
	alarm, polite := o.alarm, o.polite
	if within > 0 && within < alarm {
		alarm, polite = within, o.politePart(within)
	}
	o.clock.alarm, o.clock.polite = now.Add(alarm), now.Add(polite)
	o.clock.timers[0] = time.AfterFunc(alarm, o.alarmOver)
	o.clock.timers[1] = time.AfterFunc(polite, func() { o.timeUp(politeOver) })
}

// hasten moves the times forward that are not over yet.
func (o *Orchestrator) hasten(within time.Duration, now time.Time) {
	c := &o.clock
	if within <= 0 || !now.Add(within).Before(c.alarm) {
		return
	}
	sooner := func(timer int, at *time.Time, after time.Duration) {
		if next := now.Add(after); next.Before(*at) && at.After(now) {
			*at = next
			c.timers[timer].Reset(after)
		}
	}
	sooner(0, &c.alarm, within)
	alarm := c.alarm
	o.asked.alarm.Store(&alarm)
	if !o.late {
		polite := o.politePart(within)
		sooner(1, &c.polite, polite)
		sooner(4, &c.quiesce, polite/10)
		o.quiescing.end(c.quiesce)
		o.hastenWithdrawal(polite/2, now)
	} else {
		sooner(2, &c.lastCall, lastCallAfter(within))
		sooner(3, &c.late, mostOf(within))
	}
	o.onTime.end(c.polite)
	o.tooLate.end(c.late)
	o.atLast.end(c.alarm)
}

// hastenWithdrawal shortens what those have to whom half the polite time was given.
func (o *Orchestrator) hastenWithdrawal(grace time.Duration, now time.Time) {
	for _, i := range o.core.graph.leavers {
		c, end := o.components[i], now.Add(grace)
		if own := c.ctx.own; own != nil && !c.graced && end.Before(*own.until.Load()) {
			c.grace = grace
			own.end(end)
			o.after(grace, func() { o.tell(&message{input: input{graceOver, i}}) })
		}
	}
}

// endPolite begins the times that follow the polite time.
func (o *Orchestrator) endPolite(now time.Time) {
	c := &o.clock
	o.late = true
	left := c.alarm.Sub(now)
	c.timers[1].Stop()
	c.lastCall, c.late = now.Add(lastCallAfter(left)), now.Add(mostOf(left))
	o.onTime.insist()
	o.tooLate = newGroup(o.base, c.late)
	c.timers[2] = time.AfterFunc(lastCallAfter(left), func() { o.tell(&message{input: input{kind: lastCallReached}}) })
	c.timers[3] = time.AfterFunc(mostOf(left), func() { o.timeUp(lateOver) })
}

// after calls f in its own goroutine, unless the shutdown is over before.
func (o *Orchestrator) after(d time.Duration, f func()) {
	o.clock.others = append(o.clock.others, time.AfterFunc(d, f))
}

func (c *clock) stop() {
	for _, timer := range append(c.others, c.timers[:]...) {
		if timer != nil {
			timer.Stop()
		}
	}
}

// group is a context that many components share, and when its time is up.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	until  atomic.Pointer[time.Time]
}

func newGroup(base context.Context, until time.Time) *group {
	g := new(group)
	g.ctx, g.cancel = context.WithCancelCause(base)
	g.until.Store(&until)
	return g
}

// end says when the group's time is up; nil is a group that is not there.
func (g *group) end(at time.Time) {
	if g != nil {
		g.until.Store(&at)
	}
}

func (g *group) insist() {
	if g != nil {
		g.cancel(ErrInsist)
	}
}
