package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/internal/natstest"
)

// gauge is how many are shutting down at once.
type gauge struct{ now, most, times atomic.Int32 }

func (g *gauge) enter() {
	now := g.now.Add(1)
	g.times.Add(1)
	for most := g.most.Load(); now > most && !g.most.CompareAndSwap(most, now); most = g.most.Load() {
	}
}

func (g *gauge) leave() { g.now.Add(-1) }

func (g *gauge) stop(context.Context) error {
	g.enter()
	defer g.leave()
	time.Sleep(5 * time.Millisecond) // so that those that may be at once are
	return nil
}

// What it is for: seven leave, three at a time, the newest first, each once, and who
// joins meanwhile stays.
func TestRollingLeave(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	var g gauge
	all := members(t, nc, 7, g.stop)
	d := begin1(t, nc, Plan{AtOnce: Count(3)}, Options{})
	join(t, nc, "api/late", nil)
	listed(t, nc, 8)
	r := ran(t, d)
	if want := "6 left, 5 left, 4 left, 3 left, 2 left, 1 left, 0 left"; states(r) != want || r.ExitCode() != 0 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	if g.most.Load() > 3 || g.times.Load() != 7 {
		t.Errorf("%d left, %d at once", g.times.Load(), g.most.Load())
	}
	for _, p := range all {
		if c := p.requests(); len(c) != 1 || c[0].Reason != "deploy 42" || c[0].By != "ana" {
			t.Errorf("%s was asked %+v", p.member.Instance(), c)
		}
	}
	if left := listed(t, nc, 1); left[0].Name != "late" {
		t.Errorf("there are %v", left)
	}
	free(t, nc)
	if _, err := Resume(t.Context(), nc, "api", Options{}.quiet()); !errors.Is(err, ErrNothing) {
		t.Errorf("taking up what is finished: %v", err)
	}
}

func TestPreview(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 4, nil)
	for order, want := range map[Order]string{
		Newest: "3 waiting, 2 waiting, 1 waiting, 0 waiting",
		Oldest: "0 waiting, 1 waiting, 2 waiting, 3 waiting",
		ByName: "0 waiting, 1 waiting, 2 waiting, 3 waiting",
	} {
		r := must(Preview(t.Context(), nc, Plan{Group: "api", Order: order, AtOnce: must(ParseLimit("50%"))(t)}))(t)
		if states(r) != want || r.AtOnce != 2 || r.ExitCode() != 0 {
			t.Errorf("%s: got %d at once of\n%s", order, r.AtOnce, r)
		}
	}
	listed(t, nc, 4)
}

// A group of none is drained at once, also where nobody has ever joined anything.
func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	if all := must(List(t.Context(), nc))(t); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
	if _, err := Resume(t.Context(), nc, "api", Options{}.quiet()); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing to take up: %v", err)
	}
	r := ran(t, begin1(t, nc, Plan{}, Options{}))
	if len(r.Lines) > 0 || r.ExitCode() != 0 || r.Stopped != "" || !strings.Contains(r.String(), "nobody is there") {
		t.Errorf("got\n%s", r)
	}
	if s := must(Current(t.Context(), nc, "api"))(t); !s.Finished || s.Held || s.Unfinished() {
		t.Errorf("it stands so: %+v", s)
	}
	free(t, nc)
}

