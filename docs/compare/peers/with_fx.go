package peers

import (
	"context"
	"time"

	"go.uber.org/fx"
)

// startFx: hooks are run in the opposite order of their being appended, one after
// the other.
func startFx(units []Unit, deadline time.Duration) (func() error, error) {
	app := fx.New(fx.NopLogger, fx.StopTimeout(deadline), fx.Invoke(func(lc fx.Lifecycle) {
		for i := len(units) - 1; i >= 0; i-- {
			lc.Append(fx.Hook{OnStop: units[i].Stop})
		}
	}))
	if err := app.Start(context.Background()); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), app.StopTimeout())
		defer cancel()
		return app.Stop(ctx)
	}, nil
}

// mainFx: constructors are called in the order in which others ask for what they
// make.
func mainFx(parts *Parts) int {
	app := fx.New(
		fx.Supply(parts),
		fx.Provide(newTelemetry, newCache, newDatabase, newWorker, newWeb),
		fx.Invoke(func(*Web) {}),
		fx.StopTimeout(Deadline),
		fx.RecoverFromPanics(),
	)
	app.Run() // exits by itself if the code is not 0
	return 0
}

func newTelemetry(lc fx.Lifecycle, s fx.Shutdowner, p *Parts) *Telemetry {
	lc.Append(fx.Hook{OnStart: launch(s, p.Telemetry), OnStop: p.Telemetry.Shutdown})
	return p.Telemetry
}

func newCache(lc fx.Lifecycle, s fx.Shutdowner, p *Parts, _ *Telemetry) *Cache {
	lc.Append(fx.Hook{OnStart: launch(s, p.Cache), OnStop: p.Cache.Shutdown})
	return p.Cache
}

func newDatabase(lc fx.Lifecycle, s fx.Shutdowner, p *Parts, _ *Telemetry) *Database {
	lc.Append(fx.Hook{OnStart: launch(s, p.Database), OnStop: p.Database.Shutdown})
	return p.Database
}

func newWorker(lc fx.Lifecycle, s fx.Shutdowner, p *Parts, _ *Database) *Worker {
	lc.Append(fx.Hook{OnStart: launch(s, p.Worker), OnStop: p.Worker.Shutdown})
	return p.Worker
}

func newWeb(lc fx.Lifecycle, s fx.Shutdowner, p *Parts, _ *Cache, _ *Database, _ *Worker) *Web {
	lc.Append(fx.Hook{OnStart: launch(s, p.Web), OnStop: p.Web.Shutdown})
	return p.Web
}

// launch starts a component and lets it run; if it dies, the program ends.
func launch(shutdowner fx.Shutdowner, c Component) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.Start(ctx); err != nil {
			return err
		}
		go func() {
			if err := c.Run(); err != nil {
				_ = shutdowner.Shutdown(fx.ExitCode(1))
			}
		}()
		return nil
	}
}
