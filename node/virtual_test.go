package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams/identity"
)

// air carries frames between neighborhoods in one process, so that a node with neighbors can be watched in virtual time.
type air struct {
	mu      sync.Mutex
	members map[identity.PublicKey]*radio
	stalled map[identity.PublicKey]bool // takes no frames
}

// radio is one neighborhood's Network, and stands in for the pool of streams as a component.
type radio struct {
	air          *air
	neighborhood *neighborhood.Neighborhood
	key          identity.PublicKey
	sent         []identity.PublicKey // to whom frames went, in order
	streams      map[identity.PublicKey]bool
}

func (r *radio) Dial(_ context.Context, peer identity.PublicKey, _ string) error {
	r.air.mu.Lock()
	other := r.air.members[peer]
	up := other != nil && !r.streams[peer]
	if up {
		r.streams[peer], other.streams[r.key] = true, true
	}
	r.air.mu.Unlock()
	if other == nil {
		return errors.New("nobody there")
	}
	if up {
		go other.neighborhood.PeerUp(r.key)
		r.neighborhood.PeerUp(peer)
	}
	return nil
}

func (r *radio) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	r.air.mu.Lock()
	other, stalled := r.air.members[peer], r.air.stalled[peer]
	r.sent = append(r.sent, peer)
	r.air.mu.Unlock()
	if stalled {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	go other.neighborhood.Frame(r.key, frame)
	return nil
}

func (r *radio) Remove(peer identity.PublicKey) {
	r.air.mu.Lock()
	other := r.air.members[peer]
	up := r.streams[peer]
	delete(r.streams, peer)
	delete(other.streams, r.key)
	r.air.mu.Unlock()
	if up {
		go r.neighborhood.PeerDown(peer, nil)
		go other.neighborhood.PeerDown(r.key, nil)
	}
}

func (r *radio) Quiesce(context.Context) error {
	r.neighborhood.WithdrawFromNetwork()
	return nil
}

func (r *radio) Shutdown(context.Context) error { return nil }

func (r *radio) framesSent() []identity.PublicKey {
	r.air.mu.Lock()
	defer r.air.mu.Unlock()
	return slices.Clone(r.sent)
}

// neighbors makes a node with n neighbors that know it, and settles.
func neighbors(t *testing.T, n int) (*radio, *air) {
	t.Helper()
	sky := &air{members: map[identity.PublicKey]*radio{}, stalled: map[identity.PublicKey]bool{}}
	var known []neighborhood.Descriptor
	var last *radio
	for i := range n + 1 {
		id := identity.FromSeed([32]byte{byte(i + 1)})
		config := neighborhood.Config{Identity: id}
		if i == n {
			config.Neighbors = known
		}
		nbh, err := neighborhood.New(config)
		if err != nil {
			t.Fatal(err)
		}
		last = &radio{air: sky, neighborhood: nbh, key: id.PublicKey(), streams: map[identity.PublicKey]bool{}}
		sky.members[last.key] = last
		address := fmt.Sprintf("192.0.2.1:%d", 1000+i)
		known = append(known, neighborhood.Descriptor{Key: last.key, Address: address})
		if err := nbh.Start(last, address); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nbh.Shutdown(context.Background()) })
	}
	time.Sleep(time.Minute) // virtual: until nobody has anything more to say
	synctest.Wait()
	if got := len(last.neighborhood.Snapshot().Neighbors); got != n {
		t.Fatalf("%d neighbors, want %d", got, n)
	}
	return last, sky
}

// orchestrate registers what a node registers, and then others.
func orchestrate(t *testing.T, r *radio) *fsm.Orchestrator {
	t.Helper()
	o, err := fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Register(NeighborhoodID, neighborhoodComponent{r.neighborhood}, fsm.Withdraws()); err != nil {
		t.Fatal(err)
	}
	if err := o.Register(StreamsID, r); err != nil {
		t.Fatal(err)
	}
	return o
}

