package fsm

import (
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
	Error string `json:"error,omitempty"`
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
	return json.Marshal(commandJSON{(*bareCommand)(&c), errorText(c.Err)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Command) UnmarshalJSON(data []byte) error {
	j := commandJSON{bareCommand: (*bareCommand)(c)}
	err := json.Unmarshal(data, &j)
	c.Err = textError(j.Error)
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
		(*bareComponent)(&l), millis(l.Waited), millis(l.Ran), errorText(l.Err), errorText(l.QuiesceErr),
	})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *ComponentReport) UnmarshalJSON(data []byte) error {
	j := componentJSON{bareComponent: (*bareComponent)(l)}
	err := json.Unmarshal(data, &j)
	l.Waited, l.Ran = time.Duration(j.Waited), time.Duration(j.Ran)
	l.Err, l.QuiesceErr = textError(j.Error), textError(j.QuiesceError)
	return err
}

// MarshalJSON implements [json.Marshaler]. The edge and the exit code stand in a
// final report only.
func (r *Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{Took: millis(r.Took), bareReport: (*bareReport)(r)}
	if r.State == Terminated {
		j.Edge, j.ExitCode = &r.Edge, new(r.ExitCode())
	}
	return json.Marshal(j)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Report) UnmarshalJSON(data []byte) error {
	j := reportJSON{Edge: &r.Edge, bareReport: (*bareReport)(r)}
	err := json.Unmarshal(data, &j)
	r.Took = time.Duration(j.Took)
	if err != nil {
		return fmt.Errorf("fsm: report: %w", err)
	}
	return nil
}

// millis is a duration as a number of milliseconds.
type millis time.Duration

func (m millis) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(m) / float64(time.Millisecond))
}

func (m *millis) UnmarshalJSON(data []byte) error {
	var ms float64
	if err := json.Unmarshal(data, &ms); err != nil {
		return err
	}
	*m = millis(math.Round(ms * float64(time.Millisecond)))
	return nil
}

// errorText survives an Error method that panics, as that of a nil pointer does.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}

func textError(text string) error {
	if text == "" {
		return nil
	}
	return errors.New(text)
}
