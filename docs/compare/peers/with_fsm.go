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
	return fsm.Main(fsm.Config{Alarm: Deadline}, func(ctx context.Context, o *fsm.Orchestrator) error {
		for _, c := range parts.All() {
			if err := c.Start(ctx); err != nil {
				return err
			}
			needed := fsm.Before(ids(needs[c.Name()])...)
			if err := o.Register(fsm.ID(c.Name()), fsm.Serve(c.Run, c), needed); err != nil {
				return err
			}
		}
		return nil
	})
}
