package fsm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// README.md and the package's documentation begin with this.
func start(ctx context.Context, o *fsm.Orchestrator) error {
	db, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: "localhost:8080", Handler: handler(db)}
	return errors.Join(
		o.Register("db", fsm.Closer(db)),
		o.Register("http", fsm.Serve(server.ListenAndServe, server), fsm.Before("db")),
	)
}

// A whole program. Here something else than a signal ends it.
func ExampleMain() {
	config := fsm.Config{Alarm: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	code := fsm.Main(config, func(ctx context.Context, o *fsm.Orchestrator) error {
		defer time.AfterFunc(10*time.Millisecond, func() { o.Request(fsm.Command{Reason: "the example is over"}) })
		return start(ctx, o)
	})
	fmt.Println("exit code", code) // for os.Exit
	// Output:
	// exit code 0
}

// A start-up that fails is a shutdown, in order, of what had been started.
func ExampleMain_startUpFails() {
	config := fsm.Config{Logger: slog.New(slog.DiscardHandler)}
	code := fsm.Main(config, func(_ context.Context, o *fsm.Orchestrator) error {
		stop := fsm.Func(func(context.Context) error { fmt.Println("db is closed"); return nil })
		return errors.Join(o.Register("db", stop), errors.New("no such host"))
	})
	fmt.Println("exit code", code)
	// Output:
	// db is closed
	// exit code 1
}

// A consumer that runs until its turn to stop comes. If it fails before, that is
// the reason of a shutdown.
func ExampleOrchestrator_Go() {
	o, err := fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(o.Go("consumer", func(context.Context) error { return errors.New("connection reset") }))

	report, err := o.Wait(context.Background())
	check(err)
	fmt.Println(report.Command.By, "-", report.Err())
	fmt.Println("exit code", report.ExitCode())
	// Output:
	// consumer - fsm: component "consumer" died: connection reset
	// exit code 1
}

// Three steps instead of two: jobs finish, then they are put back, then it is over.
func ExampleOrchestrator_Insist() {
	o, err := fsm.New(fsm.Config{Alarm: 30 * time.Second})
	check(err)
	check(o.Register("jobs", fsm.Func(func(ctx context.Context) error {
		fmt.Println("no new jobs")
		<-ctx.Done() // stands for a job that takes long
		fmt.Println("put back:", errors.Is(context.Cause(ctx), fsm.ErrInsist))
		return nil
	})))
	o.Request(fsm.Command{Reason: "deploy 42"})
	o.Insist(fsm.Command{Reason: "the operator is in a hurry"})
	report, err := o.Wait(context.Background())
	check(err)
	fmt.Println(report.Summary()[:19])
	// Output:
	// no new jobs
	// put back: true
	// shutdown (deploy 42
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func handler(io.Closer) http.Handler { return http.NotFoundHandler() }

type database struct{}

func openDatabase(context.Context) (io.Closer, error) { return database{}, nil }

func (database) Close() error { return nil }
