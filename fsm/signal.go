package fsm

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// HandleSignals makes the first of the given signals, or of SIGINT and SIGTERM
// if none are given, request a shutdown, and the next one force it. The first
// never forces, even if somebody else has asked for a shutdown before. Until
// stop is called the process does not die of them, not even after the end: a
// main that has more to do after Wait calls stop first. It does not block; its
// goroutine ends with stop, which waits for it and can be called repeatedly.
func (o *Orchestrator) HandleSignals(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	received := make(chan os.Signal, 8) // room for the second one while the first is handled
	signal.Notify(received, signals...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.obey(received)
	}()
	return sync.OnceFunc(func() {
		signal.Stop(received)
		close(received)
		<-ended
	})
}

// obey is apart from os/signal so that tests can send it signals.
func (o *Orchestrator) obey(received <-chan os.Signal) {
	obey := o.Request // joins a shutdown that somebody else asked for
	for s := range received {
		number, _ := s.(syscall.Signal)
		command := Command{Reason: "signal " + s.String(), By: "signal", Signal: number}
		obey(command)
		obey = o.Force
	}
}
