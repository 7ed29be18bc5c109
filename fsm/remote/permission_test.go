package remote

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

const accountsFile = "testdata/accounts.conf"

// With the accounts of the documentation everybody can do what he is there for, and
// a stranger nothing.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := startServerWith(t, accountsFile)
	as := func(user string, options ...nats.Option) *nats.Conn {
		return s.connect(append(options, nats.UserInfo(user, user), nats.CustomInboxPrefix("_INBOX."+user))...)
	}
	if err := Setup(t.Context(), as("setup"), Registry{}); err != nil {
		t.Fatal(err)
	}
	store := newProcess(t, as("store"), "store/store-1", fsm.Config{Alarm: generous})
	edge := newProcess(t, as("edge"), "edge/edge-1", fsm.Config{Alarm: generous})
	store.register("disk", fsm.Func(func(context.Context) error { return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	operator := as("operator")
	list := listed(t, operator, "", "edge/edge-1", "store/store-1")

	for _, user := range []string{"stranger", "outsider", "store"} {
		t.Run(user, func(t *testing.T) {
			var refused atomic.Int32
			nc := as(user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				if errors.Is(err, nats.ErrPermissionViolation) {
					refused.Add(1)
				}
			}))
			harm(t, nc, list[0])
			if _, err := Shutdown(within(t, patience), nc, list[0], "", fsm.Command{}); err == nil {
				t.Error("shut edge down")
			}
			if user != "outsider" { // who may say what he likes, among his own
				eventually(t, func() error {
					if refused.Load() == 0 {
						return errors.New("nothing was refused")
					}
					return nil
				})
			}
			if list, err := List(within(t, patience), nc, ""); user != "store" && err == nil && len(list) > 0 {
				t.Errorf("sees %v", list)
			}
		})
	}
	if edge.State() != fsm.Running || store.State() != fsm.Running {
		t.Fatal("a stranger was obeyed")
	}
	if after := listed(t, operator, "", "edge/edge-1", "store/store-1"); after[0] != list[0] {
		t.Errorf("a stranger changed the registry: %+v", after)
	}

	var left []string
	news, done := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), generous)
	defer cancel()
	go func() {
		defer close(done)
		for n, err := range Watch(ctx, operator, "") {
			switch {
			case err != nil:
				news <- err
				return
			case n.Kind == Listed:
				news <- nil
			case n.Kind == Left:
				if left = append(left, n.Instance.String()); len(left) == 2 {
					return
				}
			}
		}
	}()
	if err := <-news; err != nil {
		t.Fatal(err)
	}
	r, err := Shutdown(t.Context(), operator, list[0], "", fsm.Command{Reason: "deploy 42", By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	if l := line(t, r, "store"); l.Outcome != fsm.OutcomeAcked || l.Inner == nil {
		t.Errorf("edge:\n%s\n%s", r, edge.log)
	}
	if <-done; strings.Join(left, " ") != "store/store-1 edge/edge-1" {
		t.Errorf("the operator saw leave: %q", left)
	}
}

// harm is what a stranger may try.
func harm(t *testing.T, nc *nats.Conn, victim Instance) {
	t.Helper()
	command := marshal(t, request{Action: leave, ID: "x", Incarnation: victim.Incarnation, Until: time.Hour})
	final := marshal(t, told{Instance: victim, Report: &fsm.Report{State: fsm.Terminated}, Over: true})
	for subject, data := range map[string][]byte{
		commandPrefix + victim.runKey():                  command,
		reportPrefix + victim.runKey():                   final,
		"$KV." + PresentBucket + "." + victim.key():      nil,
		"$KV." + ReportsBucket + "." + reportKey(victim): final,
		"$JS.API.STREAM.DELETE.KV_" + PresentBucket:      nil,
		"$JS.API.STREAM.PURGE.KV_" + PresentBucket:       nil,
	} {
		if err := nc.Publish(subject, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(generous); err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// The documentation shows the file that is tested.
func TestPermissionsAreDocumented(t *testing.T) {
	file, err := os.ReadFile(accountsFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```\n"+string(file)+"```\n") {
		t.Errorf("docs/fleet.md does not have %s as it is", accountsFile)
	}
}

// startServerWith starts one with the accounts of a file.
func startServerWith(t testing.TB, file string) *natsServer {
	t.Helper()
	return startServer(t, natstest.Accounts(t, file))
}
