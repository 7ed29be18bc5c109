package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
)

const childEnv = "FAREWELL_REMOTE_CHILD" // the URL of the server, and how it behaves

// child is a process with fsm.Main, which is gone the moment that is over.
func child(config string) {
	url, behavior, _ := strings.Cut(config, " ")
	var member *Member
	code := fsm.Main(fsm.Config{Alarm: generous}, func(_ context.Context, o *fsm.Orchestrator) error {
		nc, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
		if err != nil {
			return err
		}
		if member, err = Join(nc, Config{Group: "api", Instance: "api-1"}, o); err != nil {
			return err
		}
		return o.Register("db", fsm.Func(func(context.Context) error {
			if behavior == "hangs" {
				select {}
			}
			return nil
		}))
	})
	if behavior == "waits" {
		<-member.Done()
	}
	os.Exit(code)
}

func startChild(t *testing.T, s *natsServer, behavior string) (*exec.Cmd, Instance, *nats.Conn) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childEnv+"="+s.url()+" "+behavior,
		"GORACE=atexit_sleep_ms=0") // its second at the end would hide what is not out yet
	out := new(lockedBuffer)
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
	nc := s.connect()
	return c, listed(t, nc, "api", "api/api-1")[0], nc
}

// The report of a real process is there, although the process is not any more.
func TestRealProcess(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, instance, nc := startChild(t, s, "")
	r, err := Shutdown(t.Context(), nc, instance, "", fsm.Command{Reason: "deploy 42"})
	if err != nil || r.ExitCode() != 0 || line(t, r, "db").Outcome != fsm.OutcomeAcked {
		t.Errorf("%v, %v", r, err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it exited with %v", err)
	}
	kept, err := LastReport(t.Context(), nc, instance)
	if err != nil || kept.ExitCode() != 0 {
		t.Errorf("kept is %v, %v", kept, err)
	}
	edge := s.process("edge/edge-1", fsm.Config{})
	edge.register("api", Component(edge.nc, "api/api-1"))
	edge.Request(fsm.Command{})
	if l := line(t, edge.ended(), "api"); l.Outcome != fsm.OutcomeAcked || l.Inner == nil {
		t.Errorf("it has left: %v", l.Err)
	}
}

// Nothing that was published is lost by a process that is gone the moment that
// Member.Done says so, not even the very last event.
func TestRealProcessEndsWithItsLastEvent(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, instance, nc := startChild(t, s, "waits")
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	for news, err := range Watch(ctx, nc, "api") {
		switch {
		case err != nil:
			t.Fatalf("its last event did not come: %v", err)
		case news.Kind == Listed:
			if _, err := Shutdown(ctx, nc, instance, "", fsm.Command{}); err != nil {
				t.Fatal(err)
			}
			if err := c.Wait(); err != nil {
				t.Errorf("it exited with %v", err)
			}
		case news.Kind == Happened && news.Event.State == fsm.Terminated:
			return
		}
	}
}

// One that hangs is gone at its alarm, and its culprit is named here all the same.
func TestRealProcessHangs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, _, _ := startChild(t, s, "hangs")
	edge := s.process("edge/edge-1", fsm.Config{})
	edge.register("api", edge.member.Component("api/api-1"))
	edge.Request(fsm.Command{})
	r := edge.ended()
	l := line(t, r, "api")
	if l.Inner == nil || l.Outcome == fsm.OutcomeAcked {
		t.Fatalf("edge:\n%s", r)
	}
	db := line(t, l.Inner, "db")
	if o := db.Outcome; o != fsm.OutcomeHung && o != fsm.OutcomeStopping || !db.Insisted || !strings.Contains(db.Stack, "child") {
		t.Errorf("edge:\n%s", r)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != fsm.ExitAlarm {
		t.Errorf("it exited with %v", err)
	}
}

// One that is killed in the middle has not acked, whatever was heard of it.
func TestRealProcessIsKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c, instance, nc := startChild(t, s, "hangs")
	asked := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	go func() { asked <- second(Shutdown(ctx, nc, instance, "", fsm.Command{})) }()
	eventually(t, func() error {
		status, err := Ask(ctx, nc, "api/api-1")
		if err == nil && status.State != fsm.AwaitingAcks {
			err = fmt.Errorf("it is %s", status.State)
		}
		return err
	})
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}
