package fsm

import (
	"fmt"
	"slices"
	"strings"
)

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
