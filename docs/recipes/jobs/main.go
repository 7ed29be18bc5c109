// Command jobs is a pool of workers that takes leave in three steps: SIGTERM asks,
// SIGUSR1 (or the end of the polite time) insists, a second SIGTERM forces.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func main() {
	dir := flag.String("spool", "spool", "directory of the queue")
	workers := flag.Int("workers", 16, "jobs at a time")
	alarm := flag.Duration("alarm", time.Minute, "how long a shutdown may take; after 80 % of it jobs are put back")
	flag.Parse()
	os.Exit(fsm.Main(fsm.Config{Alarm: *alarm}, func(_ context.Context, o *fsm.Orchestrator) error {
		return start(o, *dir, *workers)
	}))
}

func start(o *fsm.Orchestrator, dir string, workers int) error {
	insistOnSignal(o)
	s, err := openSpool(dir)
	if err != nil {
		return err
	}
	p := newPool(s, workers)
	return o.Register("jobs", fsm.Serve(p.Run, p))
}

// insistOnSignal is the step between a first SIGTERM and a second one.
func insistOnSignal(o *fsm.Orchestrator) {
	received := make(chan os.Signal, 1)
	signal.Notify(received, syscall.SIGUSR1)
	go func() {
		for range received {
			o.Insist(fsm.Command{Reason: "signal user defined 1", By: "signal", Signal: syscall.SIGUSR1})
		}
	}()
}
