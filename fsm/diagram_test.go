package fsm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"html"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/fsmtest"
)

const (
	mermaidFile = "../docs/shutdown.mmd"
	svgFile     = "../docs/shutdown.svg"
)

// The drawings are those of the table. With -update they are made anew, which
// needs Graphviz for the SVG; comparing needs it not, because the SVG names the
// DOT that it was drawn from.
func TestDiagramFiles(t *testing.T) {
	mermaid, dot := fsm.Transitions().Mermaid(), fsm.Transitions().DOT()
	origin := fmt.Sprintf("<!-- drawn by Graphviz from a DOT with SHA-256 %x -->\n", sha256.Sum256([]byte(dot)))
	if flag.Lookup("update").Value.String() == "true" {
		write(t, mermaidFile, mermaid)
		write(t, svgFile, draw(t, dot)+origin)
	}
	if text := read(t, mermaidFile); text != mermaid {
		t.Errorf("%s is not what the table says (go generate ./fsm makes it):\n%s", mermaidFile, text)
	}
	svg := read(t, svgFile)
	if !strings.HasSuffix(svg, origin) {
		t.Errorf("%s was not drawn from the table (go generate ./fsm draws it)", svgFile)
	}
	ids := html.UnescapeString(svg)
	for _, e := range fsm.Transitions() {
		state, edge := fmt.Sprintf(`id="state-%s"`, e.To), fmt.Sprintf(`id="edge-%s-%s"`, e.From, e.On)
		if !strings.Contains(ids, state) || !strings.Contains(ids, edge) {
			t.Errorf("%s does not draw %v", svgFile, e)
		}
	}
}

func draw(t *testing.T, dot string) string {
	t.Helper()
	graphviz := exec.CommandContext(t.Context(), "dot", "-Tsvg")
	graphviz.Stdin, graphviz.Stderr = strings.NewReader(dot), os.Stderr
	svg, err := graphviz.Output()
	if err != nil {
		t.Fatalf("drawing needs Graphviz: %v", err)
	}
	return string(bytes.TrimRight(svg, "\n")) + "\n"
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n") // as a checkout on Windows may have it
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// No state is lit by accident, as those would be that looplab/fsm draws.
func TestDiagramsAreLitOnRequestOnly(t *testing.T) {
	m := fsm.NewMachine()
	if _, err := m.Fire(fsm.ShutdownRequested); err != nil {
		t.Fatal(err)
	}
	table := fsm.Transitions()
	for _, drawing := range []string{table.Mermaid(), table.DOT()} {
		if strings.Contains(drawing, "lit") || strings.Contains(drawing, "fill") {
			t.Errorf("something is lit:\n%s", drawing)
		}
	}
	lit := table.Mermaid(m.State())
	if !strings.Contains(lit, "class Withdrawing lit\n") || strings.Count(lit, "class ") != 1 {
		t.Errorf("not exactly Withdrawing is lit:\n%s", lit)
	}
	if lit := table.DOT(m.State()); strings.Count(lit, "fillcolor") != 1 {
		t.Errorf("not exactly one state is lit:\n%s", lit)
	}
}

func drawn(t *testing.T) *fsmtest.Diagram {
	t.Helper()
	diagram, err := fsmtest.Parse(read(t, mermaidFile))
	if err != nil {
		t.Fatal(err)
	}
	return diagram
}

// machine is a fsm.Machine that speaks names, as diagrams do.
type machine struct{ *fsm.Machine }

func (m machine) State() string { return m.Machine.State().String() }

func (m machine) Fire(event string) error {
	var kind fsm.Kind
	if err := kind.UnmarshalText([]byte(event)); err != nil {
		return err
	}
	_, err := m.Machine.Fire(kind)
	return err
}

// Every (state, event) pair of the drawing, and the events that are no part of
// it, on the real machine.
func TestMachineIsTheDiagram(t *testing.T) {
	also := []string{
		fsm.Started.String(), fsm.Acked.String(), fsm.Quiesced.String(), fsm.Insisted.String(), fsm.Forced.String(),
		"Nonsense",
	}
	fresh := func() fsmtest.Machine { return machine{fsm.NewMachine()} }
	want := fsmtest.Coverage{States: 4, AllStates: 4, Edges: 5, AllEdges: 5, Refused: 4*10 - 5, Paths: 5}
	if coverage := drawn(t).Test(t, fresh, also...); coverage != want {
		t.Errorf("covered %+v, want %+v", coverage, want)
	}
}

// Every path of the drawing from Running to Terminated, on a real orchestrator,
// with each of the causes that an event can have.
func TestOrchestratorWalksEveryPath(t *testing.T) {
	walked := 0
	for _, path := range drawn(t).Paths(fsmtest.MaxPaths) {
		if path[len(path)-1].To != fsm.Terminated.String() {
			continue
		}
		walked++
		for _, forced := range []bool{true, false} {
			t.Run(fmt.Sprint(path, " forced ", forced), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { walk(t, path, forced) })
			})
		}
	}
	if walked != 3 {
		t.Errorf("%d paths, want 3", walked)
	}
}

// walk makes happen what the events of the path stand for.
func walk(t *testing.T, path []fsmtest.Edge, forced bool) {
	o, err := fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	withdrawal, rest := make(chan struct{}), make(chan struct{})
	hold := func(until <-chan struct{}) fsm.Component {
		return fsm.Func(func(context.Context) error { <-until; return nil })
	}
	if err := o.Register("withdraws", hold(withdrawal), fsm.Withdraws(), fsm.Grace(4*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := o.Register("rest", hold(rest)); err != nil {
		t.Fatal(err)
	}
	var taken []fsmtest.Edge
	for _, edge := range path {
		switch edge.On {
		case fsm.ShutdownRequested.String():
			o.Request(fsm.Command{})
		case fsm.Withdrawn.String():
			close(withdrawal)
			withdrawal = nil
		case fsm.AllAcked.String():
			close(rest)
			rest = nil
		case fsm.Timeout.String():
			// The polite time ends before the alarm, and Withdrawing with it.
			if forced || edge.From == fsm.Withdrawing.String() {
				o.Force(fsm.Command{})
			} else {
				time.Sleep(fsm.DefaultAlarm)
			}
		}
		synctest.Wait()
		if o.State().String() != edge.To {
			t.Fatalf("after %v: %s", edge, o.State())
		}
	}
	state := fsm.Running
	for e := range o.Events(t.Context()) {
		if e.State != state {
			taken = append(taken, fsmtest.Edge{From: state.String(), On: e.Kind.String(), To: e.State.String()})
		}
		state = e.State
	}
	if !slices.Equal(taken, path) {
		t.Errorf("taken %v, want %v", taken, path)
	}
	for _, held := range []chan struct{}{withdrawal, rest} {
		if held != nil {
			close(held)
		}
	}
}
