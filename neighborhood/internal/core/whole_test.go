package core

import (
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

// forAWhile lets the time go by, with every dial failing.
func (s *stage) forAWhile(d time.Duration) {
	s.t.Helper()
	for end := s.now.Add(d); s.now.Before(end); {
		next := s.core.nextTimer()
		if next.IsZero() || next.After(end) {
			next = end
		}
		s.after(max(next.Sub(s.now), time.Millisecond))
		for key := range s.core.outstanding {
			if s.core.peers[key] == nil {
				s.step(DialFailed{Peer: key})
			}
		}
	}
}

func (s *stage) dials(a *actor) int {
	n := 0
	for _, t := range s.dialed {
		if t.Key == a.key() {
			n++
		}
	}
	return n
}

// passedOn makes a stage whose only configured neighbor, a, has passed it on to b, its neighbor now.
func passedOn(t *testing.T, a, b *actor) *stage {
	s := newStage(t, 0, a.target())
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Pass, b.shown(b.lists(a.key())))
	s.step(PeerDown{Peer: a.key()})
	s.step(PeerUp{Peer: b.key()})
	s.says(b, wire.Introduction, b.shown(b.lists(a.key(), s.self())))
	s.tells(b, a.lists(b.key()))
	s.forget()
	return s
}

func TestAReachableNetworkIsSilent(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := passedOn(t, a, b)
	s.forAWhile(time.Hour)
	if len(s.dialed) > 0 || len(s.sent) > 0 {
		t.Errorf("dialed %v, sent %v, though the configured neighbor can be reached", s.dialed, s.sent)
	}
}

func TestAConfiguredNeighborOutOfReachIsDialedAgain(t *testing.T) {
	for name, lost := range map[string]func(*stage, *actor, *actor){
		"left behind by a leaver": func(s *stage, _, b *actor) { s.tells(b, b.lists(s.self())) },
		"the last neighbor left":  func(s *stage, _, b *actor) { s.tells(b, b.lists()) },
		"the last neighbor broke": func(s *stage, _, b *actor) { s.step(PeerDown{Peer: b.key()}) },
		"half a neighborship":     func(s *stage, a, b *actor) { s.tells(b, a.lists(newActor(9).key())) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newActor(1), newActor(2)
			s := passedOn(t, a, b)
			s.after(2 * time.Second)
			lost(s, a, b)
			s.forAWhile(5 * time.Second)
			if s.dials(a) == 0 {
				t.Error("the configured neighbor is never dialed")
			}
			s.forget()
			s.forAWhile(time.Hour)
			if n := s.dials(a); n < 45 || n > 110 {
				t.Errorf("dialed %d times in an hour, want about once a minute in the end", n)
			}
		})
	}
}

// Whom a Pass led to before may have room when others have left: the minute in which it is not tried again begins anew.
func TestAPassIsFollowedAgainWhenSomebodyIsLost(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := passedOn(t, a, b)
	s.after(2 * time.Second)
	s.tells(b, b.lists()) // so that it is not dialed because it is remembered
	s.step(PeerDown{Peer: b.key()})
	for range 50 {
		if s.core.outstanding[a.key()] != nil {
			break
		}
		s.after(100 * time.Millisecond)
	}
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Pass, b.shown(b.lists(a.key())))
	if s.dials(b) == 0 {
		t.Errorf("dialed %v, want the one that the Pass names", s.dialed)
	}
}

