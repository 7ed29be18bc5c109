package remote

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

var (
	// ErrInvalid refuses a name, a configuration or a command.
	ErrInvalid = errors.New("invalid")
	// ErrUnreachable: a process was not found, or fell silent without a report. It
	// may live on; it has not acked.
	ErrUnreachable = errors.New("unreachable")
	// ErrAway: this process has no connection to NATS now.
	ErrAway = errors.New("NATS is away")
	// ErrNotFound: nothing is known under this name, or not any more.
	ErrNotFound = errors.New("not found")
	// ErrNoReport: somebody of this name was there, and has left no report yet. It wraps
	// ErrNotFound.
	ErrNoReport = fmt.Errorf("%w: it was there, and there is no report", ErrNotFound)
)

const (
	maxGroup    = 64
	maxInstance = 128
)

var (
	groupName    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	instanceName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// Instance is one process of a group: one run of it, from its start to its end.
type Instance struct {
	Group string `json:"group"`
	Name  string `json:"name"` // unique in its group

	// Incarnation is another one each time the process starts.
	Incarnation string `json:"incarnation"`
	// Born orders the instances by when they joined, by the clock of nobody: it is the
	// registry's revision then; 0 before the process is in the registry.
	Born uint64 `json:"born,omitempty"`
	// Since is when it joined, by its own clock: for people.
	Since time.Time `json:"since,omitzero"`
}

// String returns "group/name".
func (i Instance) String() string { return i.Group + "/" + i.Name }

// parseName takes "group/name" apart.
func parseName(text string) (Instance, error) {
	group, name, _ := strings.Cut(text, "/")
	i := Instance{Group: group, Name: name}
	return i, i.valid()
}

func (i Instance) valid() error {
	if err := validGroup(i.Group); err != nil {
		return err
	}
	if len(i.Name) > maxInstance || !instanceName.MatchString(i.Name) {
		return fmt.Errorf("%w: instance %q: at most %d of A-Z a-z 0-9 _ -, and single dots inside", ErrInvalid, i.Name, maxInstance)
	}
	return nil
}

func validGroup(group string) error {
	if len(group) > maxGroup || !groupName.MatchString(group) {
		return fmt.Errorf("%w: group %q: at most %d of A-Z a-z 0-9 _ -", ErrInvalid, group, maxGroup)
	}
	return nil
}

// The subjects. What one incarnation is told has its name in it, so that its
// successor cannot even receive it.
const (
	askPrefix     = "farewell.ask."
	commandPrefix = "farewell.command."
	eventPrefix   = "farewell.event."
	reportPrefix  = "farewell.report."
)

// key names the process in subjects and buckets.
func (i Instance) key() string { return i.Group + "." + i.Name }

// runKey names this run of it.
func (i Instance) runKey() string { return i.key() + "." + i.Incarnation }

func validIncarnation(incarnation string) error {
	if len(incarnation) > maxID || !groupName.MatchString(incarnation) {
		return fmt.Errorf("%w: incarnation %q", ErrInvalid, incarnation)
	}
	return nil
}