func shutDown(t *testing.T, o *fsm.Orchestrator) *fsm.Report {
	t.Helper()
	report, err := o.Shutdown(t.Context(), fsm.Command{Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// kinds lists what happened to the machine and when components acked.
func kinds(report *fsm.Report) (story []string) {
	for _, e := range report.Events {
		if e.From == "" {
			story = append(story, e.Kind.String())
		} else if e.Kind == fsm.Acked {
			story = append(story, "Acked "+string(e.From))
		}
	}
	return story
}

func TestNodeLeavesItsNeighbors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sky := neighbors(t, 4)
		o := orchestrate(t, r)
		before := len(r.framesSent())
		report := shutDown(t, o)
		want := []string{"ShutdownRequested", "Acked neighborhood", "Withdrawn", "Acked streams", "AllAcked"}
		if got := kinds(report); !slices.Equal(got, want) {
			t.Errorf("story %q, want %q", got, want)
		}
		if code := report.ExitCode(); code != fsm.ExitOK {
			t.Errorf("exit code %d\n%s", code, report)
		}
		told := r.framesSent()[before:]
		slices.SortFunc(told, identity.PublicKey.Compare)
		if len(told) != 4 || len(slices.Compact(told)) != 4 {
			t.Errorf("%d frames to %d neighbors, want one to each of 4", len(told), len(slices.Compact(told)))
		}
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		for key, other := range sky.members {
			for _, n := range other.neighborhood.Snapshot().Neighbors {
				if key != r.key && n.Key == r.key {
					t.Errorf("%v still lists the leaver", key)
				}
			}
		}
	})
}

func TestStalledNeighborCostsItsShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sky := neighbors(t, 3)
		o := orchestrate(t, r)
		stalled := r.neighborhood.Snapshot().Neighbors[0].Key
		sky.mu.Lock()
		sky.stalled[stalled] = true
		sky.mu.Unlock()
		report := shutDown(t, o)
		if report.Edge.On != fsm.AllAcked || report.ExitCode() != fsm.ExitOK {
			t.Errorf("ended by %s with %d\n%s", report.Edge.On, report.ExitCode(), report)
		}
		for _, told := range r.neighborhood.Withdrawal() {
			if told.Written() == (told.Neighbor == stalled) {
				t.Errorf("farewell to %v: %v after %v", told.Neighbor, told.Err, told.Took)
			}
			if told.Written() && told.Took > 0 {
				t.Errorf("%v waited %v for the stalled neighbor", told.Neighbor, told.Took)
			}
		}
	})
}

func TestNodeWithHungComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := neighbors(t, 2)
		o := orchestrate(t, r)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		hang := fsm.Func(func(context.Context) error { <-release; return nil })
		if err := o.Register("hang", hang, fsm.Before(StreamsID)); err != nil {
			t.Fatal(err)
		}
		report := shutDown(t, o)
		want := []string{"ShutdownRequested", "Acked neighborhood", "Withdrawn", "Acked streams", "Timeout"}
		if got := kinds(report); !slices.Equal(got, want) {
			t.Errorf("story %q, want %q", got, want)
		}
		if report.Took != fsm.DefaultAlarm || report.ExitCode() != fsm.ExitAlarm {
			t.Errorf("took %v, exit code %d", report.Took, report.ExitCode())
		}
		var culprit *fsm.ComponentReport
		if err := report.Err(); !errors.Is(err, fsm.ErrAlarm) || !errors.As(err, &culprit) || culprit.ID != "hang" || !culprit.Insisted {
			t.Errorf("error %v", err)
		}
		if o.Request(fsm.Command{}) || o.State() != fsm.Terminated {
			t.Error("there is life after Terminated")
		}
		if again, _ := o.Wait(t.Context()); again != report || !slices.Equal(kinds(again), want) {
			t.Error("the report has changed")
		}
	})
}