func TestAMapThatComesIntoPartsIsNotedOnce(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := passedOn(t, a, b)
	var notes []Note
	during := func(d time.Duration) {
		for end := s.now.Add(d); s.now.Before(end); s.now = s.now.Add(100 * time.Millisecond) {
			out := s.step(Tick{})
			notes = append(notes, out.Notes...)
			for _, target := range out.Dial {
				s.step(DialFailed{Peer: target.Key})
			}
		}
	}
	count := func(text string) int {
		n := 0
		for _, note := range notes {
			if note.Text == text {
				n++
			}
		}
		return n
	}
	during(2 * time.Second)
	s.tells(b, b.lists(s.self()))
	during(time.Minute)
	if n := count("the map is in parts"); n != 1 {
		t.Errorf("said %d times that the map is in parts, want once", n)
	}
	if m := s.core.View().Missing; len(m) != 1 || m[0].Key != a.key() || !m[0].Known || m[0].Left {
		t.Errorf("missing: %+v", m)
	}
	frame := wire.Message{Kind: wire.Standard, Entries: []wire.Entry{
		{Record: b.lists(s.self(), a.key())}, {Record: a.lists(b.key())},
	}}.Encode()
	notes = append(notes, s.step(Frame{Peer: b.key(), Bytes: frame}).Notes...)
	during(2 * time.Second)
	if n := count("the map is whole again"); n != 1 || len(s.core.View().Missing) != 0 {
		t.Errorf("said %d times that it is whole again; missing %v", n, s.core.View().Missing)
	}
	s.tells(b, a.lists())
	during(time.Minute)
	if n := count("the map is in parts"); n != 1 {
		t.Error("a farewell is no map in parts")
	}
}

// withFar is a stage with two neighbors, of which the first has another one.
func withFar(t *testing.T, a, b, far *actor) *stage {
	s := newStage(t, 0)
	s.join(a, b)
	s.tells(a, a.lists(s.self(), far.key()), far.lists(a.key()))
	s.after(2 * time.Second)
	return s
}

func TestALeftNodeAsksForASecondNeighbor(t *testing.T) {
	a, b, far := newActor(1), newActor(2), newActor(3)
	s := withFar(t, a, b, far)
	s.forget()
	s.tells(b, b.lists())
	s.step(PeerDown{Peer: b.key()})
	s.forAWhile(2 * time.Second)
	got := s.sentTo(a)
	if len(got) < 2 || got[len(got)-1].Kind != wire.Debut {
		t.Fatalf("sent %v, want a Debut to the neighbor that is left", got)
	}
	s.says(a, wire.Introduction, a.shown(a.lists(s.self(), far.key())), far.shown(far.lists(a.key())))
	if s.dials(far) != 1 {
		t.Fatalf("dialed %v, want the one that was introduced", s.dialed)
	}
	s.step(PeerUp{Peer: far.key()})
	s.says(far, wire.Introduction, far.shown(far.lists(a.key(), s.self())))
	s.lists(a, far)
	s.after(2 * time.Second)
	s.forget()
	s.forAWhile(10 * time.Minute)
	if len(s.sent) > 0 || len(s.dialed) > 0 {
		t.Errorf("with two neighbors: sent %v, dialed %v", s.sent, s.dialed)
	}
}

func TestNobodyAsksForASecondNeighborForEver(t *testing.T) {
	a, b, far := newActor(1), newActor(2), newActor(3)
	s := withFar(t, a, b, far)
	s.tells(b, b.lists())
	s.step(PeerDown{Peer: b.key()})
	s.forget()
	s.forAWhile(time.Hour)
	if n := len(s.sentTo(a)); n == 0 || n > secondTries+1 {
		t.Errorf("%d messages to one that does not answer", n)
	}
	s.lists(a)
}

func TestNobodyAsksWhereNobodyHasRoom(t *testing.T) {
	a, b, full := newActor(1), newActor(2), newActor(3)
	s := newStage(t, 0)
	s.join(a, b)
	var others []identity.PublicKey
	for i := range byte(4) {
		others = append(others, newActor(20+i).key())
	}
	s.tells(a, a.lists(s.self(), full.key()), full.lists(append(others, a.key())...))
	s.after(2 * time.Second)
	s.tells(b, b.lists())
	s.step(PeerDown{Peer: b.key()})
	s.after(time.Second)
	s.forget()
	s.forAWhile(10 * time.Minute)
	if len(s.sent) > 0 {
		t.Errorf("sent %v", s.sent)
	}
}

