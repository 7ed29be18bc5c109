// Package choosing has the programs of docs/choosing.md, which shows them.
package choosing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/thejerf/suture/v4"
	"go.uber.org/fx"

	"github.com/farewell-node/farewell/fsm"
)

// A single http.Server and nothing else.
func serveAlone(server *http.Server, l net.Listener) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	died := make(chan error, 1)
	go func() { died <- server.Serve(l) }()
	select {
	case err := <-died:
		return err
	case <-ctx.Done():
		stop() // a second signal ends the process
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func TestServeAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	handler := func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(w, "done")
	}
	answered := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + l.Addr().String())
		if err == nil {
			_ = response.Body.Close()
		}
		answered <- err
	}()
	go func() {
		<-entered
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	if err := serveAlone(&http.Server{Handler: http.HandlerFunc(handler)}, l); err != nil {
		t.Error(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
}

// pool is a thing that fx constructs.
type pool struct{}

func newPool(lc fx.Lifecycle) *pool {
	lc.Append(fx.StopHook(func() { fmt.Println("fx: the pool is closed") }))
	return &pool{}
}

// fx makes the things, and is one component among others: its hooks are run in its
// order, within the one deadline.
func Example_fxAsComponent() {
	app := fx.New(fx.NopLogger, fx.Provide(newPool), fx.Invoke(func(*pool) {}))
	start := func(ctx context.Context, o *fsm.Orchestrator) error {
		if err := app.Start(ctx); err != nil {
			return err
		}
		server := fsm.Func(func(context.Context) error { fmt.Println("the server has drained"); return nil })
		defer o.Request(fsm.Command{Reason: "the example is over"})
		return errors.Join(
			o.Register("fx", fsm.Func(app.Stop)),
			o.Register("server", server, fsm.Before("fx")),
		)
	}
	fmt.Println("exit code", fsm.Main(fsm.Config{Logger: slog.New(slog.DiscardHandler)}, start))
	// Output:
	// the server has drained
	// fx: the pool is closed
	// exit code 0
}

// The other way round: fx owns the process, and what has an order of its own, or may
// hang, is stopped by an orchestrator in one hook.
func Example_orchestratorInFx() {
	newOrchestrator := func(lc fx.Lifecycle) (*fsm.Orchestrator, error) {
		o, err := fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		lc.Append(fx.StopHook(func(ctx context.Context) error {
			report, err := o.Shutdown(ctx, fsm.Command{Reason: "fx stops"})
			return errors.Join(err, report.Err())
		}))
		return o, nil
	}
	app := fx.New(fx.NopLogger, fx.Provide(newOrchestrator), fx.Invoke(func(o *fsm.Orchestrator) error {
		said := func(text string) fsm.Component {
			return fsm.Func(func(context.Context) error { fmt.Println(text); return nil })
		}
		return errors.Join(
			o.Register("db", said("the database is closed")),
			o.Register("http", said("http has drained"), fsm.Before("db")),
		)
	}))
	ctx := context.Background()
	fmt.Println(app.Start(ctx), app.Stop(ctx))
	// Output:
	// http has drained
	// the database is closed
	// <nil> <nil>
}

// consumer fails the first time, and is ready the second.
type consumer struct {
	runs  int
	ready func()
}

func (c *consumer) Serve(ctx context.Context) error {
	if c.runs++; c.runs == 1 {
		return errors.New("connection reset")
	}
	fmt.Println("the consumer is running again")
	c.ready()
	<-ctx.Done()
	fmt.Println("the consumer has finished")
	return nil
}

// suture restarts what dies; the orchestrator ends the supervisor when its turn
// comes, before the database that its services need.
func Example_sutureAsComponent() {
	start := func(_ context.Context, o *fsm.Orchestrator) error {
		supervisor := suture.New("consumers", suture.Spec{EventHook: func(event suture.Event) {
			fmt.Println("suture tells of it:", event.Type() == suture.EventTypeServiceTerminate)
		}})
		supervisor.Add(&consumer{ready: func() { o.Request(fsm.Command{Reason: "the example is over"}) }})
		return errors.Join(
			o.Register("db", fsm.Func(func(context.Context) error { fmt.Println("the database is closed"); return nil })),
			o.Go("consumers", supervisor.Serve, fsm.Before("db")),
		)
	}
	fmt.Println("exit code", fsm.Main(fsm.Config{Logger: slog.New(slog.DiscardHandler)}, start))
	// Unordered output:
	// suture tells of it: true
	// the consumer is running again
	// the consumer has finished
	// the database is closed
	// exit code 0
}

// shown are what docs/choosing.md shows: the body of each.
var shown = []string{"func serveAlone(", "func Example_fxAsComponent(", "func Example_orchestratorInFx(", "func Example_sutureAsComponent("}

func TestChoosingShowsTheExamples(t *testing.T) {
	source, page := read(t, "choosing_test.go"), read(t, "../../choosing.md")
	for _, name := range shown {
		_, body, found := strings.Cut(source, "\n"+name)
		_, body, _ = strings.Cut(body, "{\n")
		body, _, _ = strings.Cut(body, "\n}\n")
		body, _, _ = strings.Cut(body, "\t// Output:")
		body, _, _ = strings.Cut(body, "\t// Unordered output:")
		body = strings.TrimSpace(strings.ReplaceAll("\n"+body, "\n\t", "\n"))
		if !found || !strings.Contains(page, "```go\n"+body+"\n```") {
			t.Errorf("docs/choosing.md does not show %s\n%s", name, body)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
