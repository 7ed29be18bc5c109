package service

import (
	"context"
	"errors"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

// WithFSM is the service with this project's package fsm.
func WithFSM(env *Env) int {
	return fsm.Main(fsm.Config{Alarm: Deadline}, func(ctx context.Context, o *fsm.Orchestrator) error {
		return startFSM(ctx, o, env)
	})
}

func startFSM(ctx context.Context, o *fsm.Orchestrator, env *Env) error {
	telemetry := env.NewTelemetry()
	if err := o.Register("telemetry", telemetry, fsm.Last()); err != nil {
		return err
	}
	pool, err := env.OpenPool(ctx)
	if err != nil {
		return err
	}
	web, sockets := env.NewWeb(pool, telemetry, fsmhttp.Readiness(o))
	rpc := env.NewRPC(pool, telemetry)
	webListener, err := env.Listen("http")
	if err != nil {
		return err
	}
	rpcListener, err := env.Listen("grpc")
	if err != nil {
		return errors.Join(err, webListener.Close())
	}
	serveRPC := func() error { return rpc.Serve(rpcListener) }
	return errors.Join(
		o.Register("pool", fsm.Func(func(context.Context) error { pool.Close(); return nil })),
		o.Register("http", fsmhttp.Serve(web, webListener), fsm.Before("pool")),
		o.Register("websockets", sockets, fsm.Before("pool")),
		o.Register("grpc", fsm.Serve(serveRPC, fsm.Stopper(rpc.GracefulStop, rpc.Stop)), fsm.Before("pool")),
		fsmhttp.Drain(o, "drain", Drain),
	)
}
