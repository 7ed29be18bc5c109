package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/farewell-node/farewell/fsm"
)

// What one graph over two processes is for: http here, then store there, then the
// disk there, then the log here.
func TestOneGraphCoversTwoProcesses(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{})
	listed(t, edge.nc, "store", "store/store-1")

	var order orderOf
	store.register("disk", order.component("disk"))
	edge.register("http", order.component("http"))
	edge.register("store", edge.member.Component("store/store-1"), fsm.After("http"))
	edge.register("log", order.component("log"), fsm.After("store"))
	edge.Request(fsm.Command{Reason: "deploy 42", By: "a person"})

	r := edge.ended()
	if got := order.String(); got != "http disk log" || r.Err() != nil {
		t.Errorf("the order is %q, and the report: %v", got, r)
	}
	inner := line(t, r, "store").Inner
	if inner == nil || inner.State != fsm.Terminated || inner.ExitCode() != 0 || line(t, inner, "disk").Outcome != fsm.OutcomeAcked {
		t.Errorf("inside of store is: %v", inner)
	}
	there := store.ended()
	if c := there.Command; c.By != "a person > edge/edge-1" || c.Reason != "deploy 42" || c.Within <= 0 || c.Within >= edge.Alarm() {
		t.Errorf("store was asked: %+v", c)
	}
	listed(t, edge.nc, "")
}

