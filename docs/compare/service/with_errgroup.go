package service

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// WithErrgroup is the service with golang.org/x/sync/errgroup.
func WithErrgroup(env *Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serveErrgroup(ctx, env); err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

func serveErrgroup(ctx context.Context, env *Env) (err error) {
	group, ctx := errgroup.WithContext(ctx)
	stopping := untilAfter(ctx, Deadline)
	telemetry := env.NewTelemetry()
	defer func() { err = errors.Join(err, telemetry.Shutdown(stopping)) }()
	pool, err := env.OpenPool(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePool(stopping, pool)) }()
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
	group.Go(func() error { return serveWeb(web, webListener) })
	group.Go(func() error { return rpc.Serve(rpcListener) })
	group.Go(func() error {
		<-ctx.Done()
		drain(stopping, ready)
		return both(
			func() error { return stopWeb(stopping, web, sockets) },
			func() error { return stopRPC(stopping, rpc) },
		)
	})
	ready.Set(true)
	return group.Wait()
}
