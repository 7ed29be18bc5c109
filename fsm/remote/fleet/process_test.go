package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

const childEnv = "FAREWELL_FLEET_CHILD" // "operator URL", or "member URL NAME BEHAVIOR"

func child(config string) {
	what := strings.Fields(config)
	nc, err := nats.Connect(what[1], nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err == nil && what[0] == "operator" {
		err = operate(nc)
	} else if err == nil {
		os.Exit(fsm.Main(fsm.Config{Alarm: childAlarm}, func(_ context.Context, o *fsm.Orchestrator) error {
			return beMember(nc, o, what[2], what[3])
		}))
	}
	fmt.Println(err)
	os.Exit(1)
}

// childAlarm leaves a busy machine time to start and stop, and is waited for by one test.
const childAlarm = 4 * time.Second

func operate(nc *nats.Conn) error {
	plan := Plan{Group: "api", AtOnce: Count(2), Command: fsm.Command{Reason: "deploy 42"}}
	d, err := Begin(context.Background(), nc, plan, Options{Operator: "the child", Lease: 5 * time.Second})
	if err != nil {
		return err
	}
	r, err := d.Run(context.Background())
	fmt.Print(r)
	return err
}

func beMember(nc *nats.Conn, o *fsm.Orchestrator, name, behavior string) error {
	if _, err := remote.Join(nc, remote.Config{Group: "api", Instance: name}, o); err != nil {
		return err
	}
	return o.Register("db", fsm.Func(func(context.Context) error {
		if behavior == "hangs" {
			select {}
		}
		return nil
	}))
}

func startChild(t *testing.T, config string) (*exec.Cmd, *natstest.Buffer) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+config)
	out := new(natstest.Buffer)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // if it still lives
		_ = c.Wait()
		if t.Failed() {
			t.Log(out)
		}
	})
	return c, out
}

// The operator is killed with SIGKILL when one has left, one is asked and not done, and
// one is not asked yet. Nobody else may drain the group while the lease lives; then it
// is taken up again, and all have obeyed once.
func TestOperatorIsKilled(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	begun, release := make(chan struct{}, 6), make(chan struct{}, 6)
	all := members(t, nc, 6, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	operator, _ := startChild(t, "operator "+s.URL())
	for range 2 {
		<-begun
	}
	release <- struct{}{}
	<-begun // somebody has left, and that is written down
	if err := operator.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = operator.Wait() // it was killed

	var held *HeldError
	_, err := Begin(t.Context(), nc, Plan{Group: "api"}, Options{}.quiet())
	if !errors.As(err, &held) || held.Holder != "the child" || held.Total != 6 || held.Failed != 0 {
		t.Errorf("it is held: %v", err)
	}
	if _, err := Resume(t.Context(), nc, "api", Options{}.quiet()); !errors.Is(err, ErrHeld) {
		t.Errorf("it is held: %v", err)
	}
	var d *Drain
	natstest.Eventually(t, func() error {
		d, err = Resume(t.Context(), nc, "api", Options{}.quiet())
		return err
	})
	if st := must(Current(t.Context(), nc, "api"))(t); !st.Held || st.Holder != "ana" || st.Resumed != 1 {
		t.Errorf("it stands so: %+v", st)
	}
	if r := d.Report(); r.Count(Left) != 1 || r.Count(Waiting) != 5 {
		t.Errorf("it is taken up as\n%s", r)
	}
	close(release)
	if r := ran(t, d); r.Count(Left) != 6 || r.ExitCode() != 0 || r.Resumed != 1 {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if len(p.requests()) != 1 {
			t.Errorf("%s obeyed %d times", p.member.Instance(), len(p.requests()))
		}
	}
}

// The operator is frozen for longer than its lease, somebody else has the group, and it
// thaws: it asks nobody else, and says why.
func TestOperatorIsFrozen(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	begun, release := make(chan struct{}, 4), make(chan struct{})
	all := members(t, nc, 4, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	operator, out := startChild(t, "operator "+s.URL())
	for range 2 {
		<-begun
	}
	if err := operator.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var d *Drain
	natstest.Eventually(t, func() (err error) {
		d, err = Begin(t.Context(), nc, Plan{Group: "api", Command: fsm.Command{Reason: "mine"}}, Options{}.quiet())
		return err
	})
	close(release)
	if err := operator.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	_ = operator.Wait() // with what its own test is about
	if text := out.String(); !strings.Contains(text, "2 left, 2 skipped") || !strings.Contains(text, "the lease is lost") || !strings.Contains(text, "ana") {
		t.Errorf("it says:\n%s", text)
	}
	if r := ran(t, d); r.ExitCode() != 0 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	for i, p := range all {
		want := "mine"
		if i >= 2 {
			want = "deploy 42"
		}
		if c := p.requests(); c[0].Reason != want || len(c) != 1 {
			t.Errorf("%s was asked %+v", p.member.Instance(), c)
		}
	}
}

// A real process that hangs is gone at its alarm, and the report has its culprit. The
// others stay.
func TestRealProcessHangs(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	members(t, nc, 1, nil)
	startChild(t, "member "+s.URL()+" hanging hangs")
	listed(t, nc, 2)
	r := ran(t, begin1(t, nc, Plan{}, Options{}))
	l := r.Lines[0]
	if !l.State.failure() || l.ExitCode != fsm.ExitAlarm || r.Lines[1].State != Skipped || r.Stopped == "" {
		t.Errorf("got\n%s", r)
	}
	if len(l.Culprits) != 1 || !strings.HasPrefix(l.Culprits[0], "db ") || !strings.Contains(r.String(), l.Culprits[0]) {
		t.Errorf("to blame are %q:\n%s", l.Culprits, r)
	}
}

// One that is frozen before its turn, for so long that it is not in the registry any more, has not gone.
func TestRealProcessIsFrozen(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	if err := Setup(t.Context(), nc, remote.Registry{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	frozen, _ := startChild(t, "member "+s.URL()+" frozen well")
	listed(t, nc, 1)
	join(t, nc, "api/api-1", nil)
	listed(t, nc, 2)
	d := begin1(t, nc, Plan{Command: fsm.Command{Within: 2 * time.Second}}, Options{})
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	listed(t, nc, 1)
	if r := ran(t, d); r.Lines[1].State != Unreachable || r.ExitCode() != fsm.ExitFailure {
		t.Errorf("got\n%s", r)
	}
}

// A rolling restart of real processes under a supervisor: never fewer than two of three
// are there, and in the end there are three others.
func TestRealProcessesRestart(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	var supervisors sync.WaitGroup
	for i := range 3 {
		config := fmt.Sprintf("member %s api-%d well", s.URL(), i)
		first, _ := startChild(t, config)
		supervisors.Go(func() {
			_ = first.Wait()
			startChild(t, config)
		})
	}
	defer supervisors.Wait()
	before := listed(t, nc, 3)
	r := ran(t, begin1(t, nc, Plan{Back: generous}, Options{}))
	if r.Count(Back) != 3 || r.ExitCode() != 0 {
		t.Errorf("got\n%s", r)
	}
	for _, i := range listed(t, nc, 3) {
		for _, was := range before {
			if i.Incarnation == was.Incarnation {
				t.Errorf("%s was not restarted", i)
			}
		}
	}
}
