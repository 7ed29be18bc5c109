package cli

import "syscall"

// OwnGroup starts a process in a group of its own, so that a Ctrl-C in the console
// does not reach it.
var OwnGroup = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
