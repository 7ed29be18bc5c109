package fsmtest_test

import (
	"fmt"

	"github.com/farewell-node/farewell/fsm/fsmtest"
)

// A machine of one's own, compared with its drawing. In a test one calls
// diagram.Test(t, …) instead, which fails it and logs the coverage.
func ExampleDiagram_Drive() {
	diagram, err := fsmtest.Parse(`stateDiagram-v2
    [*] --> Closed
    Closed --> Open: Push
    Open --> Closed: Pull
    Closed --> Locked: Turn
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	coverage, err := diagram.Drive(func() fsmtest.Machine { return &door{state: "Closed"} }, "Kick")
	fmt.Println(coverage)
	fmt.Println(err)
	// Output:
	// 3 of 3 states, 3 of 3 edges, 8 undrawn pairs refused, 3 simple paths
	// fsmtest: after Closed --Turn--> Locked: undrawn transition Locked --Kick--> Open
}

type door struct{ state string }

func (d *door) State() string { return d.state }

func (d *door) Fire(event string) error {
	switch d.state + event {
	case "ClosedPush", "LockedKick":
		d.state = "Open"
	case "OpenPull":
		d.state = "Closed"
	case "ClosedTurn":
		d.state = "Locked"
	default:
		return fmt.Errorf("no %s when %s", event, d.state)
	}
	return nil
}
