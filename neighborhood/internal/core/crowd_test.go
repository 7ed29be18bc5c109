package core

import (
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// Of a crowd of newcomers at once, what is known of the neighbors' room is the same for all: they must not all be sent
// the same way.
func TestPassesTakeTurns(t *testing.T) {
	s := newStage(t, 0)
	actors := []*actor{newActor(1), newActor(2), newActor(3), newActor(4), newActor(5)}
	s.join(actors...)
	for _, a := range actors {
		s.tells(a, a.lists(s.self()))
	}
	s.after(2 * time.Second)
	var ways []identity.PublicKey
	for i := range actors {
		late := newActor(byte(10 + i))
		s.step(PeerUp{Peer: late.key()})
		s.says(late, wire.Debut, late.shown(late.lists()))
		got := s.sentTo(late)
		if len(got) != 1 || got[0].Kind != wire.Pass {
			t.Fatalf("sent %v, want a Pass", got)
		}
		ways = append(ways, got[0].Entries[0].Record.Key)
	}
	slices.SortFunc(ways, identity.PublicKey.Compare)
	if different := len(slices.Compact(ways)); different != len(actors) {
		t.Errorf("%d newcomers were sent %d ways, want each its own", len(actors), different)
	}
}

// A Pass that leads nowhere must not keep a newcomer waiting: the stream is closed, and the configured neighbor, which
// may know better by then, asked again.
func TestAStreamThatHasPassedUsOnIsClosed(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := newStage(t, 0, a.target())
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Pass, b.shown(b.lists()))
	if !slices.Contains(s.removed, a.key()) {
		t.Fatal("the stream is kept")
	}
	s.step(DialFailed{Peer: b.key()})
	dialed := len(s.dialed)
	s.after(time.Second)
	if len(s.dialed) != dialed+1 || s.dialed[dialed] != a.target() {
		t.Errorf("dialed %v, want the configured neighbor again", s.dialed[dialed:])
	}
}

// Whoever asks whether a neighborhood has settled must not be told so between a change that had to wait and its gossip.
func TestWaitingCountsWhatIsYetToDo(t *testing.T) {
	const window = 20 * time.Millisecond
	s := newStage(t, window)
	a, b, far := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	s.tells(a, a.lists(s.self(), far.key()), far.lists(a.key()))
	s.after(2 * time.Second)
	if n := s.core.View().Waiting; n != 0 {
		t.Fatalf("%d things to do in a settled neighborhood", n)
	}
	s.tells(a, far.lists(a.key()))
	s.after(window)
	s.forget()
	s.tells(a, far.lists(a.key())) // too soon after the last
	for len(s.sentTo(b)) == 0 {
		if n := s.core.View().Waiting; n == 0 {
			t.Fatal("nothing to do, and yet a change is not told")
		}
		s.after(window / 2)
	}
	s.after(window)
	if n := s.core.View().Waiting; n != 0 {
		t.Errorf("%d things to do at the end", n)
	}
}
