// Package fsm lets a process leave politely and on time. A state machine owns
// the shutdown; components say "okay, I'm done" under their own names. This is a
// whole program:
//
//	func main() { os.Exit(fsm.Main(fsm.Config{Alarm: 10 * time.Second}, start)) }
//
//	func start(ctx context.Context, o *fsm.Orchestrator) error {
//		db, err := openDatabase(ctx)
//		if err != nil {
//			return err
//		}
//		server := &http.Server{Handler: handler(db)}
//		return errors.Join(
//			o.Register("db", fsm.Closer(db)),
//			o.Register("http", fsm.Serve(server.ListenAndServe, server), fsm.Before("db")),
//		)
//	}
//
// [Main] handles signals from its first line, is told when start-up is over, logs
// what happens, and returns the exit code, at the latest a quarter second after
// the alarm. Anything with Shutdown(ctx) error is a [Component]; http.Server is
// one as it stands. [Serve] and [Orchestrator.Go] run components too: one that
// dies is the reason of a shutdown, by name. Register components in the order of
// start-up, and say what must be done before what.
//
// The machine is this table; [Transitions] returns it:
//
//	Running      --ShutdownRequested--> Withdrawing
//	Withdrawing  --Withdrawn----------> AwaitingAcks
//	AwaitingAcks --AllAcked-----------> Terminated
//	Withdrawing  --Timeout------------> Terminated
//	AwaitingAcks --Timeout------------> Terminated
//
// # What happens in a shutdown
//
// [Orchestrator.Request] begins it, or a signal, or a component that dies. Every
// component that has a Quiesce is told to take no new work. Those registered with
// [Withdraws] tell the world that the process is leaving; when they are done the
// others shut down, each as soon as those ordered before it are done, all else in
// parallel, and what is [Last] after everything else. A component is done when
// its Shutdown returns, whatever it returns. While start-up goes on all of them
// wait for it.
//
// Nobody can hold the others for ever:
//
//   - When the polite time is over (80 % of the alarm, see [Config]), or the
//     component's own [Grace], or after [Orchestrator.Insist], the contexts of those
//     that run are cancelled with cause [ErrInsist]. Whoever is ordered after them
//     goes on waiting for their acks: what they save on being told still finds what
//     it needs.
//   - At last call, a quarter of what is left later, what still waits begins, save
//     what is [Strict]. What begins after the polite time has a context that lives
//     to 96 % of the alarm.
//   - At the alarm the machine takes the Timeout edge: what has not acked is
//     reported as hung, with its stack, and left behind. [Orchestrator.Force], a
//     second signal, does that at once.
//
// Everything that happens is an event in one log. [Orchestrator.Events] reads it,
// history first and then live; no reader can delay a shutdown, and there are no
// callbacks.
//
// The [Report] says how it went: all requests, and per component the outcome, how
// long it waited and on whom, how long it ran, its error. [Report.ExitCode] is
// what the process should exit with, the first that fits:
//
//	128+n  forced by signal n
//	3      the alarm fired, or a force without a signal ended it
//	4      in time, but a component failed, panicked or had to be insisted upon
//	1      a request carried an error: a component died, start-up failed
//	0      everybody left politely
//
// What is [BestEffort] never counts. The package itself never exits, and owns no
// signals unless [Main] or [Orchestrator.HandleSignals] is called.
//
// # Beside it
//
// Package remote, a module of its own, has processes on other hosts as components,
// over NATS. Package fsmhttp has HTTP servers, readiness and drain. Package fsmtest shuts a
// program's components down in every combination of what they might do, and drives
// any state machine from its diagram.
package fsm
