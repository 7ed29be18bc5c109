package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/ui"
)

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// table prints rows of cells in columns. What stands in them may come from others.
func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, 0, len(row))
		for _, cell := range row {
			cells = append(cells, plain(cell))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// section is a table after an empty line; nothing if it has no rows but its head.
func section(out io.Writer, rows [][]string) error {
	if len(rows) < 2 {
		return nil
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	return table(out, rows)
}

func printFarewells(page *page, farewells []ui.Farewell) error {
	rows := [][]string{{"NEIGHBOR", "FAREWELL", "TOOK", "REMARKS"}}
	for _, f := range farewells {
		rows = append(rows, []string{page.key(f.Key), string(f.Outcome), short(time.Duration(f.Took)), f.Error})
	}
	return section(page, rows)
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Second).String()
}

// plain keeps what others wrote from doing anything to the terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// mostPeers, mostCounters and mostNames keep what is printed on one screen.
const (
	mostPeers    = 8
	mostCounters = 24
	mostNames    = 5
)

func printStatus(page *page, status *ui.Status, descriptor string) error {
	rows := [][]string{
		{"state", status.Report.State.String()},
		{"up for", short(time.Duration(status.Uptime))},
		{"alarm", fmt.Sprintf("%v, polite for %v of it", status.Alarm, status.InsistAfter)},
		{"UIs", fmt.Sprint(status.UIs)},
	}
	if status.Version != "" {
		rows = append(rows, []string{"version", status.Version})
	}
	if status.Report.State != fsm.Running {
		rows = slices.Insert(rows, 1, []string{"", waitsFor(status)})
	}
	if status.Node != nil {
		if descriptor == "" || !page.narrow {
			rows = append(rows, []string{"descriptor", cmp.Or(descriptor, "none: it takes no connections")})
		}
		rows = append(rows, nodeRows(page, status.Node)...)
	}
	if err := table(page, rows); err != nil {
		return err
	}
	if status.Node != nil && page.narrow && descriptor != "" {
		// It is to be copied: whole, on a line that has room for it.
		if _, err := fmt.Fprintf(page, "descriptor\n%s\n", plain(descriptor)); err != nil {
			return err
		}
	}
	if err := section(page, componentRows(status.Report)); err != nil || status.Node == nil {
		return err
	}
	if err := section(page, peerRows(page, status.Node)); err != nil {
		return err
	}
	return printCounters(page, status.Node.Counters)
}

func nodeRows(page *page, n *ui.NodeStatus) [][]string {
	rows := [][]string{
		{"key", page.key(n.Key)},
		{"record", fmt.Sprintf("version %d; %d records known", n.Version, len(n.Records))},
	}
	rows = append(rows, mapRows(n)...)
	if n.LastGossip != nil {
		rows = append(rows, []string{"last gossip", short(time.Duration(*n.LastGossip)) + " ago"})
	}
	return rows
}

func componentRows(report *fsm.Report) [][]string {
	rows := [][]string{{"COMPONENT", "PROGRESS"}}
	for _, c := range report.Components {
		progress := c.Outcome.String()
		if report.State == fsm.Running {
			progress = "running"
		}
		rows = append(rows, []string{string(c.ID), progress})
	}
	return rows
}

// waitsFor says whom a shutdown waits for, and how long still.
func waitsFor(status *ui.Status) string {
	var stopping, waiting []string
	for _, c := range status.Report.Components {
		switch c.Outcome {
		case fsm.OutcomeStopping:
			stopping = append(stopping, fmt.Sprintf("%s (for %s)", plain(string(c.ID)), coarse(c.Ran)))
		case fsm.OutcomeWaiting:
			waiting = append(waiting, plain(string(c.ID)))
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
	// By the clock of the node. Whoever asked may have given it less time than the alarm.
	now := status.Report.Began.Add(status.Report.Took)
	if left := status.Report.Deadline.Sub(now); left > 0 {
		return text + "; alarm in " + coarse(left)
	}
	return text + "; the alarm is due"
}

func some(names []string) string {
	if more := len(names) - mostNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), more)
	}
	return strings.Join(names, ", ")
}

// coarse is exact enough for whoever waits.
func coarse(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func peerRows(page *page, n *ui.NodeStatus) [][]string {
	rows := [][]string{{"PEER", "NEIGHBOR", "STREAM", "GOSSIP", "WRITTEN", "UNWRITTEN"}}
	for i, p := range n.Peers {
		if i == mostPeers {
			return append(rows, []string{fmt.Sprintf("and %d more; --json shows all", len(n.Peers)-i)})
		}
		var messages uint64
		for count := range maps.Values(p.Gossip) {
			messages += count
		}
		rows = append(rows, []string{
			page.key(p.Key), yes(p.Neighbor), yes(p.Connected), fmt.Sprint(messages), fmt.Sprint(p.Written), fmt.Sprint(p.Unwritten),
		})
	}
	return rows
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printCounters prints what is not zero, a few to the line.
func printCounters(page *page, counters map[string]uint64) error {
	var cells []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if counters[name] > 0 && len(cells) < mostCounters {
			cells = append(cells, fmt.Sprintf("%s %d", name, counters[name]))
		}
	}
	if len(cells) == 0 {
		return nil
	}
	perLine := 3
	if page.narrow {
		perLine = 2
	}
	if _, err := fmt.Fprintln(page); err != nil {
		return err
	}
	return table(page, slices.Collect(slices.Chunk(cells, perLine)))
}
