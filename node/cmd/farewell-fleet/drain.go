package main

import (
	"context"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// drain says that a group leaves a few at a time, and who has it do so.
type drain struct {
	Group string `json:"group"`
	By    string `json:"by"`
	State string `json:"state"` // for people: since when, how far it is
}

// drainsOf returns the drains that go on, or were interrupted, in a group or in all of them.
func drainsOf(context.Context, *nats.Conn, string) ([]drain, error) {
	return []drain{}, nil
}

func printDrains(page *cli.Page, drains []drain) error {
	rows := [][]string{{"LEAVING", "BY", "STATE"}}
	for _, d := range drains {
		rows = append(rows, []string{d.Group, d.By, d.State})
	}
	return cli.Section(page, rows)
}
