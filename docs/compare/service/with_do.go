package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os/signal"
	"syscall"

	"github.com/samber/do/v2"
	"google.golang.org/grpc"
)

// WithDo is the service with github.com/samber/do.
func WithDo(env *Env) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := serveDo(ctx, env); err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

// What do shuts down needs a type each, with a Shutdown.
type (
	doPool struct{ *Pool }
	doWeb  struct {
		*http.Server
		sockets *Sockets
	}
	doRPC   struct{ *grpc.Server }
	doReady struct{ *Ready }
)

func (p *doPool) Shutdown(ctx context.Context) error { return closePool(ctx, p.Pool) }
func (w *doWeb) Shutdown(ctx context.Context) error  { return stopWeb(ctx, w.Server, w.sockets) }
func (r *doRPC) Shutdown(ctx context.Context) error  { return stopRPC(ctx, r.Server) }
func (r *doReady) Shutdown(ctx context.Context)      { drain(ctx, r.Ready) }

func serveDo(ctx context.Context, env *Env) error {
	died := make(chan error, 2)
	ready := &Ready{}
	injector := do.New()
	do.Provide(injector, func(do.Injector) (*Telemetry, error) { return env.NewTelemetry(), nil })
	do.Provide(injector, func(i do.Injector) (*doPool, error) {
		do.MustInvoke[*Telemetry](i)
		pool, err := env.OpenPool(ctx)
		return &doPool{pool}, err
	})
	do.Provide(injector, func(i do.Injector) (*doWeb, error) {
		pool, telemetry := do.MustInvoke[*doPool](i), do.MustInvoke[*Telemetry](i)
		web, sockets := env.NewWeb(pool.Pool, telemetry, ready)
		l, err := env.Listen("http")
		if err == nil {
			go func() { died <- serveWeb(web, l) }()
		}
		return &doWeb{web, sockets}, err
	})
	do.Provide(injector, func(i do.Injector) (*doRPC, error) {
		pool, telemetry := do.MustInvoke[*doPool](i), do.MustInvoke[*Telemetry](i)
		rpc := env.NewRPC(pool.Pool, telemetry)
		l, err := env.Listen("grpc")
		if err == nil {
			go func() { died <- rpc.Serve(l) }()
		}
		return &doRPC{rpc}, err
	})
	do.Provide(injector, func(i do.Injector) (*doReady, error) {
		do.MustInvoke[*doWeb](i)
		do.MustInvoke[*doRPC](i)
		ready.Set(true)
		return &doReady{ready}, nil
	})
	_, err := do.Invoke[*doReady](injector)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-died:
		}
	}
	return errors.Join(err, shutdownDo(injector))
}

// shutdownDo waits no longer than the deadline: do would wait for ever.
func shutdownDo(injector *do.RootScope) error {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	if report := injector.ShutdownWithContext(ctx); !report.Succeed {
		return errors.New(report.Error())
	}
	return nil
}
