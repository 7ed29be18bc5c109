package fsm

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// sameSignal is how long after the first signal another one is taken for the
// same request: a wrapper passes on the Ctrl-C that the whole process group got.
const sameSignal = 100 * time.Millisecond

// HandleSignals makes the first of the given signals, or of SIGINT, SIGTERM and
// SIGHUP if none are given, request a shutdown, and the next one force it, unless
// it comes within 100 ms, when it is the same request. The first never forces,
// even if somebody else has asked for a shutdown before. A SIGINT or SIGHUP that
// was ignored when the process started, as under nohup, stays ignored.
//
// It also keeps SIGPIPE from ending the process: writing to a broken pipe fails
// with EPIPE instead, whatever has become of whoever reads the log.
//
// After the end signals have their default effect again; SIGPIPE has when stop is
// called. It does not block. Its goroutine ends at the end or with stop, which
// waits for it and can be called repeatedly.
func (o *Orchestrator) HandleSignals(signals ...os.Signal) (stop func()) {
	if len(signals) == 0 {
		signals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
	}
	received := make(chan os.Signal, 8) // room for the second one while the first is handled
	for _, s := range slices.DeleteFunc(slices.Clone(signals), signal.Ignored) {
		signal.Notify(received, s)
	}
	giveBack := keepBrokenPipes()
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer signal.Stop(received)
		o.obey(received, stopped)
	}()
	return sync.OnceFunc(func() {
		close(stopped)
		<-ended
		giveBack()
	})
}

// keepBrokenPipes keeps SIGPIPE from ending the process.
func keepBrokenPipes() (giveBack func()) {
	broken := make(chan os.Signal, 1) // nobody reads it: that somebody asks for the signal is enough
	signal.Notify(broken, syscall.SIGPIPE)
	return func() { signal.Stop(broken) }
}

// obey is apart from os/signal so that tests can send it signals.
func (o *Orchestrator) obey(received <-chan os.Signal, stopped <-chan struct{}) {
	var first time.Time
	for {
		select {
		case s := <-received:
			number, _ := s.(syscall.Signal)
			command := Command{Reason: "signal " + s.String(), By: "signal", Signal: number}
			switch {
			case first.IsZero():
				first = time.Now()
				o.Request(command) // joins a shutdown that somebody else asked for
			case time.Since(first) >= sameSignal:
				o.Force(command)
			}
		case <-o.done:
			return
		case <-stopped:
			return
		}
	}
}
