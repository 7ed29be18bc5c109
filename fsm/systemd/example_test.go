package systemd_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/systemd"
)

func Example() {
	alarm, err := systemd.Alarm(context.Background())
	if err != nil {
		slog.Info("the usual alarm", "error", err)
	}
	var told sync.WaitGroup
	code := fsm.Main(fsm.Config{Alarm: alarm, Logger: slog.New(slog.DiscardHandler)},
		func(_ context.Context, o *fsm.Orchestrator) error {
			n := systemd.New(o, systemd.Config{})
			told.Go(func() { n.Follow(context.Background()) })
			server := &http.Server{Addr: "127.0.0.1:0"}
			if err := o.Register("http", fsm.Serve(server.ListenAndServe, server)); err != nil {
				return err
			}
			o.Request(fsm.Command{Reason: "the example is over"}) // or systemctl stop
			return n.Ready("listening on " + server.Addr)
		})
	told.Wait()
	fmt.Println("exit code", code) // os.Exit(code), in main
	// Output: exit code 0
}
