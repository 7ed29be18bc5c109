// Command errgroup is the service as it is with signal.NotifyContext and errgroup
// (-step 0), and what becomes of it on the way to fsm. The last step is the service.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/farewell-node/farewell/docs/recipes/shop"
	"github.com/farewell-node/farewell/fsm"
)

func main() {
	step := flag.Int("step", 0, "0 as it is, 1 fsm.Main around it, 2 what is shared has a name of its own")
	config := shop.Flags()
	switch *step {
	case 0:
		os.Exit(asItIs(config))
	case 1:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(_ context.Context, o *fsm.Orchestrator) error {
			return o.Go("service", func(ctx context.Context) error { return run(ctx, config) })
		}))
	default:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
			return start(ctx, o, config)
		}))
	}
}

func asItIs(config *shop.Config) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, config); err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

// run is as it is in steps 0 and 1.
func run(ctx context.Context, config *shop.Config) error {
	telemetry, err := shop.NewTelemetry(ctx, config.Collector)
	if err != nil {
		return err
	}
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.Alarm)
		defer cancel()
		if err := telemetry.Shutdown(flush); err != nil {
			slog.Error("telemetry", "error", err)
		}
	}()
	store, err := shop.OpenStore(ctx, config.Database)
	if err != nil {
		return err
	}
	defer store.Close()
	return serve(ctx, config, store)
}

// serve is as it is in all steps but the last.
func serve(ctx context.Context, config *shop.Config, store *shop.Store) error {
	group, ctx := errgroup.WithContext(ctx)
	for name, server := range map[string]*http.Server{
		"admin": shop.NewAdmin(readiness(ctx)),
		"web":   shop.NewWeb(store, ctx.Done()),
	} {
		address := config.Web
		if name == "admin" {
			address = config.Admin
		}
		l, err := shop.Listen(name, address)
		if err != nil {
			return err
		}
		group.Go(func() error { return serveHTTP(server, l) })
		group.Go(func() error {
			<-ctx.Done()
			time.Sleep(config.Drain)
			shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.Alarm)
			defer cancel()
			return server.Shutdown(shut)
		})
	}
	l, err := shop.Listen("rpc", config.RPC)
	if err != nil {
		return err
	}
	rpc, health := shop.NewRPC(store, ctx.Done())
	group.Go(func() error { return rpc.Serve(l) })
	group.Go(func() error {
		<-ctx.Done()
		health.Shutdown()
		time.Sleep(config.Drain)
		rpc.GracefulStop()
		return nil
	})
	return group.Wait()
}

func serveHTTP(server *http.Server, l net.Listener) error {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func readiness(ctx context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if ctx.Err() != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// start is step 2: what was deferred are components, and the group is one that is
// done before them.
func start(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) error {
	telemetry, err := shop.NewTelemetry(ctx, config.Collector)
	if err != nil {
		return err
	}
	if err := o.Register("telemetry", telemetry, fsm.Last(), fsm.BestEffort()); err != nil {
		return err
	}
	store, err := shop.OpenStore(ctx, config.Database)
	if err != nil {
		return err
	}
	if err := o.Register("store", fsm.Closer(store)); err != nil {
		return err
	}
	return o.Go("servers", func(ctx context.Context) error { return serve(ctx, config, store) }, fsm.Before("store"))
}
