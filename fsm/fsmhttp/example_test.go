package fsmhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

// A service: it answers until those who route requests have noticed that it is
// leaving, and its database is closed when the last answer has been given.
func Example() {
	config := fsm.Config{
		Alarm:  25 * time.Second,
		Logger: slog.New(slog.DiscardHandler), // a program logs what happens
	}
	code := fsm.Main(config, func(_ context.Context, o *fsm.Orchestrator) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle("/ready", fsmhttp.Readiness(o))
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") })
		return errors.Join(
			o.Register("db", fsm.Func(func(context.Context) error { fmt.Println("the database closes"); return nil })),
			o.Register("http", fsmhttp.Serve(&http.Server{Handler: mux}, l), fsm.Before("db")),
			fsmhttp.Drain(o, "drain", 100*time.Millisecond),
			o.Go("visitor", func(ctx context.Context) error { return visit(ctx, o, "http://"+l.Addr().String()) }, fsm.Before("http")),
		)
	})
	fmt.Println("exit code", code)
	// Output:
	// / 200
	// a shutdown begins
	// /ready 503
	// / 200
	// the database closes
	// exit code 0
}

// visit stands for the world outside.
func visit(ctx context.Context, o *fsm.Orchestrator, url string) error {
	ask := func(path string) {
		resp, err := http.Get(url + path)
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Println(path, resp.StatusCode)
	}
	ask("/")
	fmt.Println("a shutdown begins")
	o.Request(fsm.Command{Reason: "deploy 42"})
	ask("/ready")
	ask("/")
	<-ctx.Done()
	return nil
}
