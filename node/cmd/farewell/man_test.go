package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra/doc"
)

//go:generate env MAN=1 go test -count=1 -run ^TestManPages$ .

const manFolder = "../../../docs/man"

// The man pages are those of the commands: if this fails, run go generate here, or make
// docs. With MAN in the environment it writes them.
func TestManPages(t *testing.T) {
	folder := t.TempDir()
	if os.Getenv("MAN") != "" {
		folder = manFolder
	}
	root := newRoot()
	root.DisableAutoGenTag = true
	began := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Manual: "Farewell", Source: "Farewell", Date: &began}
	if err := doc.GenManTree(root, header, folder); err != nil {
		t.Fatal(err)
	}
	made, err := filepath.Glob(filepath.Join(folder, "*.1"))
	if err != nil || len(made) < 8 {
		t.Fatal(made, err)
	}
	shipped, err := filepath.Glob(filepath.Join(manFolder, "*.1"))
	if err != nil || len(shipped) != len(made) {
		t.Errorf("%d pages are shipped, want %d (%v)", len(shipped), len(made), err)
	}
	for _, page := range made {
		want, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(manFolder, filepath.Base(page)))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the command says of itself: run make docs (%v)", filepath.Base(page), err)
		}
	}
}
