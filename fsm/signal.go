package fsm

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// HandleSignals makes the first of the given signals, or of SIGINT and SIGTERM
// if none are given, request a shutdown, and every further one force it. Until
// stop is called the process does not die of them. It does not block; its
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
	for s := range received {
		number, _ := s.(syscall.Signal)
		command := Command{Reason: fmt.Sprintf("signal %s", s), By: "signal", Signal: number}
		if !o.Request(command) {
			o.Force(command)
		}
	}
}
