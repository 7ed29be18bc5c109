package fsm

import (
	"fmt"
	"slices"
	"strings"
)

// Transition is one line of the table: in state From, event On leads to To.
type Transition struct {
	From State `json:"from"`
	On   Kind  `json:"on"`
	To   State `json:"to"`
}

// Table is a machine as the list of its transitions.
type Table []Transition

//go:generate go test -run TestDiagramFiles -update .

// table is the whole machine. The engine, the core, the diagrams and the tests
// are all made from it.
var table = Table{
	{Running, ShutdownRequested, Withdrawing},
	{Withdrawing, Withdrawn, AwaitingAcks},
	{AwaitingAcks, AllAcked, Terminated},
	{Withdrawing, Timeout, Terminated},
	{AwaitingAcks, Timeout, Terminated},
}

// Transitions returns the machine's table, a copy of it.
func Transitions() Table { return slices.Clone(table) }

// Mermaid returns the table as a Mermaid stateDiagram-v2. States given as lit
// are highlighted; with none, no state is.
func (t Table) Mermaid(lit ...State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "stateDiagram-v2\n    [*] --> %s\n", Running)
	for _, e := range t {
		fmt.Fprintf(&b, "    %s --> %s: %s\n", e.From, e.To, e.On)
	}
	fmt.Fprintf(&b, "    %s --> [*]\n", Terminated)
	if len(lit) > 0 {
		b.WriteString("    classDef lit fill:#f9d849,stroke:#7a5c00,color:#000\n")
	}
	for _, s := range lit {
		fmt.Fprintf(&b, "    class %s lit\n", s)
	}
	return b.String()
}

// DOT returns the table as a Graphviz digraph. States given as lit are filled;
// with none, no state is.
func (t Table) DOT(lit ...State) string {
	var b strings.Builder
	b.WriteString("digraph shutdown {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n")
	for i := range stateNames {
		s, style := State(i), ""
		if slices.Contains(lit, s) {
			style = `, style="rounded,filled", fillcolor="#f9d849"`
		}
		fmt.Fprintf(&b, "    %s [id=\"state-%s\"%s];\n", s, s, style)
	}
	for _, e := range t {
		fmt.Fprintf(&b, "    %s -> %s [label=%q, id=\"edge-%s-%s\"];\n", e.From, e.To, e.On.String(), e.From, e.On)
	}
	b.WriteString("}\n")
	return b.String()
}
