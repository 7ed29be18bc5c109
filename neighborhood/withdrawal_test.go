package neighborhood

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

func TestWithdrawal(t *testing.T) {
	for n := range 6 {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeNetwork()
			center, others := star(t, f, n)
			before := center.Snapshot()
			if len(before.Neighbors) != n {
				t.Fatalf("%d neighbors, want %d", len(before.Neighbors), n)
			}
			center.WithdrawFromNetwork()
			center.WithdrawFromNetwork()
			if err := center.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkFarewells(t, center, others)
			settle()
			for _, o := range others {
				if got := f.sent(center.key)[o.key]; got != 1 {
					t.Errorf("%d messages to one of %d neighbors, want exactly 1", got, n)
				}
				checkDropped(t, o, center.key, before.Version+1)
				if f.sent(o.key)[center.key] != 0 {
					t.Error("a neighbor answered a farewell")
				}
			}
			f.forget()
			f.vanish(center)
			settle()
			for _, o := range others {
				if len(f.sent(o.key)) != 0 {
					t.Errorf("the closing stream caused %v", f.sent(o.key))
				}
			}
			shutDown(t, others...)
		})
	}
}

func checkFarewells(t *testing.T, leaver *node, neighbors []*node) {
	t.Helper()
	farewells := leaver.Withdrawal()
	if len(farewells) != len(neighbors) {
		t.Errorf("%d farewells, want %d", len(farewells), len(neighbors))
	}
	for _, w := range farewells {
		isNeighbor := slices.ContainsFunc(neighbors, func(n *node) bool { return n.key == w.Neighbor })
		if !w.Written() || w.Took != latency || !isNeighbor {
			t.Errorf("farewell %+v", w)
		}
	}
}

// checkDropped reads from n's own snapshot what `farewell network` reads from a node's status.
func checkDropped(t *testing.T, n *node, left identity.PublicKey, version uint64) {
	t.Helper()
	s := n.Snapshot()
	for _, nb := range s.Neighbors {
		if nb.Key == left {
			t.Error("still lists the one that left")
		}
	}
	i := slices.IndexFunc(s.Records, func(r Record) bool { return r.Key == left })
	if i < 0 || s.Records[i].Version != version || len(s.Records[i].HalfNeighbors) != 0 {
		t.Errorf("knows of the one that left: %+v", s.Records)
	}
	if s.Gossip[left].Received["Standard"].Messages == 0 {
		t.Errorf("counts of the one that left: %+v", s.Gossip[left])
	}
}

func TestStalledNeighborCostsItsShareOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 5)
		stalled := others[2]
		f.stall(stalled.key)
		begun := time.Now()
		err := center.Shutdown(t.Context())
		if took := time.Since(begun); took != defaultFarewellTimeout {
			t.Errorf("took %v, want %v", took, defaultFarewellTimeout)
		}
		var notReached *NotReachedError
		if !errors.As(err, &notReached) || len(notReached.Farewells) != 1 || !errors.Is(err, errFarewellTimeout) {
			t.Fatalf("error %v, want one neighbor not reached", err)
		}
		if !strings.Contains(err.Error(), stalled.key.String()) {
			t.Errorf("%q does not name the stalled neighbor", err)
		}
		for _, w := range center.Withdrawal() {
			if w.Neighbor != stalled.key && (!w.Written() || w.Took != latency) {
				t.Errorf("another neighbor's farewell: %+v", w)
			}
		}
		if again := center.Shutdown(t.Context()); again == nil || again.Error() != err.Error() {
			t.Errorf("the second call returned %v, the first %v", again, err)
		}
		shutDown(t, others...)
	})
}

func TestShutdownGivesUpWhenInsistedUpon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 3)
		f.stall(others[0].key)
		insist := errors.New("insist")
		ctx, cancel := context.WithCancelCause(t.Context())
		center.WithdrawFromNetwork()
		time.AfterFunc(100*time.Millisecond, func() { cancel(insist) })
		begun := time.Now()
		if err := center.Shutdown(ctx); !errors.Is(err, insist) {
			t.Errorf("error %v, want the cause %v", err, insist)
		}
		if took := time.Since(begun); took != 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		shutDown(t, others...)
	})
}

func TestShutdownBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNetwork().add(t, 1)
		waited := make(chan struct{})
		go func() {
			n.PeerUp(identity.FromSeed([32]byte{9}).PublicKey()) // waits for the start that does not come
			close(waited)
		}()
		synctest.Wait()
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		<-waited
		if err := n.Start(n, ""); !errors.Is(err, ErrLeft) {
			t.Errorf("start after leaving: %v", err)
		}
		if got := n.Withdrawal(); got == nil || len(got) != 0 {
			t.Errorf("withdrawal %v, want empty", got)
		}
	})
}

func TestWithdrawalWithDeadNeighborAndDuringADebut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		center, others := star(t, f, 2)
		f.stall(center.key) // so that it does not see the others' messages: it is busy
		late := f.start(t, 50, center.descriptor)
		time.Sleep(latency / 2)
		f.vanish(others[0])
		if err := center.Shutdown(t.Context()); err != nil {
			t.Errorf("a neighbor that had gone before: %v", err)
		}
		shutDown(t, append(others, late)...)
	})
}
