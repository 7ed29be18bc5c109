// Command worker takes jobs from a NATS JetStream stream, 16 at a time, and
// publishes their results. However it ends, no job is lost and no result is doubled.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmhttp"
)

func main() {
	url := flag.String("nats", "", "URL of the NATS server; without one a server of its own, with jobs to try it")
	admin := flag.String("admin", "127.0.0.1:8082", "address for /readyz and /done")
	alarm := flag.Duration("alarm", fsm.DefaultAlarm, "how long a shutdown may take")
	flag.Parse()
	os.Exit(fsm.Main(fsm.Config{Alarm: *alarm}, func(ctx context.Context, o *fsm.Orchestrator) error {
		if *url != "" {
			return start(ctx, o, *url, *admin)
		}
		return try(ctx, o, *admin)
	}))
}

func start(ctx context.Context, o *fsm.Orchestrator, url, admin string) error {
	conn, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	results := &producer{conn, js}
	if err := o.Register("producer", results); err != nil {
		return err
	}
	if err := o.Go("ticker", results.tick, fsm.Before("producer")); err != nil {
		return err
	}
	if err := createStreams(ctx, js); err != nil {
		return err
	}
	jobs, err := consume(ctx, js, results)
	if err != nil {
		return err
	}
	if err := o.Register("consumer", fsm.Serve(jobs.Run, jobs), fsm.Before("producer")); err != nil {
		return err
	}
	l, err := net.Listen("tcp", admin)
	if err != nil {
		return err
	}
	slog.Info("listening", "admin", l.Addr().String())
	return o.Register("admin", fsmhttp.Serve(adminServer(o, jobs), l), fsm.Last())
}

func createStreams(ctx context.Context, js jetstream.JetStream) error {
	for name, subject := range map[string]string{"JOBS": "jobs.>", "RESULTS": "results.>"} {
		config := jetstream.StreamConfig{Name: name, Subjects: []string{subject}}
		if _, err := js.CreateOrUpdateStream(ctx, config); err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

func adminServer(o *fsm.Orchestrator, jobs *consumer) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /readyz", fsmhttp.Readiness(o))
	mux.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, jobs.done.Load()) })
	return &http.Server{Handler: mux}
}

// try is start with a server in this process, which goes after everything that needs it.
func try(ctx context.Context, o *fsm.Orchestrator, admin string) error {
	dir, err := os.MkdirTemp("", "worker-")
	if err != nil {
		return err
	}
	server, err := embedded(dir)
	if err != nil {
		return err
	}
	stop := fsm.Func(func(context.Context) error { server.Shutdown(); return os.RemoveAll(dir) })
	if err := o.Register("nats", stop, fsm.Last()); err != nil {
		return err
	}
	if err := start(ctx, o, server.ClientURL(), admin); err != nil {
		return err
	}
	conn, err := nats.Connect(server.ClientURL())
	if err != nil {
		return err
	}
	defer conn.Close()
	for i := range 1000 {
		if err := conn.Publish(fmt.Sprintf("jobs.%d", i), []byte("50ms")); err != nil {
			return err
		}
	}
	return conn.Flush()
}
