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

// table prints rows of cells in columns.
func table(out io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

func printFarewells(out io.Writer, farewells []ui.Farewell) error {
	if len(farewells) == 0 {
		return nil
	}
	rows := [][]string{{"\nNEIGHBOR", "FAREWELL", "TOOK", "REMARKS"}}
	for _, f := range farewells {
		rows = append(rows, []string{f.Key, string(f.Outcome), short(time.Duration(f.Took)), plain(f.Error)})
	}
	return table(out, rows)
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

// mostPeers and mostCounters keep a status on one screen.
const (
	mostPeers    = 8
	mostCounters = 24
)

func printStatus(out io.Writer, status *ui.Status, descriptor string) error {
	rows := [][]string{
		{"state", status.Report.State.String()},
		{"up for", short(time.Duration(status.Uptime))},
		{"alarm", fmt.Sprintf("%v, polite for %v of it", status.Alarm, status.InsistAfter)},
		{"UIs", fmt.Sprint(status.UIs)},
	}
	if status.Node != nil {
		rows = append(rows, []string{"descriptor", cmp.Or(descriptor, "none: it takes no connections")})
		rows = append(rows, nodeRows(status.Node)...)
	}
	if err := table(out, rows); err != nil {
		return err
	}
	if err := table(out, componentRows(status.Report)); err != nil {
		return err
	}
	if status.Node == nil {
		return nil
	}
	if len(status.Node.Peers) > 0 {
		if err := table(out, peerRows(status.Node)); err != nil {
			return err
		}
	}
	return printCounters(out, status.Node.Counters)
}

func nodeRows(n *ui.NodeStatus) [][]string {
	rows := [][]string{
		{"key", n.Key},
		{"record", fmt.Sprintf("version %d; %d records known", n.Version, len(n.Records))},
	}
	rows = append(rows, mapRows(n)...)
	if n.LastGossip != nil {
		rows = append(rows, []string{"last gossip", short(time.Duration(*n.LastGossip)) + " ago"})
	}
	return rows
}

func componentRows(report *fsm.Report) [][]string {
	rows := [][]string{{"\nCOMPONENT", "PROGRESS"}}
	for _, c := range report.Components {
		progress := c.Outcome.String()
		if report.State == fsm.Running {
			progress = "running"
		}
		rows = append(rows, []string{plain(string(c.ID)), progress})
	}
	return rows
}

func peerRows(n *ui.NodeStatus) [][]string {
	rows := [][]string{{"\nPEER", "NEIGHBOR", "STREAM", "GOSSIP", "WRITTEN", "UNWRITTEN"}}
	for i, p := range n.Peers {
		if i == mostPeers {
			return append(rows, []string{fmt.Sprintf("and %d more; --json shows all", len(n.Peers)-i)})
		}
		var messages uint64
		for count := range maps.Values(p.Gossip) {
			messages += count
		}
		rows = append(rows, []string{
			p.Key, yes(p.Neighbor), yes(p.Connected), fmt.Sprint(messages), fmt.Sprint(p.Written), fmt.Sprint(p.Unwritten),
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
func printCounters(out io.Writer, counters map[string]uint64) error {
	var cells []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		if counters[name] > 0 && len(cells) < mostCounters {
			cells = append(cells, fmt.Sprintf("%s %d", plain(name), counters[name]))
		}
	}
	if len(cells) == 0 {
		return nil
	}
	return table(out, slices.Insert(slices.Collect(slices.Chunk(cells, 3)), 0, []string{""}))
}
