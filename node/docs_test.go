package node

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
)

// The README shows code between these marks and the next ```; it has to be the body of the example named.
const (
	markBegin = "<!-- "
	markEnd   = ", kept equal by a test -->\n```go\n"
)

func TestReadmeShowsTheExamples(t *testing.T) {
	readme := read(t, "../README.md")
	shown := 0
	for rest := readme; ; shown++ {
		head, code, found := strings.Cut(rest, markEnd)
		if !found {
			break
		}
		source := head[strings.LastIndex(head, markBegin)+len(markBegin):]
		file, name, _ := strings.Cut(source, " ")
		code, rest, _ = strings.Cut(code, "```")
		want := mainLine + bodyOf(t, "../"+file, name)
		if name != "start" {
			want = bodyOf(t, "../"+file, name)
		}
		if code != want {
			t.Errorf("README shows for %s\n%s\nwant\n%s", source, code, want)
		}
	}
	if shown != 2 {
		t.Errorf("README shows %d examples, want 2", shown)
	}
	if diagram := "```mermaid\n" + fsm.Transitions().Mermaid() + "```"; !strings.Contains(readme, diagram) {
		t.Errorf("README does not show the table's diagram\n%s", diagram)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mainLine stands before the start of a program that fsm.Main runs.
const mainLine = "func main() { os.Exit(fsm.Main(fsm.Config{Alarm: 10 * time.Second}, start)) }\n\n"

// bodyOf returns the body of a function without its indentation, up to the output expected of it; of start, all of it.
func bodyOf(t *testing.T, file, name string) string {
	t.Helper()
	if name == "start" {
		_, body, _ := strings.Cut(read(t, file), "\nfunc start(")
		body, _, _ = strings.Cut(body, "\n}\n")
		return "func start(" + body + "\n}\n"
	}
	_, body, found := strings.Cut(read(t, file), "\nfunc "+name+"() {\n")
	if !found {
		t.Fatalf("%s has no %s", file, name)
	}
	body, _, _ = strings.Cut(body, "\n}\n")
	body, _, _ = strings.Cut(body, "\t// Output:")
	return strings.ReplaceAll("\n"+body, "\n\t", "\n")[1:]
}

// A document that says which test backs it must not be left behind by the test.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	var tests strings.Builder
	for _, file := range goFiles(t, true) {
		if strings.HasSuffix(file, "_test.go") {
			tests.WriteString(read(t, filepath.Join("..", file)))
		}
	}
	named := regexp.MustCompile(`\b(Test[A-Z]\w+)(/[\w,]+)?`)
	for _, document := range []string{"../docs/kubernetes.md", "../docs/systemd.md"} {
		found := named.FindAllStringSubmatch(read(t, document), -1)
		for _, name := range found {
			subtest := strings.ReplaceAll(strings.TrimPrefix(name[2], "/"), "_", " ")
			if !strings.Contains(tests.String(), "func "+name[1]+"(") || !strings.Contains(tests.String(), `t.Run("`+subtest) {
				t.Errorf("%s names %s, which is no test", document, name[0])
			}
		}
		if len(found) < 5 {
			t.Errorf("%s names %d tests", document, len(found))
		}
	}
}

// The figures beside peers are those that the comparison printed last.
func TestReadmeFiguresAreMeasured(t *testing.T) {
	measured := read(t, "../docs/compare/README.md")
	cells := func(section, row string) []string {
		_, text, _ := strings.Cut(measured, "\n### "+section)
		text, _, _ = strings.Cut(text, "\n### ")
		for line := range strings.Lines(text) {
			if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); strings.TrimSpace(cells[0]) == row {
				return cells
			}
		}
		t.Fatalf("no row %q in %q", row, section)
		return nil
	}
	_, table, _ := strings.Cut(read(t, "../README.md"), "<!-- docs/compare/README.md, kept equal by a test -->\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	for _, row := range rows {
		shown := strings.Split(strings.Trim(row, "|"), "|")
		library := strings.TrimSpace(shown[0])
		column := slices.IndexFunc(cells("Faults\n", "fault"), func(name string) bool { return strings.TrimSpace(name) == library })
		want := []string{
			cells("One service", library)[1], cells("Faults\n", "yes, of all asked")[column], cells("Stop: in order", library)[3],
		}
		for i, cell := range want {
			if strings.TrimSpace(shown[i+1]) != strings.TrimSpace(cell) {
				t.Errorf("README says %s of %s, measured was %s", shown[i+1], library, cell)
			}
		}
	}
	if len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
}
