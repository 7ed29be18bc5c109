// Package fsmotel tells OpenTelemetry how a process leaves: metrics of the
// machine and its components while it runs and leaves, and one trace of the whole
// shutdown, a span per component with its outcome, how long it waited and on
// whom, and its error. Both are pushed before the process ends.
//
//	o, err := fsm.New(fsm.Config{})
//	…
//	err = fsmotel.Register(o, fsmotel.Config{
//		TracerProvider: traces,  // sdk/trace, with a batcher and an exporter
//		MeterProvider:  metrics, // sdk/metric, with a periodic reader
//	})
//
// That registers a component, "telemetry", that is [fsm.Last] and
// [fsm.BestEffort]: it begins when everybody else is done, or when time is
// running out, and a collector that does not answer costs a quarter of the polite
// time and no exit code. It calls ForceFlush on the providers and leaves them
// open. They need no component of their own; if they have one, it is ordered
// after this one: fsm.Last(), fsm.After(fsmotel.ID).
//
// # Metrics
//
// Names, in Prometheus with underscores, and units follow the conventions of
// both:
//
//	farewell.state                1 for the state the machine is in, 0 for the others; farewell.state
//	farewell.components           {component}: how many stand how; farewell.outcome
//	farewell.alarm.remaining      s: what is left to the alarm, during a shutdown
//	farewell.shutdown.duration    s, histogram: from the request to the push
//	farewell.component.duration   s, histogram: how long a component ran; farewell.component, farewell.outcome
//	farewell.component.wait       s, histogram: how long it waited before; farewell.component, farewell.outcome
//
// # The trace
//
// The root span is "shutdown", from the request to the push: the reason and who
// asked in its attributes, the log of events as its events. Below it is a span for
// each component, "shutdown db", from its start to its ack; what a component that
// is a shutdown of its own reports is below its span. What has not come to an end
// when the trace is pushed ends there, with the status Error if it was insisted
// upon: the culprit is seen also if the alarm follows. The exit code is not known
// yet, and not in the trace; the root's status is Error if it cannot be 0 any more.
// A force leaves no time to push anything.
package fsmotel
