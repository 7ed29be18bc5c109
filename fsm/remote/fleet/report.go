package fleet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// Line is how one instance fared.
type Line struct {
	Instance remote.Instance `json:"instance"`
	State    InstanceState   `json:"state"`
	ExitCode int             `json:"exitCode"`           // of its report
	Err      error           `json:"-"`                  // that of its report, why it is unreachable, or that it was not back
	Culprits []string        `json:"culprits,omitempty"` // who did not leave politely there: "db hung"; at most 8
	Asked    time.Time       `json:"asked,omitzero"`     // by the clock of who asked, in the drain's last run
	Took     time.Duration   `json:"-"`                  // from there to the outcome, or to now
	Report   *fsm.Report     `json:"report,omitempty"`   // of one with another exit code than 0, in the drain's last run

	last *fsm.Report // what has just been learned, for who follows
}

// Report says how a drain went, or goes. In JSON durations are numbers of milliseconds
// and errors are strings; errors read back keep their text, and not their type.
type Report struct {
	ID       string        `json:"id,omitempty"` // of the drain; "" in a preview
	Group    string        `json:"group"`
	Operator string        `json:"operator,omitempty"` // who runs it now
	Plan     Plan          `json:"plan"`
	AtOnce   int           `json:"atOnce"`             // the plan's limit in this group
	Began    time.Time     `json:"began,omitzero"`     // by the clock of who began it
	Took     time.Duration `json:"-"`                  // of all runs together, but those that died or were abandoned
	Resumed  int           `json:"resumed,omitempty"`  // how often it was taken up again
	Replaced string        `json:"replaced,omitempty"` // the ID of an unfinished drain of the group that this one took the place of
	Lines    []Line        `json:"lines"`              // in the order in which they are asked
	Stopped  string        `json:"stopped,omitempty"`  // why it did not go on; "" if it did
}

// Count returns how many instances are in one of the states.
func (r *Report) Count(states ...InstanceState) (n int) {
	for _, l := range r.Lines {
		if slices.Contains(states, l.State) {
			n++
		}
	}
	return n
}

// severity orders exit codes: a higher one is worse.
func severity(code int) int {
	switch {
	case code > 128:
		return 1000 + code
	case code == fsm.ExitAlarm:
		return 5
	case code == fsm.ExitImpolite:
		return 3
	case code == fsm.ExitFailure:
		return 2
	case code == fsm.ExitOK:
		return 0
	}
	return 4 // what only main programs of others have
}

// unreachableSeverity is between the alarm and the rest.
const unreachableSeverity = 4

// ExitCode returns the worst: 128+n if one was forced by signal n; [fsm.ExitAlarm];
// [fsm.ExitFailure] if one was unreachable or not back; [fsm.ExitImpolite];
// [fsm.ExitFailure] if a request to one carried an error, or if the drain was
// stopped; else 0.
func (r *Report) ExitCode() int {
	worst, code := 0, fsm.ExitOK
	take := func(s, c int) {
		if s > worst {
			worst, code = s, c
		}
	}
	for i := range r.Lines {
		take(r.Lines[i].severity())
	}
	if r.Stopped != "" {
		take(severity(fsm.ExitFailure), fsm.ExitFailure)
	}
	return code
}

func (l *Line) severity() (severe, code int) {
	switch {
	case l.State == Unreachable, l.State == Failed && l.ExitCode == 0:
		return unreachableSeverity, fsm.ExitFailure
	case l.State == Failed:
		return severity(l.ExitCode), l.ExitCode
	}
	return 0, 0
}

// mostLines is how many lines the table has; a longer one begins with the worst.
const mostLines = 40

// String returns the report as a table for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Group %s: %d instances, %d at once, asked by %s: %s\n",
		plain(r.Group), len(r.Lines), r.AtOnce, said(cmp.Or(r.Plan.Command.By, r.Operator)), said(r.Plan.Command.Reason))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INSTANCE\tSTATE\tCODE\tTOOK\tREMARKS")
	lines, more := r.shown()
	for _, l := range lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(l.Instance.Name), l.State, l.code(), l.took(), l.remarks())
	}
	if more > 0 {
		fmt.Fprintf(w, "… and %d more\t\t\t\t\n", more)
	}
	_ = w.Flush() // a strings.Builder does not fail
	b.WriteString(r.Summary() + "\n")
	return b.String()
}

// shown are the lines of the table, and how many are left out.
func (r *Report) shown() (lines []*Line, more int) {
	for i := range r.Lines {
		lines = append(lines, &r.Lines[i])
	}
	if len(lines) <= mostLines {
		return lines, 0
	}
	slices.SortStableFunc(lines, func(a, b *Line) int {
		severeA, _ := a.severity()
		severeB, _ := b.severity()
		return cmp.Or(cmp.Compare(severeB, severeA), cmp.Compare(interest[a.State], interest[b.State]))
	})
	return lines[:mostLines], len(lines) - mostLines
}

// interest is how soon a line without a failure is of interest.
var interest = [len(stateNames)]int{Asked: 1, Away: 2, Skipped: 3, Waiting: 4, Gone: 5, Left: 6, Back: 7}

