package main

import (
	"embed"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"path"
	"strings"
)

//go:embed service/*.go
var serviceSources embed.FS

// byHand is what all versions of the service share of what libraries leave to their
// users.
const byHand = "byhand.go"

// skipped marks, in a comment, what is not counted.
const skipped = "//lines:skip"

// source is a file, and where its declarations are.
type source struct {
	text         []byte
	declarations []declaration
}

type declaration struct {
	name     string // of a function
	uses     map[string]bool
	from, to int // lines
	skip     bool
}

// lifecycleLines counts the lines of a version of the service: of its file, and of
// those functions written by hand that it uses; no imports, no comments, no blank
// lines.
func lifecycleLines(file string) (lines int, err error) {
	own, err := readSource(file)
	if err != nil {
		return 0, err
	}
	shared, err := readSource(byHand)
	if err != nil {
		return 0, err
	}
	used := map[string]bool{}
	for _, d := range own.declarations {
		if !d.skip {
			lines += own.count(d)
			merge(used, d.uses)
		}
	}
	counted := make([]bool, len(shared.declarations))
	for more := true; more; {
		more = false
		for i, d := range shared.declarations {
			if !counted[i] && used[d.name] {
				counted[i], more = true, true
				lines += shared.count(d)
				merge(used, d.uses)
			}
		}
	}
	return lines, nil
}

func merge(all, more map[string]bool) {
	for name := range more {
		all[name] = true
	}
}

func readSource(file string) (*source, error) {
	text, err := serviceSources.ReadFile(path.Join("service", file))
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, text, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	s := &source{text: text}
	for _, node := range parsed.Decls {
		d := declaration{uses: map[string]bool{}, from: files.Position(node.Pos()).Line, to: files.Position(node.End()).Line}
		switch n := node.(type) {
		case *ast.FuncDecl:
			d.name = n.Name.Name
			d.skip = n.Doc != nil && strings.Contains(n.Doc.List[len(n.Doc.List)-1].Text, skipped)
		case *ast.GenDecl:
			d.skip = n.Tok == token.IMPORT
		}
		ast.Inspect(node, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				d.uses[id.Name] = true
			}
			return true
		})
		s.declarations = append(s.declarations, d)
	}
	return s, nil
}

// count returns how many lines of a declaration have code on them.
func (s *source) count(d declaration) int {
	var all scanner.Scanner
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(s.text))
	all.Init(file, s.text, nil, 0)
	lines := map[int]bool{}
	for {
		position, kind, literal := all.Scan()
		if kind == token.EOF {
			return len(lines)
		}
		if kind == token.SEMICOLON && literal == "\n" {
			continue // it is not written
		}
		if line := file.Line(position); line >= d.from && line <= d.to {
			lines[line] = true
		}
	}
}