// Two operators at once: one has it, the other is told who, and may have it next.
func TestTwoOperatorsAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	members(t, s.Connect(), 3, nil)
	var mu sync.Mutex
	var drains []*Drain
	var refused []error
	var both sync.WaitGroup
	for _, operator := range []string{"ana", "bob", "cem", "dan"} {
		nc := s.Connect()
		both.Go(func() {
			d, err := Begin(t.Context(), nc, Plan{Group: "api", Command: fsm.Command{Reason: operator}}, Options{Operator: operator}.quiet())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused = append(refused, err)
				return
			}
			drains = append(drains, d)
		})
	}
	both.Wait()
	if len(drains) != 1 || len(refused) != 3 {
		t.Fatalf("%d have it, and %v", len(drains), refused)
	}
	holder := drains[0].Report().Operator
	for _, err := range refused {
		var held *HeldError
		if !errors.Is(err, ErrHeld) || !errors.As(err, &held) || held.Holder != holder || held.Group != "api" || held.Since.IsZero() {
			t.Errorf("held by %s, and got %v", holder, err)
		}
	}
	if r := ran(t, drains[0]); r.Count(Left) != 3 {
		t.Errorf("got\n%s", r)
	}
	d := begin1(t, s.Connect(), Plan{}, Options{Operator: "bob"})
	d.Abandon()
	d.Abandon()
	free(t, s.Connect())
	if _, err := d.Run(t.Context()); !errors.Is(err, ErrInvalid) {
		t.Errorf("running what was abandoned: %v", err)
	}
}

// The first that goes wrong is the last, and its culprit is named. Taking the drain up
// again asks nobody until that is forgiven.
func TestStopsAtTheFirstThatFails(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 2, nil)
	join(t, nc, "api/api-2", func(context.Context) error { return errors.New("half synced") })
	listed(t, nc, 3)
	join(t, nc, "api/api-3", nil)
	listed(t, nc, 4)
	r := ran(t, begin1(t, nc, Plan{}, Options{}))
	if want := "3 left, 2 failed, 1 skipped, 0 skipped"; states(r) != want || r.ExitCode() != fsm.ExitImpolite || r.Stopped == "" {
		t.Fatalf("got\n%s", r)
	}
	if l := r.Lines[1]; len(l.Culprits) != 1 || l.Culprits[0] != "db failed" || l.Report == nil || !strings.Contains(l.Err.Error(), "half synced") {
		t.Errorf("to blame are %q, %v", l.Culprits, l.Err)
	}
	if !strings.Contains(r.String(), "db failed") {
		t.Errorf("the table does not say so:\n%s", r)
	}
	if s := must(Current(t.Context(), nc, "api"))(t); !s.Unfinished() || s.Done != 2 || s.Failed != 1 || s.Total != 4 || s.Stopped == "" {
		t.Errorf("it stands so: %+v", s)
	}
	roundTrips(t, r)

	r = ran(t, must(Resume(t.Context(), nc, "api", Options{Operator: "bob"}.quiet()))(t))
	if want := "3 left, 2 failed, 1 skipped, 0 skipped"; states(r) != want || r.Stopped == "" || r.Resumed != 1 {
		t.Errorf("taken up again it is\n%s", r)
	}
	r = ran(t, must(Resume(t.Context(), nc, "api", Options{Operator: "bob", Forgive: true}.quiet()))(t))
	if want := "3 left, 2 failed, 1 left, 0 left"; states(r) != want || r.Stopped != "" || r.Resumed != 2 || r.ExitCode() != fsm.ExitImpolite {
		t.Errorf("forgiven it is\n%s", r)
	}
	if l := r.Lines[1]; len(l.Culprits) != 1 || l.Culprits[0] != "db failed" || !strings.Contains(l.Err.Error(), "half synced") {
		t.Errorf("what was written down: %+v", l)
	}
	roundTrips(t, r)
}

// roundTrips reads a report's JSON back.
func roundTrips(t *testing.T, r *Report) {
	t.Helper()
	data := must(json.Marshal(r))(t)
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if again := must(json.Marshal(&back))(t); string(again) != string(data) {
		t.Errorf("it was\n%s\nand is\n%s", data, again)
	}
	if back.Took != r.Took || !reflect.DeepEqual(back.Plan, r.Plan) || back.String() != r.String() {
		t.Errorf("it was\n%v\nand is\n%v", r, &back)
	}
}

