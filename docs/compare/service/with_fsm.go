package service

import (
	"context"
	"log/slog"

	"github.com/farewell-node/farewell/fsm"
)

// WithFSM is the service with this project's package fsm.
func WithFSM(env *Env) int {
	o, err := fsm.New(fsm.Config{Alarm: Deadline})
	if err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	defer o.HandleSignals()()
	if err := startFSM(env, o); err != nil {
		o.Request(fsm.Command{Reason: "start-up failed", Err: err})
	}
	report, _ := o.Wait(context.Background())
	slog.Info(report.Summary())
	return report.ExitCode()
}

func startFSM(env *Env, o *fsm.Orchestrator) error {
	telemetry := env.NewTelemetry()
	if err := o.Register("telemetry", telemetry); err != nil {
		return err
	}
	pool, err := env.OpenPool(context.Background())
	if err != nil {
		return err
	}
	closing := fsm.Func(func(ctx context.Context) error { return closePool(ctx, pool) })
	if err := o.Register("pool", closing, fsm.Before("telemetry")); err != nil {
		return err
	}
	ready := env.NewReady()
	web, sockets := env.NewWeb(pool, telemetry, ready)
	rpc := env.NewRPC(pool, telemetry)
	webListener, err := env.Listen("http")
	if err != nil {
		return err
	}
	rpcListener, err := env.Listen("grpc")
	if err != nil {
		return err
	}
	serve := func(run func() error) {
		if err := run(); err != nil {
			o.Request(fsm.Command{Reason: "died", Err: err})
		}
	}
	go serve(func() error { return serveWeb(web, webListener) })
	if err := o.Register("http", fsm.Func(func(ctx context.Context) error { return stopWeb(ctx, web, sockets) }), fsm.Before("pool")); err != nil {
		return err
	}
	go serve(func() error { return rpc.Serve(rpcListener) })
	if err := o.Register("grpc", fsm.Func(func(ctx context.Context) error { return stopRPC(ctx, rpc) }), fsm.Before("pool")); err != nil {
		return err
	}
	draining := fsm.Func(func(ctx context.Context) error { drain(ctx, ready); return nil })
	if err := o.Register("readiness", draining, fsm.Withdraws()); err != nil {
		return err
	}
	ready.Set(true)
	return nil
}
