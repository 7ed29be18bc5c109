package fsm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestBeforeAndAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "db", takes(time.Millisecond))
		register(t, o, "http", takes(30*time.Millisecond), Before("db"))
		register(t, o, "logs", takes(time.Millisecond), After("db"))
		register(t, o, "free", takes(2*time.Millisecond))
		r := shutdown(t, o)
		expectEvents(t, r,
			"0s ShutdownRequested", "0s Withdrawn", "0s Started http", "0s Started free",
			"2ms Acked free", "30ms Acked http", "30ms Started db", "31ms Acked db",
			"31ms Started logs", "32ms Acked logs", "32ms AllAcked")
		expect(t, r, ComponentReport{
			ID: "db", Outcome: OutcomeAcked, Waited: 30 * time.Millisecond, WaitedOn: []ID{"http"}, Ran: time.Millisecond,
		})
		expect(t, r, ComponentReport{ID: "http", Outcome: OutcomeAcked, Ran: 30 * time.Millisecond})
		if r.Edge != (Transition{AwaitingAcks, AllAcked, Terminated}) || r.ExitCode() != ExitOK || r.Err() != nil {
			t.Errorf("%s\n%v", r, r.Err())
		}
	})
}

// Exact edges: three chains of three, each with its long part elsewhere, take as
// long as one chain. Layers would take three times the long part.
func TestOrderHasNoLayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		for chain := range 3 {
			for link := range 3 {
				id, d := ID([]rune{rune('a' + chain), rune('1' + link)}), 10*time.Millisecond
				if link == chain {
					d = 60 * time.Millisecond
				}
				var after []ID
				if link > 0 {
					after = []ID{ID([]rune{rune('a' + chain), rune('0' + link)})}
				}
				register(t, o, id, takes(d), After(after...))
			}
		}
		if r := shutdown(t, o); r.Took != 80*time.Millisecond {
			t.Errorf("took %v, want 80ms", r.Took)
		}
	})
}

func TestDiamondWaitsForBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "top", takes(1*time.Millisecond))
		register(t, o, "left", takes(5*time.Millisecond), After("top"))
		register(t, o, "right", takes(9*time.Millisecond), After("top"))
		register(t, o, "bottom", takes(0), After("left", "right"))
		expect(t, shutdown(t, o), ComponentReport{
			ID: "bottom", Outcome: OutcomeAcked, Waited: 10 * time.Millisecond, WaitedOn: []ID{"right"},
		})
	})
}

// Nobody but those who withdraw shuts down in Withdrawing, whatever the order.
func TestWithdrawsIsABarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		stateAtStart := map[ID]State{}
		spy := func(id ID, d time.Duration) Component {
			return Func(func(ctx context.Context) error {
				time.Sleep(d)
				stateAtStart[id] = o.State()
				return nil
			})
		}
		register(t, o, "w1", spy("w1", time.Millisecond), Withdraws())
		register(t, o, "free", takes(0))
		register(t, o, "behind w1", takes(0), After("w1"))
		register(t, o, "w2", spy("w2", 5*time.Millisecond), Withdraws(), After("w1"))
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Started w1", "1ms Acked w1", "1ms Started w2", "6ms Acked w2",
			"6ms Withdrawn", "6ms Started free", "6ms Started behind w1", happened(r)[8], happened(r)[9], "6ms AllAcked")
		if stateAtStart["w1"] != Withdrawing || stateAtStart["w2"] != Withdrawing {
			t.Errorf("withdrawing in states %v", stateAtStart)
		}
		expect(t, r, ComponentReport{
			ID: "free", Outcome: OutcomeAcked, Waited: 6 * time.Millisecond, WaitedOn: []ID{"w2"},
		})
	})
}

func TestNoComponents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		r := shutdown(t, o)
		expectEvents(t, r, "0s ShutdownRequested", "0s Withdrawn", "0s AllAcked")
		if r.ExitCode() != ExitOK || r.Took != 0 {
			t.Errorf("%s", r)
		}
	})
}
