package peers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/thejerf/suture/v4"
)

// service is a function as suture's Service, under a name.
type service struct {
	name  string
	serve func(ctx context.Context) error
}

func (s service) Serve(ctx context.Context) error { return s.serve(ctx) }
func (s service) String() string                  { return s.name }

func startSuture(units []Unit, deadline time.Duration) (func() error, error) {
	supervisor := suture.New("units", suture.Spec{Timeout: deadline, EventHook: func(suture.Event) {}})
	for _, u := range units {
		supervisor.Add(service{u.ID, func(ctx context.Context) error { return stopAfter(ctx, deadline, u.Stop) }})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := supervisor.ServeBackground(ctx)
	return func() error {
		cancel()
		err := <-ended
		if left, _ := supervisor.UnstoppedServiceReport(); len(left) > 0 {
			return fmt.Errorf("not stopped: %v", left)
		}
		if !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}, nil
}

func mainSuture(parts *Parts) int {
	supervisor := suture.New("program", suture.Spec{Timeout: Deadline})
	for _, c := range parts.All() {
		supervisor.Add(service{c.Name(), func(ctx context.Context) error {
			if err := c.Start(ctx); err != nil {
				return fmt.Errorf("%w: %w", suture.ErrTerminateSupervisorTree, err)
			}
			died := make(chan error, 1)
			go func() { died <- c.Run() }()
			select {
			case err := <-died:
				return err // and it is started again
			case <-ctx.Done():
				return stopAfter(ctx, own, c.Shutdown)
			}
		}})
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := supervisor.Serve(ctx)
	left, _ := supervisor.UnstoppedServiceReport()
	slog.Info("the supervisor ended", "error", err, "left", fmt.Sprint(left))
	if len(left) > 0 || !errors.Is(err, context.Canceled) {
		return 1
	}
	return 0
}