// Who had left by itself before its turn is no failure, unless its report says so.
func TestSomeHadLeftByThemselves(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	begun, release := make(chan struct{}), make(chan struct{})
	bad := join(t, nc, "api/api-0", func(context.Context) error { return errors.New("half synced") })
	listed(t, nc, 1)
	good := join(t, nc, "api/api-1", nil)
	listed(t, nc, 2)
	join(t, nc, "api/api-2", func(context.Context) error { close(begun); <-release; return nil })
	listed(t, nc, 3)
	d := begin1(t, nc, Plan{MaxFailed: 1}, Options{})
	progress := d.Progress(t.Context())
	go func() {
		<-begun
		good.Request(fsm.Command{Reason: "of its own"})
		bad.Request(fsm.Command{Reason: "of its own"})
		for p := range progress {
			if p.Instance.Name == "api-0" && p.State == Failed {
				close(release)
			}
		}
	}()
	r := ran(t, d)
	if want := "2 left, 1 gone, 0 failed"; states(r) != want || r.ExitCode() != fsm.ExitImpolite || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
}

// Ctx ends the asking, not the waiting.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	begun, release := make(chan struct{}, 4), make(chan struct{})
	all := members(t, nc, 4, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, nc, Plan{AtOnce: Count(2)}, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-begun
		<-begun
		cancel(errors.New("Ctrl-C"))
		for p := range d.Progress(t.Context()) {
			if p.State == Skipped {
				close(release)
				return
			}
		}
	}()
	r := must(d.Run(ctx))(t)
	if want := "3 left, 2 left, 1 skipped, 0 skipped"; states(r) != want || !strings.Contains(r.Stopped, "Ctrl-C") || r.ExitCode() != fsm.ExitFailure {
		t.Errorf("got\n%s", r)
	}
	free(t, nc)
	r = ran(t, must(Resume(t.Context(), nc, "api", Options{Operator: "bob"}.quiet()))(t))
	if want := "3 left, 2 left, 1 left, 0 left"; states(r) != want || r.Stopped != "" || r.ExitCode() != 0 || r.Resumed != 1 || r.Operator != "bob" {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if len(p.requests()) != 1 {
			t.Errorf("%s obeyed %d times", p.member.Instance(), len(p.requests()))
		}
	}
}

// Abandoned, it waits for nobody, and those that were asked go on; whoever takes it up
// again asks them the same.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	begun, release := make(chan struct{}, 3), make(chan struct{})
	all := members(t, nc, 3, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, nc, Plan{}, Options{})
	go func() {
		<-begun
		d.Abandon()
	}()
	r := ran(t, d)
	if want := "2 asked, 1 skipped, 0 skipped"; states(r) != want || !strings.Contains(r.Stopped, "abandoned") || r.ExitCode() != fsm.ExitFailure {
		t.Errorf("got\n%s", r)
	}
	free(t, nc)
	if s := must(Current(t.Context(), nc, "api"))(t); !s.Unfinished() || s.Total != 3 || s.Done != 0 {
		t.Errorf("it stands so: %+v", s)
	}
	d = must(Resume(t.Context(), nc, "api", Options{}.quiet()))(t)
	close(release)
	if r = ran(t, d); states(r) != "2 left, 1 left, 0 left" {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if len(p.requests()) != 1 {
			t.Errorf("%s obeyed %d times", p.member.Instance(), len(p.requests()))
		}
	}
}

// One that was not finished can be taken the place of.
func TestReplaced(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 2, nil)
	first := begin1(t, nc, Plan{}, Options{})
	first.Abandon()
	var log natstest.Buffer
	second := begin1(t, nc, Plan{}, Options{Logger: logTo(&log)})
	if r := ran(t, second); r.Replaced != first.Report().ID || r.Count(Left) != 2 || !strings.Contains(log.String(), "unfinished drain is replaced") {
		t.Errorf("it has replaced %q:\n%s\n%s", r.Replaced, r, &log)
	}
}

