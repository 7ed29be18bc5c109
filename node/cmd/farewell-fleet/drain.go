package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// drain is a group that leaves a few at a time, or was left in the middle of it.
type drain struct {
	Group    string    `json:"group"`
	Operator string    `json:"operator"` // who has it leave, or was the last to
	Held     bool      `json:"held"`     // somebody does so now
	Since    time.Time `json:"since"`    // when that one took it up, by its clock
	Total    int       `json:"total"`
	Done     int       `json:"done"`
	Failed   int       `json:"failed"`  // of those
	Stopped  string    `json:"stopped"` // why it does not go on, if that was said
}

// drainsOf returns the drains that go on, or could be taken up, in a group or in all
// of them.
func drainsOf(context.Context, *nats.Conn, string) ([]drain, error) {
	return []drain{}, nil
}

// state says how far it is.
func (d *drain) state() string {
	progress := fmt.Sprintf("%d of %d", d.Done, d.Total)
	if d.Failed > 0 {
		progress += fmt.Sprintf(", %d failed", d.Failed)
	}
	switch {
	case d.Held:
		return progress + ", since " + ago(d.Since)
	case d.Stopped != "":
		return progress + ", interrupted: " + d.Stopped
	}
	return progress + ", interrupted"
}

func printDrains(page *cli.Page, drains []drain) error {
	rows := [][]string{{"LEAVING", "BY", "DONE"}}
	for _, d := range drains {
		rows = append(rows, []string{d.Group, d.Operator, d.state()})
	}
	return cli.Section(page, rows)
}
