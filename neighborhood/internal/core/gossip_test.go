package core

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/wire"
	"github.com/farewell-node/farewell/streams/identity"
)

func TestDebutWithRoomIsIntroduced(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b := newActor(1), newActor(2)
	s.join(a)
	s.step(PeerUp{Peer: b.key()})
	s.says(b, wire.Debut, b.shown(b.lists()))
	s.lists(a, b)
	got := s.sentTo(b)
	if len(got) != 1 || got[0].Kind != wire.Introduction {
		t.Fatalf("the debuter was sent %v, want an Introduction", got)
	}
	if want := []identity.PublicKey{s.self(), a.key()}; !slices.Equal(keysOf(got[0]), want) {
		t.Errorf("introduced %v, want %v", keysOf(got[0]), want)
	}
	for _, e := range got[0].Entries {
		if e.Address == nil || !e.Record.Lists(s.self()) && e.Record.Key == a.key() {
			t.Errorf("entry %+v: want an address", e)
		}
	}
	if !got[0].Entries[0].Record.Lists(b.key()) {
		t.Error("the introducer does not list the debuter")
	}
	s.after(20 * time.Millisecond)
	others := s.sentTo(a)
	if len(others) != 1 || others[0].Kind != wire.Standard {
		t.Fatalf("the other neighbor was sent %v, want one Standard", others)
	}
	if want := []identity.PublicKey{s.self(), b.key()}; !slices.Equal(keysOf(others[0]), want) {
		t.Errorf("it names %v, want %v", keysOf(others[0]), want)
	}
	if own, other := others[0].Entries[0].Address, others[0].Entries[1].Address; own == nil || other != nil {
		t.Errorf("shown to a neighbor: own address %v, a third node's %v", own, other)
	}
	if len(s.sentTo(b)) != 1 {
		t.Errorf("the Introduction was followed by %v", s.sentTo(b)[1:])
	}
}

func TestDebutWithoutRoomIsPassed(t *testing.T) {
	s := newStage(t, 0)
	actors := []*actor{newActor(1), newActor(2), newActor(3), newActor(4), newActor(5)}
	s.join(actors...)
	free, late := newActor(6), newActor(7)
	full := []identity.PublicKey{s.self(), newActor(11).key(), newActor(12).key(), newActor(13).key()}
	for _, a := range actors { // everybody is full, but behind the third there is room
		list := append(slices.Clone(full), newActor(14).key())
		if a == actors[2] {
			list[4] = free.key()
		}
		s.tells(a, a.lists(list...))
	}
	s.tells(actors[0], free.lists(actors[2].key()))
	s.after(2 * time.Second)
	s.forget()
	s.step(PeerUp{Peer: late.key()})
	s.says(late, wire.Debut, late.shown(late.lists()))
	got := s.sentTo(late)
	if len(got) != 1 || got[0].Kind != wire.Pass || len(got[0].Entries) != 1 {
		t.Fatalf("sent %v, want a Pass", got)
	}
	if e := got[0].Entries[0]; e.Record.Key != actors[2].key() || e.Address == nil {
		t.Errorf("passed to %v, want the one that leads to room", e.Record.Key)
	}
	s.lists(actors...)
	s.after(guestTime)
	if !slices.Contains(s.removed, late.key()) {
		t.Error("the stream of one passed on stays for ever")
	}
}

func TestIntroductionIsFollowed(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := newStage(t, 20*time.Millisecond, a.target())
	if len(s.dialed) != 1 || s.dialed[0] != a.target() {
		t.Fatalf("dialed %v, want the configured neighbor", s.dialed)
	}
	s.step(PeerUp{Peer: a.key()})
	if got := s.sentTo(a); len(got) != 1 || got[0].Kind != wire.Debut || got[0].Entries[0].Address == nil {
		t.Fatalf("sent %v, want a Debut with an address", got)
	}
	s.says(a, wire.Introduction, a.shown(a.lists(s.self(), b.key())), b.shown(b.lists(a.key())))
	s.lists(a)
	if len(s.dialed) != 2 || s.dialed[1] != b.target() {
		t.Fatalf("dialed %v, want the introducee", s.dialed)
	}
	s.after(20 * time.Millisecond)
	s.step(PeerUp{Peer: b.key()})
	s.says(b, wire.Introduction, b.shown(b.lists(a.key(), s.self())))
	s.lists(a, b)
	s.rejected(RejectedUnsolicited, 0)
}

