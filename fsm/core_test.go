package fsm

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var exploreAll = flag.Bool("explore-all", false,
	"explore all graphs of 4 components, and up to isomorphism every set of Quiesces: minutes")

// dags counts the acyclic digraphs of n labelled nodes, by Robinson's recurrence.
func dags(n int) int {
	if n == 0 {
		return 1
	}
	sum, sign := 0, 1
	for k := 1; k <= n; k++ {
		sum += sign * choose(n, k) << (k * (n - k)) * dags(n-k)
		sign = -sign
	}
	return sum
}

func choose(n, k int) int {
	if k == 0 {
		return 1
	}
	return n * choose(n-1, k-1) / k
}

// legal graphs: some k components withdraw, in any acyclic order among them, the
// others too, and any edges lead from the former to the latter.
func legalCount(n int) (sum int) {
	for k := range n + 1 {
		sum += choose(n, k) * dags(k) * dags(n-k) << (k * (n - k))
	}
	return sum
}

func TestGraphsAreAsManyAsTheorySays(t *testing.T) {
	for n := range maxNodes + 1 {
		if got, want := len(legalGraphs(n)), legalCount(n); got != want {
			t.Errorf("%d components: %d graphs, want %d", n, got, want)
		}
	}
	if got := []int{dags(0), dags(1), dags(2), dags(3), dags(4)}; !slices.Equal(got, []int{1, 1, 3, 25, 543}) {
		t.Errorf("acyclic digraphs: %d, want OEIS A003024", got)
	}
	var x explorer
	if classes, all, err := x.exploreClasses(3, 0); err != nil || all != legalCount(3) || classes >= all {
		t.Errorf("%d classes stand for %d graphs, want %d; %v", classes, all, legalCount(3), err)
	}
	unlabelled := 0
	for _, s := range legalGraphs(4) {
		if _, least := s.orbit(); least && s.withdraws == 0 {
			unlabelled++
		}
	}
	if unlabelled != 31 {
		t.Errorf("%d acyclic digraphs of 4 nodes up to isomorphism, want 31 of OEIS A003087", unlabelled)
	}
}

// Registration accepts exactly the graphs that are explored.
func TestRegistrationAcceptsExactlyTheLegalGraphs(t *testing.T) {
	accepted := 0
	for n := range 4 {
		digraphs(n, func(s shape) {
			o, _ := orchestrator(t, Config{})
			err := s.register(o)
			if (err == nil) != s.legal() {
				t.Errorf("graph %+v: legal %v, but %v", s, s.legal(), err)
			}
			if err == nil {
				accepted++
			}
		})
	}
	if want := legalCount(0) + legalCount(1) + legalCount(2) + legalCount(3); accepted != want {
		t.Errorf("%d graphs accepted, want %d", accepted, want)
	}
}

// The same with those that are Strict or Last, and start-up.
func TestRegistrationRefusesContradictions(t *testing.T) {
	refused := 0
	for n := range 3 {
		digraphs(n, func(s shape) {
			s.variants(func(s shape) {
				o, _ := orchestrator(t, Config{})
				err := s.register(o)
				if (err == nil) != s.legal() {
					t.Errorf("graph %+v: legal %v, but %v", s, s.legal(), err)
				}
				if err != nil {
					refused++
				}
			})
		})
	}
	if refused == 0 {
		t.Error("none was refused")
	}
}

func (s shape) register(o *Orchestrator) error {
	for i := range s.n {
		var options []Option
		for j := range i {
			if s.edge(j, i) {
				options = append(options, After(ID(rune('a'+j))))
			}
			if s.edge(i, j) {
				options = append(options, Before(ID(rune('a'+j))))
			}
		}
		if bit(s.withdraws, i) {
			options = append(options, Withdraws())
		}
		if bit(s.strict, i) {
			options = append(options, Strict())
		}
		if bit(s.last, i) {
			options = append(options, Last())
		}
		if err := o.Register(ID(rune('a'+i)), returns(nil), options...); err != nil {
			return err
		}
		if s.startup && i == 0 {
			o.core.graph.startup = 0
			if !bit(s.withdraws, 0) {
				return errors.New("start-up withdraws") // it is registered by Main alone
			}
		}
	}
	return nil
}

