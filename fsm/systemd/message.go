package systemd

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/farewell-node/farewell/fsm"
)

const (
	// maxStatus and maxName are in bytes; systemd takes no message above 4096.
	maxStatus = 1024
	maxName   = 64
	// maxNames is how many of those that are waited for a status names.
	maxNames = 8
)

// message returns what systemd is told about a shutdown, in one datagram. Until
// the end it asks for the time up to the alarm and a little more: systemd then
// kills the process at the latest of that and of its own timeout.
func message(r *fsm.Report, status string, stopping bool) string {
	var text strings.Builder
	if stopping {
		text.WriteString(daemon.SdNotifyStopping + "\n")
	}
	text.WriteString("STATUS=" + status)
	if r.State != fsm.Terminated {
		left := max(0, r.Deadline.Sub(r.Began.Add(r.Took)))
		fmt.Fprintf(&text, "\nEXTEND_TIMEOUT_USEC=%d", (left + lastSteps).Microseconds())
	}
	return text.String()
}

// statusOf says in one line how a shutdown stands: whom it waits for, and until
// when at the latest; or how it went.
func statusOf(r *fsm.Report) string {
	if r.State == fsm.Terminated {
		return oneLine(r.Summary(), maxStatus)
	}
	return r.State.String() + ": " + waitingFor(r) + "; alarm at " + r.Deadline.Format(time.TimeOnly)
}

func waitingFor(r *fsm.Report) string {
	stopping, waiting := outstanding(r)
	switch {
	case len(stopping) > 0 && len(waiting) > 0:
		return "waiting for " + names(stopping) + " (" + strconv.Itoa(len(waiting)) + " not begun)"
	case len(stopping) > 0:
		return "waiting for " + names(stopping)
	case len(waiting) > 0:
		return "about to begin with " + names(waiting)
	}
	return "nobody is left to wait for"
}

// outstanding returns the components that have begun to stop, and those that have not.
func outstanding(r *fsm.Report) (stopping, waiting []fsm.ID) {
	for _, c := range r.Components {
		switch c.Outcome {
		case fsm.OutcomeStopping:
			stopping = append(stopping, c.ID)
		case fsm.OutcomeWaiting:
			waiting = append(waiting, c.ID)
		}
	}
	return stopping, waiting
}

func names(ids []fsm.ID) string {
	var shown []string
	for _, id := range ids[:min(len(ids), maxNames)] {
		shown = append(shown, oneLine(string(id), maxName))
	}
	text := strings.Join(shown, ", ")
	if more := len(ids) - len(shown); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}

// oneLine makes text safe for a line of the protocol: valid UTF-8, no line break
// that would begin another assignment, at most limit bytes.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
	if len(text) <= limit {
		return text
	}
	const dots = "…"
	cut := limit - len(dots)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + dots
}
