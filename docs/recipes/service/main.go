// Command service is the whole of it: HTTP, WebSockets, gRPC, PostgreSQL,
// telemetry, readiness, in the order in which they start; and how each of them
// leaves, and before whom.
package main

import (
	"context"
	"os"

	"github.com/farewell-node/farewell/docs/recipes/shop"
	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

func main() {
	config := shop.Flags()
	os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
		return start(ctx, o, config)
	}))
}

func start(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) error {
	telemetry, err := shop.NewTelemetry(ctx, config.Collector)
	if err != nil {
		return err
	}
	// A collector that does not answer costs two seconds, and not the exit code.
	if err := o.Register("telemetry", telemetry, fsm.Last(), fsm.BestEffort(), fsm.Grace(config.Alarm/5)); err != nil {
		return err
	}
	watched, err := shop.Listen("admin", config.Admin)
	if err != nil {
		return err
	}
	// Whoever asks whether we are ready is answered to the end.
	admin := fsmhttp.Serve(shop.NewAdmin(fsmhttp.Readiness(o)), watched)
	if err := o.Register("admin", admin, fsm.Last(), fsm.Before("telemetry")); err != nil {
		return err
	}
	store, err := shop.OpenStore(ctx, config.Database) // waits until it is there
	if err != nil {
		return err
	}
	if err := o.Register("store", fsm.Closer(store)); err != nil {
		return err
	}
	orders, err := shop.Listen("web", config.Web)
	if err != nil {
		return err
	}
	web := fsmhttp.Serve(shop.NewWeb(store, o.Context().Done()), orders)
	if err := o.Register("web", web, fsm.Before("store")); err != nil {
		return err
	}
	calls, err := shop.Listen("rpc", config.RPC)
	if err != nil {
		return err
	}
	rpc, health := shop.NewRPC(store, o.Context().Done())
	serve := func() error { return rpc.Serve(calls) }
	if err := o.Register("rpc", fsm.Serve(serve, fsm.Stopper(rpc.GracefulStop, rpc.Stop)), fsm.Before("store")); err != nil {
		return err
	}
	notServing := func(context.Context) error { health.Shutdown(); return nil }
	if err := o.Register("health", fsm.Func(notServing), fsm.Withdraws()); err != nil {
		return err
	}
	return fsmhttp.Drain(o, "drain", config.Drain) // the listeners stay open that long
}
