package streams

import (
	"net"
	"time"
)

// minDeadAfter is what keep-alive can do: kernels count in seconds, and one second idle and probes probes take four.
const (
	minDeadAfter = 4 * time.Second
	probes       = 3
)

// watch makes the kernel give up a peer that vanished without a word: an idle one after unanswered probes
// (RFC 1122 §4.2.3.6), where the kernel can also one that does not acknowledge what was written (RFC 5482).
func watch(conn *net.TCPConn, deadAfter time.Duration) error {
	if err := conn.SetKeepAliveConfig(keepAlive(deadAfter)); err != nil {
		return err
	}
	return setUserTimeout(conn, deadAfter)
}

// keepAlive begins to probe after half the time, or what is left of it when probes are a second apart.
func keepAlive(deadAfter time.Duration) net.KeepAliveConfig {
	interval := max((deadAfter / (2 * probes)).Truncate(time.Second), time.Second)
	return net.KeepAliveConfig{
		Enable:   true,
		Idle:     (deadAfter - probes*interval).Truncate(time.Second),
		Interval: interval,
		Count:    probes,
	}
}
