//go:build unix

package fsm_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// The first signal asks for a shutdown. A component that would never stop is
// left behind when the second one comes, and the exit code says which it was.
func ExampleOrchestrator_HandleSignals() {
	o, err := fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
	check(err)
	stuck := make(chan struct{})
	defer close(stuck)
	check(o.Register("stuck", fsm.Func(func(context.Context) error {
		time.Sleep(150 * time.Millisecond)               // sooner it would be the same request
		check(syscall.Kill(os.Getpid(), syscall.SIGINT)) // the user presses Ctrl-C again
		<-stuck
		return nil
	})))
	stop := o.HandleSignals()
	defer stop()

	check(syscall.Kill(os.Getpid(), syscall.SIGTERM))
	report, err := o.Wait(context.Background())
	check(err)
	fmt.Println(report.Command.Reason)
	fmt.Println(report.Components[0].ID, report.Components[0].Outcome)
	fmt.Println(report.ExitCode())
	// Output:
	// signal terminated
	// stuck hung
	// 130
}
