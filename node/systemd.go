package node

import (
	"context"
	"log/slog"
	"time"

	"github.com/farewell-node/farewell/fsm/systemd"
)

// alarmOfSystemd returns the alarm that systemd's patience with this service allows; 0 if it does not say.
func alarmOfSystemd(logger *slog.Logger) time.Duration {
	alarm, err := systemd.Alarm(context.Background())
	if err != nil {
		logger.Info("systemd does not say how long it lets a shutdown take", "room", "node", "error", err)
	}
	return alarm
}

// newNotifier returns what tells systemd how the node does.
func (n *Node) newNotifier() *systemd.Notifier {
	return systemd.New(n.orchestrator, systemd.Config{Alive: n.alive, Logger: n.config.Logger.With("room", "node")})
}

// alive returns true, if the rooms answer; if one is stuck it does not return, and systemd ends the node.
func (n *Node) alive() bool {
	view{n}.Status()
	n.orchestrator.Report()
	return true
}

// ready tells systemd that UIs and neighbors can connect.
func (n *Node) ready() {
	status := "UI at " + n.UI()
	if address, ok := n.address(); ok {
		status += ", neighbors at " + address
	}
	if err := n.systemd.Ready(status); err != nil {
		n.config.Logger.Warn("cannot tell systemd that the node is up", "room", "node", "error", err)
	}
}

// address returns where neighbors connect, and false if the node takes no connections.
func (n *Node) address() (string, bool) {
	if d := n.descriptor.Load(); d != nil {
		return d.Address, true
	}
	return "", false
}
