package peers

import (
	"context"
	"log/slog"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func startFSM(units []Unit, deadline time.Duration) (func() error, error) {
	o, err := fsm.New(fsm.Config{Alarm: deadline, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		if err := o.Register(fsm.ID(u.ID), fsm.Func(u.Stop), fsm.After(ids(u.After)...)); err != nil {
			return nil, err
		}
	}
	return func() error {
		report, err := o.Shutdown(context.Background(), fsm.Command{Reason: "the measurement is over"})
		if err != nil {
			return err
		}
		return report.Err()
	}, nil
}

func ids(names []string) []fsm.ID {
	all := make([]fsm.ID, len(names))
	for i, name := range names {
		all[i] = fsm.ID(name)
	}
	return all
}

func mainFSM(parts *Parts) int {
	o, err := fsm.New(fsm.Config{Alarm: Deadline})
	if err != nil {
		slog.Error("not started", "error", err)
		return 1
	}
	defer o.HandleSignals()()
	go o.LogEvents(context.Background(), nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for range o.Events(context.Background()) {
			cancel() // the first event is the request
		}
	}()
	for _, c := range parts.All() {
		if err := c.Start(ctx); err != nil {
			o.Request(fsm.Command{Reason: "start-up failed", Err: err})
			break
		}
		if err := o.Register(fsm.ID(c.Name()), c, fsm.Before(ids(needs[c.Name()])...)); err != nil {
			break
		}
		go func() {
			if err := c.Run(); err != nil {
				o.Request(fsm.Command{Reason: "died", By: c.Name(), Err: err})
			}
		}()
	}
	report, _ := o.Wait(context.Background())
	slog.Info(report.String())
	return report.ExitCode()
}
