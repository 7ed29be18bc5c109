package cli

import (
	"fmt"
	"strings"

	"github.com/farewell-node/farewell/fsm"
)

// What says an event in words.
func What(e fsm.Event) string {
	subject := Plain(string(e.From))
	switch {
	case e.Kind == fsm.Started:
		return subject + ": asked to shut down"
	case e.Kind == fsm.Acked && e.Err == nil:
		return subject + ": okay, I'm done"
	case e.Kind == fsm.Acked:
		return subject + ": done, with an error: " + Plain(e.Err.Error())
	case e.Kind == fsm.Quiesced && e.Err == nil:
		return subject + ": takes no new work"
	case e.Kind == fsm.Quiesced:
		return subject + ": quiesce: " + Plain(e.Err.Error())
	case e.Kind == fsm.Insisted:
		return subject + ": insisted upon"
	case e.Command != nil:
		return fmt.Sprintf("%s by %s: %s", e.Kind, Plain(e.Command.By), Plain(e.Command.Reason))
	}
	return e.Kind.String()
}

// WaitsFor says whom a shutdown that is going on waits for, and how long still.
func WaitsFor(report *fsm.Report) string {
	var stopping, waiting []string
	for _, c := range report.Components {
		switch c.Outcome {
		case fsm.OutcomeStopping:
			stopping = append(stopping, fmt.Sprintf("%s (for %s)", Plain(string(c.ID)), Coarse(c.Ran)))
		case fsm.OutcomeWaiting:
			waiting = append(waiting, Plain(string(c.ID)))
		}
	}
	text := "waits for " + some(stopping)
	switch {
	case len(stopping) == 0 && len(waiting) == 0:
		return "nobody is waited for any more"
	case len(stopping) == 0:
		text = "waits for " + some(waiting) + ", not begun yet"
	case len(waiting) > 0:
		text += fmt.Sprintf("; %d not begun yet", len(waiting))
	}
	// By the clock of who made the report. Whoever asked may have given it less time than the alarm.
	now := report.Began.Add(report.Took)
	if left := report.Deadline.Sub(now); left > 0 {
		return text + "; alarm in " + Coarse(left)
	}
	return text + "; the alarm is due"
}

// mostNames keeps what is printed on one line.
const mostNames = 5

func some(names []string) string {
	if more := len(names) - mostNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), more)
	}
	return strings.Join(names, ", ")
}
