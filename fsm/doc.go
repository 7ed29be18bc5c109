// Package fsm lets a process leave politely and on time. A state machine owns
// the shutdown; components say "okay, I'm done" under their own names:
//
//	Running      --ShutdownRequested--> Withdrawing
//	Withdrawing  --Withdrawn----------> AwaitingAcks
//	AwaitingAcks --AllAcked-----------> Terminated
//	Withdrawing  --Timeout------------> Terminated
//	AwaitingAcks --Timeout------------> Terminated
//
// Anything with Shutdown(ctx) error is a [Component]; http.Server is one as it
// stands. Register them in the order of start-up, say what must be done before
// what, and ask for a shutdown:
//
//	o, err := fsm.New(fsm.Config{Alarm: 10 * time.Second})
//	…
//	err = o.Register("db", fsm.Closer(db))
//	err = o.Register("http", server, fsm.Before("db"))
//	defer o.HandleSignals()()
//	…
//	report, err := o.Wait(context.Background())
//	os.Exit(report.ExitCode())
//
// # What happens in a shutdown
//
// [Orchestrator.Request] begins it. Every component that has a Quiesce is told
// to take no new work. Those registered with [Withdraws] tell the world that the
// process is leaving; when they are done the others shut down, each as soon as
// those ordered before it are done, all else in parallel. A component is done
// when its Shutdown returns, whatever it returns.
//
// Nobody can hold the others for ever. When the polite time is over (80 % of the
// alarm, see [Config]) the contexts of all that still run are cancelled with
// cause [ErrInsist], and what still waits is started at once, with a context
// that lives on for 80 % of what remains. At the alarm the machine takes the
// Timeout edge: what has not acked is reported as hung, with its stack, and left
// behind. [Grace] gives one component a shorter limit of its own.
//
// Everything that happens is an event in one log. [Orchestrator.Events] reads it,
// history first and then live; no reader can delay a shutdown, and there are no
// callbacks.
//
// The [Report] says how it went: per component the outcome, how long it waited
// and on whom, how long it ran, its error. [Report.ExitCode] is what the process
// should exit with; the package itself never exits, and owns no signals unless
// [Orchestrator.HandleSignals] is called.
//
// Package fsmtest shuts a program's components down in every combination of what
// they might do, and drives any state machine from its diagram.
package fsm