// With Back an instance takes its place until another incarnation has joined.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 3, nil)
	d := begin1(t, nc, Plan{Back: generous}, Options{})
	away := 0
	var path []string
	done := make(chan struct{})
	go func() { // the supervisor
		defer close(done)
		for p := range d.Progress(t.Context()) {
			switch p.State {
			case Away:
				if away++; away > 1 {
					t.Errorf("%d are away", away)
				}
				join(t, nc, p.Instance.String(), nil)
			case Back:
				away--
			}
			path = append(path, p.State.String())
		}
	}()
	r := ran(t, d)
	<-done
	if r.Count(Back) != 3 || r.ExitCode() != 0 {
		t.Errorf("got\n%s", r)
	}
	if got := strings.Join(path, " "); got != "waiting waiting waiting asked away back asked away back asked away back" {
		t.Errorf("got %s", got)
	}
	listed(t, nc, 3)
}

func TestOneDoesNotComeBack(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 2, nil)
	r := ran(t, begin1(t, nc, Plan{Back: 100 * time.Millisecond}, Options{}))
	if want := "1 failed, 0 skipped"; states(r) != want || r.ExitCode() != fsm.ExitFailure || !strings.Contains(fmt.Sprint(r.Lines[0].Err), "not back after 100ms") {
		t.Errorf("got\n%s", r)
	}
	roundTrips(t, r)
}

// Who dies without a word after it was asked is unreachable.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc, there := s.Connect(), s.Connect()
	members(t, nc, 1, nil)
	begun := make(chan struct{})
	join(t, there, "api/api-1", func(ctx context.Context) error { close(begun); <-ctx.Done(); return nil })
	listed(t, nc, 2)
	d := begin1(t, nc, Plan{}, Options{})
	go func() {
		<-begun
		there.Close()
	}()
	r := ran(t, d)
	if want := "1 unreachable, 0 skipped"; states(r) != want || r.ExitCode() != fsm.ExitFailure || !errors.Is(r.Lines[0].Err, remote.ErrUnreachable) {
		t.Errorf("got\n%s", r)
	}
}

// Nothing is decided while NATS is away, and the drain goes on when it is back.
func TestServerIsKilledAndComesBack(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	begun, release := make(chan struct{}, 3), make(chan struct{})
	all := members(t, nc, 3, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, nc, Plan{Command: fsm.Command{Within: generous}}, Options{})
	go func() {
		<-begun
		s.Kill()
		natstest.Eventually(t, func() error {
			if nc.IsConnected() {
				return errors.New("not noticed")
			}
			return nil
		})
		s.Start()
		close(release)
	}()
	r := ran(t, d)
	if r.Count(Left) != 3 || r.ExitCode() != 0 {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if len(p.requests()) != 1 {
			t.Errorf("%s obeyed %d times", p.member.Instance(), len(p.requests()))
		}
	}
	free(t, nc)
}

