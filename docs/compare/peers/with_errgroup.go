package peers

import (
	"context"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// startErrgroup: each unit waits in the group for the ctx to end, and then stops
// with a deadline of its own.
func startErrgroup(units []Unit, deadline time.Duration) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	group, ctx := errgroup.WithContext(ctx)
	for _, u := range units {
		group.Go(func() error { return stopAfter(ctx, deadline, u.Stop) })
	}
	return func() error { cancel(); return group.Wait() }, nil
}

// stopAfter waits for ctx to end and then calls stop with a ctx that lives on for
// the deadline.
func stopAfter(ctx context.Context, deadline time.Duration, stop func(context.Context) error) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	return stop(ctx)
}

func mainErrgroup(parts *Parts) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range parts.All() {
		group.Go(func() error {
			if err := c.Start(ctx); err != nil {
				return err
			}
			return c.Run()
		})
		group.Go(func() error { return stopAfter(ctx, own, c.Shutdown) })
	}
	err := group.Wait()
	slog.Info("the group ended", "error", err)
	if err != nil {
		return 1
	}
	return 0
}
