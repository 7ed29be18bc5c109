package remote_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// A process that can be asked to leave from elsewhere, and that has the store leave,
// on another host, when its own requests are done.
func Example() {
	joined := make(chan *remote.Member, 1)
	start := func(_ context.Context, o *fsm.Orchestrator) error {
		nc, err := nats.Connect(nats.DefaultURL, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
		if err != nil {
			return err
		}
		server := &http.Server{Addr: ":8080"}
		if err := o.Register("http", fsm.Serve(server.ListenAndServe, server)); err != nil {
			return err
		}
		host, err := os.Hostname()
		if err != nil {
			return err
		}
		member, err := remote.Join(nc, remote.Config{Group: "edge", Instance: host}, o)
		if err != nil {
			return err
		}
		joined <- member
		return o.Register("store", member.Component("store/store-1"), fsm.After("http"))
	}
	code := fsm.Main(fsm.Config{Alarm: 10 * time.Second}, start)
	select {
	case member := <-joined:
		<-member.Done() // its last word is out; the end of the process closes the connection
	default:
	}
	os.Exit(code)
}

// All instances of a group leave, one after the other, the oldest first; the first
// that goes wrong is the last.
func ExampleShutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	nc, err := nats.Connect(nats.DefaultURL)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	instances, err := remote.List(ctx, nc, "edge")
	if err != nil {
		log.Print(err)
		return
	}
	for _, instance := range instances {
		command := fsm.Command{Reason: "deploy 42", By: "ana", Within: 10 * time.Second}
		report, err := remote.Shutdown(ctx, nc, instance, "", command)
		if err != nil || report.ExitCode() != fsm.ExitOK {
			fmt.Println(instance, err, report)
			return
		}
	}
}
