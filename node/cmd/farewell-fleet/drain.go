package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// drainsOf returns the drains that go on, or could be taken up, in a group or in all
// of them.
func drainsOf(ctx context.Context, nc *nats.Conn, group string) ([]fleet.Standing, error) {
	drains := []fleet.Standing{}
	all, err := standingsOf(ctx, nc, group)
	for _, s := range all {
		if s.Held || s.Unfinished() {
			drains = append(drains, s)
		}
	}
	return drains, err
}

func standingsOf(ctx context.Context, nc *nats.Conn, group string) ([]fleet.Standing, error) {
	if group == "" {
		return fleet.List(ctx, nc)
	}
	one, err := fleet.Current(ctx, nc, group)
	if errors.Is(err, fleet.ErrNothing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []fleet.Standing{*one}, nil
}

// progressOf says how far a drain is.
func progressOf(s fleet.Standing) string {
	progress := fmt.Sprintf("%d of %d", s.Done, s.Total)
	if s.Failed > 0 {
		progress += fmt.Sprintf(", %d failed", s.Failed)
	}
	switch {
	case s.Held:
		return progress + ", begun " + ago(s.Since)
	case s.Stopped != "":
		return progress + ", stopped: " + s.Stopped
	}
	return progress + ", interrupted"
}

func printDrains(page *cli.Page, drains []fleet.Standing) error {
	rows := [][]string{{"LEAVING", "BY", "DONE"}}
	var unfinished []string
	for _, s := range drains {
		rows = append(rows, []string{s.Group, s.Operator, progressOf(s)})
		if s.Unfinished() {
			unfinished = append(unfinished, s.Group)
		}
	}
	if err := cli.Section(page, rows); err != nil || len(unfinished) == 0 {
		return err
	}
	group := "GROUP"
	if len(unfinished) == 1 {
		group = cli.Plain(unfinished[0])
	}
	_, err := fmt.Fprintf(page, "\nTo go on: farewell fleet shutdown %s --resume\n(and --forgive, where failures have stopped it)\n", group)
	return err
}
