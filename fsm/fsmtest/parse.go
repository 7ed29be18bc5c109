package fsmtest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Edge is one arrow of a diagram: in state From, event On leads to To.
type Edge struct{ From, On, To string }

func (e Edge) String() string { return e.From + " --" + e.On + "--> " + e.To }

// Diagram is a deterministic state machine as it is drawn: what has an arrow is
// allowed, and nothing else is. It is safe for concurrent reading.
type Diagram struct {
	Initial string
	States  []string // in the order of the drawing
	Edges   []Edge   // in the order of the drawing
}

// Events returns the events of the diagram, each once, in the order of the drawing.
func (d *Diagram) Events() (events []string) {
	for _, e := range d.Edges {
		if !slices.Contains(events, e.On) {
			events = append(events, e.On)
		}
	}
	return events
}

// ParseError says what in a drawing is not understood. Nothing is guessed: a
// line that was skipped in silence would be a transition that nobody tests.
type ParseError struct {
	Line int    // from 1; 0 if it is about the drawing as a whole
	Text string // of the line
	Why  string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return "fsmtest: parse: " + e.Why
	}
	return fmt.Sprintf("fsmtest: parse: line %d: %q: %s", e.Line, e.Text, e.Why)
}

// Parse reads a flat Mermaid stateDiagram-v2, or DOT in the form that
// fsm.Table.DOT writes: one statement in a line, every state declared before the
// edges, the initial one first. Whatever else it meets, such as nested states,
// choices, edges without an event, or two edges for one event in one state, is a
// [*ParseError].
//
// Passed over are empty lines, comments that are lines of their own (%% in
// Mermaid, // in DOT), Mermaid directives, and what only says how it looks
// (direction, classDef, class; rankdir, node, edge, graph). A Mermaid event has
// no ";", "%%" or "-->" in it: two statements in one line are not one event.
func Parse(text string) (*Diagram, error) {
	p := &parser{diagram: &Diagram{}}
	statement := p.begin
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		next, why := statement(line)
		if why != "" {
			return nil, &ParseError{Line: i + 1, Text: line, Why: why}
		}
		statement = next
	}
	if why := p.unfinished(); why != "" {
		return nil, &ParseError{Why: why}
	}
	return p.diagram, nil
}

type parser struct {
	diagram *Diagram
	dot     bool
	closed  bool // the DOT's last brace was read
}

// statement reads one line and says what reads the next one, or why it cannot.
type statement func(line string) (next statement, why string)

// begin reads the first line; if that is a comment, it says which head follows.
func (p *parser) begin(line string) (statement, string) {
	for _, head := range []statement{p.beginMermaid, p.beginDOT} {
		if next, why := head(line); why == "" {
			return next, ""
		}
	}
	return nil, "neither stateDiagram-v2 nor a digraph begins like this"
}

func (p *parser) beginMermaid(line string) (statement, string) {
	switch {
	case mermaidComment.MatchString(line):
		return p.beginMermaid, ""
	case line == "stateDiagram-v2":
		return p.mermaid, ""
	}
	return nil, "no stateDiagram-v2 begins like this"
}

func (p *parser) beginDOT(line string) (statement, string) {
	switch {
	case strings.HasPrefix(line, dotComment):
		return p.beginDOT, ""
	case dotHead.MatchString(line):
		p.dot = true
		return p.dotLine, ""
	}
	return nil, "no digraph begins like this"
}

func (p *parser) unfinished() string {
	switch {
	case p.diagram.Initial == "":
		return "no initial state is drawn"
	case p.dot && !p.closed:
		return "the digraph does not end"
	}
	return ""
}

const (
	name  = `([\pL\pN_]+)`
	names = name + `(,\s*` + name + `)*`

	dotComment = "//"
)

