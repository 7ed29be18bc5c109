// Package ui is the gateway between a process and those who watch it and shut it
// down: a WebSocket server that speaks MASQNode-UIv2 (docs/protocol.md), as
// existing UIs of the MASQ Node v0.9.1 do, and a web page at the same address, on
// loopback or a Unix socket only.
//
// The gateway alone decides when the process may exit: that is when [Gateway.Run]
// returns. The process then exits with the code of the report that it is given.
//
//	gateway, err := ui.New(ui.Config{Orchestrator: o, Node: node})
//	…
//	address, err := gateway.Listen("127.0.0.1:5333") // a port in use shows here
//	…                                                 // start what there is to start
//	end, err := gateway.Run(ctx)
//	…
//	os.Exit(end.Report.ExitCode())
//
// # The end
//
// When the machine is terminated the gateway closes its listener; then answers
// every UI that has asked for the shutdown, each on its own contextId, with the
// report; tells every other UI once; leaves those who asked open until they hang
// up; and sends a close frame (1001, going away) to whoever is left. Existing
// clients need this order. All of it is done within 1 s of a graceful end, but
// never later than 250 ms after the moment of the alarm, and within 250 ms of an
// end by alarm or force.
//
// # Strangers
//
// Web pages can send WebSocket requests to loopback from anywhere. A request is
// served only if it reached a loopback address (or a Unix socket), if its Host is
// a loopback address or localhost, and if it has either no Origin or the page's own.
// Other users of the machine are kept out by a Unix socket, or by a token that
// every UI must show first (Config.Token).
//
// What one UI can cost is bounded: docs/protocol.md lists the limits. A UI that
// stalls, floods or dies holds up nobody but itself.
package ui
