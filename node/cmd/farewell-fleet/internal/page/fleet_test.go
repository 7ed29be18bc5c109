package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// story tells a fleet what happens, at moments that the test chooses.
type story struct {
	*fleet
	now moment
}

func newStory() *story {
	s := &story{newFleet(), 1000}
	s.beginListing()
	return s
}

func listedStory() *story {
	s := newStory()
	s.news(remote.Listed, remote.Instance{})
	return s
}

func one(group, name, incarnation string, born uint64) remote.Instance {
	return remote.Instance{Group: group, Name: name, Incarnation: incarnation, Born: born}
}

func (s *story) news(kind remote.NewsKind, i remote.Instance) {
	s.tell(remote.News{Kind: kind, Instance: i}, s.now)
}

func (s *story) event(i remote.Instance, e fsm.Event) {
	s.tell(remote.News{Kind: remote.Happened, Instance: i, Event: e}, s.now)
}

func (s *story) lastWord(i remote.Instance, r *fsm.Report) {
	s.tell(remote.News{Kind: remote.Left, Instance: i, Report: r}, s.now)
}

func (s *story) run(t *testing.T, i remote.Instance) *run {
	t.Helper()
	r := s.rows[i.String()]
	if r == nil || r.find(i.Incarnation) == nil {
		t.Fatalf("%s, run %s, is not known", i, i.Incarnation)
	}
	return r.find(i.Incarnation)
}

