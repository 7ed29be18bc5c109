// Package systemd tells systemd how a process starts, runs and leaves, as
// sd_notify(3) has it:
//
//	func main() {
//		alarm, err := systemd.Alarm(context.Background()) // what systemd's patience allows; 0: the usual
//		…
//		var told sync.WaitGroup
//		code := fsm.Main(fsm.Config{Alarm: alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
//			n := systemd.New(o, systemd.Config{})
//			told.Go(func() { n.Follow(context.Background()) }) // until o is terminated
//			… // start and register
//			return n.Ready("listening on :8080") // READY=1
//		})
//		told.Wait() // the last STATUS is out: 200 ms at most
//		os.Exit(code)
//	}
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
