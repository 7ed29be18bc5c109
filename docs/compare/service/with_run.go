package service

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/oklog/run"
)

// WithRun is the service with github.com/oklog/run.
func WithRun(env *Env) int {
	if err := serveRun(env); err != nil && !errors.Is(err, run.ErrSignal) {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

func serveRun(env *Env) (err error) {
	ctx, interrupted := context.WithCancel(context.Background())
	defer interrupted()
	stopping := untilAfter(ctx, Deadline)
	telemetry := env.NewTelemetry()
	defer func() { err = also(err, telemetry.Shutdown(stopping)) }()
	pool, err := env.OpenPool(ctx)
	if err != nil {
		return err
	}
	defer func() { err = also(err, closePool(stopping, pool)) }()
	ready := &Ready{}
	web, sockets := env.NewWeb(pool, telemetry, ready)
	rpc := env.NewRPC(pool, telemetry)
	webListener, err := env.Listen("http")
	if err != nil {
		return err
	}
	rpcListener, err := env.Listen("grpc")
	if err != nil {
		return errors.Join(err, webListener.Close())
	}
	var group run.Group
	group.Add(run.SignalHandler(ctx, syscall.SIGINT, syscall.SIGTERM))
	drained := make(chan struct{}) // interrupts are called one after the other: this is the first
	group.Add(func() error { <-drained; return nil }, func(error) {
		interrupted()
		drain(stopping, ready)
		close(drained)
	})
	var webErr error
	webDone := make(chan struct{})
	group.Add(func() error {
		err := serveWeb(web, webListener)
		if err == nil {
			<-webDone
			err = webErr
		}
		return err
	}, func(error) {
		go func() { webErr = stopWeb(stopping, web, sockets); close(webDone) }()
	})
	group.Add(func() error { return rpc.Serve(rpcListener) }, func(error) { _ = stopRPC(stopping, rpc) })
	ready.Set(true)
	return group.Run()
}

// also adds an error that the signal must not hide.
func also(err, more error) error {
	if more != nil {
		return more
	}
	return err
}