func TestOnlyOneSolicitedAnswerIsAccepted(t *testing.T) {
	for _, kind := range []wire.Kind{wire.Introduction, wire.Pass} {
		a, b := newActor(1), newActor(2)
		s := newStage(t, 0, a.target())
		s.step(PeerUp{Peer: b.key()})
		s.says(b, kind, b.shown(b.lists(s.self())))
		s.rejected(RejectedUnsolicited, 1)
		s.step(PeerUp{Peer: a.key()})
		s.says(a, wire.Introduction, a.shown(a.lists(s.self())))
		s.says(a, kind, b.shown(b.lists(s.self())))
		s.rejected(RejectedUnsolicited, 2)
		s.lists(a)
		if len(s.dialed) != 1 {
			t.Errorf("%v: dialed %v", kind, s.dialed)
		}
	}
}

func TestPassIsFollowedOnceAMinute(t *testing.T) {
	a, b := newActor(1), newActor(2)
	s := newStage(t, 0, a.target())
	pass := func() {
		s.step(PeerUp{Peer: a.key()})
		s.says(a, wire.Pass, b.shown(b.lists()))
		s.step(PeerDown{Peer: a.key()})
	}
	pass()
	if len(s.dialed) != 2 || s.dialed[1] != b.target() {
		t.Fatalf("dialed %v, want the Pass target", s.dialed)
	}
	s.step(DialFailed{Peer: b.key()})
	s.after(5 * time.Second)
	pass()
	if s.dialed[len(s.dialed)-1] == b.target() {
		t.Error("the same Pass target was tried again at once")
	}
	s.after(passedAgain)
	pass()
	if s.dialed[len(s.dialed)-1] != b.target() {
		t.Error("the Pass target was not tried again after a minute")
	}
}

func TestDeltasAreExact(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b, far := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	r := far.lists(a.key())
	s.tells(a, a.lists(s.self(), far.key()), r)
	s.tells(b, r)
	s.after(20 * time.Millisecond)
	if got := s.sentTo(b); len(got) != 1 || !slices.Equal(keysOf(got[0]), []identity.PublicKey{a.key()}) {
		t.Errorf("sent %v: b has shown the far record itself and lacks only a's", got)
	}
	if len(s.sentTo(a)) != 0 {
		t.Errorf("a was told what it has said: %v", s.sentTo(a))
	}
	s.forget()
	s.tells(a, r)
	s.after(time.Second)
	if len(s.sent) != 0 {
		t.Errorf("an echo caused %v", s.sent)
	}
}

func TestABusyStreamIsToldTheNewestWhenFree(t *testing.T) {
	s := newStage(t, 0)
	a, b := newActor(1), newActor(2)
	s.join(a, b)
	s.hold = true
	for range 5 {
		s.tells(b, b.lists(s.self()))
		s.after(2 * time.Second)
	}
	if len(s.held) != 1 {
		t.Fatalf("%d frames under way to one peer", len(s.held))
	}
	s.step(Delivered{Peer: a.key(), ID: s.held[0].ID})
	if got := s.sentTo(a); len(got) != 2 || got[1].Entries[0].Record.Version != b.version {
		t.Errorf("sent %v, want one more message with the newest version", got)
	}
}

func TestChangesOfOneOwnerAreTakenOnceASecond(t *testing.T) {
	s := newStage(t, 0)
	a, b, far := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	s.tells(a, a.lists(s.self(), far.key()), far.lists(a.key()))
	s.forget()
	for range 10 {
		s.after(50 * time.Millisecond)
		s.tells(a, far.lists(a.key()))
	}
	if len(s.sentTo(b)) != 0 {
		t.Errorf("passed on within the second: %v", s.sentTo(b))
	}
	s.after(500 * time.Millisecond)
	if got := s.sentTo(b); len(got) != 1 || got[0].Entries[0].Record.Version != far.version {
		t.Errorf("sent %v, want the newest after a second", got)
	}
}