// An operator who is cut off stops asking; somebody else has the group when the lease
// has expired; and the first one, joined again, takes nothing over and says so.
func TestOperatorIsCutOff(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	link := natstest.NewLink(t, strings.TrimPrefix(s.URL(), "nats://"))
	begun, release := make(chan struct{}, 3), make(chan struct{})
	all := members(t, nc, 3, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	var log natstest.Buffer
	d := begin1(t, natstest.Connect(t, link.URL()), Plan{}, Options{Lease: time.Second, Logger: logTo(&log)})
	done := make(chan *Report, 1)
	go func() {
		r, _ := d.Run(t.Context())
		done <- r
	}()
	<-begun
	link.SetCut(true)
	natstest.Eventually(t, func() error {
		if !strings.Contains(log.String(), "cannot be renewed") {
			return errors.New("it does not say so")
		}
		return nil
	})
	var other *Drain
	natstest.Eventually(t, func() (err error) {
		other, err = Begin(t.Context(), nc, Plan{Group: "api", Command: fsm.Command{Reason: "mine"}}, Options{Operator: "bob"}.quiet())
		return err
	})
	link.SetCut(false)
	natstest.Eventually(t, func() error {
		if why := d.Report().Stopped; !strings.Contains(why, "bob") {
			return fmt.Errorf("stopped: %q", why)
		}
		return nil
	})
	close(release)
	if r := <-done; states(r) != "2 left, 1 skipped, 0 skipped" || r.Replaced != "" {
		t.Errorf("got\n%s", r)
	}
	if r := ran(t, other); r.Replaced != d.Report().ID || r.ExitCode() != 0 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	for i, p := range all {
		want := "mine"
		if i == 2 {
			want = "deploy 42"
		}
		if c := p.requests(); c[0].Reason != want {
			t.Errorf("%s was asked %+v", p.member.Instance(), c)
		}
	}
}

// A lease that has expired while NATS was away is held again, if nobody else had it.
func TestLeaseExpiresWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	nc := s.Connect()
	link := natstest.NewLink(t, strings.TrimPrefix(s.URL(), "nats://"))
	begun, release := make(chan struct{}, 2), make(chan struct{})
	members(t, nc, 2, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, natstest.Connect(t, link.URL()), Plan{}, Options{Lease: time.Second})
	go func() {
		<-begun
		link.SetCut(true)
		natstest.Eventually(t, func() error { // it has expired
			if s, err := Current(t.Context(), nc, "api"); err != nil || s.Held {
				return fmt.Errorf("it stands so: %+v, %w", s, err)
			}
			return nil
		})
		link.SetCut(false)
		close(release)
	}()
	if r := ran(t, d); r.Count(Left) != 2 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	free(t, nc)
}

// The bucket is deleted in the middle: it says so, and does not wait for ever.
func TestBucketIsDeleted(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	begun, release := make(chan struct{}, 2), make(chan struct{})
	members(t, nc, 2, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, nc, Plan{}, Options{Lease: time.Second})
	go func() {
		<-begun
		js := must(newJetStream(nc))(t)
		if err := js.DeleteKeyValue(t.Context(), Bucket); err != nil {
			t.Error(err)
		}
		close(release)
	}()
	if r := ran(t, d); states(r) != "1 left, 0 skipped" || !strings.Contains(r.Stopped, "the lease is lost") {
		t.Errorf("got\n%s", r)
	}
}

// A connection that is closed for good ends it.
func TestConnectionIsClosed(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	begun, release := make(chan struct{}, 2), make(chan struct{})
	members(t, s.Connect(), 2, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	nc := s.Connect()
	d := begin1(t, nc, Plan{}, Options{})
	go func() {
		<-begun
		nc.Close()
	}()
	if r := ran(t, d); !strings.Contains(r.Stopped, "connection is closed") || r.Count(Skipped) != 1 {
		t.Errorf("got\n%s", r)
	}
	close(release)
}

// A cluster of three loses the leader of the bucket in the middle. Before, nobody else
// gets the lease there either; after, the drain goes on.
func TestClusterLosesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t)
	var urls []string
	for _, s := range cluster {
		urls = append(urls, s.URL())
	}
	nc := natstest.Connect(t, strings.Join(urls, ","))
	natstest.Eventually(t, func() error { // the cluster has to agree on who leads
		ctx, cancel := context.WithTimeout(t.Context(), generous)
		defer cancel()
		return Setup(ctx, nc, remote.Registry{Replicas: 3})
	})
	begun, release := make(chan struct{}, 3), make(chan struct{})
	all := members(t, nc, 3, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, nc, Plan{}, Options{})
	go func() {
		<-begun
		var held *HeldError
		if _, err := Begin(t.Context(), nc, Plan{Group: "api"}, Options{}.quiet()); !errors.As(err, &held) || held.Holder != "ana" {
			t.Errorf("it is held: %v", err)
		}
		natstest.LeaderOf(t, cluster, must(newJetStream(nc))(t), "KV_"+Bucket).Kill()
		close(release)
	}()
	r := ran(t, d)
	if r.Count(Left) != 3 || r.ExitCode() != 0 || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if len(p.requests()) != 1 {
			t.Errorf("%s obeyed %d times", p.member.Instance(), len(p.requests()))
		}
	}
}

