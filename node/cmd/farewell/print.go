package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

func printFarewells(page *cli.Page, farewells []ui.Farewell) error {
	rows := [][]string{{"NEIGHBOR", "FAREWELL", "TOOK", "REMARKS"}}
	for _, f := range farewells {
		rows = append(rows, []string{page.Key(f.Key), string(f.Outcome), cli.Short(time.Duration(f.Took)), f.Error})
	}
	return cli.Section(page, rows)
}

// mostPeers and mostCounters keep what is printed on one screen.
const (
	mostPeers    = 8
	mostCounters = 24
)

func printStatus(page *cli.Page, status *ui.Status, descriptor string) error {
	rows := [][]string{
		{"state", status.Report.State.String()},
		{"up for", cli.Short(time.Duration(status.Uptime))},
		{"alarm", fmt.Sprintf("%v, polite for %v of it", status.Alarm, status.InsistAfter)},
		{"UIs", fmt.Sprint(status.UIs)},
	}
	if status.Version != "" {
		rows = append(rows, []string{"version", status.Version})
	}
	if status.Report.State != fsm.Running {
		rows = slices.Insert(rows, 1, []string{"", cli.WaitsFor(status.Report)})
	}
	if status.Node != nil {
		if descriptor == "" || !page.Narrow() {
			rows = append(rows, []string{"descriptor", cmp.Or(descriptor, "none: it takes no connections")})
		}
		rows = append(rows, nodeRows(page, status.Node)...)
	}
	if err := cli.Table(page, rows); err != nil {
		return err
	}
	if status.Node != nil && page.Narrow() && descriptor != "" {
		// It is to be copied: whole, on a line that has room for it.
		if _, err := fmt.Fprintf(page, "descriptor\n%s\n", cli.Plain(descriptor)); err != nil {
			return err
		}
	}
	if err := cli.Section(page, componentRows(status.Report)); err != nil || status.Node == nil {
		return err
	}
	if err := cli.Section(page, peerRows(page, status.Node)); err != nil {
		return err
	}
	return printCounters(page, status.Node.Counters)
}

func nodeRows(page *cli.Page, n *ui.NodeStatus) [][]string {
	rows := [][]string{
		{"key", page.Key(n.Key)},
		{"record", fmt.Sprintf("version %d; %d records known", n.Version, len(n.Records))},
	}
	rows = append(rows, mapRows(n)...)
	if n.LastGossip != nil {
		rows = append(rows, []string{"last gossip", cli.Short(time.Duration(*n.LastGossip)) + " ago"})
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

func peerRows(page *cli.Page, n *ui.NodeStatus) [][]string {
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
			page.Key(p.Key), yes(p.Neighbor), yes(p.Connected), fmt.Sprint(messages), fmt.Sprint(p.Written), fmt.Sprint(p.Unwritten),
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
func printCounters(page *cli.Page, counters map[string]uint64) error {
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
	if page.Narrow() {
		perLine = 2
	}
	if _, err := fmt.Fprintln(page); err != nil {
		return err
	}
	return cli.Table(page, slices.Collect(slices.Chunk(cells, perLine)))
}
