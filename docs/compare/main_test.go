package main

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/docs/compare/peers"
	"github.com/farewell-node/farewell/docs/compare/service"
)

func TestMain(m *testing.M) {
	runChild()
	os.Exit(m.Run())
}

// few is as little as shows that everything can be measured. No test here asserts
// how long anything takes.
var few = settings{
	faults: faultSettings{trials: 1, atOnce: 4, slack: 20 * time.Second, patience: time.Second},
	orders: 1, overheads: 1, hangs: 1,
	overheadSizes: []int{10},
	leave:         leaveSettings{sizes: []int{4}, trials: 1, patience: 20 * time.Second},
	gateway:       gatewaySettings{roundTrips: 1, watchers: 10, events: 2},
}

// TestFSMFaults: what docs/compare/README.md says of fsm. Two answers are no there:
// a component that gives up when it is insisted upon shows no stack, and an error
// that start returns has no component's name on it.
func TestFSMFaults(t *testing.T) {
	t.Parallel()
	want := map[peers.Fault]string{
		peers.Hang: "EON.X", peers.Fail: "EON·X", peers.Panic: "EONSX", peers.Slow: "EO···", peers.IgnoresCtx: "EONSX",
		peers.Goexit: "EONSX", peers.Dies: "EON·X", peers.FailsAtStart: "EO.·X", peers.SignalAtOnce: "EO···",
		peers.StalledLog: "EO···",
	}
	verdicts, err := tryFaults(t.Context(), peers.All[:1], few.faults)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range peers.Faults {
		got := verdicts["fsm"][fault][0]
		for i, letter := range []rune(want[fault]) {
			if is := []rune(got.letters())[i]; letter != '.' && is != letter {
				t.Errorf("%s: %s, want %s\n%s", fault, got.letters(), want[fault], got.log)
				break
			}
		}
	}
}

// TestFaultless: with nothing wrong every program stops everything, exits with 0,
// and its log does not tell one component from another.
func TestFaultless(t *testing.T) {
	t.Parallel()
	for _, peer := range peers.All {
		v, err := tryFault(t.Context(), peer, peers.None, few.faults)
		if err != nil {
			t.Fatal(err)
		}
		if v.killed || v.marks[others] != yes || v.code != 0 {
			t.Errorf("%s: killed %v, others stopped %v, exit code %d\n%s", peer.Name, v.killed, v.marks[others], v.code, v.log)
		}
		if names(v.log) {
			t.Errorf("%s: the log of a program without a fault names a culprit\n%s", peer.Name, v.log)
		}
	}
}

// TestSuture: the one that starts again what has died is said to.
func TestSuture(t *testing.T) {
	t.Parallel()
	suture, _ := peers.Find("suture")
	v, err := tryFault(t.Context(), suture, peers.Dies, few.faults)
	if err != nil || !v.restarted || v.marks[ends] != yes {
		t.Errorf("restarted %v, %s, %v\n%s", v.restarted, v.letters(), err, v.log)
	}
}

func TestNames(t *testing.T) {
	for log, want := range map[string]bool{
		"":                         false,
		"database: disk is full\n": true,
		"stopped cache\nstopped database after 3ms\nstopped web\n":                                                              true,
		"stopped telemetry in 1ms\nstopped cache in 2ms\nstopped database in 3.1s\nstopped worker in 2ms\nstopped web in 2ms\n": false,
		"web waits for database\n": false,
		"stopping database\nstopping web\nstopped web\nstopping worker\nstopped worker\n": true,
	} {
		if got := names(log); got != want {
			t.Errorf("%q: %v, want %v", log, got, want)
		}
	}
}

// TestOrders: who can be told an order keeps it, and everybody stops everything.
func TestOrders(t *testing.T) {
	t.Parallel()
	for _, s := range shapes() {
		for _, peer := range peers.All {
			if s.name == "50 independent" && peer.Name == "fx" {
				continue // a second of nothing
			}
			_, orders, err := stopShape(peer, s)
			if err != nil {
				t.Errorf("%s: %s: %v", peer.Name, s.name, err)
			}
			if peer.Ordered && orders.broken > 0 {
				t.Errorf("%s: %s: %d of %d orders broken", peer.Name, s.name, orders.broken, orders.edges)
			}
		}
	}
}

func TestFSMHang(t *testing.T) {
	t.Parallel()
	h, err := stopHung(peers.All[0])
	if err != nil || h.never || h.others != 9 || !h.named {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestService: every version does all that is asked of it, or its lines would not
// compare.
func TestService(t *testing.T) {
	t.Parallel()
	for _, version := range service.Versions {
		t.Run(version.Library, func(t *testing.T) {
			t.Parallel()
			done, err := conform(t.Context(), version.Library, few.faults.slack)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range checks {
				if !done[c] {
					t.Errorf("not done: %s", c)
				}
			}
		})
	}
}

func TestLines(t *testing.T) {
	s := &source{text: []byte("package p\n\n// f has one\nfunc f() {\n\n\tg() // and g another\n\n}\n")}
	if got := s.count(declaration{from: 4, to: 8}); got != 3 {
		t.Errorf("%d lines, want 3", got)
	}
	for _, version := range service.Versions {
		if lines, err := lifecycleLines(version.File); err != nil || lines < 20 {
			t.Errorf("%s: %d lines, %v", version.File, lines, err)
		}
	}
}

// TestSections: the other sections can be measured, leave nothing out, and the
// README shows those tables.
func TestSections(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	writeMachine(&out)
	var all []*table
	for _, name := range []string{"leave", "gateway"} {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		tables, err := sections[i].measure(context.Background(), few)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tables...)
	}
	overhead, err := overheadTable(few.overheadSizes, few.overheads)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range append(all, overhead) {
		table.write(&out)
		if len(table.rows) == 0 {
			t.Errorf("%s: no rows", table.title)
		}
		for _, row := range table.rows {
			if len(row) != len(table.head) || slices.Contains(row, "") {
				t.Errorf("%s: row %q has not all of %q", table.title, row, table.head)
			}
		}
		if title, _, _ := strings.Cut(table.title, " "); !strings.Contains(string(readme), "\n### "+title) {
			t.Errorf("README.md does not show %q", table.title)
		}
	}
	t.Log(out.String())
}

func TestUpdateReadme(t *testing.T) {
	file := t.TempDir() + "/README.md"
	for text, want := range map[string]string{
		"a\n" + measuredBegin + "old\n" + measuredEnd + "b\n": "a\n" + measuredBegin + "new\n" + measuredEnd + "b\n",
		"a\n": "a\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := updateReadme(file, []byte("new\n"))
		if got, _ := os.ReadFile(file); string(got) != want || (err == nil) != (text != want) {
			t.Errorf("%q became %q, %v, want %q", text, got, err, want)
		}
	}
}
