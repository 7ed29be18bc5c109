// Package remote takes shutdowns beyond one process, over NATS. A process that
// has joined its group can be asked to leave from elsewhere, and is a component of
// orchestrators elsewhere:
//
//	nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
//	…
//	member, err := remote.Join(nc, remote.Config{Group: "api", Instance: "api-1"}, o)
//	…
//	err = o.Register("store", member.Component("store/store-1"), fsm.After("http"))
//
// Now store-1, wherever it runs, is told to leave when http is done here, by the
// alarm that rings here; this process waits for it, insists upon it when the polite
// time is over here, and has its report, with its culprits and their stacks, inside
// of the own one.
//
// # What is promised
//
// A command has an ID, is meant for one incarnation of one process, and takes effect
// there at most once, however often it is sent or delivered, and never in a process
// that has been started under the same name since. It travels with durations on the
// clock of its receiver, so that nobody's clock needs to be right, and one that is
// delivered late is refused. Who has left already is an ack; who cannot be found or
// falls silent is [ErrUnreachable], never an ack. A process whose NATS is away works
// as if alone, says so in its log, and joins again by itself.
//
// Everything here is a client of NATS: request-reply for commands, plain messages for
// events and reports, JetStream key-value buckets for who is there and who has left
// ([Setup]). docs/fleet.md has the subjects, the permissions that keep strangers
// out, and what happens on each kind of failure.
package remote
