package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/thejerf/suture/v4"
)

// WithSuture is the service with github.com/thejerf/suture.
func WithSuture(env *Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serveSuture(ctx, env); err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

// supervised is a function as a suture.Service.
type supervised func(ctx context.Context) error

func (s supervised) Serve(ctx context.Context) error { return s(ctx) }

func serveSuture(ctx context.Context, env *Env) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopping := untilAfter(ctx, Deadline)
	telemetry := env.NewTelemetry()
	defer func() { cancel(); err = errors.Join(err, telemetry.Shutdown(stopping)) }()
	pool, err := env.OpenPool(ctx)
	if err != nil {
		return err
	}
	defer func() { cancel(); err = errors.Join(err, closePool(stopping, pool)) }()
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
	drained := make(chan struct{})
	supervisor := suture.New("service", suture.Spec{Timeout: Deadline})
	supervisor.Add(supervised(func(ctx context.Context) error {
		<-ctx.Done()
		drain(stopping, ready)
		close(drained)
		return nil
	}))
	var webErr, rpcErr error
	supervisor.Add(terminal(drained, func() error { return serveWeb(web, webListener) },
		func() { webErr = stopWeb(stopping, web, sockets) }))
	supervisor.Add(terminal(drained, func() error { return rpc.Serve(rpcListener) },
		func() { rpcErr = stopRPC(stopping, rpc) }))
	ready.Set(true)
	if err = supervisor.Serve(ctx); errors.Is(err, context.Canceled) {
		err = nil
	}
	if left, _ := supervisor.UnstoppedServiceReport(); len(left) > 0 {
		return fmt.Errorf("not stopped: %v", left)
	}
	return errors.Join(err, webErr, rpcErr)
}

// terminal ends the service if what it serves dies: a listener cannot be served again.
func terminal(drained <-chan struct{}, serve func() error, stop func()) suture.Service {
	return supervised(func(ctx context.Context) error {
		died := make(chan error, 1)
		go func() { died <- serve() }()
		select {
		case err := <-died:
			return fmt.Errorf("%w: %w", suture.ErrTerminateSupervisorTree, err)
		case <-ctx.Done():
			<-drained
			stop()
			return nil
		}
	})
}
