package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

var (
	// ErrInvalid refuses a plan, an option, a limit or an order.
	ErrInvalid = remote.ErrInvalid
	// ErrHeld: somebody else drains the group. Errors that wrap it are a [*HeldError],
	// which says who.
	ErrHeld = errors.New("held")
	// ErrNothing: there is no drain of the group that could be taken up again, or none
	// at all.
	ErrNothing = errors.New("there is no drain")
)

// maxMembers is how many instances a plan has at most: ten times what it is tried with.
const maxMembers = 100_000

// Plan says which group leaves, and how. Only Group is needed; with nothing else the
// instances leave one after the other, the newest first, until the first that fails.
type Plan struct {
	Group string `json:"group"`
	// Command is what each instance is told. Within is its alarm; 0 leaves it its own.
	// Err has no effect: a rolling leave is no failure.
	Command   fsm.Command   `json:"command"`
	AtOnce    Limit         `json:"atOnce"`    // how many may be asked and not done at any time
	Order     Order         `json:"order"`     // who is asked first
	MaxFailed int           `json:"maxFailed"` // when more have failed nobody else is asked
	Back      time.Duration `json:"-"`         // 0: an instance is done when it has left; else see [Away]
}

// validate also makes a zero limit the one that it stands for.
func (p *Plan) validate() error {
	if p.AtOnce == (Limit{}) {
		p.AtOnce = Count(1)
	}
	switch {
	case p.Group == "":
		return fmt.Errorf("%w: a plan needs a group", ErrInvalid)
	case p.Command.Within < 0:
		return fmt.Errorf("%w: within %v is negative", ErrInvalid, p.Command.Within)
	case p.MaxFailed < 0:
		return fmt.Errorf("%w: at most %d failed", ErrInvalid, p.MaxFailed)
	case p.Back < 0:
		return fmt.Errorf("%w: back within %v", ErrInvalid, p.Back)
	case !within(maxText, p.Command.Reason, p.Command.By):
		return fmt.Errorf("%w: reason and who asks are texts of at most %d bytes", ErrInvalid, maxText)
	}
	return errors.Join(p.AtOnce.validate(), p.Order.validate())
}

// Limit is how many may be away at once: a number, or a percentage of the group. Its
// zero value is 1. It marshals as its text.
type Limit struct {
	value   int
	percent bool
}

// Count returns the limit of n instances. Less than 1 is 1.
func Count(n int) Limit { return Limit{value: max(1, n)} }

// ParseLimit reads "3" or "25%": at least 1, and at most 100 %.
func ParseLimit(text string) (Limit, error) {
	digits, percent := strings.CutSuffix(text, "%")
	value, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return Limit{}, fmt.Errorf("fleet: %w: limit %q: want a number, or a percentage", ErrInvalid, clipped(text, 64))
	}
	l := Limit{int(value), percent}
	if value == 0 {
		return Limit{}, fmt.Errorf("fleet: %w: limit %q: nobody could ever be asked", ErrInvalid, clipped(text, 64))
	}
	if err := l.validate(); err != nil {
		return Limit{}, fmt.Errorf("fleet: %w", err)
	}
	return l, nil
}

func (l Limit) validate() error {
	if l.percent && l.value > 100 {
		return fmt.Errorf("%w: limit %s: a group has 100 %%", ErrInvalid, l)
	}
	return nil
}

// Of returns the limit in a group of so many: a percentage is rounded down, and the
// least is 1.
func (l Limit) Of(total int) int {
	if l.percent {
		return max(1, total*l.value/100)
	}
	return max(1, l.value)
}

// String returns what [ParseLimit] reads.
func (l Limit) String() string {
	text := strconv.Itoa(max(1, l.value))
	if l.percent {
		text += "%"
	}
	return text
}

// MarshalText implements [encoding.TextMarshaler].
func (l Limit) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler], as [ParseLimit] does.
func (l *Limit) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLimit(string(text))
	return err
}

// Order says who of a group is asked first. It marshals as its name.
type Order uint8

const (
	// Newest first: who has joined last, by the registry's revisions, is asked first.
	Newest Order = iota
	// Oldest first.
	Oldest
	// ByName, as strings compare.
	ByName
)

var orderNames = [...]string{"newest", "oldest", "name"}

func (o Order) validate() error {
	if int(o) >= len(orderNames) {
		return fmt.Errorf("%w: %s", ErrInvalid, o)
	}
	return nil
}

// String returns the order's name: newest, oldest or name.
func (o Order) String() string { return nameOf(orderNames[:], o) }

// MarshalText implements [encoding.TextMarshaler].
func (o Order) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses other names.
func (o *Order) UnmarshalText(text []byte) error { return parseName(orderNames[:], "order", o, text) }

// sort puts the instances into the order in which they are asked.
func (o Order) sort(instances []remote.Instance) {
	slices.SortFunc(instances, func(a, b remote.Instance) int {
		byName := strings.Compare(a.Name, b.Name)
		switch o {
		case Newest:
			return cmp.Or(cmp.Compare(b.Born, a.Born), byName)
		case Oldest:
			return cmp.Or(cmp.Compare(a.Born, b.Born), byName)
		}
		return byName
	})
}

// InstanceState is how far one instance is in a drain. It marshals as its name.
type InstanceState uint8

const (
	// Waiting: not asked yet.
	Waiting InstanceState = iota
	// Asked: told to leave, and not done.
	Asked
	// Left: its report is there, and has exit code 0. An end, unless it is to come back.
	Left
	// Away: it has left, and no other incarnation of its name has joined yet. It goes
	// on taking one of the places.
	Away
	// Back: it has left, and another incarnation of its name has joined. An end.
	Back
	// Failed: its report has another exit code, whoever asked it to leave, or it was not
	// back in time. An end.
	Failed
	// Unreachable: it was asked, and there is no report. It may live on. An end, and
	// counted among those that failed.
	Unreachable
	// Gone: it had left by itself before it was asked, with exit code 0 or without a
	// word. An end, and no failure.
	Gone
	// Skipped: not asked, since the drain was stopped before. An end.
	Skipped
)

var stateNames = [...]string{"waiting", "asked", "left", "away", "back", "failed", "unreachable", "gone", "skipped"}

// String returns the state's name, in lower case.
func (s InstanceState) String() string { return nameOf(stateNames[:], s) }

// MarshalText implements [encoding.TextMarshaler].
func (s InstanceState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses other names.
func (s *InstanceState) UnmarshalText(text []byte) error {
	return parseName(stateNames[:], "state", s, text)
}

// failure reports whether the state counts against [Plan.MaxFailed].
func (s InstanceState) failure() bool { return s == Failed || s == Unreachable }

// recorded reports whether the state is an end that is written down.
func (s InstanceState) recorded() bool {
	return s == Left || s == Back || s == Failed || s == Unreachable || s == Gone
}

func nameOf[T ~uint8](names []string, value T) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("unknown(%d)", value)
}

func parseName[T ~uint8](names []string, what string, to *T, text []byte) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return fmt.Errorf("fleet: %w: %s %q: want one of %s", ErrInvalid, what, clipped(string(text), 64), strings.Join(names, ", "))
	}
	*to = T(i)
	return nil
}
