package ui

import (
	"net"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// ServeOn is Listen on a listener that a test made, of pipes in virtual time.
func (g *Gateway) ServeOn(listener net.Listener) {
	g.listener, g.closeListener = listener, listener.Close
}

// SetLog and SetToken stand for the members of Config, before Run.
func (g *Gateway) SetLog(log *LogHandler) { g.log = log }
func (g *Gateway) SetToken(token string)  { g.token = token }

// SetLimits changes some of the limits before Run.
func (g *Gateway) SetLimits(uis, queue int, writeTime time.Duration) {
	g.limits.uis, g.limits.queue, g.limits.writeTime = uis, queue, writeTime
}

// Budget is budget.
func Budget(report *fsm.Report, alarm time.Duration, now time.Time) time.Time {
	return budget(report, alarm, now)
}
