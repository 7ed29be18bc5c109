package ui

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

func isInUse(err error) bool {
	return errors.Is(err, windows.WSAEADDRINUSE) || errors.Is(err, syscall.EADDRINUSE)
}

// isMissing reports whether a machine does not have the address, or its kind.
func isMissing(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}
