package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/grafana/dskit/modules"
	"github.com/grafana/dskit/services"
	"github.com/grafana/dskit/signals"
	"google.golang.org/grpc"
)

// WithDskit is the service with github.com/grafana/dskit.
func WithDskit(env *Env) int {
	logger := log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))
	if err := serveDskit(env, logger); err != nil {
		level.Error(logger).Log("msg", "service", "error", err)
		return 1
	}
	return 0
}

// dskitService is the service as its modules make it.
type dskitService struct {
	env       *Env
	stopping  context.Context
	telemetry *Telemetry
	pool      *Pool
	ready     *Ready
	web       *http.Server
	sockets   *Sockets
	rpc       *grpc.Server
}

func (s *dskitService) initTelemetry() (services.Service, error) {
	s.telemetry = s.env.NewTelemetry()
	return services.NewIdleService(nil, func(error) error { return s.telemetry.Shutdown(s.stopping) }), nil
}

func (s *dskitService) initPool() (services.Service, error) {
	return services.NewIdleService(func(ctx context.Context) (err error) {
		s.pool, err = s.env.OpenPool(ctx)
		return err
	}, func(error) error { return closePool(s.stopping, s.pool) }), nil
}

// initServers makes the servers when the pool is there.
func (s *dskitService) initServers() (services.Service, error) {
	died := make(chan error, 2)
	return services.NewBasicService(func(context.Context) error {
		s.web, s.sockets = s.env.NewWeb(s.pool, s.telemetry, s.ready)
		s.rpc = s.env.NewRPC(s.pool, s.telemetry)
		webListener, err := s.env.Listen("http")
		if err != nil {
			return err
		}
		var rpcListener net.Listener
		if rpcListener, err = s.env.Listen("grpc"); err != nil {
			return errors.Join(err, webListener.Close())
		}
		go func() { died <- serveWeb(s.web, webListener) }()
		go func() { died <- s.rpc.Serve(rpcListener) }()
		return nil
	}, func(ctx context.Context) error {
		select {
		case err := <-died:
			return err
		case <-ctx.Done():
			return nil
		}
	}, func(error) error {
		return both(
			func() error { return stopWeb(s.stopping, s.web, s.sockets) },
			func() error { return stopRPC(s.stopping, s.rpc) },
		)
	}), nil
}

func (s *dskitService) initReady() (services.Service, error) {
	return services.NewIdleService(
		func(context.Context) error { s.ready.Set(true); return nil },
		func(error) error { drain(s.stopping, s.ready); return nil },
	), nil
}

// dskitStop is what a signals.Handler calls.
type dskitStop func()

func (s dskitStop) Stop() error { s(); return nil }

func serveDskit(env *Env, logger log.Logger) error {
	running, stopped := context.WithCancel(context.Background())
	defer stopped()
	s := &dskitService{env: env, stopping: untilAfter(running, Deadline), ready: &Ready{}}
	all := modules.NewManager(logger)
	all.RegisterModule("telemetry", s.initTelemetry)
	all.RegisterModule("pool", s.initPool)
	all.RegisterModule("servers", s.initServers)
	all.RegisterModule("ready", s.initReady)
	err := errors.Join(
		all.AddDependency("pool", "telemetry"),
		all.AddDependency("servers", "pool"),
		all.AddDependency("ready", "servers"),
	)
	if err != nil {
		return err
	}
	byName, err := all.InitModuleServices("ready")
	if err != nil {
		return err
	}
	var list []services.Service
	for _, service := range byName {
		list = append(list, service)
	}
	manager, err := services.NewManager(list...)
	if err != nil {
		return err
	}
	stop := sync.OnceFunc(func() { stopped(); manager.StopAsync() })
	manager.AddListener(services.NewManagerListener(nil, nil, func(services.Service) { stop() }))
	go signals.SignalHandlerLoop(logger, dskitStop(stop))
	if err := manager.StartAsync(context.Background()); err != nil {
		return err
	}
	<-running.Done()
	err = manager.AwaitStopped(s.stopping)
	for _, failed := range manager.ServicesByState()[services.Failed] {
		err = errors.Join(err, failed.FailureCase())
	}
	if err != nil {
		return fmt.Errorf("stopped: %w", err)
	}
	return nil
}
