package remote

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// What is read from others is bounded before anything is made of it.
const (
	maxRequest = 64 << 10 // bytes
	maxID      = 64       // bytes
	maxVia     = 64       // processes in a chain; longer ones are a cycle that nobody noticed
	maxText    = 4 << 10  // bytes of a reason, of who asked, of an error
	maxDepth   = 64       // braces inside of braces; reports inside of reports have three each
	headroom   = 4 << 10  // bytes of a payload that are not the report
	maxEntry   = 4 << 10  // bytes of an entry in the registry
)

// action is what a request wants.
type action string

const (
	ask    action = "ask" // how do you do
	leave  action = "leave"
	insist action = "insist" // leave, and the polite time is over
)

// request is what a process is sent. Durations are nanoseconds.
type request struct {
	Action      action        `json:"action"`
	ID          string        `json:"id"`
	Incarnation string        `json:"incarnation,omitempty"` // whom it is meant for; anybody of the name may answer an ask
	Until       time.Duration `json:"until,omitempty"`       // the receiver's uptime after which it must not take effect
	Via         []string      `json:"via,omitempty"`         // the processes that wait for the receiver, "group/name"
	Command     fsm.Command   `json:"command,omitzero"`
}

// reply answers a request.
type reply struct {
	ID       string        `json:"id"` // of the request
	Action   action        `json:"action"`
	Instance Instance      `json:"instance"`
	Uptime   time.Duration `json:"uptime"` // of the one who answers, when it answers
	State    fsm.State     `json:"state"`
	Refused  refusal       `json:"refused,omitempty"`
	Text     string        `json:"text,omitempty"` // of the refusal
	Over     bool          `json:"over,omitempty"` // the report is the last word
	Report   *fsm.Report   `json:"report,omitempty"`
}

// refusal is why a request has no effect.
type refusal string

const (
	refusedInvalid refusal = "invalid"
	refusedLate    refusal = "late"
	refusedCycle   refusal = "cycle"
)

// told is what a process publishes of its shutdown.
type told struct {
	Instance Instance    `json:"instance"`
	Event    *fsm.Event  `json:"event,omitempty"`
	Report   *fsm.Report `json:"report,omitempty"`
	Over     bool        `json:"over,omitempty"` // the report is the last word
}

func decodeRequest(data []byte) (r request, err error) {
	if len(data) > maxRequest {
		return request{}, fmt.Errorf("%w: a request of %d bytes", ErrInvalid, len(data))
	}
	if err := decode(data, "request", &r); err != nil {
		return request{}, err
	}
	return r, r.valid()
}

func (r *request) valid() error {
	switch {
	case r.Action != ask && r.Action != leave && r.Action != insist:
		return fmt.Errorf("%w: action %q", ErrInvalid, clipped(string(r.Action)))
	case r.ID == "" || len(r.ID) > maxID:
		return fmt.Errorf("%w: an ID has 1 to %d bytes", ErrInvalid, maxID)
	case len(r.Via) > maxVia || slices.ContainsFunc(r.Via, func(via string) bool { _, err := parseName(via); return err != nil }):
		return fmt.Errorf("%w: who asked", ErrInvalid)
	case r.Action != ask && r.Incarnation == "":
		return fmt.Errorf("%w: a command is for one incarnation", ErrInvalid)
	case r.Command.Within < 0:
		return fmt.Errorf("%w: within %v is negative", ErrInvalid, r.Command.Within)
	}
	return nil
}

// clean makes a command that came from outside one of this process's own.
func clean(c fsm.Command) fsm.Command {
	c.Signal = 0 // no signal that this process could repeat
	c.Reason, c.By = clipped(c.Reason), clipped(c.By)
	if c.Err != nil {
		c.Err = fmt.Errorf("remote: %s", clipped(c.Err.Error()))
	}
	return c
}

func clipped(text string) string { return text[:min(len(text), maxText)] }

func decodeReply(data []byte) (r reply, err error) {
	if err := decode(data, "reply", &r); err != nil {
		return reply{}, err
	}
	if err := r.Instance.valid(); err != nil {
		return reply{}, err
	}
	return r, firstErr(validIncarnation(r.Instance.Incarnation), validReport(r.Report, r.Over))
}

func decodeTold(data []byte) (t told, err error) {
	if err := decode(data, "message", &t); err != nil {
		return told{}, err
	}
	if err := t.Instance.valid(); err != nil {
		return told{}, err
	}
	if (t.Event == nil) == (t.Report == nil) {
		return told{}, fmt.Errorf("%w: message: an event or a report", ErrInvalid)
	}
	return t, firstErr(validIncarnation(t.Instance.Incarnation), validReport(t.Report, t.Over))
}

func firstErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// validReport refuses a last word that is not said.
func validReport(r *fsm.Report, over bool) error {
	if over && (r == nil || r.State != fsm.Terminated) {
		return fmt.Errorf("%w: a last word without a final report", ErrInvalid)
	}
	return nil
}

// decode refuses what is nested too deep to be read in reasonable time: each report
// inside of a report is read once more.
func decode(data []byte, what string, into any) error {
	if depthOf(data) > maxDepth {
		return fmt.Errorf("%w: %s: nested too deep", ErrInvalid, what)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	return nil
}

// depthOf counts braces and brackets outside of strings.
func depthOf(data []byte) (most int) {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			depth++
			most = max(most, depth)
		case !quoted && (c == '}' || c == ']'):
			depth--
		}
	}
	return most
}

// fit returns the report as it fits into a message: as it is, or with less and
// less of it. What goes last are the culprits.
func fit(r *fsm.Report, limit int) *fsm.Report {
	for _, less := range []func(*fsm.Report){
		func(*fsm.Report) {},
		func(r *fsm.Report) { cutStacks(r, 2<<10) },
		func(r *fsm.Report) { r.Events = []fsm.Event{} },
		func(r *fsm.Report) { cutStacks(r, 0) },
		func(r *fsm.Report) { keepLines(r, culprit); r.Requests = r.Requests[:min(8, len(r.Requests))] },
		func(r *fsm.Report) {
			keepLines(r, func(l fsm.ComponentReport) bool { return culprit(l) && !l.BestEffort })
			r.Components = r.Components[:min(64, len(r.Components))]
		},
	} {
		c := *r
		less(&c)
		if data, err := json.Marshal(&c); err == nil && len(data) <= limit {
			return &c
		}
		r = &c
	}
	bare := fsm.Report{Command: r.Command, State: r.State, Edge: r.Edge, Began: r.Began, Took: r.Took}
	bare.Command.Err, bare.Command.Reason, bare.Command.By = nil, clipped(r.Command.Reason), clipped(r.Command.By)
	return &bare
}

// cutStacks works on copies: a report is shared.
func cutStacks(r *fsm.Report, most int) {
	r.Components = slices.Clone(r.Components)
	for i := range r.Components {
		l := &r.Components[i]
		l.Stack = l.Stack[:min(most, len(l.Stack))]
		if l.Inner != nil {
			inner := *l.Inner
			cutStacks(&inner, most)
			l.Inner = &inner
		}
	}
}

func keepLines(r *fsm.Report, keep func(fsm.ComponentReport) bool) {
	r.Components = slices.DeleteFunc(slices.Clone(r.Components), func(l fsm.ComponentReport) bool { return !keep(l) })
}

func culprit(l fsm.ComponentReport) bool { return l.Outcome != fsm.OutcomeAcked || l.Insisted }
