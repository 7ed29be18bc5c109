package fsm_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// The shortest use there is; README.md shows it.
func ExampleOrchestrator() {
	db, server := openDatabase(), &http.Server{}
	o, err := fsm.New(fsm.Config{Alarm: 10 * time.Second})
	check(err)
	check(o.Register("db", fsm.Closer(db)))
	check(o.Register("http", server, fsm.Before("db"))) // http is done before db begins
	defer o.HandleSignals()()                           // the first signal asks, the second forces

	o.Request(fsm.Command{Reason: "the example is over"}) // or a signal does
	report, err := o.Wait(context.Background())
	check(err)
	fmt.Println(report.Edge.On, report.ExitCode()) // os.Exit(report.ExitCode()), in main
	// Output:
	// AllAcked 0
}
