// Command compare measures this project beside its peers, and prints the tables of
// docs/compare/README.md.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	runChild()
	only := flag.String("only", "", "the sections to measure, with commas between them (all if empty): "+strings.Join(sectionNames(), ", "))
	update := flag.Bool("update", false, "write the tables to README.md too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, full, *only, *update); err != nil {
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
	{"faults", faultTables},
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

// run measures the sections named and prints their tables. It writes them to the
// README only when all is measured.
func run(ctx context.Context, s settings, only string, update bool) error {
	if update && only != "" {
		return fmt.Errorf("-update needs all sections")
	}
	var all bytes.Buffer
	if err := measure(ctx, io.MultiWriter(os.Stdout, &all), s, only); err != nil || !update {
		return err
	}
	return updateReadme("README.md", all.Bytes())
}

func measure(ctx context.Context, w io.Writer, s settings, only string) error {
	wanted := sectionNames()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.Contains(sectionNames(), name) {
			return fmt.Errorf("there is no section %q, only %q", name, sectionNames())
		}
	}
	began := time.Now()
	writeMachine(w)
	for _, section := range sections {
		if !slices.Contains(wanted, section.name) {
			continue
		}
		tables, err := section.measure(ctx, s)
		if err != nil {
			return err
		}
		for _, t := range tables {
			t.write(w)
		}
	}
	_, err := fmt.Fprintf(w, "All of it took %v; load average at the end: %s.\n", time.Since(began).Round(time.Second), loadAverage())
	return err
}
