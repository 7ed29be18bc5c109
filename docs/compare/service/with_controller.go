package service

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// WithController is the service with sigs.k8s.io/controller-runtime. The manager
// that needs no Kubernetes is not counted: who uses it has one.
func WithController(env *Env) int {
	if err := serveController(signals.SetupSignalHandler(), env); err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

func serveController(ctx context.Context, env *Env) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopping := untilAfter(ctx, Deadline)
	telemetry := env.NewTelemetry()
	defer func() { err = errors.Join(err, telemetry.Shutdown(stopping)) }()
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
	m, err := newManager()
	if err != nil {
		return err
	}
	drained := make(chan struct{})
	var stopErr error
	err = errors.Join(
		m.Add(manager.RunnableFunc(func(ctx context.Context) error {
			<-ctx.Done()
			drain(stopping, ready)
			close(drained)
			return nil
		})),
		m.Add(manager.RunnableFunc(func(ctx context.Context) error {
			died := make(chan error, 2)
			go func() { died <- serveWeb(web, webListener) }()
			go func() { died <- rpc.Serve(rpcListener) }()
			select {
			case err := <-died:
				return err
			case <-ctx.Done():
				<-drained
				stopErr = both(
					func() error { return stopWeb(stopping, web, sockets) },
					func() error { return stopRPC(stopping, rpc) },
				)
				return nil
			}
		})),
	)
	if err != nil {
		return err
	}
	ready.Set(true)
	return errors.Join(m.Start(ctx), stopErr)
}

// newManager returns a manager that needs no Kubernetes: it watches nothing.
//
//lines:skip
func newManager() (manager.Manager, error) {
	logger := logr.FromSlogHandler(slog.Default().Handler())
	log.SetLogger(logger)
	deadline := Deadline
	return manager.New(&rest.Config{Host: "http://127.0.0.1:1"}, manager.Options{
		Logger: logger, Metrics: server.Options{BindAddress: "0"}, GracefulShutdownTimeout: &deadline,
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return meta.NewDefaultRESTMapper(nil), nil
		},
	})
}