func TestRestartUnderTheOldKeyGoesPast(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 20*time.Millisecond)
	s.join(a)
	old := wire.SignRecord(s.id, s.core.View().Root.Version+1000, 0, nil)
	s.tells(a, old)
	s.after(20 * time.Millisecond)
	if got := s.core.View().Root.Version; got != old.Version+1 {
		t.Fatalf("version %d, want one past %d", got, old.Version)
	}
	if len(s.sent) != 1 {
		t.Errorf("%d messages, want one round", len(s.sent))
	}
	s.tells(a, old, s.core.View().Root)
	s.after(2 * time.Second)
	if len(s.sent) != 1 {
		t.Errorf("an echo of the own record caused %v", s.sent[1:])
	}
	forged := wire.SignRecord(a.Identity, math.MaxUint64-1, 0, nil)
	forged.Key = s.self()
	s.core.take(s.core.peers[a.key()], forged)
	s.rejected(RejectedMalformed, 1)
}

func TestAReturningNeighborIsShownItsOwnNewerRecord(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a := newActor(1)
	s.join(a)
	newest := a.lists(s.self())
	s.tells(a, newest)
	s.step(PeerDown{Peer: a.key()})
	s.after(time.Second)
	a.version = 10
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Debut, a.shown(a.lists()))
	s.after(20 * time.Millisecond)
	got := s.sentTo(a)
	if len(got) != 2 || got[0].Kind != wire.Introduction || got[1].Entries[0].Record.Version != newest.Version {
		t.Errorf("sent %v, want an Introduction and its own newer record", got)
	}
}

func TestOneBadRecordCostsOnlyItself(t *testing.T) {
	s := newStage(t, 0)
	a, b, c, d := newActor(1), newActor(2), newActor(3), newActor(4)
	s.join(a)
	good := b.lists(a.key())
	frame := wire.Message{Kind: wire.Standard, Entries: []wire.Entry{
		{Record: d.lists(a.key())}, {Record: good}, {Record: c.lists(a.key())},
	}}.Encode()
	flipLastSignature(frame)
	s.step(Frame{Peer: a.key(), Bytes: frame})
	s.rejected(RejectedSignature, 1)
	var known []identity.PublicKey
	for _, r := range s.core.View().Records {
		known = append(known, r.Key)
	}
	for _, want := range []*actor{a, b, d} {
		if !slices.Contains(known, want.key()) {
			t.Errorf("a good record beside a bad one was dropped: %v", want.key())
		}
	}
	if slices.Contains(known, c.key()) {
		t.Error("a forged record was taken")
	}
	if len(s.removed) != 0 {
		t.Error("a bad record cost the stream")
	}
}

// flipLastSignature spoils the last byte of the last entry's signature: two empty byte strings follow it.
func flipLastSignature(frame []byte) { frame[len(frame)-3] ^= 1 }

func TestMessageThatIsTooBigIsRefusedWhole(t *testing.T) {
	a := newActor(1)
	many := make([]wire.Entry, wire.MaxEntries+1)
	for i := range many {
		many[i] = wire.Entry{Record: newActor(2).lists()}
	}
	for name, frame := range map[string][]byte{
		"bytes":   make([]byte, wire.MaxMessage+1),
		"records": wire.Message{Kind: wire.Standard, Entries: many}.Encode(),
	} {
		s := newStage(t, 0)
		s.join(a)
		s.step(Frame{Peer: a.key(), Bytes: frame})
		s.rejected(RejectedTooBig, 1)
		if got := s.core.View().Records; len(got) != 1 {
			t.Errorf("%s: %d records known, want the sender's alone", name, len(got))
		}
		if !slices.Contains(s.removed, a.key()) {
			t.Errorf("%s: the stream stays, though nobody knows what it has carried", name)
		}
	}
}

func TestIsolatedRecordsAreCulled(t *testing.T) {
	s := newStage(t, 0)
	a, b, far := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	s.tells(a, a.lists(s.self(), far.key()), far.lists(a.key()))
	s.after(2 * time.Second)
	s.tells(a, a.lists(s.self())) // nothing references far any more
	s.after(isolatedKept - time.Millisecond)
	if got := len(s.core.View().Records); got != 3 {
		t.Fatalf("%d records, want 3 before the time is over", got)
	}
	s.after(time.Millisecond)
	if got := len(s.core.View().Records); got != 2 {
		t.Errorf("%d records, want 2 after it", got)
	}
}

// A record may have been culled elsewhere while nothing referenced it here.
func TestARecordFoundAgainIsToldAnew(t *testing.T) {
	s := newStage(t, 0)
	a, b, far := newActor(1), newActor(2), newActor(3)
	s.join(a, b)
	r := far.lists(a.key())
	s.tells(a, a.lists(s.self(), far.key()), r)
	s.after(2 * time.Second)
	s.tells(a, a.lists(s.self()))
	s.after(2 * time.Second)
	s.forget()
	s.tells(a, a.lists(s.self(), far.key()))
	got := s.sentTo(b)
	if len(got) != 1 || !slices.Contains(keysOf(got[0]), far.key()) {
		t.Errorf("sent %v, want the record that was found again too", got)
	}
}

func TestAFrameThatFailsCostsTheStream(t *testing.T) {
	s := newStage(t, 0)
	a, b := newActor(1), newActor(2)
	s.join(a, b)
	s.hold = true
	s.tells(b, b.lists(s.self()))
	s.step(Delivered{Peer: a.key(), ID: s.held[0].ID + 1, Err: errSilent}) // not the one under way
	s.lists(a, b)
	s.step(Delivered{Peer: a.key(), ID: s.held[0].ID, Err: errSilent})
	s.lists(b)
	if !slices.Contains(s.removed, a.key()) {
		t.Error("a stream with a gap in it stays")
	}
}

func TestRoom(t *testing.T) {
	for _, test := range []struct {
		name               string
		neighbors, debuts  int
		debuterIsDebutedTo bool
		wantTaken          bool
	}{
		{name: "empty", wantTaken: true},
		{name: "four neighbors", neighbors: 4, wantTaken: true},
		{name: "five neighbors", neighbors: 5},
		{name: "two and two Debuts", neighbors: 2, debuts: 2, wantTaken: true},
		{name: "two and three Debuts", neighbors: 2, debuts: 3},
		{name: "five Debuts", debuts: 5},
		{name: "five Debuts, one to the debuter", debuts: 4, debuterIsDebutedTo: true, wantTaken: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var targets []Target
			for i := range test.debuts {
				targets = append(targets, newActor(byte(20+i)).target())
			}
			late := newActor(40)
			if test.debuterIsDebutedTo {
				targets = append(targets, late.target())
			}
			s := newStage(t, 0, targets...)
			if len(s.dialed) != len(targets) {
				t.Fatalf("%d dials, want %d", len(s.dialed), len(targets))
			}
			for i := range test.neighbors {
				a := newActor(byte(i + 1))
				s.step(PeerUp{Peer: a.key()})
				s.says(a, wire.Debut, a.shown(a.lists()))
			}
			s.step(PeerUp{Peer: late.key()})
			s.says(late, wire.Debut, late.shown(late.lists()))
			if taken := s.core.Root().Lists(late.key()); taken != test.wantTaken {
				t.Errorf("taken in: %v, want %v", taken, test.wantTaken)
			}
			if s.core.Places() > wire.MaxDegree {
				t.Errorf("%d places taken", s.core.Places())
			}
		})
	}
}

func TestDebutsThatCrossEndInOneNeighborship(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 20*time.Millisecond, a.target())
	s.step(PeerUp{Peer: a.key()})
	s.says(a, wire.Debut, a.shown(a.lists()))
	s.says(a, wire.Introduction, a.shown(a.lists(s.self())))
	s.after(20 * time.Millisecond)
	s.lists(a)
	s.rejected(RejectedUnsolicited, 0)
	if got := s.sentTo(a); len(got) != 2 || got[0].Kind != wire.Debut || got[1].Kind != wire.Introduction {
		t.Errorf("sent %v, want a Debut and an Introduction", got)
	}
	s.after(time.Minute)
	s.lists(a)
}

func TestADebutThatIsNotAnsweredIsGivenUp(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 0, a.target())
	s.step(PeerUp{Peer: a.key()})
	s.after(answerWait)
	if !slices.Contains(s.removed, a.key()) || s.core.Places() != 0 {
		t.Errorf("removed %v, %d places kept", s.removed, s.core.Places())
	}
	s.says(a, wire.Introduction, a.shown(a.lists(s.self())))
	s.lists()
}

func TestMessagesThatDoNotFitTheirKind(t *testing.T) {
	a, b := newActor(1), newActor(2)
	other := b.shown(b.lists())
	for name, test := range map[string]struct {
		kind    wire.Kind
		entries []wire.Entry
		want    Reason
	}{
		"a Debut of nobody":           {wire.Debut, nil, RejectedMalformed},
		"a Debut of somebody else":    {wire.Debut, []wire.Entry{other}, RejectedMalformed},
		"a Debut of two":              {wire.Debut, []wire.Entry{a.shown(a.lists()), other}, RejectedMalformed},
		"an Introduction not by it":   {wire.Introduction, []wire.Entry{other, a.shown(a.lists())}, RejectedMalformed},
		"an Introduction without us":  {wire.Introduction, []wire.Entry{a.shown(a.lists()), other}, RejectedMalformed},
		"a Pass to nobody":            {wire.Pass, nil, RejectedMalformed},
		"a Pass to two":               {wire.Pass, []wire.Entry{other, other}, RejectedMalformed},
		"a Standard from no neighbor": {wire.Standard, []wire.Entry{{Record: a.lists()}}, RejectedStranger},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 0, a.target())
			s.step(PeerUp{Peer: a.key()})
			s.says(a, test.kind, test.entries...)
			s.rejected(test.want, 1)
			s.lists()
			if len(s.dialed) != 1 {
				t.Errorf("dialed %v", s.dialed[1:])
			}
			if hungUp := len(s.removed) > 0; hungUp != (test.kind == wire.Debut) {
				t.Errorf("hung up: %v", hungUp)
			}
		})
	}
}

func TestAMalformedDebutCostsANeighborNothing(t *testing.T) {
	s := newStage(t, 0)
	a := newActor(1)
	s.join(a)
	s.says(a, wire.Debut)
	s.rejected(RejectedMalformed, 1)
	s.lists(a)
}

func TestAnAddressThatIsNotForUsIsRejected(t *testing.T) {
	s := newStage(t, 0)
	a, b := newActor(1), newActor(2)
	s.join(a)
	s.says(a, wire.Standard, b.shown(b.lists(a.key())))
	s.rejected(RejectedMisplaced, 1)
	if s.core.Held(b.key()) == nil {
		t.Error("the record beside the address was dropped too")
	}
}

func TestDialsToStrangersAreLimited(t *testing.T) {
	var targets []Target
	a := newActor(1)
	targets = append(targets, a.target())
	s := newStage(t, 0, targets...)
	for i := range 20 {
		s.step(PeerUp{Peer: a.key()})
		b := newActor(byte(50 + i))
		s.core.debutTo(a.target())
		s.says(a, wire.Pass, b.shown(b.lists()))
		s.step(DialFailed{Peer: b.key()})
		s.step(PeerDown{Peer: a.key()})
	}
	if got := len(s.dialed) - 1; got > dialBurst+1 {
		t.Errorf("%d dials at once, want at most %d", got, dialBurst)
	}
	s.rejected(RejectedDial, 10)
}

func TestInventedIdentitiesAreBoundedAndToldToNobody(t *testing.T) {
	s := newStage(t, 0)
	a, b := newActor(1), newActor(2)
	s.join(a, b)
	for i := range 3 {
		var invented []*wire.Record
		for j := range 100 {
			id := identity.FromSeed([32]byte{byte(i), byte(j), 7})
			invented = append(invented, wire.SignRecord(id, 1, 0, nil))
		}
		s.tells(a, invented...)
		s.after(time.Second)
	}
	if got := len(s.core.View().Records); got > 100 {
		t.Errorf("%d records held, want at most 100", got)
	}
	if len(s.sentTo(b)) != 0 {
		t.Errorf("%d messages about nodes that nobody references", len(s.sentTo(b)))
	}
	s.lists(a, b)
}

