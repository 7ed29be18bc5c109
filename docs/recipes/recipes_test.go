// Package recipes holds the README to what the recipes are.
package recipes

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the functions into the README instead of comparing with them")

// shown is a function of a recipe, as the README shows it: the file, the name, the code.
var shown = regexp.MustCompile("<!-- (\\S+) (\\S+), kept equal by a test -->\n```go\n((?s:.*?))```")

func TestReadmeShowsTheRecipes(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	recipes := map[string]bool{}
	is := shown.ReplaceAllFunc(readme, func(block []byte) []byte {
		found := shown.FindSubmatch(block)
		file, name := string(found[1]), string(found[2])
		recipe, _, _ := strings.Cut(file, "/")
		recipes[recipe] = true
		return fmt.Appendf(nil, "<!-- %s %s, kept equal by a test -->\n```go\n%s\n```", file, name, function(t, file, name))
	})
	for _, recipe := range []string{"service", "worker", "kafka", "cli", "jobs", "moving", "handover"} {
		if !recipes[recipe] {
			t.Errorf("README shows nothing of %s", recipe)
		}
	}
	if *update {
		if err := os.WriteFile("README.md", is, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(readme, is) {
		t.Error("README shows other code than there is: go test . -update")
	}
}

// function returns the text of one.
func function(t *testing.T, file, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			return text[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset]
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return nil
}

// counted is a command of the README, and what it prints.
var counted = regexp.MustCompile("(?m)^    (awk .*)\n    (\\d+)$")

func TestLinesOfLifecycleCode(t *testing.T) {
	const most = 75
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := counted.FindSubmatch(readme)
	if found == nil {
		t.Fatal("README names no command that counts them")
	}
	out, err := exec.Command("sh", "-c", string(found[1])).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	if want := string(found[2]); strconv.Itoa(lines) != want || lines > most {
		t.Errorf("%d lines; README says %s, and %d is the most", lines, want, most)
	}
}
