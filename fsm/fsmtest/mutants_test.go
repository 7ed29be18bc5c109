package fsmtest_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutants are orchestrators that break a promise: in a file of package fsm the
// text on the left is replaced by that on the right, in which MUTANT is true.
var mutants = []struct{ name, file, from, to string }{
	{"order is nothing", "core.go", "ordered := n.waits > 0 ||", "ordered := n.waits > 0 && !MUTANT ||"},
	{"Last is nothing", "core.go", "t.last && c.early > 0 ||", "t.last && !MUTANT && c.early > 0 ||"},
	{"last call is for Strict too", "core.go", "(t.strict || !c.lastCall)", "(t.strict && !MUTANT || !c.lastCall)"},
	{"last call is for nobody", "core.go", "c.lastCall = true", "c.lastCall = !MUTANT"},
	{"the withdrawal holds nobody", "core.go", "barred := c.state", "barred := !MUTANT && c.state"},
	{"who is insisted upon is not waited for", "core.go", "c.emit(Insisted, who, nobody)", "c.emit(Insisted, who, nobody); if MUTANT { c.pass(who) }"},
	{"a Grace has no last call", "core.go", "c.stopWaitingFor(in.who)", "if !MUTANT { c.stopWaitingFor(in.who) }"},
	{"an ack starts nobody", "core.go", "c.start(next.of, who)", "if !MUTANT { c.start(next.of, who) }"},
	{"an ack does not release Strict", "core.go", "c.release(who, true)", "if !MUTANT { c.release(who, true) }"},
	{"nobody is insisted upon", "core.go", "c.insistUponAll()\n", "if !MUTANT { c.insistUponAll() }\n"},
	{"who begins late has no context", "shell.go", "return o.tooLate", "if MUTANT { return o.onTime }; return o.tooLate"},
	{"BestEffort counts", "report.go", "!l.BestEffort && (l.Outcome", "(!l.BestEffort || MUTANT) && (l.Outcome"},
	{"BestEffort counts at the alarm", "report.go", "counted || !l.BestEffort", "counted || !l.BestEffort || MUTANT"},
	{"errors of requests do not count", "report.go", "case len(r.requestErrs()) > 0:", "case !MUTANT && len(r.requestErrs()) > 0:"},
	{"later requests are forgotten", "shell.go", "if m.kind == requested || first {", "if m.kind == requested && !MUTANT || first {"},
	{"a death has no error", "runner.go", "Err: c.runner.death,", "Err: map[bool]error{false: c.runner.death}[MUTANT],"},
	{"a death requests nothing", "runner.go", "m.kind = requested\n", "if !MUTANT { m.kind = requested }\n"},
	{"the error of a run is lost in its ack", "runner.go", "return errors.Join(err, c.runner.failure)", "if MUTANT { return err }; return errors.Join(err, c.runner.failure)"},
	{"who departs stays", "runner.go", "o.depart(c)\n", "if !MUTANT { o.depart(c) }\n"},
	{"insisting stays outside", "nested.go", "case <-ctx.Done():\n", "case <-ctx.Done():\n\t\tif MUTANT { <-n.inner.done }\n"},
	{"an inner report is lost", "shell.go", "m.inner = c.reporter.Report()", "if !MUTANT { m.inner = c.reporter.Report() }"},
	{"an inner failure is no error", "nested.go", "return n.inner.final.errorOfItsOwn()", "if MUTANT { return nil }; return n.inner.final.errorOfItsOwn()"},
}

// A Matrix tells every orchestrator that breaks a promise from one that keeps them.
func TestMatrixCatchesMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds package fsm with mutants")
	}
	program := withMutants(t)
	for i := range len(mutants) + 1 {
		name := "none"
		if i > 0 {
			name = mutants[i-1].name
		}
		t.Run(name, func(t *testing.T) {
			run := exec.CommandContext(t.Context(), program, "-test.run", "^TestMatrixOfLives$", "-lives", "300", "-test.timeout", "2m")
			run.Env = append(os.Environ(), fmt.Sprint("FSM_MUTANT=", i))
			out, err := run.CombinedOutput()
			caught := strings.Contains(string(out), "fsmtest: case: ")
			if caught != (i > 0) || caught != (err != nil) {
				t.Errorf("caught: %v, %v\n%.4000s", caught, err, out)
			}
		})
	}
}

// withMutants compiles this package's tests with a package fsm that is the mutant
// of the number in the environment.
func withMutants(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	replace := func(file, text string) {
		at, err := filepath.Abs(filepath.Join("..", file))
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[at] = filepath.Join(dir, file)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	texts := map[string]string{}
	for i, m := range mutants {
		text, known := texts[m.file]
		if !known {
			source, err := os.ReadFile(filepath.Join("..", m.file))
			if err != nil {
				t.Fatal(err)
			}
			text = string(source)
		}
		if strings.Count(text, m.from) != 1 {
			t.Fatalf("mutant %q: its text stands in %s %d times", m.name, m.file, strings.Count(text, m.from))
		}
		texts[m.file] = strings.Replace(text, m.from, strings.ReplaceAll(m.to, "MUTANT", fmt.Sprintf("(mutant == %d)", i+1)), 1)
	}
	for file, text := range texts {
		replace(file, text)
	}
	replace("mutant.go", `package fsm

import (
	"os"
	"strconv"
)

var mutant, _ = strconv.Atoi(os.Getenv("FSM_MUTANT"))
`)
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "mutants.exe")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", file, "-o", program, ".")
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
