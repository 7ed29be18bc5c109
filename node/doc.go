// Package node wires the rooms to one process: a neighborhood, a pool of streams, a gateway for UIs, and the
// orchestrator that ends them in the right order.
//
//	n, err := node.Start(node.Config{Listen: "127.0.0.1:0", UI: "127.0.0.1:5333", KeyFile: "node.key"})
//	…
//	report := n.Wait()
//	os.Exit(report.ExitCode())
//
// A shutdown can be asked for by a UI, by SIGINT or SIGTERM (a second signal forces it), or with
// n.Orchestrator().Request. Whoever asks, the road is the same; docs/architecture.md follows one request along it.
// Components of your own are registered with n.Orchestrator().Register.
package node
