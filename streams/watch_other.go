//go:build !linux && !darwin

package streams

import (
	"net"
	"time"
)

// setUserTimeout does nothing where there is no such option: Config.WriteTimeout then notices a peer that vanished with
// more written to it than the kernel buffers, and keep-alive, once the kernel has given up retransmitting, the others.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }
