// Package clitest tests what all command lines of the project promise: that their man
// pages are what they say of themselves, and that what people read fits a terminal.
package clitest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// asCommand in the environment makes a test binary the command itself.
const asCommand = "FAREWELL_TEST_AS_COMMAND"

// Main is the TestMain of a command: the test binary, started by its own tests
// (os.Args[0]), is the command itself, so that they run it as real processes; and no
// goroutine may outlive the tests.
func Main(m *testing.M, main func()) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	// The race detector's runtime sleeps for a second before it lets a process exit.
	for name, value := range map[string]string{asCommand: "1", "GORACE": "atexit_sleep_ms=0"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// Buffer is a bytes.Buffer for several goroutines.
type Buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

// String returns all that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// ManPages fails if the pages in folder are not what root and the commands below it say
// of themselves. With MAN in the environment it writes them instead. Several programs may have
// their pages in one folder: owns says which names, without the section, are root's.
func ManPages(t *testing.T, root *cobra.Command, folder string, owns func(page string) bool) {
	t.Helper()
	want := manPages(t, root, owns)
	shipped := readPages(t, folder, owns)
	if os.Getenv("MAN") != "" {
		for name := range shipped {
			if err := os.Remove(filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		shipped = readPages(t, folder, owns)
	}
	for name, text := range want {
		if shipped[name] != text {
			t.Errorf("%s is not what the command says of itself: run make docs", name)
		}
	}
	if len(shipped) != len(want) {
		t.Errorf("%d pages are shipped, want %d", len(shipped), len(want))
	}
}

func manPages(t *testing.T, root *cobra.Command, owns func(string) bool) map[string]string {
	t.Helper()
	folder := t.TempDir()
	root.DisableAutoGenTag = true
	began := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	header := &doc.GenManHeader{Section: "1", Manual: "Farewell", Source: "Farewell", Date: &began}
	if err := doc.GenManTree(root, header, folder); err != nil {
		t.Fatal(err)
	}
	pages := readPages(t, folder, owns)
	if len(pages) < len(root.Commands()) {
		t.Fatalf("only %d pages", len(pages))
	}
	return pages
}

func readPages(t *testing.T, folder string, owns func(string) bool) map[string]string {
	t.Helper()
	const section = ".1"
	files, err := filepath.Glob(filepath.Join(folder, "*"+section))
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		if !owns(strings.TrimSuffix(name, section)) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	return pages
}

// Commands returns the command lines, without the program, that root and all commands
// below it are called with.
func Commands(root *cobra.Command) (lines [][]string) {
	var visit func(c *cobra.Command, line []string)
	visit = func(c *cobra.Command, line []string) {
		lines = append(lines, line)
		for _, below := range c.Commands() {
			visit(below, append(slices.Clip(line), below.Name()))
		}
	}
	visit(root, nil)
	return lines
}

// TooWide fails if a line of text has more columns than a terminal, and could be
// folded.
func TooWide(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := cli.WidthOf(line); n > cli.Columns && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("%s: %d columns: %s", what, n, line)
		}
	}
}