// Summary returns the report in one line, for logs.
func (r *Report) Summary() string {
	var counts []string
	for s := range InstanceState(len(stateNames)) {
		if n := r.Count(s); n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		}
	}
	text := cmp.Or(strings.Join(counts, ", "), "nobody is there")
	if r.Took > 0 {
		text += fmt.Sprintf(" after %s", round(r.Took))
	}
	if r.Resumed > 0 {
		text += fmt.Sprintf(", in %d runs", r.Resumed+1)
	}
	if r.Stopped != "" {
		text += "; stopped: " + plain(r.Stopped)
	}
	if r.ID != "" && r.Count(Waiting, Asked, Away) == 0 {
		text += fmt.Sprintf("; exit code %d", r.ExitCode())
	}
	return text
}

func (l *Line) code() string {
	switch l.State {
	case Left, Away, Back, Failed, Gone:
		return fmt.Sprint(l.ExitCode)
	}
	return "-"
}

func (l *Line) took() string {
	if l.Took == 0 {
		return "-"
	}
	return round(l.Took).String()
}

func (l *Line) remarks() string {
	said := slices.Clone(l.Culprits)
	if l.Err != nil && (len(said) == 0 || l.State == Unreachable) { // else it says the same at length
		said = append(said, errorText(l.Err))
	}
	return cmp.Or(plain(strings.Join(said, ", ")), "-")
}

const maxCulprits = 8

// culpritsOf names those who did not leave politely, also in processes that were
// components of the one that reports: "store > disk hung".
func culpritsOf(r *fsm.Report) (names []string) {
	collectCulprits(r, "", 0, &names)
	return names
}

func collectCulprits(r *fsm.Report, inside string, depth int, names *[]string) {
	const deepest = 32 // as deep as fsm nests
	for i := range r.Components {
		l := &r.Components[i]
		if l.BestEffort || l.Outcome == fsm.OutcomeAcked && !l.Insisted || len(*names) == maxCulprits {
			continue
		}
		before := len(*names)
		if l.Inner != nil && depth < deepest {
			collectCulprits(l.Inner, inside+string(l.ID)+" > ", depth+1, names)
		}
		if len(*names) == before {
			text := inside + string(l.ID) + " " + l.Outcome.String()
			if l.Insisted && l.Outcome == fsm.OutcomeAcked {
				text = inside + string(l.ID) + " insisted upon"
			}
			*names = append(*names, clipped(plain(text), maxName))
		}
	}
}

// The JSON of these types is that of their fields, save that errors are strings and
// durations milliseconds.
type (
	barePlan     Plan
	bareLine     Line
	bareReport   Report
	bareProgress Progress
)

type planJSON struct {
	*barePlan
	Back millis `json:"backMs,omitempty"`
}

type lineJSON struct {
	*bareLine
	Took  millis `json:"tookMs"`
	Error string `json:"error,omitempty"`
}

type reportJSON struct {
	*bareReport
	Took     millis `json:"tookMs"`
	ExitCode *int   `json:"exitCode,omitempty"` // of one that is over
}

type progressJSON struct {
	*bareProgress
	Took  millis `json:"tookMs,omitempty"`
	Error string `json:"error,omitempty"`
}

// MarshalJSON implements [json.Marshaler].
func (p Plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(planJSON{(*barePlan)(&p), inMillis(p.Back)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *Plan) UnmarshalJSON(data []byte) error {
	j := planJSON{barePlan: (*barePlan)(p)}
	err := json.Unmarshal(data, &j)
	p.Back = j.Back.duration()
	return err
}

// MarshalJSON implements [json.Marshaler].
func (l Line) MarshalJSON() ([]byte, error) {
	return json.Marshal(lineJSON{(*bareLine)(&l), inMillis(l.Took), errorText(l.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *Line) UnmarshalJSON(data []byte) error {
	j := lineJSON{bareLine: (*bareLine)(l)}
	err := json.Unmarshal(data, &j)
	l.Took, l.Err = j.Took.duration(), textError(j.Error)
	return err
}

// MarshalJSON implements [json.Marshaler].
func (r Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{bareReport: (*bareReport)(&r), Took: inMillis(r.Took)}
	if r.Count(Waiting, Asked, Away) == 0 {
		j.ExitCode = new(r.ExitCode())
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Report) UnmarshalJSON(data []byte) error {
	j := reportJSON{bareReport: (*bareReport)(r)}
	err := json.Unmarshal(data, &j)
	r.Took = j.Took.duration()
	if err != nil {
		return fmt.Errorf("fleet: report: %w", err)
	}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (p Progress) MarshalJSON() ([]byte, error) {
	return json.Marshal(progressJSON{(*bareProgress)(&p), inMillis(p.Took), errorText(p.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *Progress) UnmarshalJSON(data []byte) error {
	j := progressJSON{bareProgress: (*bareProgress)(p)}
	err := json.Unmarshal(data, &j)
	p.Took, p.Err = j.Took.duration(), textError(j.Error)
	return err
}

// millis is a duration in milliseconds: exact to the nanosecond for 100 days.
type millis float64

func inMillis(d time.Duration) millis { return millis(d) / millis(time.Millisecond) }

func (m millis) duration() time.Duration {
	if m >= inMillis(math.MaxInt64) { // the conversion would overflow
		return math.MaxInt64
	}
	return time.Duration(math.Round(float64(m) * float64(time.Millisecond)))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(err.Error(), "(no text)") // which is still an error when it is read back
}

func textError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}

func said(text string) string { return cmp.Or(plain(text), "(not said)") }

// plain keeps what others wrote from breaking the line or the terminal.
func plain(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ") // as errors.Join has it
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// clipped keeps whole runes.
func clipped(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

// round shortens a duration to what a person reads.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
