// Command oklogrun is the service as it is with oklog/run (-step 0), and what
// becomes of it on the way to fsm. The last step is the service.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/run"

	"github.com/farewell-node/farewell/docs/recipes/shop"
	"github.com/farewell-node/farewell/fsm"
)

func main() {
	step := flag.Int("step", 0, "0 as it is, 1 fsm.Main around it, 2 each actor is a component")
	config := shop.Flags()
	switch *step {
	case 0:
		os.Exit(asItIs(config))
	case 1:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
			return around(ctx, o, config)
		}))
	default:
		os.Exit(fsm.Main(fsm.Config{Alarm: config.Alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
			return start(ctx, o, config)
		}))
	}
}

func asItIs(config *shop.Config) (code int) {
	ctx := context.Background()
	s, err := open(ctx, config)
	if err != nil {
		slog.Error("service", "error", err)
		return 1
	}
	defer s.close(ctx, config)
	var group run.Group
	for _, a := range s.actors {
		group.Add(a.execute, a.interrupt)
	}
	group.Add(run.SignalHandler(ctx, os.Interrupt, syscall.SIGTERM))
	if err := group.Run(); !errors.As(err, new(*run.SignalError)) {
		slog.Error("service", "error", err)
		return 1
	}
	return 0
}

// around is step 1: a ctx takes the place of the signals, and all else is as it is.
func around(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) error {
	s, err := open(ctx, config)
	if err != nil {
		return err
	}
	return o.Go("service", func(ctx context.Context) error {
		defer s.close(context.WithoutCancel(ctx), config)
		var group run.Group
		for _, a := range s.actors {
			group.Add(a.execute, a.interrupt)
		}
		stopped, stop := context.WithCancel(ctx)
		group.Add(func() error { <-stopped.Done(); return nil }, func(error) { stop() })
		return group.Run()
	})
}

// start is step 2: g.Add(execute, interrupt) becomes fsm.Serve(execute, interrupt),
// one to one, and says before whom it is done.
func start(ctx context.Context, o *fsm.Orchestrator, config *shop.Config) error {
	s, err := open(ctx, config)
	if err != nil {
		return err
	}
	if err := o.Register("telemetry", s.telemetry, fsm.Last(), fsm.BestEffort()); err != nil {
		return err
	}
	if err := o.Register("store", fsm.Closer(s.store)); err != nil {
		return err
	}
	for _, a := range s.actors {
		interrupt := fsm.Func(func(context.Context) error { a.interrupt(nil); return nil })
		if err := o.Register(fsm.ID(a.name), fsm.Serve(a.execute, interrupt), fsm.Before("store")); err != nil {
			return err
		}
	}
	return nil
}

type actor struct {
	name      string
	execute   func() error
	interrupt func(error)
}

type service struct {
	telemetry *shop.Telemetry
	store     *shop.Store
	leaving   chan struct{}
	drained   sync.Once
	actors    []actor
}

// open is as it is in all steps but the last.
func open(ctx context.Context, config *shop.Config) (*service, error) {
	s := &service{leaving: make(chan struct{})}
	var err error
	if s.telemetry, err = shop.NewTelemetry(ctx, config.Collector); err != nil {
		return nil, err
	}
	if s.store, err = shop.OpenStore(ctx, config.Database); err != nil {
		return nil, err
	}
	if err := s.addHTTP("admin", config.Admin, config, shop.NewAdmin(http.HandlerFunc(s.ready))); err != nil {
		return nil, err
	}
	if err := s.addHTTP("web", config.Web, config, shop.NewWeb(s.store, s.leaving)); err != nil {
		return nil, err
	}
	l, err := shop.Listen("rpc", config.RPC)
	if err != nil {
		return nil, err
	}
	rpc, health := shop.NewRPC(s.store, s.leaving)
	s.actors = append(s.actors, actor{"rpc", func() error { return rpc.Serve(l) }, func(error) {
		health.Shutdown()
		s.drain(config)
		rpc.GracefulStop()
	}})
	return s, nil
}

func (s *service) addHTTP(name, address string, config *shop.Config, server *http.Server) error {
	l, err := shop.Listen(name, address)
	if err != nil {
		return err
	}
	s.actors = append(s.actors, actor{name, func() error { return server.Serve(l) }, func(error) {
		s.drain(config)
		ctx, cancel := context.WithTimeout(context.Background(), config.Alarm)
		defer cancel()
		_ = server.Shutdown(ctx)
	}})
	return nil
}

// drain is done by whoever is interrupted first.
func (s *service) drain(config *shop.Config) {
	s.drained.Do(func() {
		close(s.leaving)
		time.Sleep(config.Drain)
	})
}

func (s *service) ready(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-s.leaving:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
	}
}

func (s *service) close(ctx context.Context, config *shop.Config) {
	_ = s.store.Close()
	flush, cancel := context.WithTimeout(ctx, config.Alarm)
	defer cancel()
	if err := s.telemetry.Shutdown(flush); err != nil {
		slog.Error("telemetry", "error", err)
	}
}