// theirs is a time by the clock of a process that is a day off.
func theirs(ms int) time.Time {
	return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func (s *story) asked(i remote.Instance) {
	s.event(i, fsm.Event{Seq: 0, At: theirs(0), Kind: fsm.ShutdownRequested, State: fsm.Withdrawing, Command: &fsm.Command{By: "ana", Reason: "deploy 42"}})
}

func (s *story) started(i remote.Instance, seq, ms int, id fsm.ID) {
	s.event(i, fsm.Event{Seq: seq, At: theirs(ms), Kind: fsm.Started, State: fsm.AwaitingAcks, From: id})
}

// An instance stands on the axis where the first word of its shutdown arrived, and from
// there by the differences of its own times, however late its events arrive.
func TestAxisIsNobodysClock(t *testing.T) {
	s, api := listedStory(), one("api", "api-1", "A", 7)
	s.news(remote.Joined, api)
	s.now = 5000
	s.asked(api)
	s.now = 9000 // what follows was under way for long
	s.started(api, 1, 100, "http")
	s.event(api, fsm.Event{Seq: 2, At: theirs(400), Kind: fsm.Acked, State: fsm.AwaitingAcks, From: "http", Err: errors.New("bad")})
	s.event(api, fsm.Event{Seq: 2, At: theirs(800), Kind: fsm.Acked, State: fsm.AwaitingAcks, From: "http"}) // twice
	u := s.run(t, api)
	if u.Joined != 1000 || u.Began != 5000 || u.State != awaitingAcks || u.By != "ana" || u.Reason != "deploy 42" {
		t.Errorf("%+v", u)
	}
	if p := u.Parts[0]; p.Start != 5100 || p.End != 5400 || p.Outcome != "failed" || p.Error != "bad" {
		t.Errorf("%+v", p)
	}
	// A clock that jumps ahead puts nothing into the future.
	s.started(api, 3, 3_600_000, "db")
	if p := u.Parts[1]; p.Start != 9000 {
		t.Errorf("%+v", p)
	}
}

func finalReport() *fsm.Report {
	return &fsm.Report{
		Command: fsm.Command{By: "ana", Reason: "deploy 42"}, State: fsm.Terminated, Edge: fsm.Transition{On: fsm.Timeout},
		Began: theirs(0), Took: 4 * time.Second, Deadline: theirs(4000),
		Components: []fsm.ComponentReport{
			{ID: "http", Outcome: fsm.OutcomeAcked, Waited: time.Second, Ran: time.Second},
			{ID: "db", Outcome: fsm.OutcomeHung, Insisted: true, Waited: 2 * time.Second, Ran: 2 * time.Second},
			{ID: "disk", Outcome: fsm.OutcomeSkipped, Waited: 4 * time.Second, WaitedOn: []fsm.ID{"db"}},
		},
	}
}

// The report is the last word, with events before it or without.
func TestReportIsTheLastWord(t *testing.T) {
	for _, heard := range []bool{true, false} {
		s, api := listedStory(), one("api", "api-1", "A", 7)
		s.news(remote.Joined, api)
		s.now = 10_000
		if heard {
			s.asked(api)
			s.started(api, 1, 1000, "http")
		}
		s.now = 14_000
		s.lastWord(api, finalReport())
		s.event(api, fsm.Event{Seq: 9, At: theirs(4000), Kind: fsm.Timeout, State: fsm.Terminated}) // after it
		u := s.run(t, api)
		if u.State != failed || u.Exit != fsm.ExitAlarm || !u.TimedOut || u.Began != 10_000 || u.Ended != 14_000 || u.Due != 14_000 {
			t.Errorf("heard before: %v: %+v", heard, u)
		}
		text, _ := json.Marshal(u.Parts)
		if want := `[{"id":"http","start":11000,"end":12000,"outcome":"acked"},` +
			`{"id":"db","start":12000,"end":14000,"outcome":"hung","insisted":true},` +
			`{"id":"disk","outcome":"skipped","waitedOn":["db"]}]`; string(text) != want {
			t.Errorf("%s", text)
		}
	}
}

// Without its report, the events alone say how it ended.
func TestEventsSayHowItEnded(t *testing.T) {
	for name, test := range map[string]struct {
		events []fsm.Event
		want   standing
		exit   int
	}{
		"politely": {[]fsm.Event{{Kind: fsm.Acked, From: "db"}, {Kind: fsm.AllAcked, State: fsm.Terminated}}, left, fsm.ExitOK},
		"with an error": {
			[]fsm.Event{{Kind: fsm.Acked, From: "db", Err: errors.New("bad")}, {Kind: fsm.AllAcked, State: fsm.Terminated}},
			failed, fsm.ExitImpolite,
		},
		"insisted upon": {
			[]fsm.Event{{Kind: fsm.Insisted, From: "db"}, {Kind: fsm.Acked, From: "db"}, {Kind: fsm.AllAcked, State: fsm.Terminated}},
			failed, fsm.ExitImpolite,
		},
		"by the alarm": {[]fsm.Event{{Kind: fsm.Timeout, State: fsm.Terminated}}, failed, fsm.ExitAlarm},
	} {
		s, api := listedStory(), one("api", "api-1", "A", 7)
		s.asked(api)
		s.started(api, 1, 1, "db")
		for i, e := range test.events {
			e.Seq, e.At = i+2, theirs(i+2)
			if e.State == fsm.Running {
				e.State = fsm.AwaitingAcks
			}
			s.event(api, e)
		}
		if u := s.run(t, api); u.State != test.want || u.Exit != test.exit || u.Ended == 0 {
			t.Errorf("%s: %+v", name, u)
		}
		if s.present != 0 || s.left != 1 {
			t.Errorf("%s: %d are there, %d have left", name, s.present, s.left)
		}
	}
}

// Who was there when the page began has joined nobody knows when; who joins later has.
// A name that comes back has two runs, and who is replaced without a word is gone.
func TestRunsUnderOneName(t *testing.T) {
	s := newStory()
	first, second, third := one("api", "api-1", "A", 7), one("api", "api-1", "B", 9), one("api", "api-1", "C", 11)
	s.news(remote.Joined, first)
	s.news(remote.Listed, remote.Instance{})
	s.now = 2000
	s.news(remote.Withdrawn, first)
	s.lastWord(first, &fsm.Report{State: fsm.Terminated, Began: theirs(0), Took: time.Second})
	s.now = 3000
	s.news(remote.Joined, second)
	s.news(remote.Joined, second) // renewed after an interruption
	s.now = 4000
	s.news(remote.Joined, third)
	if u := s.run(t, first); u.State != left || u.Joined != 0 || u.Withdrew != 2000 {
		t.Errorf("%+v", u)
	}
	if u := s.run(t, second); u.State != gone || u.Joined != 3000 || u.Ended != 4000 {
		t.Errorf("%+v", u)
	}
	if u := s.run(t, third); u.State != running || u.Joined != 4000 {
		t.Errorf("%+v", u)
	}
	// The report of one that was taken for gone comes late.
	s.lastWord(second, &fsm.Report{State: fsm.Terminated, Began: theirs(0), Took: time.Second})
	if u := s.run(t, second); u.State != left || s.rows["api/api-1"].Runs[2].Incarnation != "C" {
		t.Errorf("%+v", u)
	}
	for i := range 3 * maxRuns {
		s.news(remote.Joined, one("api", "api-1", fmt.Sprint("D", i), uint64(20+i)))
	}
	if n := len(s.rows["api/api-1"].Runs); n != maxRuns || s.present != 1 {
		t.Errorf("%d runs, %d there", n, s.present)
	}
}

// Who fell silent may be back; who is not in the registry when it is read anew is gone.
func TestSilence(t *testing.T) {
	s, api, other := listedStory(), one("api", "api-1", "A", 7), one("api", "api-2", "B", 8)
	s.news(remote.Joined, api)
	s.news(remote.Joined, other)
	s.news(remote.Expired, api)
	if u := s.run(t, api); u.State != expired || s.present != 1 {
		t.Errorf("%+v", u)
	}
	s.news(remote.Joined, api)
	if u := s.run(t, api); u.State != running || u.Ended != 0 || s.present != 2 {
		t.Errorf("%+v", u)
	}
	s.beginListing() // after an interruption
	s.news(remote.Joined, other)
	s.news(remote.Listed, remote.Instance{})
	if u := s.run(t, api); u.State != gone {
		t.Errorf("%+v", u)
	}
	if u := s.run(t, other); u.State != running {
		t.Errorf("%+v", u)
	}
}

// One that leaves and says nothing is asked; one that never answers is gone, unless it
// speaks after all.
func TestSilentOnesAreAsked(t *testing.T) {
	s, api := listedStory(), one("api", "api-1", "A", 7)
	s.news(remote.Joined, api)
	s.asked(api)
	if got := s.silent(s.now, 8); len(got) != 0 {
		t.Errorf("%v", got)
	}
	s.now += 5000
	if got := s.silent(s.now-3000, 8); len(got) != 1 || got[0].Incarnation != "A" {
		t.Fatalf("%v", got)
	}
	standing := &fsm.Report{
		State: fsm.AwaitingAcks, Began: theirs(0), Took: 5 * time.Second,
		Components: []fsm.ComponentReport{{ID: "db", Outcome: fsm.OutcomeStopping, Insisted: true, Waited: time.Second, Ran: 4 * time.Second}},
	}
	s.answered(api, &remote.Status{Instance: api, State: fsm.AwaitingAcks, Report: standing}, s.now)
	u := s.run(t, api)
	if p := u.Parts[0]; p.Start != 2000 || p.End != 0 || !p.Insisted || u.Heard != s.now {
		t.Errorf("%+v", u)
	}
	for i := range asksUntilGone {
		s.now += 1000
		s.answered(api, nil, s.now)
		if want := i+1 >= asksInVain; u.Silent != want {
			t.Errorf("after %d asks: silent is %v", i+1, u.Silent)
		}
	}
	if u.State != gone || s.present != 0 {
		t.Errorf("%+v", u)
	}
	s.started(api, 9, 20_000, "disk")
	if u.State != awaitingAcks || u.Ended != 0 || s.present != 1 {
		t.Errorf("%+v", u)
	}
	s.answered(api, &remote.Status{Instance: one("api", "api-1", "B", 9)}, s.now)
	if u.State != gone {
		t.Errorf("%+v", u)
	}
}

// Of many components those are kept that are to blame, and those that are still out.
func TestPartsAreBounded(t *testing.T) {
	s, api := listedStory(), one("api", "api-1", "A", 7)
	s.asked(api)
	seq := 0
	for i := range 3 * maxParts {
		id := fsm.ID(fmt.Sprint("c", i))
		seq++
		s.started(api, seq, i, id)
		seq++
		var err error
		if i == 3 {
			err = errors.New(strings.Repeat("ä", maxText))
		}
		s.event(api, fsm.Event{Seq: seq, At: theirs(i), Kind: fsm.Acked, State: fsm.AwaitingAcks, From: id, Err: err})
	}
	u := s.run(t, api)
	if len(u.Parts) != maxParts || u.More != 2*maxParts {
		t.Errorf("%d and %d more", len(u.Parts), u.More)
	}
	find := func(id string) *part {
		for i := range u.Parts {
			if u.Parts[i].ID == id {
				return &u.Parts[i]
			}
		}
		t.Fatalf("%s is forgotten", id)
		return nil
	}
	if p := find("c3"); p.Outcome != "failed" || len(p.Error) > maxText+len("…") || strings.ContainsRune(p.Error, '\uFFFD') {
		t.Errorf("%+v", p)
	}
	report := &fsm.Report{State: fsm.Terminated, Began: theirs(0), Took: time.Second}
	for i := range 3 * maxParts {
		report.Components = append(report.Components, fsm.ComponentReport{ID: fsm.ID(fmt.Sprint("c", i)), Outcome: fsm.OutcomeAcked})
	}
	report.Components[3*maxParts-1].Outcome = fsm.OutcomeHung
	s.lastWord(api, report)
	if len(u.Parts) != maxParts || u.More != 2*maxParts || find(fmt.Sprint("c", 3*maxParts-1)).Outcome != "hung" {
		t.Errorf("%d and %d more", len(u.Parts), u.More)
	}
}

// Whoever is up to date is told what has changed, and nothing else; whoever has been
// away for too long is told everything.
func TestBrowsersAreToldWhatChanged(t *testing.T) {
	s := listedStory()
	s.maxLeft = 8
	for i := range 20 {
		s.news(remote.Joined, one("api", fmt.Sprint("api-", i), fmt.Sprint("A", i), uint64(i+1)))
	}
	all, seen := s.since(0)
	if !all.reset || len(all.rows) != 20 || !all.listed {
		t.Fatalf("%+v", all)
	}
	if none, same := s.since(seen); none.reset || len(none.rows) != 0 || same != seen {
		t.Errorf("%+v", none)
	}
	s.asked(one("api", "api-3", "A3", 4))
	s.asked(one("api", "api-5", "A5", 6))
	some, seen := s.since(seen)
	if some.reset || len(some.rows) != 2 || !strings.Contains(string(some.rows[1]), `"api-5"`) {
		t.Errorf("%s", some.rows)
	}
	for i := range 12 { // of whom three are forgotten
		s.now++
		s.lastWord(one("api", fmt.Sprint("api-", i), fmt.Sprint("A", i), uint64(i+1)), &fsm.Report{State: fsm.Terminated, Began: theirs(0)})
	}
	some, _ = s.since(seen)
	if some.reset || len(some.dropped) == 0 || len(some.rows) != 12-len(some.dropped) || s.left > s.maxLeft+1 {
		t.Errorf("%d changed, %q dropped", len(some.rows), some.dropped)
	}
	for i := range 2 * maxDropped {
		i := one("api", fmt.Sprint("other-", i), "B", uint64(100+i))
		s.news(remote.Joined, i)
		s.now++
		s.lastWord(i, &fsm.Report{State: fsm.Terminated, Began: theirs(0)})
	}
	if all, _ = s.since(seen); !all.reset || len(s.dropped) > maxDropped {
		t.Errorf("%d are remembered as forgotten", len(s.dropped))
	}
}

// Who failed is remembered longer than who left politely.
func TestFailuresAreForgottenLast(t *testing.T) {
	s := listedStory()
	s.maxLeft = 10
	for i := range 100 {
		report := &fsm.Report{State: fsm.Terminated, Began: theirs(0)}
		if i == 0 {
			report = finalReport()
		}
		s.now++
		s.lastWord(one("api", fmt.Sprint("api-", i), "A", uint64(i+1)), report)
	}
	if s.run(t, one("api", "api-0", "A", 1)).State != failed || s.left > 11 || len(s.rows) != s.left {
		t.Errorf("%d rows", len(s.rows))
	}
}

// Who is too many is counted; who leaves is shown all the same.
func TestTooManyAreCounted(t *testing.T) {
	s := listedStory()
	s.maxPresent = 10
	list := make([]remote.Instance, 30)
	for i := range list {
		list[i] = one("api", fmt.Sprint("api-", i), "A", uint64(i+1))
		s.news(remote.Joined, list[i])
	}
	if c, _ := s.since(0); len(c.rows) != 10 || c.more != 20 {
		t.Errorf("%d rows and %d more", len(c.rows), c.more)
	}
	s.asked(list[29])
	s.news(remote.Withdrawn, list[28])
	if c, _ := s.since(0); len(c.rows) != 11 || c.more != 18 {
		t.Errorf("%d rows and %d more", len(c.rows), c.more)
	}
	for _, i := range list {
		s.asked(i)
	}
	if len(s.rows) != 20 {
		t.Errorf("%d rows", len(s.rows))
	}
}

// Whatever comes in whatever order, the counts are right and everything is bounded.
func FuzzFleet(f *testing.F) {
	f.Add(uint64(1), 100)
	f.Add(uint64(42), 1000)
	f.Fuzz(func(t *testing.T, seed uint64, steps int) {
		steps = max(0, min(steps, 2000))
		random := rand.New(rand.NewPCG(seed, 0))
		s := listedStory()
		s.maxPresent, s.maxLeft = 6, 4
		seen, known := uint64(0), map[string]bool{}
		for range steps {
			s.now += moment(random.IntN(100))
			i := one("api", fmt.Sprint("api-", random.IntN(20)), fmt.Sprint("A", random.IntN(4)), uint64(random.IntN(5)))
			news := remote.News{Kind: remote.NewsKind(random.IntN(6)), Instance: i}
			news.Event = fsm.Event{
				Seq: random.IntN(9), At: theirs(random.IntN(9999) - 5000), Kind: fsm.Kind(random.IntN(9)),
				State: fsm.State(random.IntN(4)), From: fsm.ID(fmt.Sprint(random.IntN(40))),
			}
			news.Report = finalReport()
			news.Report.State = fsm.State(random.IntN(4))
			if random.IntN(50) == 0 {
				s.beginListing()
			}
			s.tell(news, s.now)
			if random.IntN(8) == 0 {
				s.answered(i, nil, s.now)
			}
			if random.IntN(5) == 0 {
				var c changes
				c, seen = s.since(seen)
				if c.reset {
					clear(known)
				}
				for _, text := range c.rows {
					var r row
					if err := json.Unmarshal(text, &r); err != nil {
						t.Fatal(err)
					}
					known[r.name()] = true
				}
				for _, name := range c.dropped {
					if s.rows[name] == nil {
						delete(known, name)
					}
				}
				if len(known) != len(s.rows) {
					t.Fatalf("a browser knows %d rows of %d", len(known), len(s.rows))
				}
			}
		}
		present := 0
		for _, r := range s.rows {
			if r.isPresent() {
				present++
			}
		}
		if present != s.present || len(s.rows)-present != s.left || s.order.Len() != len(s.rows) {
			t.Fatalf("%d rows, of which %d there; counted are %d and %d", len(s.rows), present, s.present, s.left)
		}
		if most := 2*s.maxPresent + s.maxLeft + 1; len(s.rows) > most || s.left > s.maxLeft+1 { // who has left may come back
			t.Fatalf("%d are there, %d have left", s.present, s.left)
		}
	})
}
