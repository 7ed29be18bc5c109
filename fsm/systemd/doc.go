// Package systemd tells systemd how a process starts, runs and leaves, as
// sd_notify(3) has it:
//
//	alarm, err := systemd.Alarm(ctx)              // what systemd's patience allows
//	o, err := fsm.New(fsm.Config{Alarm: alarm})   // 0, without systemd: the usual one
//	…
//	n := systemd.New(o, systemd.Config{})
//	var told sync.WaitGroup
//	told.Go(func() { n.Follow(ctx) })             // until o is terminated
//	…
//	err = n.Ready("listening on :8080")           // READY=1: start-up is over
//	report, err := o.Wait(ctx)
//	told.Wait()                                   // the last STATUS is out
//
// At the request it sends STOPPING=1 and, with EXTEND_TIMEOUT_USEC, how long the
// shutdown may take by its alarm, so that systemd does not kill what is about to
// be reported; then STATUS with whom the shutdown waits for, and at the end the
// report's summary. While the machine is Running it sends WATCHDOG=1, if the unit
// has WatchdogSec. RELOADING is left to whoever reloads.
//
// A process that systemd did not start notices nothing of all this, and a socket
// that is gone, full or nobody's delays nobody: each message has 100 ms.
package systemd
