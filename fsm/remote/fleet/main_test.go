package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		child(config)
	}
	goleak.VerifyTestMain(m)
}

const generous = natstest.Generous

// process is an orchestrator that has joined a group.
type process struct {
	*fsm.Orchestrator
	t      testing.TB
	member *remote.Member
}

// join has a process join, with a component that is shut down by stop.
func join(t testing.TB, nc *nats.Conn, name string, stop func(context.Context) error) *process {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o, err := fsm.New(fsm.Config{Alarm: generous, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	group, instance, _ := strings.Cut(name, "/")
	member, err := remote.Join(nc, remote.Config{Group: group, Instance: instance, Logger: quiet}, o)
	if err != nil {
		t.Fatal(err)
	}
	if stop == nil {
		stop = func(context.Context) error { return nil }
	}
	if err := o.Register("db", fsm.Func(stop)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Force(fsm.Command{Reason: "the test is over"})
		<-member.Done()
	})
	return &process{o, t, member}
}

// requests is by how many commands it has left.
func (p *process) requests() []fsm.Command {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	defer cancel()
	r, err := p.Wait(ctx)
	if err != nil {
		p.t.Fatalf("%s does not end: %v", p.member.Instance(), err)
	}
	return r.Requests
}

// members has n processes of group api join one after the other, and returns them in
// that order.
func members(t testing.TB, nc *nats.Conn, n int, stop func(context.Context) error) (processes []*process) {
	t.Helper()
	for i := range n {
		processes = append(processes, join(t, nc, fmt.Sprintf("api/api-%d", i), stop))
		listed(t, nc, i+1)
	}
	return processes
}

// listed blocks until so many are in group api.
func listed(t testing.TB, nc *nats.Conn, n int) []remote.Instance {
	t.Helper()
	var list []remote.Instance
	natstest.Eventually(t, func() (err error) {
		if list, err = remote.List(t.Context(), nc, "api"); err == nil && len(list) != n {
			err = fmt.Errorf("listed are %v", list)
		}
		return err
	})
	return list
}

func begin1(t testing.TB, nc *nats.Conn, plan Plan, options Options) *Drain {
	t.Helper()
	plan.Group = "api"
	plan.Command.Reason = "deploy 42"
	return must(Begin(t.Context(), nc, plan, options.quiet()))(t)
}

func (o Options) quiet() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Operator == "" {
		o.Operator = "ana"
	}
	return o
}

// must returns what there is without an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func second[T any](_ T, err error) error { return err }

// ran runs a drain to its end.
func ran(t testing.TB, d *Drain) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	return must(d.Run(ctx))(t)
}

// states are those of the report's lines by the names of the instances.
func states(r *Report) string {
	var all []string
	for _, l := range r.Lines {
		all = append(all, strings.TrimPrefix(l.Instance.Name, "api-")+" "+l.State.String())
	}
	return strings.Join(all, ", ")
}

func free(t testing.TB, nc *nats.Conn) {
	t.Helper()
	natstest.Eventually(t, func() error { // NATS may be away for a moment
		s, err := Current(t.Context(), nc, "api")
		if errors.Is(err, ErrNothing) {
			return nil
		}
		if err == nil && s.Held {
			err = fmt.Errorf("the lease was not given back: %+v", s)
		}
		return err
	})
}

func logTo(b *natstest.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
