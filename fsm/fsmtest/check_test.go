package fsmtest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// Every promise that is broken in a report is found.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	event := func(r *fsm.Report, kind fsm.Kind, id fsm.ID) int { return find(r, kind, id) }
	for name, test := range map[string]struct {
		harm func(c *Case)
		want string
	}{
		"not terminated": {func(c *Case) { c.Report.State = fsm.AwaitingAcks }, "AwaitingAcks after"},
		"late":           {func(c *Case) { c.Report.Took += time.Hour }, "with an alarm of"},
		"lost":           {func(c *Case) { c.Report.Components = c.Report.Components[1:] }, "registered were"},
		"outcome":        {func(c *Case) { c.Report.Components[1].Outcome = fsm.OutcomeSkipped }, "its outcome is skipped"},
		"insisted":       {func(c *Case) { c.Report.Components[1].Insisted = true }, "insisted upon 0 times"},
		"acked twice": {func(c *Case) {
			c.Report.Events = append(c.Report.Events, fsm.Event{Kind: fsm.Acked, From: "a"})
		}, "acked 2 times"},
		"barrier": {func(c *Case) {
			c.Report.Events[event(c.Report, fsm.Withdrawn, "")].From = "x"
		}, "before the withdrawal"},
		"order": {func(c *Case) {
			i, j := event(c.Report, fsm.Acked, "a"), event(c.Report, fsm.Started, "b")
			c.Report.Events[i], c.Report.Events[j] = c.Report.Events[j], c.Report.Events[i]
		}, "b started before a was done"},
		"late start": {func(c *Case) {
			for i := event(c.Report, fsm.Started, "b"); i < len(c.Report.Events); i++ {
				c.Report.Events[i].At = c.Report.Events[i].At.Add(time.Millisecond)
			}
		}, "b started 1.001s after the request, and could have 1s after it"},
		"Strict": {func(c *Case) {
			c.Report.Components[2].Strict = true
			c.Report.Events = slices.DeleteFunc(c.Report.Events, func(e fsm.Event) bool { return e.Kind == fsm.Acked && e.From == "a" })
		}, "not skipped"},
		"Last": {func(c *Case) {
			c.Report.Components[1].Last, c.Report.Components[1].After = true, nil
		}, "a started before b was done"},
		"withdrawn late": {func(c *Case) {
			for i := event(c.Report, fsm.Withdrawn, ""); i < len(c.Report.Events); i++ {
				c.Report.Events[i].At = c.Report.Events[i].At.Add(time.Millisecond)
			}
		}, "the withdrawal was over 1ms after the request, and not 0s after it"},
		"death":     {func(c *Case) { c.Report.Components[1].Died = c.Report.Began }, "died true, in 0 requests"},
		"request":   {func(c *Case) { c.Report.Requests = append(c.Report.Requests, fsm.Command{}) }, "there were 1 requests, reported are 2"},
		"who":       {func(c *Case) { c.Report.Command.By = "somebody" }, "has begun it"},
		"deadline":  {func(c *Case) { c.Report.Deadline = c.Report.Began }, "with an alarm of"},
		"failure":   {func(c *Case) { c.Report.ForcedBy = &fsm.Command{} }, "documented is 0"},
		"sequence":  {func(c *Case) { c.Report.Events[2].Seq = 7 }, "event 2 is number 7"},
		"time":      {func(c *Case) { c.Report.Events[0].At = c.Report.Began.Add(time.Hour) }, "event 1 is number 1"},
		"undrawn":   {func(c *Case) { c.Report.Events[0].State = fsm.AwaitingAcks }, "not drawn"},
		"edge":      {func(c *Case) { c.Report.Edge.On = fsm.Timeout }, "the log ends"},
		"exit code": {func(c *Case) { c.Report.ForcedBy = &fsm.Command{Signal: 9} }, "documented is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := polite(t)
				if err := check(c); err != nil {
					t.Fatalf("nothing is wrong, and yet: %v", err)
				}
				test.harm(&c)
				if err := check(c); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %s", err, test.want)
				}
			})
		})
	}
}

// polite is a case that may be harmed.
func polite(t *testing.T) Case {
	m, err := Matrix{Setup: func(r Registrar) error {
		return errors.Join(
			r.Register("w", nil, fsm.Withdraws()), r.Register("a", nil), r.Register("b", nil, fsm.After("a")),
		)
	}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var seen Case
	m.Invariants = append(m.Invariants, func(c Case) error { seen = c; return nil })
	all, err := m.components()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.run(all, []Behavior{AcksAtOnce, AcksSlowly, AcksAtOnce}); err != nil {
		t.Fatal(err)
	}
	r := *seen.Report
	r.Components, r.Events = slices.Clone(r.Components), slices.Clone(r.Events)
	seen.Report = &r
	return seen
}

func TestMatrixRefuses(t *testing.T) { synctest.Test(t, testMatrixRefuses) }

func testMatrixRefuses(t *testing.T) {
	if _, err := (Matrix{}).withDefaults(); err == nil {
		t.Error("a matrix without Setup")
	}
	broken := errors.New("broken")
	m, _ := Matrix{Setup: func(Registrar) error { return broken }}.withDefaults()
	if _, err := m.components(); !errors.Is(err, broken) {
		t.Errorf("Setup's error: %v", err)
	}
	if err := m.run(nil, nil); !errors.Is(err, broken) {
		t.Errorf("Setup's error in a case: %v", err)
	}
	nobody := Matrix{Setup: func(r Registrar) error { return r.Register("a", fsm.Func(nil)) }}
	if _, err := nobody.components(); !errors.Is(err, fsm.ErrInvalid) {
		t.Errorf("a nil function: %v", err)
	}
	m.Config.Alarm = -1
	if _, err := m.components(); err == nil {
		t.Error("a bad config")
	}
	{
		m, _ := Matrix{
			Setup:      func(r Registrar) error { return r.Register("a", nil) },
			Invariants: []func(Case) error{func(Case) error { return broken }},
		}.withDefaults()
		err := m.run([]registered{{"a", stops}}, []Behavior{IgnoresInsist})
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "a ignores insist:") {
			t.Errorf("a broken invariant: %v", err)
		}
	}
	if text := Behavior(99).String(); text != "unknown(99)" {
		t.Error(text)
	}
}

// Between the late insistence and the alarm there must be time, if only 1 ns.
func TestMatrixNeedsAGap(t *testing.T) {
	setup := func(r Registrar) error {
		return errors.Join(r.Register("a", nil), r.Register("b", nil, fsm.After("a")))
	}
	for _, alarm := range []time.Duration{25, fsm.DefaultAlarm} {
		for gap := time.Duration(1); gap < leastGap; gap++ {
			config := fsm.Config{Alarm: alarm, InsistAfter: alarm - gap}
			_, err := Matrix{Setup: setup, Config: config}.withDefaults()
			if err == nil || !strings.HasPrefix(err.Error(), "fsmtest: matrix: insist after ") {
				t.Errorf("%v before an alarm of %v: %v", gap, alarm, err)
			}
		}
		Matrix{Setup: setup, Config: fsm.Config{Alarm: alarm, InsistAfter: alarm - leastGap}}.Test(t)
		Matrix{Setup: setup, Config: fsm.Config{Alarm: alarm}}.Test(t)
	}
	if _, err := (Matrix{Setup: setup, Config: fsm.Config{Alarm: 20}}).withDefaults(); err == nil {
		t.Error("an alarm of 20 ns leaves a default gap of 4 ns")
	}
}
