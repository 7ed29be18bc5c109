// Package fsmhttp makes HTTP servers components of a shutdown, and tells those
// who send a process requests that it is about to leave. It needs the standard
// library and package fsm.
//
//	func start(ctx context.Context, o *fsm.Orchestrator) error {
//		…
//		http.Handle("/ready", fsmhttp.Readiness(o))
//		l, err := net.Listen("tcp", ":8080")
//		if err != nil {
//			return err
//		}
//		return errors.Join(
//			o.Register("db", fsm.Closer(db)),
//			o.Register("http", fsmhttp.Serve(&http.Server{}, l), fsm.Before("db")),
//			fsmhttp.Drain(o, "drain", 10*time.Second),
//		)
//	}
//
// What happens in a shutdown: from its first moment [Readiness] answers 503, and
// servers ask those who send requests to connect elsewhere. [Drain] keeps all
// else as it is until those who route requests have noticed. Then the servers
// stop, each when those ordered before it are done: see [Serve]. What a server
// needs is closed when its last handler has returned.
//
// A handler that streams, a WebSocket's for example, is waited for, so it has to
// notice the shutdown: [fsm.Orchestrator.Context] ends when one begins. Handlers
// must not wait for the shutdown itself, because it waits for them: there, call
// [fsm.Orchestrator.Request] alone.
package fsmhttp
