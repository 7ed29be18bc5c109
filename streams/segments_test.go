//go:build unix

package streams

import (
	"errors"
	"syscall"
)

// ethernetSegments makes a connection use segments as on a real network. On loopback they have up to 64 KiB. A sender
// with one that is just bigger than the receiver's whole window waits for its persist timer, which each acknowledgement
// that arrives sets back: a peer with a window of 16 KiB that sends a byte every 2 ms would never be sent the rest, by
// bare TLS neither (seen with Linux 6.18).
func ethernetSegments(_, _ string, conn syscall.RawConn) error {
	var optionErr error
	err := conn.Control(func(fd uintptr) {
		optionErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1460)
	})
	return errors.Join(err, optionErr)
}