// The place in the registry is gone before anything closes, and the report is
// published before the connection is closed.
func TestWithdrawnFirstAndReportedLast(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	watcher := s.connect()
	p := s.process("api/api-1", fsm.Config{})
	instance := listed(t, watcher, "api", "api/api-1")[0]
	there := -1
	p.register("db", fsm.Func(func(ctx context.Context) error {
		list, err := List(ctx, watcher, "api")
		there = len(list)
		return err
	}))
	p.register("telemetry", fsm.Func(func(context.Context) error { return errors.New("collector is away") }), fsm.Last())
	p.register("nats", fsm.Func(func(context.Context) error { p.nc.Close(); return nil }), fsm.Last(), fsm.Strict(), fsm.BestEffort(), fsm.After("remote-report"))

	r, err := Shutdown(t.Context(), watcher, instance, "", fsm.Command{Reason: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if there != 0 {
		t.Errorf("while db closed %d were listed", there)
	}
	if l := line(t, r, "telemetry"); l.Outcome != fsm.OutcomeFailed || r.ExitCode() != fsm.ExitImpolite {
		t.Errorf("the report that was published did not wait for who is Last too:\n%s", r)
	}
	for _, l := range r.Components {
		if l.ID == "nats" || l.ID == "remote-report" {
			t.Errorf("%s can not have been decided: %s", l.ID, l.Outcome)
		}
	}
	if got := p.ended().ExitCode(); got != r.ExitCode() {
		t.Errorf("it ended with %d, and had said %d", got, r.ExitCode())
	}
	kept, err := LastReport(t.Context(), watcher, Instance{Group: "api", Name: "api-1"})
	if err != nil || kept.ExitCode() != r.ExitCode() {
		t.Errorf("kept is %v, %v", kept, err)
	}
}

// Who hangs there is named here, with the stack.
func TestTheCulpritThereIsNamedHere(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	store.register("disk", fsm.Func(func(context.Context) error { waitForTheDisk(release); return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{Reason: "deploy"})

	l := line(t, edge.ended(), "store")
	if l.Outcome != fsm.OutcomeFailed || !l.Insisted || l.Inner == nil {
		t.Fatalf("store %s, insisted upon %v, inside: %v, %v", l.Outcome, l.Insisted, l.Inner, l.Err)
	}
	disk := line(t, l.Inner, "disk")
	if disk.Outcome != fsm.OutcomeHung || !strings.Contains(disk.Stack, "waitForTheDisk") {
		t.Errorf("inside of store:\n%s", l.Inner)
	}
	if !strings.Contains(l.Err.Error(), `"disk": hung`) {
		t.Errorf("the error does not name it: %v", l.Err)
	}
	if took := store.ended(); took.Edge.On != fsm.Timeout {
		t.Errorf("store ended by %s", took.Edge.On)
	}
}

//go:noinline
func waitForTheDisk(release chan struct{}) { <-release }

// Insisting here insists there, long before the polite time is over there.
func TestInsistingPassesThrough(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	begun := make(chan struct{})
	store.register("disk", fsm.Func(func(ctx context.Context) error {
		close(begun)
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{Reason: "deploy"})
	<-begun
	edge.Insist(fsm.Command{Reason: "hurry", By: "a person"})
	r := edge.ended()
	l := line(t, r, "store")
	if !l.Insisted || l.Inner == nil || !line(t, l.Inner, "disk").Insisted || r.Took > generous/2 {
		t.Errorf("it did not insist there:\n%s", r)
	}
}

// What the command itself carries is not the fault of who obeys it.
func TestTheErrorOfTheCommandIsNotTheirs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{})
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{Reason: "crashed", Err: errors.New("disk is full")})
	if l := line(t, edge.ended(), "store"); l.Outcome != fsm.OutcomeAcked {
		t.Errorf("store %s: %v", l.Outcome, l.Err)
	}
	if r := store.ended(); r.ExitCode() != fsm.ExitFailure || !strings.Contains(r.Err().Error(), "disk is full") {
		t.Errorf("store was not told why: %v", r.Err())
	}
}

// Who has left already is an ack, whoever it was that asked, also long ago.
func TestWhoHasLeftIsAnAck(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{})
	listed(t, edge.nc, "store", "store/store-1")
	store.register("disk", fsm.Func(func(context.Context) error { return errors.New("not synced") }))
	store.Request(fsm.Command{Reason: "of its own"})
	store.ended()
	edge.register("store", Component(edge.nc, "store/store-1"))
	edge.Request(fsm.Command{})
	l := line(t, edge.ended(), "store")
	if l.Outcome != fsm.OutcomeAcked || l.Inner == nil || line(t, l.Inner, "disk").Outcome != fsm.OutcomeFailed {
		t.Errorf("store %s: %v, inside: %v", l.Outcome, l.Err, l.Inner)
	}
}

// Who has never been there is unreachable, and that is found out without using up
// the time of the others.
func TestWhoWasNeverThereIsUnreachable(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	edge.register("store", Component(edge.nc, "store/store-1"))
	edge.Request(fsm.Command{})
	r := edge.ended()
	if l := line(t, r, "store"); l.Outcome != fsm.OutcomeFailed || l.Insisted || !errors.Is(l.Err, ErrUnreachable) || l.Ran < absence {
		t.Errorf("store %s after %v: %v", l.Outcome, l.Ran, l.Err)
	}
}

// Two that wait for each other are told so, and do not wait for the alarm.
func TestACycleOverProcessesIsNoticed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.process("x/a", fsm.Config{Alarm: generous})
	b := s.process("x/b", fsm.Config{Alarm: generous})
	c := s.process("x/c", fsm.Config{Alarm: generous})
	for p, next := range map[*process]string{a: "x/b", b: "x/c", c: "x/a"} {
		p.register("next", p.member.Component(next))
	}
	a.Request(fsm.Command{})
	if l := line(t, c.ended(), "next"); !errors.Is(l.Err, fsm.ErrCycle) {
		t.Errorf("c: %v", l.Err)
	}
	if l := line(t, a.ended(), "next"); l.Inner == nil || l.Insisted {
		t.Errorf("a waited: %v", l.Err)
	}
}

// The same when each has begun by itself, and none of them was asked by the others.
func TestACycleOfThoseWhoBegunThemselves(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.process("x/a", fsm.Config{Alarm: generous})
	b := s.process("x/b", fsm.Config{Alarm: generous})
	a.register("next", a.member.Component("x/b"))
	b.register("next", b.member.Component("x/a"))
	a.Request(fsm.Command{})
	b.Request(fsm.Command{})
	ra, rb := a.ended(), b.ended()
	if !errors.Is(line(t, ra, "next").Err, fsm.ErrCycle) && !errors.Is(line(t, rb, "next").Err, fsm.ErrCycle) {
		t.Errorf("%v\n%v", ra, rb)
	}
	if line(t, ra, "next").Insisted || line(t, rb, "next").Insisted {
		t.Errorf("they waited for each other:\n%v\n%v", ra, rb)
	}
}

func TestShutdownTwiceWithOneIDIsOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := s.process("api/api-1", fsm.Config{})
	var times atomic.Int32
	p.register("db", fsm.Func(func(context.Context) error { times.Add(1); return nil }))
	for range 3 {
		r, err := Shutdown(t.Context(), s.connect(), p.member.Instance(), "deploy-42", fsm.Command{Reason: "deploy"})
		if err != nil || r.ExitCode() != 0 {
			t.Fatal(r, err)
		}
	}
	if r := p.ended(); times.Load() != 1 || len(r.Requests) != 1 {
		t.Errorf("db was shut down %d times, by %d requests", times.Load(), len(r.Requests))
	}
}