// A ctx that has ended before asks nobody.
func TestInterruptedBefore(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 2, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := must(begin1(t, nc, Plan{}, Options{}).Run(ctx))(t)
	if states(r) != "1 skipped, 0 skipped" || r.ExitCode() != fsm.ExitFailure {
		t.Errorf("got\n%s", r)
	}
	listed(t, nc, 2)
}

// How the drains of all groups stand, also that of an operator who has died.
func TestList(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	begun, release := make(chan struct{}, 3), make(chan struct{}, 3)
	members(t, nc, 3, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	if _, err := Current(t.Context(), nc, "api"); !errors.Is(err, ErrNothing) {
		t.Errorf("there has been none: %v", err)
	}
	if r := ran(t, must(Begin(t.Context(), nc, Plan{Group: "store"}, Options{}.quiet()))(t)); r.ExitCode() != 0 {
		t.Errorf("got\n%s", r)
	}
	d := begin1(t, nc, Plan{}, Options{Lease: 4 * time.Second})
	go func() {
		<-begun
		release <- struct{}{}
		<-begun // one has left, and that is written down
		d.lease.lose(errors.New("it is dead"))
		d.Abandon()
	}()
	ran(t, d)
	stands := func() (api, store Standing) {
		all := must(List(t.Context(), nc))(t)
		if len(all) != 2 || all[0].Group != "api" || all[1].Group != "store" {
			t.Fatalf("there are %+v", all)
		}
		return all[0], all[1]
	}
	api, store := stands()
	if !api.Held || api.Holder != "ana" || api.ID != d.Report().ID || api.Done != 1 || api.Total != 3 || api.Unfinished() || api.Since.IsZero() || api.Began.IsZero() {
		t.Errorf("the lease lives: %+v", api)
	}
	if !store.Finished || store.Held || store.Unfinished() {
		t.Errorf("it is finished: %+v", store)
	}
	natstest.Eventually(t, func() error {
		if api, _ = stands(); api.Held {
			return errors.New("it is held")
		}
		return nil
	})
	if !api.Unfinished() || api.Done != 1 || api.Failed != 0 || api.Holder != "" {
		t.Errorf("nobody runs it: %+v", api)
	}
	close(release)
}

// Garbage in the bucket is refused where it would be taken up, replaced where it would
// not, and a lease that cannot be read is somebody's all the same.
func TestGarbageInTheBucket(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	members(t, nc, 2, nil)
	j := must(openJournal(t.Context(), nc, "api", true))(t)
	must(j.kv.PutString(t.Context(), recordKey("api"), `{"id":"../x"}`))(t)
	if _, err := Resume(t.Context(), nc, "api", Options{}.quiet()); !errors.Is(err, ErrInvalid) {
		t.Errorf("taking up garbage: %v", err)
	}
	if all := must(List(t.Context(), nc))(t); len(all) > 0 {
		t.Errorf("there are %+v", all)
	}
	d := begin1(t, nc, Plan{}, Options{})
	must(j.kv.PutString(t.Context(), doneKey("api", d.Report().ID, 0), `{"state":"skipped"}`))(t)
	must(j.kv.PutString(t.Context(), doneKey("api", d.Report().ID, 7), `{"state":"left"}`))(t)
	must(j.kv.PutString(t.Context(), doneKey("api", d.Report().ID, 1), `[[[`))(t)
	d.Abandon()
	if r := ran(t, must(Resume(t.Context(), nc, "api", Options{}.quiet()))(t)); states(r) != "1 left, 0 left" {
		t.Errorf("got\n%s", r)
	}
	must(j.kv.PutString(t.Context(), leaseKey("api"), `?`))(t)
	if _, err := Begin(t.Context(), nc, Plan{Group: "api"}, Options{}.quiet()); !errors.Is(err, ErrHeld) {
		t.Errorf("it is held by nobody knows whom: %v", err)
	}
}

// It is no success either where nobody else was to be asked.
func TestConnectionIsClosedUnderTheLast(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	begun, release := make(chan struct{}), make(chan struct{})
	members(t, s.Connect(), 1, func(context.Context) error { close(begun); <-release; return nil })
	nc := s.Connect()
	d := begin1(t, nc, Plan{}, Options{})
	go func() {
		<-begun
		nc.Close()
	}()
	if r := ran(t, d); states(r) != "0 asked" || !strings.Contains(r.Stopped, "connection is closed") || r.ExitCode() == 0 {
		t.Errorf("got\n%s", r)
	}
	close(release)
}

// One that has failed keeps its place until it is back, also when the drain is taken up
// again meanwhile.
func TestWhoHasFailedKeepsItsPlaceInTheNextRun(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	var back atomic.Bool
	join(t, nc, "api/api-0", func(context.Context) error {
		if !back.Load() {
			t.Error("it is asked, and another one is away")
		}
		return nil
	})
	listed(t, nc, 1)
	join(t, nc, "api/api-1", func(context.Context) error { return errors.New("half synced") })
	listed(t, nc, 2)
	d := begin1(t, nc, Plan{Back: generous, MaxFailed: 1}, Options{})
	go func() {
		natstest.Eventually(t, func() error {
			if s, err := Current(t.Context(), nc, "api"); err != nil || s.Done != 1 {
				return fmt.Errorf("it stands so: %+v, %w", s, err)
			}
			return nil
		})
		d.Abandon()
	}()
	ran(t, d)
	d = must(Resume(t.Context(), nc, "api", Options{}.quiet()))(t)
	go func() {
		_ = pause(t.Context(), 300*time.Millisecond)
		back.Store(true)
		join(t, nc, "api/api-1", nil)
		for p := range d.Progress(t.Context()) {
			if p.State == Away {
				join(t, nc, p.Instance.String(), nil)
			}
		}
	}()
	if r := ran(t, d); states(r) != "1 failed, 0 back" || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
}

// A wire that is cut and looks whole is NATS being away: what the operator cannot hear
// decides nothing.
func TestOperatorIsDeaf(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]Plan{
		"asked": {Command: fsm.Command{Within: time.Second}},
		"away":  {Back: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			nc := s.Connect()
			link := natstest.NewLink(t, strings.TrimPrefix(s.URL(), "nats://"))
			begun, release := make(chan struct{}), make(chan struct{})
			members(t, nc, 1, func(context.Context) error { close(begun); <-release; return nil })
			d := begin1(t, natstest.Connect(t, link.URL()), plan, Options{})
			go func() {
				<-begun
				if plan.Back > 0 {
					close(release)
					for p := range d.Progress(t.Context()) {
						if p.State == Away {
							break
						}
					}
					link.SetCut(true)
					join(t, nc, "api/api-0", nil)
				} else {
					link.SetCut(true)
					close(release)
				}
				_ = pause(t.Context(), 3*time.Second)
				link.SetCut(false)
			}()
			if r := ran(t, d); r.Count(Left, Back) != 1 || r.Stopped != "" {
				t.Errorf("got\n%s", r)
			}
		})
	}
}

