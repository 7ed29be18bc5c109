package peers

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/oklog/run"
)

// startRun: each unit is an actor that serves until it is interrupted; the
// interrupt shuts it down, with a deadline of its own, as for an http.Server.
func startRun(units []Unit, deadline time.Duration) (func() error, error) {
	var group run.Group
	stop := make(chan struct{})
	group.Add(func() error { <-stop; return nil }, func(error) {})
	for _, u := range units {
		stopped := make(chan error, 1)
		group.Add(func() error { return <-stopped }, func(error) {
			ctx, cancel := context.WithTimeout(context.Background(), deadline)
			go func() { defer cancel(); stopped <- u.Stop(ctx) }()
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- group.Run() }()
	return func() error { close(stop); return <-ended }, nil
}

func mainRun(parts *Parts) int {
	var group run.Group
	group.Add(run.SignalHandler(context.Background(), syscall.SIGINT, syscall.SIGTERM))
	for _, c := range parts.All() {
		ctx, cancel := context.WithCancel(context.Background())
		group.Add(func() error {
			if err := c.Start(ctx); err != nil {
				return err
			}
			return c.Run()
		}, func(error) {
			cancel()
			ctx, cancel := context.WithTimeout(context.Background(), own)
			defer cancel()
			if err := c.Shutdown(ctx); err != nil {
				slog.Error("shutdown", "error", err)
			}
		})
	}
	err := group.Run()
	slog.Info("the group ended", "error", err)
	if errors.Is(err, run.ErrSignal) {
		return 0
	}
	return 1
}