func TestAFullNeighborIsRemembered(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 0)
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Debut, a.shown(a.lists()))
	if got := s.core.Remembered(); len(got) != 0 {
		t.Fatalf("remembered before it lists us: %v", got)
	}
	s.after(2 * time.Second)
	out := s.core.Step(s.now, Frame{Peer: a.key(), Bytes: wire.Message{
		Kind: wire.Standard, Entries: []wire.Entry{{Record: a.lists(s.self())}},
	}.Encode()})
	if want := []Target{a.target()}; !slices.Equal(out.Remember, want) {
		t.Fatalf("to remember: %v, want %v", out.Remember, want)
	}
	s.step(PeerDown{Peer: a.key()})
	s.forAWhile(time.Minute)
	if s.dials(a) < 3 {
		t.Errorf("a neighbor that was lost was dialed %d times in a minute", s.dials(a))
	}
	s.forget()
	s.forAWhile(3 * time.Hour)
	if n := s.dials(a); n < 20 || n > 60 {
		t.Errorf("dialed %d times in three hours, want about every five minutes", n)
	}
	s.now = s.now.Add(dayAway)
	s.forAWhile(6 * time.Minute)
	s.forget()
	s.forAWhile(time.Hour)
	if s.dials(a) > 0 {
		t.Error("dialed after a day in vain")
	}
}

func TestWhoHasLeftIsNotDialed(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 0)
	s.join(a)
	s.tells(a, a.lists())
	s.step(PeerDown{Peer: a.key()})
	s.forAWhile(time.Hour)
	if len(s.dialed) > 0 {
		t.Errorf("dialed %v", s.dialed)
	}
	if got := s.core.Remembered(); len(got) != 1 {
		t.Errorf("remembered for the next life: %v, want the one that left: it may be back by then", got)
	}
}

func TestRememberedNeighborsAreDialedAfterTheConfiguredOnes(t *testing.T) {
	a, b, c := newActor(1), newActor(2), newActor(3)
	s := &stage{t: t, id: identity.FromSeed([32]byte{0xff}), now: epoch}
	s.core = New(Config{Identity: s.id, Neighbors: []Target{a.target()}, Remembered: []Target{b.target(), a.target(), c.target()}, MaxRecords: 100})
	s.step(Start{At: mustAddrPort("192.0.2.1:4000")})
	if !slices.Equal(s.dialed, []Target{a.target()}) {
		t.Fatalf("dialed %v at once", s.dialed)
	}
	s.step(DialFailed{Peer: a.key()})
	s.forAWhile(headroom + 10*stagger)
	if s.dials(b) == 0 || s.dials(c) == 0 {
		t.Errorf("dialed %v", s.dialed)
	}
	s.step(PeerUp{Peer: b.key()})
	if s.core.outstanding[b.key()] != nil {
		t.Error("a remembered neighbor that comes by itself is debuted to")
	}
}

func TestOnlySoManyAreRemembered(t *testing.T) {
	s := newStage(t, 0)
	stays := newActor(1)
	s.join(stays)
	for i := range byte(maxRemembered + 5) {
		a := newActor(50 + i)
		s.join(a)
		s.step(PeerDown{Peer: a.key()})
	}
	got := s.core.Remembered()
	if len(got) != maxRemembered || got[0].Key != newActor(50+maxRemembered+4).key() || !slices.Contains(got, stays.target()) {
		t.Errorf("%d are remembered: %v", len(got), got)
	}
}

// fullHouse is a stage with five neighbors that are full themselves, and neighbors of each other.
func fullHouse(t *testing.T) (*stage, []*actor) {
	s := newStage(t, 0)
	house := []*actor{newActor(31), newActor(32), newActor(33), newActor(34), newActor(35)}
	s.join(house...)
	for _, a := range house {
		others := []identity.PublicKey{s.self()}
		for _, b := range house {
			if a != b {
				others = append(others, b.key())
			}
		}
		s.tells(a, a.lists(others...))
	}
	s.after(2 * time.Second)
	s.forget()
	return s, house
}

