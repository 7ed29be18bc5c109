// Command fx is the service as it is with go.uber.org/fx (-step 0), and what becomes
// of it on the way to fsm. Step 2 is where to stay if the constructors are what you
// want of fx; without them it is the service.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"go.uber.org/fx"

	"github.com/farewell-node/farewell/docs/recipes/shop"
	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

func main() {
	step := flag.Int("step", 0, "0 as it is, 1 fsm.Main around it, 2 constructors register components in place of hooks")
	config := shop.Flags()
	switch *step {
	case 0:
		fx.New(asItIs(config)).Run()
	case 1:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
			return around(ctx, o, config)
		}))
	default:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
			return fx.New(withoutHooks(ctx, o, config)).Err()
		}))
	}
}

// around is step 1: fx starts and stops what it has, as one component.
func around(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) error {
	app := fx.New(asItIs(config), fx.StopTimeout(config.Alarm))
	if err := app.Start(ctx); err != nil {
		return err
	}
	return o.Register("fx", fsm.Func(app.Stop))
}

// asItIs is steps 0 and 1.
func asItIs(config *shop.Config) fx.Option {
	return fx.Options(fx.NopLogger, fx.Supply(config), fx.StopTimeout(config.Alarm),
		fx.Provide(newLeaving, hookedTelemetry, hookedStore),
		fx.Invoke(hookedAdmin, hookedWeb, hookedRPC, drainFirst))
}

// leaving is closed when the service begins to stop.
type leaving struct{ begun chan struct{} }

func newLeaving() *leaving { return &leaving{make(chan struct{})} }

// drainFirst is invoked last, because OnStop hooks are run in reverse.
func drainFirst(lc fx.Lifecycle, l *leaving, config *shop.Config) {
	lc.Append(fx.StopHook(func() { close(l.begun); time.Sleep(config.Drain) }))
}

func hookedTelemetry(lc fx.Lifecycle, config *shop.Config) (*shop.Telemetry, error) {
	t, err := shop.NewTelemetry(context.Background(), config.Collector)
	if err == nil {
		lc.Append(fx.StopHook(t.Shutdown))
	}
	return t, err
}

func hookedStore(lc fx.Lifecycle, config *shop.Config, _ *shop.Telemetry) (*shop.Store, error) {
	s, err := shop.OpenStore(context.Background(), config.Database)
	if err == nil {
		lc.Append(fx.StopHook(s.Close))
	}
	return s, err
}

func hookedAdmin(lc fx.Lifecycle, config *shop.Config, l *leaving) error {
	ready := func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-l.begun:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
		}
	}
	return hookedHTTP(lc, "admin", config.Admin, shop.NewAdmin(http.HandlerFunc(ready)))
}

func hookedWeb(lc fx.Lifecycle, config *shop.Config, store *shop.Store, l *leaving) error {
	return hookedHTTP(lc, "web", config.Web, shop.NewWeb(store, l.begun))
}

func hookedHTTP(lc fx.Lifecycle, name, address string, server *http.Server) error {
	l, err := shop.Listen(name, address)
	if err != nil {
		return err
	}
	lc.Append(fx.StartStopHook(func() {
		go func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				slog.Error(name, "error", err)
			}
		}()
	}, server.Shutdown))
	return nil
}

func hookedRPC(lc fx.Lifecycle, config *shop.Config, store *shop.Store, begun *leaving) error {
	l, err := shop.Listen("rpc", config.RPC)
	if err != nil {
		return err
	}
	rpc, health := shop.NewRPC(store, begun.begun)
	lc.Append(fx.StartStopHook(func() { go func() { _ = rpc.Serve(l) }() }, func() { health.Shutdown(); rpc.GracefulStop() }))
	return nil
}

// withoutHooks is step 2: fx.Lifecycle becomes *fsm.Orchestrator, Append becomes
// Register; the order is said, and no longer that of construction in reverse.
func withoutHooks(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) fx.Option {
	return fx.Options(fx.NopLogger, fx.Supply(o, config), fx.Provide(
		func() (*shop.Telemetry, error) {
			t, err := shop.NewTelemetry(ctx, config.Collector)
			if err != nil {
				return nil, err
			}
			return t, o.Register("telemetry", t, fsm.Last(), fsm.BestEffort())
		},
		func(*shop.Telemetry) (*shop.Store, error) {
			s, err := shop.OpenStore(ctx, config.Database)
			if err != nil {
				return nil, err
			}
			return s, o.Register("store", fsm.Closer(s))
		},
	), fx.Invoke(registerAdmin, registerWeb, registerRPC))
}

func registerAdmin(o *fsm.Orchestrator, config *shop.Config, _ *shop.Telemetry) error {
	l, err := shop.Listen("admin", config.Admin)
	if err != nil {
		return err
	}
	return o.Register("admin", fsmhttp.Serve(shop.NewAdmin(fsmhttp.Readiness(o)), l), fsm.Last(), fsm.Before("telemetry"))
}

func registerWeb(o *fsm.Orchestrator, config *shop.Config, store *shop.Store) error {
	l, err := shop.Listen("web", config.Web)
	if err != nil {
		return err
	}
	return o.Register("web", fsmhttp.Serve(shop.NewWeb(store, o.Context().Done()), l), fsm.Before("store"))
}

func registerRPC(o *fsm.Orchestrator, config *shop.Config, store *shop.Store) error {
	l, err := shop.Listen("rpc", config.RPC)
	if err != nil {
		return err
	}
	rpc, health := shop.NewRPC(store, o.Context().Done())
	serve := func() error { return rpc.Serve(l) }
	if err := o.Register("rpc", fsm.Serve(serve, fsm.Stopper(rpc.GracefulStop, rpc.Stop)), fsm.Before("store")); err != nil {
		return err
	}
	notServing := fsm.Func(func(context.Context) error { health.Shutdown(); return nil })
	if err := o.Register("health", notServing, fsm.Withdraws()); err != nil {
		return err
	}
	return fsmhttp.Drain(o, "drain", config.Drain)
}
