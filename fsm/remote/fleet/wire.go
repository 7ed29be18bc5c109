package fleet

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/farewell-node/farewell/fsm/remote"
)

// What is read from the bucket is bounded before anything is made of it, and what is
// written is within these bounds.
const (
	maxValue = 512 << 10 // bytes of any value
	maxChunk = 256 << 10 // bytes of a part of the plan, as written; a message of NATS has 1 MiB
	maxSmall = 32 << 10  // bytes of a lease, a record, an outcome
	maxText  = 1 << 10   // bytes of a reason, of who asks, of an error
	maxName  = 256       // bytes of a name: of an instance, an incarnation, a culprit, an operator
	maxID    = 40        // bytes of a drain's ID; a command's has six more, and may have 64
)

// tenure is what stands in the bucket for as long as somebody drains a group.
type tenure struct {
	Token    string    `json:"token"` // of this holder, this time
	Drain    string    `json:"drain"`
	Operator string    `json:"operator"`
	Since    time.Time `json:"since"` // by the holder's clock, for people
}

// counts are how far a drain is.
type counts struct {
	Total  int `json:"total"`
	Done   int `json:"done"` // with an outcome, whichever
	Failed int `json:"failed"`
}

// record is one group's latest drain.
type record struct {
	ID       string    `json:"id"`
	Operator string    `json:"operator"` // who ran it last
	Plan     Plan      `json:"plan"`
	Run      string    `json:"run"`   // of whoever has written it: the token of his lease
	Parts    int       `json:"parts"` // of the plan
	Began    time.Time `json:"began"` // by the clock of who began it
	Took     millis    `json:"tookMs"`
	Resumed  int       `json:"resumed,omitempty"`
	Replaced string    `json:"replaced,omitempty"`
	Stopped  string    `json:"stopped,omitempty"`
	Finished bool      `json:"finished,omitempty"`
	counts             // Done and Failed are of one that was finished or stopped
}

// outcome is how one instance fared. Its report stands in the registry.
type outcome struct {
	State    InstanceState `json:"state"`
	ExitCode int           `json:"exitCode,omitempty"`
	Error    string        `json:"error,omitempty"`
	Culprits []string      `json:"culprits,omitempty"`
	Asked    time.Time     `json:"asked,omitzero"`
	Took     millis        `json:"tookMs"`
}

func decodeTenure(data []byte) (t tenure, err error) {
	if err := decode(data, maxSmall, "lease", &t); err != nil {
		return tenure{}, err
	}
	if !within(maxName, t.Token, t.Drain, t.Operator) || t.Token == "" {
		return tenure{}, fmt.Errorf("%w: lease", ErrInvalid)
	}
	return t, nil
}

func (c counts) valid() bool {
	return c.Total >= 0 && c.Total <= maxMembers && c.Done >= 0 && c.Done <= c.Total && c.Failed >= 0 && c.Failed <= c.Done
}

func decodeRecord(group string, data []byte) (r record, err error) {
	if err := decode(data, maxSmall, "record", &r); err != nil {
		return record{}, err
	}
	r.Plan.Command.Err, r.Plan.Command.Signal = nil, 0 // as Begin has it
	if err := r.Plan.validate(); err != nil {
		return record{}, fmt.Errorf("record: %w", err)
	}
	switch {
	case r.Plan.Group != group || r.ID == "" || !keyToken(r.ID) || len(r.ID) > maxID:
		err = fmt.Errorf("%w: record of %q", ErrInvalid, clipped(r.Plan.Group, maxName))
	case !r.counts.valid() || r.Parts < 0 || r.Parts > r.Total || r.Resumed < 0 || !r.Took.valid():
		err = fmt.Errorf("%w: record of %d instances in %d parts", ErrInvalid, r.Total, r.Parts)
	case !within(maxName, r.Operator, r.Replaced, r.Run) || !within(4*maxText, r.Stopped):
		err = fmt.Errorf("%w: record: too long", ErrInvalid)
	}
	if err != nil {
		return record{}, err
	}
	return r, nil
}

// decodePart reads a part of the plan of a group.
func decodePart(group string, data []byte) (part []remote.Instance, err error) {
	if err := decode(data, maxValue, "plan", &part); err != nil {
		return nil, err
	}
	for _, i := range part {
		if i.Group != group || i.Name == "" || i.Incarnation == "" || !within(maxName, i.Name, i.Incarnation) {
			return nil, fmt.Errorf("%w: plan: instance %q", ErrInvalid, clipped(i.String(), maxName))
		}
	}
	return part, nil
}

func decodeOutcome(data []byte) (o outcome, err error) {
	if err := decode(data, maxSmall, "outcome", &o); err != nil {
		return outcome{}, err
	}
	if !o.State.recorded() || !within(2*maxText, o.Error) || len(o.Culprits) > maxCulprits || !within(maxName, o.Culprits...) || !o.Took.valid() {
		return outcome{}, fmt.Errorf("%w: outcome", ErrInvalid)
	}
	return o, nil
}

// valid refuses what is no duration.
func (m millis) valid() bool { return m >= 0 && m <= millis(1000*Keep/time.Millisecond) }

// within reports whether the texts have at most so many bytes, and are texts.
func within(most int, texts ...string) bool {
	for _, text := range texts {
		if len(text) > most || !utf8.ValidString(text) {
			return false
		}
	}
	return true
}

// keyToken reports whether a name can be a part of a key.
func keyToken(name string) bool {
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return name != ""
}

func decode(data []byte, most int, what string, into any) error {
	if len(data) > most {
		return fmt.Errorf("%w: %s of %d bytes", ErrInvalid, what, len(data))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	return nil
}

// inParts divides a plan into values.
func inParts(instances []remote.Instance) (parts [][]byte, err error) {
	var part []byte
	for _, i := range instances {
		one, err := json.Marshal(i)
		if err != nil {
			return nil, err
		}
		if len(part) > 0 && len(part)+len(one)+2 > maxChunk {
			parts, part = append(parts, append(part, ']')), nil
		}
		if part == nil {
			part = []byte{'['}
		} else {
			part = append(part, ',')
		}
		part = append(part, one...)
	}
	if part != nil {
		parts = append(parts, append(part, ']'))
	}
	return parts, nil
}
