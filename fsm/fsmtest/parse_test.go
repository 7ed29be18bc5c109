package fsmtest_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmtest"
)

func TestParseReadsWhatTheTableWrites(t *testing.T) {
	table := fsm.Transitions()
	want := &fsmtest.Diagram{Initial: "Running", States: []string{"Running", "Withdrawing", "AwaitingAcks", "Terminated"}}
	for _, e := range table {
		want.Edges = append(want.Edges, fsmtest.Edge{From: e.From.String(), On: e.On.String(), To: e.To.String()})
	}
	for name, text := range map[string]string{
		"Mermaid":      table.Mermaid(),
		"Mermaid, lit": table.Mermaid(fsm.Withdrawing, fsm.Terminated),
		"DOT":          table.DOT(),
		"DOT, lit":     table.DOT(fsm.AwaitingAcks),
		"CRLF":         strings.ReplaceAll(table.Mermaid(), "\n", "\r\n"),
		"comments":     "%% a machine\n\n" + strings.ReplaceAll(table.Mermaid(), "\n", "\n\n%% more\n"),
		"directive":    "%%{init: {'theme': 'dark'}}%%\n" + table.Mermaid(),
		"DOT comments": "// a machine\n\n" + strings.ReplaceAll(table.DOT(), "\n", "\n\n// A -> B;\n"),
		"looks": table.Mermaid() + "direction LR\nclass Running,Withdrawing lit\nclass Running, Terminated lit;\n" +
			"classDef a,b font-weight:bold, stroke-dasharray: 5 5,fill:rgb(1,2,3);\n",
	} {
		got, err := fsmtest.Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	mermaid := "stateDiagram-v2\n[*] --> A\n"
	dot := "digraph x {\n    A [id=\"a\"];\n"
	for text, line := range map[string]int{
		"":                              0,
		"stateDiagram-v2":               0,
		"stateDiagram\n[*] --> A":       1,
		"graph x {\n}":                  1,
		mermaid + "A --> B":             3,
		mermaid + "A --> B :":           3,
		mermaid + "[*] --> B":           3,
		mermaid + "state A {":           3,
		mermaid + "A --> B: e\n}":       4,
		mermaid + "note right of A: x":  3,
		mermaid + "A --> B: e\nA-->C:e": 4,
		mermaid + "A --> A: e\nA-->A:e": 4,
		mermaid + "state f <<fork>>":    3,
		mermaid + "A: described":        3,
		mermaid + "--":                  3,
		// what looks like something that may be passed over
		mermaid + "class A --> B: e":         3,
		mermaid + "class A lit; A --> B: e":  3,
		mermaid + "classDef A --> B: e":      3,
		mermaid + "classDef a b:c A --> B:e": 3,
		mermaid + "classDef a b:c;A-->B:e":   3,
		mermaid + "direction A --> B: e":     3,
		mermaid + "direction LR; A --> B: e": 3,
		mermaid + "direction":                3,
		mermaid + "// A --> B: e":            3,
		mermaid + "%%{x}%% A --> B: e":       3,
		mermaid + "%%{x}%% A --> B: e %%":    3,
		mermaid + "A --> B: e; B --> C: f":   3,
		mermaid + "A --> B: e;":              3,
		mermaid + "A --> B: e %% note":       3,
		mermaid + "A --> B: e B --> C: f":    3,
		"// x\n" + mermaid:                   2,
		"%% x\n" + dot + "}":                 2,
		dot + "%% x\n}":                      3,

		dot:                             0,
		"digraph x {\n}":                0,
		dot + "A -> B [label=\"e\"];":   3,
		dot + "A -> A;":                 3,
		dot + "A -> A [label=\"\"];":    3,
		dot + "A -> A [label=\"\\q\"];": 3,
		dot + "subgraph y {":            3,
		dot + "}\n}":                    4,
	} {
		d, err := fsmtest.Parse(text)
		parse, ok := errors.AsType[*fsmtest.ParseError](err)
		if d != nil || !ok || parse.Line != line || !strings.HasPrefix(err.Error(), "fsmtest: parse: ") {
			t.Errorf("%q: %v, %v; want an error in line %d", text, d, err, line)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(fsm.Transitions().Mermaid(fsm.Running))
	f.Add(fsm.Transitions().DOT(fsm.Running))
	f.Fuzz(func(t *testing.T, text string) {
		d, err := fsmtest.Parse(text)
		if (d == nil) == (err == nil) {
			t.Fatalf("%v, %v", d, err)
		}
		if err != nil {
			return
		}
		if least, most := arrows(text); len(d.Edges) < least || len(d.Edges) > most {
			t.Errorf("%d edges of %d to %d arrows", len(d.Edges), least, most)
		}
		for _, path := range d.Paths(10) {
			if path[0].From != d.Initial {
				t.Errorf("path %v begins elsewhere", path)
			}
		}
	})
}

// arrows returns how many edges a Mermaid drawing has at least and at most; an
// arrow with [*] in its line may be none. It knows nothing about DOT.
func arrows(text string) (least, most int) {
	if strings.Contains(text, "digraph") {
		return 0, math.MaxInt
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "%%") || !strings.Contains(line, "-->") {
			continue
		}
		most++
		if !strings.Contains(line, "[*]") {
			least++
		}
	}
	return least, most
}
