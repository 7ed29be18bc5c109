package service

import (
	"context"
	"net/http"

	"go.uber.org/fx"
	"google.golang.org/grpc"
)

// WithFx is the service with go.uber.org/fx. It exits by itself if the code is not 0.
func WithFx(env *Env) int {
	fx.New(
		fx.Supply(env, fx.Annotate(&Ready{}, fx.As(fx.Self()), fx.As(new(http.Handler)))),
		fx.Provide(fxTelemetry, fxPool, (*Env).NewWeb, (*Env).NewRPC),
		fx.Invoke(fxServe),
		fx.StopTimeout(Deadline),
	).Run()
	return 0
}

func fxTelemetry(env *Env, lc fx.Lifecycle) *Telemetry {
	telemetry := env.NewTelemetry()
	lc.Append(fx.StopHook(telemetry.Shutdown))
	return telemetry
}

// fxPool takes telemetry, which is to outlive it.
func fxPool(env *Env, lc fx.Lifecycle, _ *Telemetry) *Pool {
	pool := env.NewPool()
	lc.Append(fx.StartStopHook(pool.Connect, func(ctx context.Context) error { return closePool(ctx, pool) }))
	return pool
}

// fxServe has one hook for both servers: hooks are run one after the other.
func fxServe(env *Env, lc fx.Lifecycle, s fx.Shutdowner, web *http.Server, sockets *Sockets, rpc *grpc.Server, ready *Ready) {
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			webListener, err := env.Listen("http")
			if err != nil {
				return err
			}
			rpcListener, err := env.Listen("grpc")
			if err != nil {
				_ = webListener.Close()
				return err
			}
			go func() {
				if err := serveWeb(web, webListener); err != nil {
					_ = s.Shutdown(fx.ExitCode(1))
				}
			}()
			go func() {
				if err := rpc.Serve(rpcListener); err != nil {
					_ = s.Shutdown(fx.ExitCode(1))
				}
			}()
			return nil
		},
		OnStop: func(ctx context.Context) error {
			return both(
				func() error { return stopWeb(ctx, web, sockets) },
				func() error { return stopRPC(ctx, rpc) },
			)
		},
	})
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error { ready.Set(true); return nil },
		OnStop:  func(ctx context.Context) error { drain(ctx, ready); return nil },
	})
}
