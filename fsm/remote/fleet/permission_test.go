package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// With the accounts of the documentation the operator drains, and neither a stranger
// nor a process of the group can take the lease, end one, or write down outcomes.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Accounts(t, "../testdata/accounts.conf"))
	as := func(user string, options ...nats.Option) *nats.Conn {
		return s.Connect(append(options, nats.UserInfo(user, user), nats.CustomInboxPrefix("_INBOX."+user))...)
	}
	if err := Setup(t.Context(), as("setup"), remote.Registry{}); err != nil {
		t.Fatal(err)
	}
	operator := as("operator")
	for _, name := range []string{"store/store-1", "store/store-2"} {
		join(t, as("store"), name, nil)
	}
	natstest.Eventually(t, func() error {
		list, err := remote.List(t.Context(), operator, "store")
		if err == nil && len(list) != 2 {
			err = errors.New("they have not joined")
		}
		return err
	})
	plan := Plan{Group: "store", Command: fsm.Command{Reason: "deploy 42"}}
	d := must(Begin(t.Context(), operator, plan, Options{}.quiet()))(t)
	for _, user := range []string{"stranger", "store", "outsider"} {
		t.Run(user, func(t *testing.T) {
			var refused atomic.Int32
			nc := as(user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				if errors.Is(err, nats.ErrPermissionViolation) {
					refused.Add(1)
				}
			}))
			for subject, data := range map[string][]byte{
				"$KV." + Bucket + "." + leaseKey("store"):            must(json.Marshal(tenure{Token: "mine"}))(t),
				"$KV." + Bucket + "." + recordKey("store"):           nil,
				"$KV." + Bucket + "." + doneKey("store", "x", 0):     must(json.Marshal(outcome{State: Left}))(t),
				"$JS.API.STREAM.DELETE.KV_" + Bucket:                 nil,
				"$JS.API.STREAM.PURGE.KV_" + Bucket:                  nil,
				"$JS.API.STREAM.MSG.DELETE.KV_" + Bucket:             []byte(`{"seq":1}`),
				"$JS.API.DIRECT.GET.KV_" + Bucket + ".$KV.x.lease.x": nil,
			} {
				if err := nc.Publish(subject, data); err != nil {
					t.Fatal(err)
				}
			}
			if err := nc.FlushTimeout(generous); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if d, err := Begin(ctx, nc, plan, Options{Operator: user}.quiet()); err == nil {
				d.Abandon()
				if user != "outsider" { // who drains what he has
					t.Error("drains")
				}
			}
			if all, err := List(ctx, nc); err == nil && len(all) > 0 && all[0].Holder == "ana" {
				t.Errorf("sees %+v", all)
			}
			if user != "outsider" { // who may say what he likes, among his own
				natstest.Eventually(t, func() error {
					if refused.Load() < 7 {
						return errors.New("not everything was refused")
					}
					return nil
				})
			}
		})
	}
	if st := must(Current(t.Context(), operator, "store"))(t); st.Holder != "ana" || st.ID != d.Report().ID {
		t.Errorf("it is held by %+v", st)
	}
	r := ran(t, d)
	if r.Count(Left) != 2 || r.ExitCode() != 0 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	if st := must(Current(t.Context(), operator, "store"))(t); st.Held || !st.Finished || st.Done != 2 {
		t.Errorf("it stands so: %+v", st)
	}
}