// An operator asks, and later insists upon the same.
func TestInsist(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{Alarm: generous}), s.connect()
	begun := make(chan struct{})
	p.register("db", fsm.Func(func(ctx context.Context) error { close(begun); <-ctx.Done(); return nil }))
	asked := make(chan error, 1)
	go func() {
		asked <- second(Shutdown(t.Context(), nc, p.member.Instance(), "deploy-42", fsm.Command{Reason: "deploy"}))
	}()
	<-begun
	r, err := Insist(t.Context(), nc, p.member.Instance(), "deploy-42", fsm.Command{Reason: "now"})
	if err != nil || !line(t, r, "db").Insisted || r.Took > generous/2 {
		t.Errorf("%v, %v", r, err)
	}
	if err := <-asked; err != nil {
		t.Errorf("who asked: %v", err)
	}
}

func TestShutdownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := s.process("api/api-1", fsm.Config{Alarm: generous})
	begun, release := make(chan struct{}), make(chan struct{})
	p.register("db", fsm.Func(func(context.Context) error { close(begun); <-release; return nil }))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator went home")
	go func() { <-begun; cancel(cause) }()
	if _, err := Shutdown(ctx, s.connect(), p.member.Instance(), "", fsm.Command{}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	close(release)
	if r := p.ended(); r.ExitCode() != 0 {
		t.Errorf("that harmed it:\n%s", r)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1.example", fsm.Config{}), s.connect()
	listed(t, nc, "api", "api/api-1.example")
	status, err := Ask(t.Context(), nc, "api/api-1.example")
	if err != nil || status.State != fsm.Running || status.Instance.Incarnation != p.member.self.Incarnation {
		t.Errorf("%+v, %v", status, err)
	}
	for target, want := range map[string]error{"api/nobody": ErrUnreachable, "api": ErrInvalid, "a.b/c": ErrInvalid, "a/b..c": ErrInvalid, "a/>": ErrInvalid} {
		if _, err := Ask(t.Context(), nc, target); !errors.Is(err, want) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc, p := s.connect(), s.process("api/api-1", fsm.Config{})
	o, err := fsm.New(fsm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, join := range map[string]func() (*Member, error){
		"group":        func() (*Member, error) { return Join(nc, Config{Group: "a b", Instance: "c"}, o) },
		"no instance":  func() (*Member, error) { return Join(nc, Config{Group: "a"}, o) },
		"connection":   func() (*Member, error) { return Join(nil, Config{Group: "a", Instance: "b"}, o) },
		"orchestrator": func() (*Member, error) { return Join(nc, Config{Group: "a", Instance: "b"}, nil) },
	} {
		if _, err := join(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Join(nc, Config{Group: "a", Instance: "b"}, p.Orchestrator); !errors.Is(err, fsm.ErrDuplicate) {
		t.Errorf("joining twice under one ID: %v", err)
	}
	if Component(nil, "a/b") != nil || Component(nc, "ab") != nil || p.member.Component("") != nil {
		t.Error("a component of nothing")
	}
	for name, err := range map[string]error{
		"no incarnation": second(Shutdown(t.Context(), nc, Instance{Group: "a", Name: "b"}, "", fsm.Command{})),
		"within":         second(Shutdown(t.Context(), nc, p.member.Instance(), "", fsm.Command{Within: -1})),
		"id":             second(Shutdown(t.Context(), nc, p.member.Instance(), strings.Repeat("x", 65), fsm.Command{})),
		"list":           second(List(t.Context(), nc, "*")),
		"report":         second(LastReport(t.Context(), nc, Instance{Group: "a", Name: "*"})),
		"setup":          Setup(t.Context(), nc, Registry{TTL: 1}),
	} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.Request(fsm.Command{})
	<-o.Done()
	if _, err := Join(nc, Config{Group: "a", Instance: "b"}, o); !errors.Is(err, fsm.ErrShutdownBegun) {
		t.Errorf("joining too late: %v", err)
	}
	listed(t, nc, "a")
}

func second[T any](_ T, err error) error { return err }

// orderOf notes who is shut down when.
type orderOf struct{ lockedBuffer }

func (o *orderOf) component(name string) fsm.Component {
	return fsm.Func(func(context.Context) error { _, err := o.Write([]byte(name + " ")); return err })
}

func (o *orderOf) String() string { return strings.TrimSpace(o.lockedBuffer.String()) }

// Who leaves is off the registry, and still to be found.
func TestLeavers(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	if none, err := Leavers(t.Context(), nc, "api", nil); err != nil || len(none) != 0 {
		t.Errorf("before anybody has joined: %v, %v", none, err)
	}
	s.process("api/api-1", fsm.Config{})
	listed(t, nc, "api", "api/api-1")
	leaving := s.process("api/api-2.example", fsm.Config{Alarm: generous})
	listed(t, nc, "api", "api/api-1", "api/api-2.example")
	gone := s.process("api/api-3", fsm.Config{})
	eventually(t, func() error {
		_, err := LastReport(t.Context(), nc, Instance{Group: "api", Name: "api-3"})
		if !errors.Is(err, ErrNoReport) || !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("of one that has joined: %w", err)
		}
		return nil
	})
	gone.Request(fsm.Command{})
	gone.ended()
	begun, release := make(chan struct{}), make(chan struct{})
	leaving.register("db", fsm.Func(func(context.Context) error { close(begun); <-release; return nil }))
	leaving.Request(fsm.Command{})
	<-begun
	if err := nc.Publish("$KV."+ReportsBucket+".last.api.garbage", []byte(strings.Repeat("[", 1<<13))); err != nil {
		t.Fatal(err)
	}
	there := listed(t, nc, "api", "api/api-1")
	got, err := Leavers(t.Context(), nc, "api", there)
	if err != nil || len(got) != 1 || got[0].String() != "api/api-2.example" || got[0].Incarnation != leaving.member.self.Incarnation {
		t.Errorf("%v, %v", got, err)
	}
	close(release)
	leaving.ended()
	if got, err := Leavers(t.Context(), nc, "api", there); err != nil || len(got) != 0 {
		t.Errorf("when it has left: %v, %v", got, err)
	}
	if _, err := LastReport(t.Context(), nc, Instance{Group: "api", Name: "nobody"}); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNoReport) {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := Leavers(t.Context(), nc, "a.b", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("of no group: %v", err)
	}
}