var (
	mermaidInitial = regexp.MustCompile(`^\[\*\]\s*-->\s*` + name + `$`)
	mermaidFinal   = regexp.MustCompile(`^` + name + `\s*-->\s*\[\*\]$`)
	mermaidEdge    = regexp.MustCompile(`^` + name + `\s*-->\s*` + name + `\s*:\s*(\S.*)$`)
	// A directive may be followed by a statement, which is not a comment.
	mermaidComment = regexp.MustCompile(`^%%([^{].*|\{[^%]*\}%%)?$`)
	mermaidLooks   = regexp.MustCompile(`^(direction\s+(TB|TD|BT|LR|RL)` +
		`|classDef\s+` + names + `\s+[\w-]+:[\w#.,:() -]+|class\s+` + names + `\s+` + name + `);?$`)
	mermaidNoEvent = regexp.MustCompile(`;|%%|-->`)

	dotHead  = regexp.MustCompile(`^digraph ` + name + ` \{$`)
	dotState = regexp.MustCompile(`^` + name + ` \[[^\]]*\];$`)
	dotEdge  = regexp.MustCompile(`^` + name + ` -> ` + name + ` \[label=("(?:[^"\\]|\\.)*")[^\]]*\];$`)
	dotLooks = regexp.MustCompile(`^(rankdir=\w+|(node|edge|graph) \[[^\]]*\]);$`)
)

func (p *parser) mermaid(line string) (statement, string) {
	if m := mermaidInitial.FindStringSubmatch(line); m != nil {
		if p.diagram.Initial != "" {
			return nil, "a second initial state"
		}
		p.diagram.Initial = m[1]
		p.state(m[1])
		return p.mermaid, ""
	}
	if m := mermaidFinal.FindStringSubmatch(line); m != nil {
		p.state(m[1])
		return p.mermaid, ""
	}
	if m := mermaidEdge.FindStringSubmatch(line); m != nil {
		if mermaidNoEvent.MatchString(m[3]) {
			return nil, "an event with ;, %% or --> in it"
		}
		return p.mermaid, p.edge(Edge{From: m[1], On: m[3], To: m[2]})
	}
	if mermaidComment.MatchString(line) || mermaidLooks.MatchString(line) {
		return p.mermaid, ""
	}
	return nil, "not a part of a flat state diagram with an event on each edge"
}

func (p *parser) dotLine(line string) (statement, string) {
	if strings.HasPrefix(line, dotComment) {
		return p.dotLine, ""
	}
	if p.closed {
		return nil, "something after the end of the digraph"
	}
	if m := dotEdge.FindStringSubmatch(line); m != nil {
		return p.dotLine, p.dotEdge(m[1], m[2], m[3])
	}
	if dotLooks.MatchString(line) {
		return p.dotLine, ""
	}
	if m := dotState.FindStringSubmatch(line); m != nil {
		if p.diagram.Initial == "" {
			p.diagram.Initial = m[1]
		}
		p.state(m[1])
		return p.dotLine, ""
	}
	if line == "}" {
		p.closed = true
		return p.dotLine, ""
	}
	return nil, "not a statement that fsm.Table.DOT writes"
}

func (p *parser) dotEdge(from, to, label string) (why string) {
	on, err := strconv.Unquote(label)
	if err != nil || on == "" {
		return "the label is not an event"
	}
	for _, state := range []string{from, to} {
		if !slices.Contains(p.diagram.States, state) {
			return "state " + state + " is not declared"
		}
	}
	return p.edge(Edge{From: from, On: on, To: to})
}

func (p *parser) state(name string) {
	if !slices.Contains(p.diagram.States, name) {
		p.diagram.States = append(p.diagram.States, name)
	}
}

func (p *parser) edge(e Edge) (why string) {
	for _, known := range p.diagram.Edges {
		if known.From == e.From && known.On == e.On {
			return "a second edge for this event in this state"
		}
	}
	p.state(e.From)
	p.state(e.To)
	p.diagram.Edges = append(p.diagram.Edges, e)
	return ""
}
