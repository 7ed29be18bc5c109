package core

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

func TestWithdrawalIsOneMessageToEachNeighbor(t *testing.T) {
	for n := range wire.MaxDegree + 1 {
		s := newStage(t, 20*time.Millisecond)
		actors := make([]*actor, n)
		for i := range actors {
			actors[i] = newActor(byte(i + 1))
		}
		s.join(actors...)
		version := s.core.View().Root.Version
		s.step(Withdraw{})
		if len(s.sent) != n || !s.left {
			t.Fatalf("%d neighbors: %d messages, over: %v", n, len(s.sent), s.left)
		}
		for _, a := range actors {
			all := s.sentTo(a)
			if len(all) != 1 || all[0].Kind != wire.Standard || len(all[0].Entries) != 1 {
				t.Fatalf("%d neighbors: one of them was sent %v", n, all)
			}
			r := all[0].Entries[0].Record
			if r.Key != s.self() || r.Version != version+1 || len(r.Neighbors) != 0 || !r.Verify() {
				t.Errorf("the farewell says %+v, want version %d and no neighbors", r, version+1)
			}
		}
		for _, f := range s.core.View().Farewells {
			if !f.Done || f.Err != nil {
				t.Errorf("farewell %+v", f)
			}
		}
	}
}

func TestNothingIsHeardWhileWithdrawing(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b, c := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	s.hold = true
	s.step(Withdraw{})
	s.tells(a, a.lists(s.self()))
	s.step(PeerUp{Peer: c.key()})
	s.says(c, wire.Debut, c.shown(c.lists()))
	s.step(PeerDown{Peer: a.key()})
	s.step(Withdraw{})
	s.after(time.Minute)
	if len(s.sent) != 2 {
		t.Errorf("%d messages, want the two farewells", len(s.sent))
	}
	s.rejected(RejectedWithdrawing, 2)
	s.lists()
}

func TestFarewellWaitsForTheFrameUnderWay(t *testing.T) {
	refused := errors.New("refused")
	for name, failure := range map[string]error{"written": nil, "failed": refused} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 0)
			a, b := newActor(1), newActor(2)
			s.join(a, b)
			s.hold = true
			s.tells(b, b.lists(s.self(), newActor(9).key())) // is passed on to a
			before := s.held
			s.step(Withdraw{})
			if len(before) != 1 || len(s.sentTo(a)) != 1 || len(s.sentTo(b)) != 1 {
				t.Fatalf("a farewell overtook the frame under way: %v", s.sent)
			}
			s.held = nil
			s.step(Delivered{Peer: a.key(), ID: before[0].ID, Err: failure})
			if got, want := len(s.sentTo(a)), 2; failure == nil && got != want {
				t.Fatalf("%d messages to the busy neighbor, want %d", got, want)
			}
			for _, d := range append(s.core.pendingFarewells(), s.held...) {
				s.step(Delivered{Peer: d.Peer, ID: d.ID})
			}
			i := slices.IndexFunc(s.core.View().Farewells, func(f Farewell) bool { return f.Neighbor == a.key() })
			if f := s.core.View().Farewells[i]; !s.left || !errors.Is(f.Err, failure) {
				t.Errorf("over: %v, farewell %+v", s.left, f)
			}
		})
	}
}

// pendingFarewells are the deliveries to neighbors that have not ended.
func (c *Core) pendingFarewells() []Delivery {
	var all []Delivery
	for _, f := range c.withdrawal.farewells {
		if p := c.peers[f.Neighbor]; !f.Done && p != nil && c.withdrawal.sent[p.inFlight] {
			all = append(all, Delivery{Peer: p.key, ID: p.inFlight})
		}
	}
	return all
}

func TestNeighborThatSaysFarewellGoesAtOnceInOneRound(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b, c := newActor(1), newActor(2), newActor(3)
	s.join(a, b, c)
	s.tells(a, a.lists(s.self(), b.key())) // a has just changed: its farewell still need not wait
	s.after(20 * time.Millisecond)
	s.forget()
	s.tells(a, a.lists())
	s.lists(b, c)
	s.after(20 * time.Millisecond)
	if len(s.sentTo(a)) != 0 || len(s.sentTo(b)) != 1 || len(s.sentTo(c)) != 1 {
		t.Fatalf("want one message to each of the two who stay: %v", s.sent)
	}
	got := keysOf(s.sentTo(b)[0])
	if want := []identity.PublicKey{s.self(), a.key()}; !slices.Equal(got, want) {
		t.Errorf("passed on %v, want the own record and the leaver's", got)
	}
	s.forget()
	s.step(PeerDown{Peer: a.key()})
	s.after(time.Minute)
	if len(s.sent) != 0 {
		t.Errorf("the closing stream caused %v", s.sent)
	}
}

func TestStreamThatDiesWithoutFarewellIsOneRound(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b := newActor(1), newActor(2)
	s.join(a, b)
	s.step(PeerDown{Peer: a.key()})
	s.lists(b)
	s.after(20 * time.Millisecond)
	s.after(time.Minute)
	if got := s.sentTo(b); len(s.sent) != 1 || len(got) != 1 || len(got[0].Entries) != 1 {
		t.Errorf("sent %v, want one message with the own record", s.sent)
	}
}

// The farewell may come before anything else of the newcomer has been taken: only one change a second is.
func TestNeighborThatLeavesRightAfterItCame(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a := newActor(1)
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Debut, a.shown(a.lists()))
	s.lists(a)
	farewell := a.lists() // what it listed in between was never told
	s.tells(a, farewell)
	s.lists()
	if got := s.core.Held(a.key()); got.Version != farewell.Version {
		t.Errorf("holds version %d of the one that left, want %d", got.Version, farewell.Version)
	}
	s.forget()
	s.step(PeerDown{Peer: a.key()})
	s.after(time.Minute)
	if len(s.sent) != 0 {
		t.Errorf("the closing stream caused %v", s.sent)
	}
}

func TestWithdrawalDuringADebut(t *testing.T) {
	a, b, late := newActor(1), newActor(2), newActor(3)
	for name, test := range map[string]struct {
		before func(s *stage)
		want   int // messages after the withdrawal began
	}{
		"dialing":                {func(*stage) {}, 0},
		"not answered":           {func(s *stage) { s.step(PeerUp{Peer: a.key()}) }, 0},
		"being answered":         {func(s *stage) { s.hold = true; s.debuts(late) }, 0},
		"answered":               {func(s *stage) { s.debuts(late) }, 1},
		"a change not told yet":  {func(s *stage) { s.join(b); s.tells(b, b.lists(s.self(), late.key())) }, 1},
		"a neighbor just lost":   {func(s *stage) { s.join(b, late); s.step(PeerDown{Peer: b.key()}) }, 1},
		"a neighbor just left":   {func(s *stage) { s.join(b, late); s.tells(b, b.lists()) }, 1},
		"with somebody to go to": {func(s *stage) { s.join(b) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 20*time.Millisecond, a.target())
			test.before(s)
			s.forget()
			s.step(Withdraw{})
			s.step(PeerUp{Peer: a.key()})
			s.after(time.Minute)
			if len(s.sent) != test.want || len(s.dialed) != 0 {
				t.Errorf("sent %v, dialed %v, want %d farewells and nothing else", s.sent, s.dialed, test.want)
			}
			s.lists()
		})
	}
}

// debuts has a debut, and no more.
func (s *stage) debuts(a *actor) {
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Debut, a.shown(a.lists()))
}