// With nothing but a request and acks the reachable states are Running and one
// for each set of acks that is closed under the order, in which those who
// withdraw come before the others: the order ideals.
func TestStatesAreOrderIdeals(t *testing.T) {
	x := explorer{only: []inputKind{requested, acked}}
	want := 0
	for n := range maxNodes + 1 {
		for _, s := range legalGraphs(n) {
			want += 1 + s.ideals()
			if err := x.explore(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	if x.states != want {
		t.Errorf("%d states, want %d", x.states, want)
	}
	t.Logf("%d graphs, %d states", x.graphs, x.states)
}

func (s shape) ideals() (count int) {
	for set := range uint8(1) << s.n {
		closed := true
		for i := range s.n {
			before := s.before(i)
			if !bit(s.withdraws, i) {
				before |= s.withdraws
			}
			if bit(set, i) && before&^set != 0 {
				closed = false
			}
		}
		if closed {
			count++
		}
	}
	return count
}

// The core moves along the edges of the table, along all of them and no others,
// and the engine takes exactly the same ones.
func TestCoreAndEngineAgree(t *testing.T) {
	var x explorer
	if err := x.exploreUpTo(2); err != nil {
		t.Fatal(err)
	}
	if got, want := len(x.edges), len(table); got != want {
		t.Errorf("the core took %v, drawn are %v", slices.Collect(maps.Keys(x.edges)), table)
	}
	for state := Running; state <= Terminated; state++ {
		for kind := ShutdownRequested; kind <= Timeout; kind++ {
			m := NewMachine()
			for _, k := range []Kind{ShutdownRequested, Withdrawn, AllAcked}[:state] {
				if _, err := m.Fire(k); err != nil {
					t.Fatal(err)
				}
			}
			taken, err := m.Fire(kind)
			if refused := (&TransitionError{state, kind}); err != nil && err.Error() != refused.Error() {
				t.Errorf("%v, want %v", err, refused)
			}
			if (err == nil) != x.edges[Transition{state, kind, taken.To}] {
				t.Errorf("%s in %s: the engine says %v, %v", kind, state, taken, err)
			}
		}
	}
}

// What TestExploration does for more components, and here with the race detector.
func TestPromisesForTwoComponents(t *testing.T) {
	var x explorer
	if err := x.exploreVariants(2, 1); err != nil {
		t.Error(err)
	}
}

// A field that the key of a situation forgets would hide states.
func TestKeyKnowsAllFields(t *testing.T) {
	if n, c := reflect.TypeFor[node]().NumField(), reflect.TypeFor[core]().NumField(); n != 5 || c != 8 {
		t.Errorf("node has %d fields and core %d: add the new ones to situation.key", n, c)
	}
}

// mutants are cores with one mistake: the text on the left replaced by that on
// the right. The exploration has to catch each.
var mutants = []struct{ name, from, to string }{
	{"an ack releases nobody", "c.release(who, true)\n\tc.pass(who)", "c.release(who, true)"},
	{"an ack releases nobody who is Strict", "c.release(who, true)\n\tc.pass(who)", "c.pass(who)"},
	{"an insist releases those who wait", "c.emit(Insisted, who, nobody)", "c.emit(Insisted, who, nobody)\n\t\tc.pass(who)"},
	{"Grace's last call releases nobody", "n.phase == running && n.insisted {\n\t\tc.pass(who)", "n.phase == running && n.insisted {"},
	{"Grace's last call releases the Strict", "n.phase == running && n.insisted {\n\t\tc.pass(who)", "n.phase == running && n.insisted {\n\t\tc.release(who, true)\n\t\tc.pass(who)"},
	{"a Grace's last call without an insist", "n.phase == running && n.insisted {", "n.phase == running {"},
	{"a Grace's last call of one that is done", "n.phase == running && n.insisted {", "n.phase != waiting && n.insisted {\n\t\tn.passed = false"},
	{"an ack is not recorded", "\tc.emit(Acked, who, nobody)\n", ""},
	{"an ack counts twice", "if n.phase != running {\n\t\treturn\n\t}", "if n.phase == waiting {\n\t\treturn\n\t}"},
	{"an ack of nobody counts", "if n.phase != running {\n\t\treturn\n\t}", "if n.phase == done {\n\t\treturn\n\t}"},
	{"acks are not counted", "\tc.unacked--\n\tc.emit", "\tc.emit"},
	{"Quiesce holds nobody", "(n.quiescing || barred)", "(n.quiescing && !n.quiescing || barred)"},
	{"Withdrawing holds nobody", "(n.quiescing || barred)", "(n.quiescing || barred && !barred)"},
	{"the order holds nobody", "ordered := n.waits > 0 ||", "ordered :="},
	{"one of the order is enough", "ordered := n.waits > 0 ||", "ordered := n.waits > 1 ||"},
	{"the early hold nobody", "|| t.last && c.early > 0", ""},
	{"one of the early is enough", "t.last && c.early > 0", "t.last && c.early > 1"},
	{"the early hold all", "t.last && c.early > 0", "c.early > 1"},
	{"start-up holds nobody", " || c.startingUp(who)", ""},
	{"start-up holds itself", "s != nobody && s != who &&", "s != nobody &&"},
	{"start-up is over when insisted upon", "c.nodes[s].phase != done", "c.nodes[s].phase != done && !c.nodes[s].insisted"},
	{"start-up's end starts nobody", "if who == c.graph.startup {\n\t\tc.startReady(who)\n\t}", ""},
	{"the Strict hear last call", "ordered && (t.strict || !c.lastCall)", "ordered && !c.lastCall"},
	{"nobody hears last call", "ordered && (t.strict || !c.lastCall)", "ordered"},
	{"those with a Quiesce do not hear last call", "(n.quiescing || barred) && !c.lastCall", "(n.quiescing || barred)"},
	{"last call starts nobody", "c.move(Withdrawn)\n\t}\n\tc.startReady(nobody)", "c.move(Withdrawn)\n\t}"},
	{"last call is not kept", "\tc.lastCall = true\n", ""},
	{"Withdrawing outlasts last call", "c.lastCall = true\n\tif c.state == Withdrawing {\n\t\tc.move(Withdrawn)\n\t}", "c.lastCall = true"},
	{"the polite time ends with last call", "case politeOver, lateOver:\n\t\tc.insistUponAll()", "case politeOver, lateOver:\n\t\tc.insistUponAll()\n\t\tc.callLast()"},
	{"started twice", "if n.phase != waiting || c.held(who)", "if n.phase == done || c.held(who)"},
	{"the polite time insists upon nobody", "case politeOver, lateOver:\n\t\tc.insistUponAll()", "case politeOver, lateOver:"},
	{"the late are never insisted upon", "case politeOver, lateOver:", "case politeOver:"},
	{"insisted upon twice", "n.phase == running && !n.insisted", "n.phase == running"},
	{"insisted upon when done", "n.phase == running && !n.insisted", "n.phase != waiting && !n.insisted"},
	{"Grace is for ever", "case graceOver:\n\t\tc.insist(in.who)", "case graceOver:"},
	{"one who withdraws is enough", "c.leaving == 0", "c.leaving <= 1"},
	{"all leave", "if c.graph.traits[who].withdraws {\n\t\tc.leaving--\n\t}\n\tc.release", "c.leaving--\n\tc.release"},
	{"let go twice", "if n.passed {\n\t\treturn\n\t}", ""},
	{"all count as early", "if !c.graph.traits[who].last {\n\t\tc.endEarly(who)\n\t}", "c.endEarly(who)"},
	{"the early are not counted", "if !c.graph.traits[who].last {\n\t\tc.endEarly(who)\n\t}", ""},
	{"nobody starts who is Last", "\t\t\tc.start(i, who)\n", "\t\t\t_ = i\n"},
	{"terminated too early", "c.unacked == 0", "c.unacked <= 1"},
	{"never terminated", "c.unacked == 0", "c.unacked < 0"},
	{"the second request counts", "if c.state != Running {\n\t\treturn // the first request wins\n\t}", ""},
	{"who withdraws is not started", "c.move(ShutdownRequested)\n\tc.startReady(nobody)", "c.move(ShutdownRequested)"},
	{"the others are not started", "\t\tc.startReady(cause)\n", "\t\t_ = cause\n"},
	{"started for the wrong reason", "c.startReady(cause)", "c.startReady(cause * 0)"},
	{"a force in Running starts them", "c.move(ShutdownRequested) // and", "c.begin() // and"},
	{"a force is not recorded", "\tc.emit(Forced, nobody, nobody)\n", ""},
	{"a force is as last call", "c.emit(Forced, nobody, nobody)\n\tc.move(Timeout)", "c.callLast()"},
	{"the alarm only insists", "case alarmFired:\n\t\tc.move(Timeout)", "case alarmFired:\n\t\tc.insistUponAll()"},
	{"something follows the end", "c.state == Terminated || (c.state == Running", "(c.state == Running"},
	{"Quiesce's end starts nobody", "\t\tc.start(who, who)\n", ""},
	{"a late Quiesce is waited for", "\t\t\tc.quiesced(i)\n", ""},
	{"a late Quiesce is not recorded", "\t\t\tc.emit(Quiesced, i, nobody)\n", ""},
	{"the order is forgotten", "\tc.nodes[then].waits++\n", ""},
	{"who passed is said to hold", "!n.passed || t.strict", "n.passed || t.strict"},
	{"who passed is not said to hold a Strict one", "!n.passed || t.strict && n.phase != done", "!n.passed"},
}

// The full exploration runs in a program of its own: it has one goroutine, so
// that the race detector would slow it down tenfold to find nothing. The same
// program explores the mutants.
func TestExploration(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	results := strings.Split(strings.TrimSpace(runExplorer(t)), "\n")
	if len(results) != 5+len(mutants) {
		t.Fatalf("%d results: %s", len(results), results)
	}
	small, classes, caught := results[0], results[1], results[5:]
	t.Logf("up to 3 components, with every set of Quiesces: %s", small)
	t.Logf("4 components up to isomorphism: %s", classes)
	t.Logf("4 components up to isomorphism, all with a Quiesce: %s", results[2])
	t.Logf("up to 3 components with every set of Strict and Last ones, and start-up: %s", results[3])
	t.Logf("all of 4 components, and every set of Quiesces up to isomorphism: %s", results[4])
	for _, result := range results[:5] {
		if !strings.HasSuffix(result, ", <nil>") {
			t.Errorf("a promise is broken: %s", result)
		}
	}
	graphs := legalCount(0) + legalCount(1)<<1 + legalCount(2)<<2 + legalCount(3)<<3
	if !strings.HasPrefix(small, fmt.Sprintf("%d graphs, ", graphs)) {
		t.Errorf("explored %s, want %d graphs", small, graphs)
	}
	if !strings.Contains(classes, fmt.Sprintf(", stand for %d graphs", legalCount(4))) {
		t.Errorf("explored %s, want them to stand for %d graphs", classes, legalCount(4))
	}
	for i, m := range mutants {
		if caught[i] == "survived" {
			t.Errorf("mutant not caught: %s", m.name)
		}
		t.Logf("mutant: %s: %.140s", m.name, caught[i])
	}
}

// runExplorer makes a program of the core, its mutants and the explorer, and runs it.
func runExplorer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"go.mod": "module explorer\n\ngo 1.26\n", "core.go": withMutants(t, readFile(t, "core.go")), "main.go": mainFile,
		"names.go": readFile(t, "names.go"), "table.go": readFile(t, "table.go"), "explore.go": readFile(t, "explore_test.go"),
	}
	for name, text := range files {
		text = strings.Replace(text, "package fsm\n", "package main\n", 1)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "explorer.exe")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program, fmt.Sprint(len(mutants)), fmt.Sprint(*exploreAll))
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// withMutants adds to each method that has mutants a copy for each, and begins it
// with a switch that calls the one whose number is set.
func withMutants(t *testing.T, source string) string {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "core.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	offset := func(p token.Pos) int { return files.Position(p).Offset }
	copies, cases := "\nvar mutant int\n", map[*ast.FuncDecl]string{}
	for i, m := range mutants {
		at := strings.Index(source, m.from)
		if strings.Count(source, m.from) != 1 {
			t.Fatalf("mutant %q: its text stands in core.go %d times", m.name, strings.Count(source, m.from))
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || offset(f.Pos()) > at || at > offset(f.End()) {
				continue
			}
			var args []string
			for _, param := range f.Type.Params.List {
				for _, name := range param.Names {
					args = append(args, name.Name)
				}
			}
			name := fmt.Sprintf("%sMutant%d", f.Name.Name, i+1)
			call := fmt.Sprintf("c.%s(%s)", name, strings.Join(args, ", "))
			if f.Type.Results == nil {
				call += "; return"
			} else {
				call = "return " + call
			}
			cases[f] += fmt.Sprintf("case %d: %s\n", i+1, call)
			text := strings.Replace(source[offset(f.Pos()):offset(f.End())], m.from, m.to, 1)
			copies += "\n" + strings.Replace(text, f.Name.Name+"(", name+"(", 1) + "\n"
		}
	}
	for _, decl := range slices.Backward(file.Decls) { // from the end, so that offsets stay right
		if f, ok := decl.(*ast.FuncDecl); ok && cases[f] != "" {
			at := offset(f.Body.Lbrace) + 1
			source = source[:at] + "\nswitch mutant {\n" + cases[f] + "}\n" + source[at:]
		}
	}
	return source + copies
}

// mainFile explores the core, and then each of its mutants until it is caught.
const mainFile = `package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
)

func main() {
	mutants, _ := strconv.Atoi(os.Args[1])
	var v, w, x, y, z explorer
	var all sync.WaitGroup
	var wErr error
	all.Go(func() { _, _, wErr = w.exploreClasses(4, 1<<4-1) })
	err := x.exploreUpTo(3)
	fmt.Printf("%d graphs, %d states, %d steps, %v\n", x.graphs, x.states, x.steps, err)
	classes, graphs, err := y.exploreClasses(4, 0)
	fmt.Printf("%d classes, %d states, %d steps, stand for %d graphs, %v\n", classes, y.states, y.steps, graphs, err)
	all.Wait()
	fmt.Printf("%d graphs, %d states, %d steps, %v\n", w.graphs, w.states, w.steps, wErr)
	err = v.exploreVariants(3, 2)
	fmt.Printf("%d graphs, %d states, %d steps, %v\n", v.graphs, v.states, v.steps, err)
	if os.Args[2] == "true" {
		err = z.exploreAllOfFour()
		fmt.Printf("%d graphs, %d states, %d steps, %v\n", z.graphs, z.states, z.steps, err)
	} else {
		fmt.Println("left out without -explore-all, <nil>")
	}
	for mutant = 1; mutant <= mutants; mutant++ {
		fmt.Println(caught())
	}
}

func (x *explorer) exploreAllOfFour() error {
	for _, s := range legalGraphs(4) {
		if err := x.explore(s); err != nil {
			return err
		}
	}
	for quiesces := range uint8(1) << 4 {
		if _, _, err := x.exploreClasses(4, quiesces); err != nil {
			return err
		}
	}
	return nil
}

func caught() string {
	var x explorer
	if err := x.exploreUpTo(2); err != nil {
		return err.Error()
	}
	if _, _, err := x.exploreClasses(3, 0); err != nil {
		return err.Error()
	}
	if err := x.exploreVariants(2, 0); err != nil {
		return err.Error()
	}
	if err := x.exploreVariants(3, -1); err != nil {
		return err.Error()
	}
	return "survived"
}
`

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
