package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func TestWaitsFor(t *testing.T) {
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	component := func(id string, outcome fsm.Outcome) fsm.ComponentReport {
		return fsm.ComponentReport{ID: fsm.ID(id), Outcome: outcome, Ran: 1200 * time.Millisecond}
	}
	stopping := func(ids string) (all []fsm.ComponentReport) {
		for _, id := range strings.Fields(ids) {
			all = append(all, component(id, fsm.OutcomeStopping))
		}
		return all
	}
	for _, test := range []struct {
		components []fsm.ComponentReport
		alarm      time.Duration // which a request may have moved forward
		want       string
	}{
		{stopping("db"), 5 * time.Second, "waits for db (for 1.2s); alarm in 3s"},
		{stopping("db"), time.Second, "waits for db (for 1.2s); the alarm is due"},
		{stopping("a\x1b b c d e f g"), time.Hour, "waits for a  (for 1.2s), b (for 1.2s), c (for 1.2s), d (for 1.2s), e (for 1.2s) and 2 more; alarm in 59m58s"},
		{
			append(stopping("db"), component("log", fsm.OutcomeWaiting), component("x", fsm.OutcomeAcked)), 5 * time.Second,
			"waits for db (for 1.2s); 1 not begun yet; alarm in 3s",
		},
		{[]fsm.ComponentReport{component("log", fsm.OutcomeWaiting)}, 5 * time.Second, "waits for log, not begun yet; alarm in 3s"},
		{[]fsm.ComponentReport{component("log", fsm.OutcomeAcked)}, 5 * time.Second, "nobody is waited for any more"},
	} {
		report := &fsm.Report{
			State: fsm.AwaitingAcks, Began: began, Took: 2 * time.Second, Deadline: began.Add(test.alarm), Components: test.components,
		}
		if got := WaitsFor(report); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
