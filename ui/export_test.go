package ui

import (
	"net"
	"time"

	"golang.org/x/time/rate"

	"github.com/farewell-node/farewell/fsm"
)

// ServeOn is Listen on a listener that a test made, of pipes in virtual time.
func (g *Gateway) ServeOn(listener net.Listener) {
	g.listeners, g.closeListener = []net.Listener{listener}, listener.Close
}

// SetLog and SetToken stand for the members of Config, before Run.
func (g *Gateway) SetLog(log *LogHandler) { g.log = log }
func (g *Gateway) SetToken(token string)  { g.token = token }

// SetLimits changes some of the limits before Run.
func (g *Gateway) SetLimits(uis, queue int, writeTime time.Duration) {
	g.limits.uis, g.limits.queue, g.limits.writeTime = uis, queue, writeTime
}

// Unpaced lets UIs ask as fast as they can.
func (g *Gateway) Unpaced() { g.limits.rate = rate.Inf }

// Pass passes an event on to those who watch.
func (g *Gateway) Pass(e fsm.Event) { g.pass(e) }

// Budget is budget.
func Budget(report *fsm.Report, alarm time.Duration, now time.Time) time.Time {
	return budget(report, alarm, now)
}
