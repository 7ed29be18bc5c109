//go:build !unix

package streams

import "syscall"

// ethernetSegments is for systems that can.
func ethernetSegments(string, string, syscall.RawConn) error { return nil }
