package peers

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// newManager returns a manager that needs no Kubernetes: it watches nothing.
func newManager(logger logr.Logger, deadline time.Duration) (manager.Manager, error) {
	log.SetLogger(logger)
	return manager.New(&rest.Config{Host: "http://127.0.0.1:1"}, manager.Options{
		Logger:  logger,
		Metrics: server.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
			return meta.NewDefaultRESTMapper(nil), nil
		},
		GracefulShutdownTimeout: &deadline,
	})
}

func startController(units []Unit, deadline time.Duration) (func() error, error) {
	m, err := newManager(logr.Discard(), deadline)
	if err != nil {
		return nil, err
	}
	started := make(chan struct{}, len(units))
	for _, u := range units {
		err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
			started <- struct{}{}
			return stopAfter(ctx, deadline, u.Stop)
		}))
		if err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	for range units {
		<-started
	}
	<-m.Elected()
	return func() error { cancel(); return <-ended }, nil
}

func mainController(parts *Parts) int {
	m, err := newManager(logr.FromSlogHandler(slog.Default().Handler()), Deadline)
	if err != nil {
		slog.Error("no manager", "error", err)
		return 1
	}
	for _, c := range parts.All() {
		err := m.Add(manager.RunnableFunc(func(ctx context.Context) error {
			if err := c.Start(ctx); err != nil {
				return err
			}
			died := make(chan error, 1)
			go func() { died <- c.Run() }()
			select {
			case err := <-died:
				return err
			case <-ctx.Done():
				return stopAfter(ctx, own, c.Shutdown)
			}
		}))
		if err != nil {
			slog.Error("not added", "error", err)
			return 1
		}
	}
	err = m.Start(signals.SetupSignalHandler())
	slog.Info("the manager ended", "error", err)
	if err != nil {
		return 1
	}
	return 0
}
