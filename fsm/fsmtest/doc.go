// Package fsmtest tests what is built on package fsm, and state machines of any
// kind, without waiting for a clock.
//
// A [Diagram] is read from a drawing, flat Mermaid or the DOT that package fsm
// writes, and drives a machine through everything that is drawn and everything
// that is not:
//
//	diagram, err := fsmtest.Parse(drawing)
//	…
//	diagram.Test(t, func() fsmtest.Machine { return newTurnstile() })
//
// A [Matrix] takes the code that registers a program's components, puts
// stand-ins in their place, and shuts them down in every combination of what
// components are known to do, those that run before it too, in virtual time:
//
//	fsmtest.Matrix{Setup: func(r fsmtest.Registrar) error { return register(r, app) }}.Test(t)
package fsmtest
