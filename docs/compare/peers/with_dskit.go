package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/grafana/dskit/modules"
	"github.com/grafana/dskit/services"
	"github.com/grafana/dskit/signals"
)

// startDskit has units that know no order managed without modules.
func startDskit(units []Unit, deadline time.Duration) (func() error, error) {
	var list []services.Service
	byName := map[string]services.Service{}
	ordered := false
	for _, u := range units {
		byName[u.ID] = unitService(u, deadline)
		list = append(list, byName[u.ID])
		ordered = ordered || len(u.After) > 0
	}
	manager, err := services.NewManager(list...)
	p := &program{manager, byName}
	if ordered {
		p, err = orderedUnits(units, deadline)
	}
	if err != nil {
		return nil, err
	}
	if err := services.StartManagerAndAwaitHealthy(context.Background(), p.Manager); err != nil {
		return nil, err
	}
	return func() error { return p.stop(deadline) }, nil
}

func unitService(u Unit, deadline time.Duration) services.Service {
	return services.NewIdleService(nil, func(error) error { return stopNow(deadline, u.Stop) })
}

func orderedUnits(units []Unit, deadline time.Duration) (*program, error) {
	all := modules.NewManager(log.NewNopLogger())
	var names []string
	for _, u := range units {
		names = append(names, u.ID)
		all.RegisterModule(u.ID, func() (services.Service, error) { return unitService(u, deadline), nil })
	}
	for _, u := range units {
		for _, before := range u.After {
			if err := all.AddDependency(before, u.ID); err != nil {
				return nil, err
			}
		}
	}
	return assemble(all, names)
}

// program is a manager of modules, and what they are called.
type program struct {
	*services.Manager
	byName map[string]services.Service
}

func assemble(all *modules.Manager, names []string) (*program, error) {
	byName, err := all.InitModuleServices(names...)
	if err != nil {
		return nil, err
	}
	var list []services.Service
	for _, name := range names {
		list = append(list, byName[name])
	}
	manager, err := services.NewManager(list...)
	return &program{manager, byName}, err
}

func stopNow(deadline time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return stop(ctx)
}

// stop waits no longer than the deadline, which the manager leaves to its user,
// and returns the failures and who has not stopped.
func (p *program) stop(deadline time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	failures := []error{services.StopManagerAndAwaitStopped(ctx, p.Manager)}
	for name, service := range p.byName {
		switch state := service.State(); state {
		case services.Terminated:
		case services.Failed:
			failures = append(failures, service.FailureCase())
		default:
			failures = append(failures, fmt.Errorf("%s is %s", name, state))
		}
	}
	return errors.Join(failures...)
}

// receiver makes a function what signals.Handler calls.
type receiver func()

func (r receiver) Stop() error { r(); return nil }

func mainDskit(parts *Parts) int {
	logger := log.NewLogfmtLogger(log.NewSyncWriter(os.Stderr))
	all := modules.NewManager(logger)
	for _, c := range parts.All() {
		all.RegisterModule(c.Name(), func() (services.Service, error) {
			died := make(chan error, 1)
			return services.NewBasicService(func(ctx context.Context) error {
				err := c.Start(ctx)
				if err == nil {
					go func() { died <- c.Run() }()
				}
				return err
			}, func(ctx context.Context) error {
				select {
				case err := <-died:
					return err
				case <-ctx.Done():
					return nil
				}
			}, func(error) error { return stopNow(own, c.Shutdown) }), nil
		})
	}
	for _, name := range Names {
		if err := all.AddDependency(name, needs[name]...); err != nil {
			return 1
		}
	}
	manager, err := assemble(all, Names)
	if err != nil {
		return 1
	}
	stopping := make(chan struct{})
	stop := sync.OnceFunc(func() { close(stopping); manager.StopAsync() })
	manager.AddListener(services.NewManagerListener(nil, nil, func(services.Service) { stop() }))
	go signals.SignalHandlerLoop(logger, receiver(stop))
	if err := manager.StartAsync(context.Background()); err != nil {
		return 1
	}
	<-stopping
	err = manager.stop(Deadline)
	level.Info(logger).Log("msg", "the manager stopped", "error", err)
	if err != nil {
		return 1
	}
	return 0
}
