//go:build unix

package main

import "syscall"

// ownGroup starts a process in a group of its own, so that a Ctrl-C in the terminal
// does not reach it.
var ownGroup = &syscall.SysProcAttr{Setpgid: true}
