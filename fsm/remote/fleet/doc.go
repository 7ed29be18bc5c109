// Package fleet has a group of processes leave, never more than a few at once, and
// stops at the first that goes wrong: a rolling leave, or a rolling restart where a
// supervisor starts them again. The processes are those that have joined with package
// remote:
//
//	plan := fleet.Plan{Group: "api", AtOnce: fleet.Count(3), Command: fsm.Command{Reason: "deploy 42"}}
//	drain, err := fleet.Begin(ctx, nc, plan, fleet.Options{Operator: "ana"})
//	…
//	report, err := drain.Run(ctx)
//	…
//	fmt.Print(report)
//	os.Exit(report.ExitCode())
//
// # What is promised
//
// Never more than AtOnce instances are asked and not done; as soon as one is done the
// next one is asked. Done is who has left, with a report, or who is unreachable, or,
// with Back, of whose name another incarnation has joined. When more than MaxFailed
// have failed, or ctx has ended, nobody else is asked, and those that were are waited
// for. Who joins after the beginning is not in the plan.
//
// Two cannot drain the same group: a drain holds a lease, a key in the JetStream bucket
// [Bucket] that expires unless it is renewed, and of which every write names the
// revision that it replaces. Who cannot renew it stops asking before it can have
// expired, and goes on when it can again and nobody else has drained the group
// meanwhile.
//
// A drain can be killed between any two steps, and be taken up again with [Resume] from
// anywhere: the plan is written down before anybody is asked, and each outcome before
// the next one is. Those that were asked and not done are asked again with the same
// command, which takes effect once. While NATS is away nothing is decided.
package fleet
