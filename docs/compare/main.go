// Command compare measures this project beside its peers, and prints the tables of
// docs/compare/README.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	runChild()
	only := flag.String("only", "", "the sections to measure, with commas between them (all if empty): "+strings.Join(sectionNames(), ", "))
	flag.Parse()
	if err := run(context.Background(), os.Stdout, full, *only); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

// settings say how much is measured.
type settings struct {
	faults                   faultSettings
	orders, overheads, hangs int   // trials
	overheadSizes            []int // components
	leave                    leaveSettings
	gateway                  gatewaySettings
}

// full is what the README's tables are measured with.
var full = settings{
	faults: faultSettings{trials: 3, atOnce: 6, slack: 500 * time.Millisecond, patience: time.Second},
	orders: 9, overheads: 9, hangs: 3,
	overheadSizes: []int{1000, 10_000},
	leave:         leaveSettings{sizes: []int{4, 19, 49}, trials: 3, patience: 8 * time.Second},
	gateway:       gatewaySettings{roundTrips: 500, watchers: 1000, events: 50},
}

// section is a part that can be measured alone.
type section struct {
	name    string
	measure func(ctx context.Context, s settings) ([]*table, error)
}

var sections = []section{
	{"faults", func(ctx context.Context, s settings) ([]*table, error) { return faultTables(ctx, s.faults) }},
	{"stop", stopTables},
	{"lines", linesTables},
	{"leave", leaveTables},
	{"gateway", gatewayTables},
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

func stopTables(_ context.Context, s settings) ([]*table, error) {
	orders, err := orderTable(s.orders)
	if err != nil {
		return nil, err
	}
	overhead, err := overheadTable(s.overheadSizes, s.overheads)
	if err != nil {
		return nil, err
	}
	hang, err := hangTable(s.hangs)
	if err != nil {
		return nil, err
	}
	return []*table{orders, overhead, hang}, nil
}

// run measures the sections named and prints their tables.
func run(ctx context.Context, w io.Writer, s settings, only string) error {
	wanted := sectionNames()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("there is no section %q, only %q", name, sectionNames())
		}
		tables, err := sections[i].measure(ctx, s)
		if err != nil {
			return err
		}
		for _, t := range tables {
			t.write(w)
		}
	}
	return nil
}