// Two who take up the same drain, one of whom had the lease and was frozen until it had
// expired, do not take the other's record for their own.
func TestARecordIsOfOneRun(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	j := must(openJournal(t.Context(), nc, "api", true))(t)
	was := record{ID: "x", Plan: Plan{Group: "api"}, Resumed: 1}
	revision := must(j.write(t.Context(), recordKey("api"), was, 0, 0))(t)
	var runs []*Drain
	for range 2 {
		options := Options{}.quiet()
		if err := options.validate(); err != nil {
			t.Fatal(err)
		}
		d := newDrain(t.Context(), nc, j, was, options)
		d.revision = revision
		runs = append(runs, d)
	}
	if err := runs[0].writeRecord(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := runs[1].writeRecord(t.Context()); !errors.Is(err, errConflict) {
		t.Errorf("the second one has it too: %v", err)
	}
	runs[0].revision = revision // the answer was lost
	if err := runs[0].writeRecord(t.Context()); err != nil {
		t.Errorf("its own record: %v", err)
	}
	for _, d := range runs {
		d.cancel(nil)
	}
}

// Who withdraws while the list is read is not in the plan.
func TestWithdrawsWhileTheListIsRead(t *testing.T) {
	t.Parallel()
	nc := natstest.Start(t).Connect()
	j := must(openJournal(t.Context(), nc, "api", true))(t)
	d := newDrain(t.Context(), nc, j, record{ID: "x", Plan: Plan{Group: "api"}}, Options{Lease: time.Second}.quiet())
	defer d.cancel(nil)
	d.inbox.post(message{kind: relisting})
	stays, goes := remote.Instance{Group: "api", Name: "api-0", Incarnation: "a"}, remote.Instance{Group: "api", Name: "api-1", Incarnation: "b"}
	again := remote.Instance{Group: "api", Name: "api-0", Incarnation: "c"}
	for _, n := range []remote.News{
		{Kind: remote.Joined, Instance: stays},
		{Kind: remote.Joined, Instance: goes},
		{Kind: remote.Withdrawn, Instance: goes},
		{Kind: remote.Joined, Instance: again},
		{Kind: remote.Expired, Instance: stays}, // comes late, and is not about that one
		{Kind: remote.Listed},
	} {
		d.inbox.post(message{kind: aboutRegistry, news: n})
	}
	got := must(d.listed(t.Context()))(t)
	if len(got) != 1 || got[0].Incarnation != "c" || len(d.present) != 1 || d.present["api-0"] != "c" {
		t.Errorf("there are %v, %v", got, d.present)
	}
}

// What an operator was about to ask when he was cut off he does not ask when he is back
// and somebody else has the group.
func TestOperatorIsCutOffWhileHeAsks(t *testing.T) {
	t.Parallel()
	for name, within := range map[string]time.Duration{"for less than it lasts": time.Second, "for longer": generous} {
		t.Run(name, func(t *testing.T) { t.Parallel(); operatorIsCutOffWhileHeAsks(t, within) })
	}
}

func operatorIsCutOffWhileHeAsks(t *testing.T, within time.Duration) {
	s := natstest.Start(t)
	nc := s.Connect()
	link := natstest.NewLink(t, strings.TrimPrefix(s.URL(), "nats://"))
	begun, release := make(chan struct{}, 2), make(chan struct{})
	all := members(t, nc, 2, func(context.Context) error { begun <- struct{}{}; <-release; return nil })
	d := begin1(t, natstest.Connect(t, link.URL()), Plan{Command: fsm.Command{Within: within}}, Options{Lease: 2 * time.Second})
	link.SetCut(true)
	done := make(chan *Report, 1)
	go func() {
		r, _ := d.Run(t.Context())
		done <- r
	}()
	for p := range d.Progress(t.Context()) {
		if p.State == Asked {
			break
		}
	}
	var other *Drain
	natstest.Eventually(t, func() (err error) {
		other, err = Begin(t.Context(), nc, Plan{Group: "api", Order: Oldest, Command: fsm.Command{Reason: "mine"}}, Options{Operator: "bob"}.quiet())
		return err
	})
	ended := make(chan *Report, 1)
	go func() {
		r, _ := other.Run(t.Context())
		ended <- r
	}()
	<-begun
	link.SetCut(false)
	if r := <-done; states(r) != "1 skipped, 0 skipped" || !strings.Contains(r.Stopped, "bob") {
		t.Errorf("got\n%s", r)
	}
	close(release)
	if r := <-ended; states(r) != "0 left, 1 left" || r.Stopped != "" {
		t.Errorf("got\n%s", r)
	}
	for _, p := range all {
		if c := p.requests(); len(c) != 1 || c[0].Reason != "mine" {
			t.Errorf("%s was asked %+v", p.member.Instance(), c)
		}
	}
}
