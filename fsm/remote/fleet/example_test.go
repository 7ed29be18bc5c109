package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
)

// A rolling restart of group api: three at a time, each back within a minute, and no
// further when one has failed. Ctrl-C asks nobody else, and the same program takes
// up what was not finished.
func Example() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	nc, err := nats.Connect(nats.DefaultURL, nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	options := fleet.Options{Operator: "ana"}
	drain, err := fleet.Resume(ctx, nc, "api", options)
	if errors.Is(err, fleet.ErrNothing) {
		drain, err = fleet.Begin(ctx, nc, fleet.Plan{
			Group: "api", AtOnce: fleet.Count(3), Back: time.Minute,
			Command: fsm.Command{Reason: "deploy 42", Within: 30 * time.Second},
		}, options)
	}
	if err != nil {
		log.Fatal(err) // also if somebody else drains the group: then it says who
	}
	go func() {
		for p := range drain.Progress(context.Background()) {
			log.Print(p.Instance, " ", p.State)
		}
	}()
	report, err := drain.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(report)
	os.Exit(report.ExitCode())
}

// A group of three leaves, the oldest first.
func ExampleBegin() {
	ctx, url, stop := startServer()
	defer stop()
	for _, name := range []string{"api-1", "api-2", "api-3"} {
		nc, err := nats.Connect(url)
		if err != nil {
			log.Fatal(err)
		}
		defer nc.Close()
		member := startMember(nc, name)
		defer func() { <-member.Done() }()
	}
	nc, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()

	plan := fleet.Plan{Group: "api", Order: fleet.Oldest, Command: fsm.Command{Reason: "deploy 42"}}
	drain, err := fleet.Begin(ctx, nc, plan, fleet.Options{Operator: "ana"})
	if err != nil {
		log.Fatal(err)
	}
	report, err := drain.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, line := range report.Lines {
		fmt.Println(line.Instance, line.State)
	}
	fmt.Println("exit code", report.ExitCode())
	// Output:
	// api/api-1 left
	// api/api-2 left
	// api/api-3 left
	// exit code 0
}

// startMember has this process join as one of group api, and waits until it has.
func startMember(nc *nats.Conn, name string) *remote.Member {
	quiet := slog.New(slog.DiscardHandler)
	o, err := fsm.New(fsm.Config{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	member, err := remote.Join(nc, remote.Config{Group: "api", Instance: name, Logger: quiet}, o)
	if err != nil {
		log.Fatal(err)
	}
	for member.Instance().Born == 0 {
		time.Sleep(time.Millisecond)
	}
	return member
}

// startServer starts an embedded server with JetStream.
func startServer() (ctx context.Context, url string, stop func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		log.Fatal("the server does not start")
	}
	return ctx, s.ClientURL(), func() {
		s.Shutdown()
		s.WaitForShutdown()
		_ = os.RemoveAll(dir) // a temporary directory
		cancel()
	}
}
