package fsm

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// The JSON of these types is that of their fields, save for what is said below
// once for both directions: errors are strings, durations milliseconds.
type (
	bareCommand   Command
	bareEvent     Event
	bareComponent ComponentReport
	bareReport    Report
)

type commandJSON struct {
	*bareCommand
	Within millis `json:"withinMs,omitempty"`
	Error  string `json:"error,omitempty"`
}

type eventJSON struct {
	*bareEvent
	Error string `json:"error,omitempty"`
}

type componentJSON struct {
	*bareComponent
	Waited       millis `json:"waitedMs"`
	Ran          millis `json:"ranMs"`
	Error        string `json:"error,omitempty"`
	QuiesceError string `json:"quiesceError,omitempty"`
}

type reportJSON struct {
	Took     millis      `json:"tookMs"`
	Edge     *Transition `json:"edge,omitempty"`     // of a final report
	ExitCode *int        `json:"exitCode,omitempty"` // of a final report
	*bareReport
}

// MarshalJSON implements [json.Marshaler].
func (c Command) MarshalJSON() ([]byte, error) {
	return json.Marshal(commandJSON{(*bareCommand)(&c), inMillis(c.Within), errorText(c.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Command) UnmarshalJSON(data []byte) error {
	j := commandJSON{bareCommand: (*bareCommand)(c)}
	err := json.Unmarshal(data, &j)
	c.Within, c.Err = j.Within.duration(), textError(j.Error)
	return err
}

// MarshalJSON implements [json.Marshaler].
func (e Event) MarshalJSON() ([]byte, error) {
	return json.Marshal(eventJSON{(*bareEvent)(&e), errorText(e.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *Event) UnmarshalJSON(data []byte) error {
	j := eventJSON{bareEvent: (*bareEvent)(e)}
	err := json.Unmarshal(data, &j)
	e.Err = textError(j.Error)
	return err
}

// MarshalJSON implements [json.Marshaler].
func (l ComponentReport) MarshalJSON() ([]byte, error) {
	return json.Marshal(componentJSON{
		(*bareComponent)(&l), inMillis(l.Waited), inMillis(l.Ran), errorText(l.Err), errorText(l.QuiesceErr),
	})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *ComponentReport) UnmarshalJSON(data []byte) error {
	j := componentJSON{bareComponent: (*bareComponent)(l)}
	err := json.Unmarshal(data, &j)
	l.Waited, l.Ran = j.Waited.duration(), j.Ran.duration()
	l.Err, l.QuiesceErr = textError(j.Error), textError(j.QuiesceError)
	return err
}

// MarshalJSON implements [json.Marshaler]. The edge and the exit code stand in a
// final report only.
func (r Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{Took: inMillis(r.Took), bareReport: (*bareReport)(&r)}
	if r.State == Terminated {
		j.Edge, j.ExitCode = &r.Edge, new(r.ExitCode())
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Report) UnmarshalJSON(data []byte) error {
	j := reportJSON{Edge: &r.Edge, bareReport: (*bareReport)(r)}
	err := json.Unmarshal(data, &j)
	r.Took = j.Took.duration()
	if err != nil {
		return fmt.Errorf("fsm: report: %w", err)
	}
	return nil
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

// errorText survives an Error method that panics, as that of a nil pointer does.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return cmp.Or(fmt.Sprint(err), "(no text)") // which is still an error when it is read back
}

func textError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
