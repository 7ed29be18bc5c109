package peers

import (
	"context"
	"errors"
	"log/slog"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/samber/do/v2"
)

// stoppable is a unit as do shuts it down.
type stoppable struct{ Unit }

func (s *stoppable) Shutdown(ctx context.Context) error { return s.Stop(ctx) }

// startDo: who is to be done first needs the other, and gets it injected.
func startDo(units []Unit, deadline time.Duration) (func() error, error) {
	injector := do.New()
	needed := map[string][]string{}
	for _, u := range units {
		for _, before := range u.After {
			needed[before] = append(needed[before], u.ID)
		}
	}
	for _, u := range slices.Backward(units) {
		do.ProvideNamed(injector, u.ID, func(i do.Injector) (*stoppable, error) {
			for _, other := range needed[u.ID] {
				if _, err := do.InvokeNamed[*stoppable](i, other); err != nil {
					return nil, err
				}
			}
			return &stoppable{u}, nil
		})
	}
	for _, u := range units {
		if _, err := do.InvokeNamed[*stoppable](injector, u.ID); err != nil {
			return nil, err
		}
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		return doErr(injector.ShutdownWithContext(ctx))
	}, nil
}

func doErr(report *do.ShutdownReport) error {
	if report.Succeed {
		return nil
	}
	return errors.New(report.Error())
}

func mainDo(parts *Parts) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	died := make(chan error, len(Names))
	injector := do.New()
	do.Provide(injector, func(do.Injector) (*Telemetry, error) { return launched(ctx, died, parts.Telemetry) })
	do.Provide(injector, func(i do.Injector) (*Cache, error) {
		do.MustInvoke[*Telemetry](i)
		return launched(ctx, died, parts.Cache)
	})
	do.Provide(injector, func(i do.Injector) (*Database, error) {
		do.MustInvoke[*Telemetry](i)
		return launched(ctx, died, parts.Database)
	})
	do.Provide(injector, func(i do.Injector) (*Worker, error) {
		do.MustInvoke[*Database](i)
		return launched(ctx, died, parts.Worker)
	})
	do.Provide(injector, func(i do.Injector) (*Web, error) {
		do.MustInvoke[*Cache](i) // first: it is up when the database is started
		do.MustInvoke[*Database](i)
		return launched(ctx, died, parts.Web)
	})
	_, err := do.Invoke[*Web](injector)
	if err == nil {
		_, err = do.Invoke[*Worker](injector)
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-died:
		}
	}
	stopping, cancel := context.WithTimeout(context.Background(), Deadline)
	defer cancel()
	err = errors.Join(err, doErr(injector.ShutdownWithContext(stopping)))
	slog.Info("the injector is shut down", "error", err)
	if err != nil {
		return 1
	}
	return 0
}

// launched starts a component and lets it run.
func launched[C Component](ctx context.Context, died chan<- error, c C) (C, error) {
	if err := c.Start(ctx); err != nil {
		return c, err
	}
	go func() {
		if err := c.Run(); err != nil {
			died <- err
		}
	}()
	return c, nil
}
