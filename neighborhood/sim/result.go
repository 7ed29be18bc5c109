package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what a run has shown. It prints as a table and marshals as JSON, durations in milliseconds.
type Result struct {
	Config     Config
	Events     []Event
	Violations []Violation   // of the first 20; none, if all is well
	Elapsed    time.Duration // of the simulator's clock
}

// Event is one incident, or several on each other's heels, until the network was silent again.
type Event struct {
	Name        string        // grow, leave, crash, lie, stall, break, part, joined by +
	Neighbors   int           // that the leavers had
	FromLeavers int           // messages that the leavers sent: exactly Neighbors, unless a stall kept one back
	Naive       int           // messages that one gossip for each removed stream would have cost them: n(n-1)/2
	Messages    int           // that all nodes sent, the lies not counted
	Bytes       int           // of these
	FullState   int           // bytes of as many messages with everything known in each of them
	Agreed      time.Duration // from the beginning until the last change was taken in
	Silent      time.Duration // from the beginning until the last message was sent
	Nodes       int           // that are there afterwards, liars not counted
	Components  int           // that these form
	Whole       time.Duration // from the last departure until they were in no more parts than must be; 0: they never were
}

// Violation is a promise that was not kept.
//
//   - room: no node has more than five neighbors and Debuts together.
//   - withdrawal: a leaver sends exactly one message to each neighbor, within its time.
//   - farewell: a neighbor that hears it drops its half-neighborship at once.
//   - left: no record that a live node can reach lists a node that is gone.
//   - agreement: live nodes that neighborships connect hold each other's newest records.
//   - neighborship: what an honest node claims, the other claims too.
//   - silence: the network falls silent.
//   - cost: it does so within the bound on messages, 2EV and what new streams add.
//   - address: none is shown to a node not entitled to it.
//   - dial: no node dials what it did not ask for.
//   - signature: no record is held that its owner did not sign.
//   - memory: no node holds more records than it may.
//   - whole: nodes of different parts neither are configured with each other nor remember each other.
//   - place: every newcomer finds a neighbor.
//   - message: what is sent can be read.
type Violation struct {
	Rule      string
	At        time.Duration // of the simulator's clock
	What      string
	Reproduce string // the command line that shows it again
}

// String is one line, the reproduction included.
func (v Violation) String() string {
	return fmt.Sprintf("%s violated after %v: %s (repeat with: %s)", v.Rule, v.At, v.What, v.Reproduce)
}

// Err is an error that names the violations; nil if there are none.
func (r *Result) Err() error {
	if len(r.Violations) == 0 {
		return nil
	}
	return errors.New("sim: " + violationsInWords(r.Violations))
}

// String is a table for people.
func (r *Result) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d nodes, seed %d\n", r.Config.Nodes, r.Config.Seed)
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "event\tneighbors\tfarewells\tnaive\tmessages\tbytes\tfull state\tagreed\tsilent\twhole\tnodes\tparts\t")
	for _, e := range r.Events {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%v\t%d\t%d\t\n", e.Name, e.Neighbors, e.FromLeavers, e.Naive,
			e.Messages, e.Bytes, e.FullState, e.Agreed.Round(time.Millisecond), e.Silent.Round(time.Millisecond),
			e.Whole.Round(time.Millisecond), e.Nodes, e.Components)
	}
	_ = w.Flush() // a strings.Builder takes everything
	for _, v := range r.Violations {
		fmt.Fprintln(&text, v)
	}
	return text.String()
}

// MarshalJSON implements json.Marshaler.
func (r *Result) MarshalJSON() ([]byte, error) {
	events := make([]eventJSON, len(r.Events))
	for i, e := range r.Events {
		events[i] = eventJSON{
			e.Name, e.Neighbors, e.FromLeavers, e.Naive, e.Messages, e.Bytes, e.FullState,
			milliseconds(e.Agreed), milliseconds(e.Silent), milliseconds(e.Whole), e.Nodes, e.Components,
		}
	}
	violations := make([]violationJSON, len(r.Violations))
	for i, v := range r.Violations {
		violations[i] = violationJSON{v.Rule, milliseconds(v.At), v.What, v.Reproduce}
	}
	return json.Marshal(struct {
		Config     Config          `json:"config"`
		Events     []eventJSON     `json:"events"`
		Violations []violationJSON `json:"violations"`
		Elapsed    float64         `json:"elapsed"`
	}{r.Config, events, violations, milliseconds(r.Elapsed)})
}

type eventJSON struct {
	Name        string  `json:"name"`
	Neighbors   int     `json:"neighbors"`
	FromLeavers int     `json:"fromLeavers"`
	Naive       int     `json:"naive"`
	Messages    int     `json:"messages"`
	Bytes       int     `json:"bytes"`
	FullState   int     `json:"fullState"`
	Agreed      float64 `json:"agreed"`
	Silent      float64 `json:"silent"`
	Whole       float64 `json:"whole"`
	Nodes       int     `json:"nodes"`
	Components  int     `json:"components"`
}

type violationJSON struct {
	Rule      string  `json:"rule"`
	At        float64 `json:"at"`
	What      string  `json:"what"`
	Reproduce string  `json:"reproduce"`
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measure has something begin, lets the network settle, checks it, and puts down what it has cost.
func (s *simulation) measure(ctx context.Context, name string, begin func()) {
	began, streams := s.now, len(s.links)
	s.tally = tally{event: Event{Name: name}, lastSent: s.now, lastTaken: s.now, lastGone: s.now}
	begin()
	s.settle(ctx)
	if ctx.Err() != nil {
		return
	}
	s.checkSettled()
	s.checkWhole()
	s.checkCost(streams)
	e := s.tally.event
	e.Agreed, e.Silent = s.tally.lastTaken.Sub(began), s.tally.lastSent.Sub(began)
	if s.tally.whole.After(s.tally.lastGone) {
		e.Whole = s.tally.whole.Sub(s.tally.lastGone)
	}
	components := s.components()
	e.Components = len(components)
	for _, c := range components {
		e.Nodes += len(c)
	}
	s.result.Events = append(s.result.Events, e)
}
