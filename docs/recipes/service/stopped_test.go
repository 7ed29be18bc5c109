package main

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"

	"github.com/farewell-node/farewell/fsm"
)

// What a gRPC server returns when it was stopped before it could serve says no
// more than that, and is no failure.
func TestServerThatWasStoppedHasNotFailed(t *testing.T) {
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	stopped := make(chan struct{})
	run := func() error {
		<-stopped
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		if err := server.Serve(l); err != grpc.ErrServerStopped {
			t.Errorf("it returns %v", err)
		}
		return grpc.ErrServerStopped
	}
	stop := fsm.Func(func(context.Context) error { server.Stop(); close(stopped); return nil })
	if err := o.Register("rpc", fsm.Serve(run, stop)); err != nil {
		t.Fatal(err)
	}
	report, err := o.Shutdown(t.Context(), fsm.Command{Reason: "test"})
	if err != nil || report.Err() != nil {
		t.Errorf("%v, %v", err, report.Err())
	}
}
