package node

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/farewell-node/farewell/"

// floors says who may import whom: arrows only point down. What is not listed
// may not be imported, and a package that is not listed may not exist.
var floors = map[string][]string{
	"fsm":               {},
	"fsm/fsmhttp":       {"fsm"},
	"fsm/fsmtest":       {"fsm"},
	"fsm/systemd":       {"fsm"},
	"fsm/fsmotel":       {"fsm"},                // a module of its own
	"docs/kubernetes":   {"fsm", "fsm/fsmhttp"}, // a module of its own
	"fsm/remote":        {"fsm"},                // a module of its own
	"fsm/remote/fleet":  {"fsm", "fsm/remote"},
	"streams/identity":  {},
	"streams":           {"fsm", "streams/identity"},
	"neighborhood":      {"fsm", "streams/identity"},
	"neighborhood/sim":  {"fsm", "streams/identity", "neighborhood"},
	"ui":                {"fsm"},
	"ui/client":         {"fsm", "ui"},
	"ui/browsertest":    {},
	"node":              {"fsm", "fsm/systemd", "streams", "streams/identity", "neighborhood", "ui", "ui/client"},
	"node/cmd/farewell": {"fsm", "streams", "streams/identity", "neighborhood", "neighborhood/sim", "ui", "ui/browsertest", "ui/client", "node"},
	// A module of its own, too. Of node it has node/internal/cli, what command lines share.
	"node/cmd/farewell-fleet": {"fsm", "fsm/fsmhttp", "fsm/remote", "fsm/remote/fleet", "ui", "ui/browsertest", "node"},
}

// examples are programs of users: they import what they like.
var examples = []string{"docs/compare", "docs/recipes"}

// fromOutside is what fsm may use beside the standard library, so that to embed
// it costs an importer little.
var fromOutside = map[string][]string{
	"fsm":         {"github.com/looplab/fsm", "golang.org/x/sync/errgroup", "go.uber.org/goleak"},
	"fsm/fsmhttp": {"go.uber.org/goleak"},
	"fsm/fsmtest": {"github.com/looplab/fsm", "golang.org/x/sync/errgroup", "go.uber.org/goleak"},
	"fsm/systemd": {
		"github.com/coreos/go-systemd/v22/daemon", "github.com/coreos/go-systemd/v22/dbus", "go.uber.org/goleak",
	},
}

func TestImportsKeepTheFloors(t *testing.T) {
	files := 0
	for _, file := range goFiles(t, true) {
		files++
		room := roomOf(path.Dir(filepath.ToSlash(file)))
		if slices.ContainsFunc(examples, func(folder string) bool { return room == folder || strings.HasPrefix(room, folder+"/") }) {
			continue
		}
		allowed, known := floors[room]
		if !known {
			t.Errorf("%s: package %s has no floor", file, room)
			continue
		}
		for _, imported := range importsOf(t, filepath.Join("..", file)) {
			own, ours := strings.CutPrefix(imported, module)
			own = roomOf(own)
			switch {
			case strings.HasSuffix(file, "_test.go") && strings.HasPrefix(own, room+"/"):
				// a test may use what its own room has for others: fsmtest, the client
			case ours && own != room && !slices.Contains(allowed, own):
				t.Errorf("%s imports %s, which is not below %s", file, own, room)
			case !ours && strings.Contains(strings.Split(imported, "/")[0], "."):
				if outside, limited := fromOutside[room]; limited && !slices.Contains(outside, imported) {
					t.Errorf("%s imports %s: %s stays light", file, imported, room)
				}
			}
		}
	}
	if files < len(floors) {
		t.Fatalf("only %d files were read", files)
	}
}

// What the root requires, everybody who imports fsm has to take: docs/dependencies.md.
func TestNestedRequirementsStayNested(t *testing.T) {
	for _, theirs := range []string{"go.opentelemetry.io/", "k8s.io/", "github.com/nats-io/", "charm.land/"} {
		if strings.Contains(read(t, "../go.mod"), theirs) {
			t.Errorf("the root requires %s, which only a nested module needs", theirs)
		}
	}
}

func TestTopLevel(t *testing.T) {
	want := []string{
		".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md", "docs", "fsm", "go.mod", "go.sum",
		"neighborhood", "node", "streams", "ui",
	}
	local := []string{".git", "bin", "bench.out"} // not part of the project
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if !slices.Contains(local, e.Name()) {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("top level is\n%q, want\n%q", got, want)
	}
}

// roomOf returns the package that the internal ones below it belong to.
func roomOf(dir string) string {
	room, _, _ := strings.Cut(dir, "/internal/")
	return room
}

// goFiles lists every Go file of the module, tests and other systems' included, and those of the modules inside it too
// if that is asked for.
func goFiles(t *testing.T, nestedToo bool) (files []string) {
	t.Helper()
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, nested := fs.Stat(root, path.Join(name, "go.mod")); entry.IsDir() && name != "." && nested == nil && !nestedToo {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func importsOf(t *testing.T, file string) (imports []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, imported)
	}
	return imports
}
