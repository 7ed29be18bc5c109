//go:build unix

package cli

import "syscall"

// OwnGroup starts a process in a group of its own, so that a Ctrl-C in the terminal
// does not reach it.
var OwnGroup = &syscall.SysProcAttr{Setpgid: true}
