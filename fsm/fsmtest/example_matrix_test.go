package fsmtest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmtest"
)

// A program's own components in every combination of what they might do, with
// an invariant of the program's own: the database is told last.
func ExampleMatrix() {
	var t *testing.T // the test's

	fsmtest.Matrix{
		Setup: func(r fsmtest.Registrar) error {
			return errors.Join(
				r.Register("db", nil),
				r.Register("http", nil, fsm.Before("db")),
			)
		},
		Invariants: []func(fsmtest.Case) error{func(c fsmtest.Case) error {
			for _, e := range c.Report.Events {
				if e.Kind == fsm.Started && e.From == "db" {
					return nil
				}
			}
			return fmt.Errorf("nobody told the database")
		}},
	}.Test(t)
}