func TestAFullHouseMakesRoom(t *testing.T) {
	s, _ := fullHouse(t)
	s.debuts(newActor(1))
	if got := s.sentTo(newActor(1)); len(got) == 0 || got[0].Kind != wire.Introduction {
		t.Fatalf("the newcomer was sent %v", got)
	}
	if len(s.removed) != 1 || s.core.Places() != wire.MaxDegree {
		t.Errorf("gave up %v, %d places taken", s.removed, s.core.Places())
	}
	s.debuts(newActor(2))
	if got := s.sentTo(newActor(2)); len(got) == 0 || got[0].Kind != wire.Pass {
		t.Errorf("the next one was sent %v: strangers must not turn the house over", got)
	}
}

func TestAHouseWithRoomElsewhereGivesNobodyUp(t *testing.T) {
	s, house := fullHouse(t)
	s.tells(house[0], house[0].lists(s.self(), house[1].key()))
	s.after(2 * time.Second)
	s.debuts(newActor(1))
	if len(s.removed) > 0 {
		t.Errorf("gave up %v", s.removed)
	}
}

func TestAFullNodeMakesRoomForWhoIsMissing(t *testing.T) {
	a := newActor(1)
	s, _ := fullHouse(t)
	s.step(AddNeighbor{Target: a.target()})
	if s.dials(a) == 0 {
		t.Fatal("a full node dials nobody")
	}
	if len(s.removed) > 0 {
		t.Fatal("room is made for one that may not be there")
	}
	s.step(PeerUp{Peer: a.key()})
	if got := s.sentTo(a); len(got) != 1 || got[0].Kind != wire.Debut || len(s.removed) != 1 {
		t.Errorf("sent %v, gave up %v", got, s.removed)
	}
	if s.core.Places() > wire.MaxDegree {
		t.Errorf("%d places taken", s.core.Places())
	}
}

func TestANeighborAtRuntime(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 0)
	s.step(AddNeighbor{Target: a.target()})
	if !slices.Equal(s.dialed, []Target{a.target()}) {
		t.Fatalf("dialed %v", s.dialed)
	}
	s.step(DialFailed{Peer: a.key()})
	moved := Target{Key: a.key(), Address: "192.0.2.77:1"}
	s.step(AddNeighbor{Target: moved})
	if s.dialed[len(s.dialed)-1] != moved {
		t.Errorf("dialed %v, want the new address at once", s.dialed)
	}
	s.step(DialFailed{Peer: a.key()})
	s.step(AddNeighbor{Target: Target{Key: s.self(), Address: "192.0.2.1:4000"}})
	s.forAWhile(time.Minute)
	for _, target := range s.dialed[1:] {
		if target != moved {
			t.Errorf("dialed %v", target)
		}
	}
}

func TestANewAddressIsShownToTheNeighbors(t *testing.T) {
	s := newStage(t, 0)
	a := newActor(1)
	s.join(a)
	before := s.core.Root().Version
	at := mustAddrPort("192.0.2.99:5000")
	s.step(Readdress{At: at})
	got := s.sentTo(a)
	if len(got) != 1 || got[0].Entries[0].Address == nil || got[0].Entries[0].Address.At != at {
		t.Fatalf("sent %v", got)
	}
	if v := got[0].Entries[0].Record.Version; v != before+1 {
		t.Errorf("version %d after %d", v, before)
	}
	s.step(Readdress{At: at})
	if len(s.sentTo(a)) != 1 {
		t.Error("the same address was told twice")
	}
}

func TestAForeignRecordUnderTheOwnKeyIsAWarning(t *testing.T) {
	s := newStage(t, 0)
	a := newActor(1)
	s.join(a)
	var notes []Note
	for i := range uint64(3) {
		frame := wire.Message{Kind: wire.Standard, Entries: []wire.Entry{
			{Record: wire.SignRecord(s.id, s.core.Root().Version+10+i, 0, nil)},
		}}.Encode()
		notes = append(notes, s.step(Frame{Peer: a.key(), Bytes: frame}).Notes...)
		s.after(2 * time.Second)
	}
	if len(notes) != 3 || notes[0].Err == nil || notes[0].Another || !notes[1].Another || !notes[2].Another {
		t.Errorf("notes %+v, want a warning the first time", notes)
	}
}
