package fsm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// Without Main: an HTTP server, a worker pool that its handlers feed, and a
// database that the workers write to, registered in the order in which they are
// started, shut down in the order that Before says.
func Example() {
	db, err := openDatabase(context.Background())
	check(err)
	workers, server := startWorkers(), &http.Server{Addr: "localhost:0"}

	o, err := fsm.New(fsm.Config{Alarm: 10 * time.Second})
	check(err)
	defer o.HandleSignals()() // SIGINT, SIGTERM and SIGHUP ask for a shutdown, a second one forces it
	check(o.Register("db", fsm.Closer(db)))
	check(o.Register("workers", workers, fsm.Before("db")))
	check(o.Register("http", fsm.Serve(server.ListenAndServe, server), fsm.Before("workers")))

	o.Request(fsm.Command{Reason: "the example is over", By: "example"}) // or a signal does
	report, err := o.Wait(context.Background())
	check(err)
	for _, e := range report.Events {
		fmt.Println(e)
	}
	fmt.Println("exit code", report.ExitCode()) // for os.Exit, in main

	// Output:
	// ShutdownRequested
	// Withdrawn
	// Started http
	// Acked http
	// Started workers
	// Acked workers
	// Started db
	// Acked db
	// AllAcked
	// exit code 0
}

// pool is a worker pool; its Shutdown makes it a component.
type pool struct {
	jobs chan func()
	busy sync.WaitGroup
}

func startWorkers() *pool {
	p := &pool{jobs: make(chan func(), 10)}
	for range 3 {
		p.busy.Go(func() {
			for job := range p.jobs {
				job()
			}
		})
	}
	return p
}

// Shutdown ends what has been begun; nobody feeds the pool any more.
func (p *pool) Shutdown(context.Context) error {
	close(p.jobs)
	p.busy.Wait()
	return nil
}

// The events, history first and then live, are the one way to follow a shutdown:
// for a user interface, for metrics, for a service manager.
func ExampleOrchestrator_Events() {
	o, err := fsm.New(fsm.Config{})
	check(err)
	check(o.Register("cache", fsm.Func(func(context.Context) error { return errors.New("disk is full") })))
	o.Request(fsm.Command{Reason: "deploy 42", By: "operator"})

	for e := range o.Events(context.Background()) {
		switch ack, ok := e.Ack(); {
		case ok:
			fmt.Println(ack.From, "says okay, I'm done; error:", ack.Err)
		case e.Command != nil:
			fmt.Println(e.Kind, "by", e.Command.By)
		default:
			fmt.Println(e)
		}
	}
	// Output:
	// ShutdownRequested by operator
	// Withdrawn
	// Started cache
	// cache says okay, I'm done; error: disk is full
	// AllAcked
}

// A component is given the command in its context, and a deadline. When its time
// is over the context is cancelled with cause ErrInsist: what it can still save
// it saves now.
func ExampleCommandFrom() {
	o, err := fsm.New(fsm.Config{Alarm: time.Second, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(o.Register("uploads", fsm.Func(func(ctx context.Context) error {
		command, _ := fsm.CommandFrom(ctx)
		fmt.Println("asked by", command.By)
		<-ctx.Done() // stands for an upload that is cut short
		return context.Cause(ctx)
	}), fsm.Grace(10*time.Millisecond)))

	report, err := o.Shutdown(context.Background(), fsm.Command{Reason: "battery is low", By: "operator"})
	check(err)
	fmt.Println(errors.Is(report.Err(), fsm.ErrInsist))
	fmt.Println(report.ExitCode() == fsm.ExitImpolite)
	// Output:
	// asked by operator
	// true
	// true
}

// The table draws itself, here with a state lit.
func ExampleTable_Mermaid() {
	fmt.Print(fsm.Transitions().Mermaid(fsm.Withdrawing))
	// Output:
	// stateDiagram-v2
	//     [*] --> Running
	//     Running --> Withdrawing: ShutdownRequested
	//     Withdrawing --> AwaitingAcks: Withdrawn
	//     AwaitingAcks --> Terminated: AllAcked
	//     Withdrawing --> Terminated: Timeout
	//     AwaitingAcks --> Terminated: Timeout
	//     Terminated --> [*]
	//     classDef lit fill:#f9d849,stroke:#7a5c00,color:#000
	//     class Withdrawing lit
}
