package page

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// moment is a place on the page's axis, in milliseconds: by the clock of the page's
// server, when the first word of a shutdown arrived, and from there by the
// differences of its process's own times. The axis begins a day before the page does,
// so that nothing shown is before it; 0 is a moment that is not known.
type moment float64

const axisBefore = 24 * time.Hour

func momentOf(d time.Duration) moment { return moment(d) / moment(time.Millisecond) }

// standing says how one run of a process stands.
type standing string

const (
	running      standing = "running"
	withdrawing  standing = "withdrawing"
	awaitingAcks standing = "awaitingAcks"
	left         standing = "left"    // politely: exit code 0
	failed       standing = "failed"  // its report says how
	expired      standing = "expired" // its entry did, without a word
	gone         standing = "gone"    // it left the registry, or was replaced, and nothing more is heard of it
)

// isLeaving: it has begun to leave, and there is no last word yet.
func (s standing) isLeaving() bool { return s == withdrawing || s == awaitingAcks }

// isPresent: it may still be asked.
func (s standing) isPresent() bool { return s == running || s.isLeaving() }

// run is one run of a process, from when it joined to its last word.
type run struct {
	Incarnation string    `json:"incarnation"`
	Born        uint64    `json:"born,omitempty"`
	Since       time.Time `json:"since,omitzero"` // by its own clock
	State       standing  `json:"state"`
	Joined      moment    `json:"joined,omitzero"` // not known if it was there before the page was
	Began       moment    `json:"began,omitzero"`
	Withdrew    moment    `json:"withdrew,omitzero"`
	Due         moment    `json:"due,omitzero"` // its alarm
	Ended       moment    `json:"ended,omitzero"`
	Heard       moment    `json:"heard,omitzero"`  // the last word of one that leaves
	Silent      bool      `json:"silent,omitzero"` // it leaves, and does not answer
	By          string    `json:"by,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	ForcedBy    string    `json:"forcedBy,omitempty"`
	Exit        int       `json:"exit,omitempty"`
	TimedOut    bool      `json:"timedOut,omitzero"` // the alarm rang, or it was forced
	Reported    bool      `json:"reported,omitzero"`
	Parts       []part    `json:"parts,omitempty"`
	More        int       `json:"more,omitempty"` // components that are not among Parts

	seen     int       // events, from the first on
	anchor   moment    // where the first word was put
	anchorAt time.Time // and when that was said, by the process's own clock
	asks     int       // in vain, since it was heard last
	asked    moment    // last
}

// part is one component's line.
type part struct {
	ID         string   `json:"id"`
	Start      moment   `json:"start,omitzero"`
	End        moment   `json:"end,omitzero"`
	Outcome    string   `json:"outcome"` // as fsm.Outcome has it
	Insisted   bool     `json:"insisted,omitzero"`
	BestEffort bool     `json:"bestEffort,omitzero"`
	WaitedOn   []string `json:"waitedOn,omitempty"`
	Error      string   `json:"error,omitempty"`
	Inside     []string `json:"inside,omitempty"` // who is to blame in the report inside of it
}

// What is kept of one run for all browsers. Its report has everything.
const (
	maxParts = 32
	maxNames = 4   // of those that a component waits for, or that are to blame inside of it
	maxText  = 200 // bytes of an ID, an error or a reason
)

func newRun(i remote.Instance) *run {
	return &run{Incarnation: i.Incarnation, Born: i.Born, Since: i.Since, State: running}
}

// at puts a time of the process's own clock on the axis, never later than now.
func (r *run) at(t time.Time, now moment) moment {
	if r.anchor == 0 {
		r.anchor, r.anchorAt = now, t
	}
	return max(1, min(now, r.anchor+momentOf(t.Sub(r.anchorAt))))
}

// happened takes in one event, each once, in order.
func (r *run) happened(e fsm.Event, now moment) (news bool) {
	if e.Seq < r.seen || r.Reported {
		return false
	}
	r.seen = e.Seq + 1
	r.hear(now)
	at := r.at(e.At, now)
	switch r.Ended = 0; e.State { // it may have been taken for gone
	case fsm.Withdrawing:
		r.State = withdrawing
	case fsm.AwaitingAcks:
		r.State = awaitingAcks
	}
	if r.Began == 0 {
		r.Began = at // if what came before was missed, as well as it is known
	}
	switch e.Kind {
	case fsm.ShutdownRequested:
		r.because(e.Command)
	case fsm.Forced:
		r.ForcedBy = said(e.Command)
	case fsm.Started:
		r.change(e.From, func(p *part) { p.Start, p.Outcome = at, fsm.OutcomeStopping.String() })
	case fsm.Insisted:
		r.change(e.From, func(p *part) { p.Insisted = true })
	case fsm.Acked:
		r.change(e.From, func(p *part) { p.acked(at, e.Err) })
	case fsm.Quiesced:
		if e.Err != nil {
			r.change(e.From, func(p *part) { p.Error = clip(e.Err.Error()) })
		}
	case fsm.AllAcked, fsm.Timeout:
		r.ended(at, e.Kind == fsm.Timeout)
	}
	return true
}

// hear notes that the process has said something.
func (r *run) hear(now moment) { r.Heard, r.Silent, r.asks = now, false, 0 }

func (r *run) because(c *fsm.Command) {
	if c != nil && r.By == "" && r.Reason == "" {
		r.By, r.Reason = clip(c.By), clip(c.Reason)
	}
}

func said(c *fsm.Command) string {
	if c == nil {
		return "somebody"
	}
	return clip(strings.Trim(c.By+": "+c.Reason, ": "))
}

func (r *run) change(id fsm.ID, change func(*part)) {
	name := clip(string(id))
	i := slices.IndexFunc(r.Parts, func(p part) bool { return p.ID == name })
	switch {
	case i >= 0:
	case len(r.Parts) < maxParts:
		i = len(r.Parts)
		r.Parts = append(r.Parts, part{ID: name, Outcome: fsm.OutcomeWaiting.String()})
	default:
		// Room for those who are still out is made by those who are done.
		if i = slices.IndexFunc(r.Parts, func(p part) bool { return !p.isWrong() && p.End != 0 }); i < 0 {
			return
		}
		r.More++
		r.Parts = append(slices.Delete(r.Parts, i, i+1), part{ID: name, Outcome: fsm.OutcomeWaiting.String()})
		i = len(r.Parts) - 1
	}
	change(&r.Parts[i])
}

func (p *part) acked(at moment, err error) {
	p.End, p.Outcome = at, fsm.OutcomeAcked.String()
	if p.Start == 0 {
		p.Start = at
	}
	if err != nil {
		p.Outcome, p.Error = fsm.OutcomeFailed.String(), clip(err.Error())
	}
}

// isWrong: it has not left politely, or it does not want to.
func (p *part) isWrong() bool {
	switch p.Outcome {
	case fsm.OutcomeWaiting.String(), fsm.OutcomeStopping.String(), fsm.OutcomeAcked.String():
		return p.Insisted
	}
	return true
}

// ended concludes from the events what its report will say better.
func (r *run) ended(at moment, timedOut bool) {
	r.Ended, r.State, r.TimedOut = at, left, timedOut
	for i := range r.Parts {
		p := &r.Parts[i]
		if p.End == 0 && p.Start != 0 {
			p.End, p.Outcome = at, fsm.OutcomeHung.String()
		}
		if p.isWrong() && !p.BestEffort {
			r.State, r.Exit = failed, fsm.ExitImpolite
		}
	}
	if timedOut {
		r.State, r.Exit = failed, fsm.ExitAlarm
	}
}

// stands takes in a report: the last word, or how it stands now.
func (r *run) stands(report *fsm.Report, now moment) {
	r.hear(now)
	over := report.State == fsm.Terminated
	if r.anchor == 0 { // nothing was heard before: it ends, or stands, now
		r.anchor, r.anchorAt = now, report.Began.Add(report.Took)
	}
	r.Began = r.at(report.Began, now)
	if !report.Deadline.IsZero() {
		r.Due = r.at(report.Began, now) + momentOf(report.Deadline.Sub(report.Began))
	}
	r.because(&report.Command)
	if report.ForcedBy != nil {
		r.ForcedBy = said(report.ForcedBy)
	}
	r.seen = max(r.seen, len(report.Events))
	r.replaceParts(report, now)
	switch {
	case over:
		r.Reported, r.Exit, r.TimedOut = true, report.ExitCode(), report.Edge.On == fsm.Timeout
		r.Ended, r.State = r.at(report.Began.Add(report.Took), now), left
		if r.Exit != fsm.ExitOK {
			r.State = failed
		}
	case report.State == fsm.AwaitingAcks:
		r.State = awaitingAcks
	default:
		r.State = withdrawing
	}
}

func (r *run) replaceParts(report *fsm.Report, now moment) {
	parts := make([]part, 0, len(report.Components))
	for _, l := range report.Components {
		parts = append(parts, r.partOf(l, now))
	}
	r.More = 0
	if len(parts) > maxParts { // the culprits stay
		slices.SortStableFunc(parts, func(a, b part) int { return order(b.isWrong()) - order(a.isWrong()) })
		r.More = len(parts) - maxParts
		parts = slices.Clone(parts[:maxParts])
	}
	r.Parts = parts
}

func order(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (r *run) partOf(l fsm.ComponentReport, now moment) part {
	p := part{ID: clip(string(l.ID)), Outcome: l.Outcome.String(), Insisted: l.Insisted, BestEffort: l.BestEffort}
	for _, id := range l.WaitedOn[:min(maxNames, len(l.WaitedOn))] {
		p.WaitedOn = append(p.WaitedOn, clip(string(id)))
	}
	if l.Outcome != fsm.OutcomeWaiting && l.Outcome != fsm.OutcomeSkipped {
		p.Start = min(now, r.Began+momentOf(l.Waited))
		if l.Outcome != fsm.OutcomeStopping {
			p.End = min(now, p.Start+momentOf(l.Ran))
		}
	}
	if l.Inner != nil {
		p.Inside = blamed(l.Inner)
	}
	switch {
	case l.Err != nil:
		p.Error = clip(l.Err.Error())
	case l.QuiesceErr != nil:
		p.Error = clip(l.QuiesceErr.Error())
	}
	return p
}

// blamed are the components at the bottom of reports inside of reports that have not
// left politely.
func blamed(r *fsm.Report) (blame []string) {
	for _, l := range r.Components {
		wrong := l.Insisted || l.Outcome != fsm.OutcomeAcked && l.Outcome != fsm.OutcomeWaiting && l.Outcome != fsm.OutcomeStopping
		if l.BestEffort || !wrong || len(blame) >= maxNames {
			continue
		}
		if l.Inner != nil {
			if inside := blamed(l.Inner); len(inside) > 0 {
				blame = append(blame, inside...)
				continue
			}
		}
		blame = append(blame, clip(fmt.Sprintf("%s %s", l.ID, l.Outcome)))
	}
	return blame[:min(maxNames, len(blame))]
}

// clip bounds what others wrote, between two characters.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