func TestUnreachableNeighborsAreDialedLessAndLessOften(t *testing.T) {
	a := newActor(1)
	s := newStage(t, 0, a.target())
	for range 3600 {
		if len(s.dialed) > 0 && s.core.outstanding[a.key()] != nil {
			s.step(DialFailed{Peer: a.key()})
		}
		s.after(time.Second)
	}
	if got := len(s.dialed); got < 50 || got > 110 {
		t.Errorf("dialed %d times in an hour, want about once a minute in the end", got)
	}
}

func TestStrangersCannotMakeUsDialOurselves(t *testing.T) {
	for _, at := range []string{"127.0.0.1:80", "[::1]:80", "169.254.1.1:80", "0.0.0.0:80", "224.0.0.1:80", "[::ffff:127.0.0.1]:80"} {
		a, b := newActor(1), newActor(2)
		b.at = mustAddrPort(at)
		s := newStage(t, 0, a.target())
		s.step(PeerUp{Peer: a.key()})
		s.says(a, wire.Pass, b.shown(b.lists()))
		if len(s.dialed) != 1 {
			t.Errorf("dialed %v", s.dialed[1:])
		}
		s.rejected(RejectedAddress, 1)
	}
}

// A zone hides what an address is from all the questions about it; such an address is not even read from the wire.
func TestAddressesWithAZoneAreNotDialed(t *testing.T) {
	s := newStage(t, 0)
	for _, at := range []string{"[::%lo]:80", "[::1%lo]:80", "[::ffff:127.0.0.1%lo]:80", "[2001:db8::1%x]:80"} {
		if s.core.mayDial(mustAddrPort(at)) {
			t.Errorf("%s may be dialed", at)
		}
	}
	if at := "[2001:db8::1]:80"; !s.core.mayDial(mustAddrPort(at)) {
		t.Errorf("%s may not be dialed", at)
	}
}

// A neighbor whose own farewell has not reached us is dropped on hearsay: its signature says it as well.
func TestAFarewellHeardFromOthersCounts(t *testing.T) {
	s := newStage(t, 20*time.Millisecond)
	a, b := newActor(1), newActor(2)
	s.join(a, b)
	s.tells(b, a.lists())
	s.lists(b)
	s.tells(b, a.lists(s.self()))
	s.after(2 * time.Second)
	s.lists(b)
}

func TestMoreThanOneMessageHoldsIsToldInSeveral(t *testing.T) {
	const known = wire.MaxEntries + 500
	a, b := newActor(1), newActor(2)
	var others []*wire.Record
	for i := range known {
		id := identity.FromSeed([32]byte{byte(i), byte(i >> 8), 9})
		others = append(others, wire.SignRecord(id, 1, 0, nil))
	}
	s := &stage{t: t, id: identity.FromSeed([32]byte{0xff}), now: epoch}
	root := wire.SignRecord(s.id, 1, 0, []identity.PublicKey{b.key()})
	s.core = Settled(Config{Identity: s.id, MaxRecords: 2 * known}, epoch, root, nil,
		append(others, b.lists(s.self())), []*wire.Address{wire.SignAddress(b.Identity, 1, b.at)})
	s.hold = true
	s.debuts(a)
	told := make(map[identity.PublicKey]bool)
	for len(s.held) > 0 {
		d := s.held[0]
		s.held = s.held[1:]
		s.step(Delivered{Peer: d.Peer, ID: d.ID})
	}
	all := s.sentTo(a)
	for _, m := range all {
		if len(m.Entries) > wire.MaxEntries {
			t.Errorf("%d records in one message", len(m.Entries))
		}
		for _, key := range keysOf(m) {
			told[key] = true
		}
	}
	if len(all) != 3 || len(told) != known+2 {
		t.Errorf("%d messages with %d records, want an Introduction and two Standards with %d", len(all), len(told), known+2)
	}
}
