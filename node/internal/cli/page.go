package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Columns is what a terminal is sure to have.
const Columns = 80

// checked remembers that something could not be written: a command that has not
// said what it had to say has failed, whoever printed it.
type checked struct {
	io.Writer
	err error
}

func (w *checked) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// Terminal returns the terminal that w is, also where [Run] has wrapped it; nil if it
// is none.
func Terminal(w io.Writer) *os.File {
	if checked, ok := w.(*checked); ok {
		w = checked.Writer
	}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}

// Page is where a command prints what people read. On a terminal, unless --wide was
// given, no line is longer than that is wide, and keys are short.
type Page struct {
	out    io.Writer
	narrow bool
	begun  []byte // a line whose end has not come yet
}

const wideFlag = "wide"

// PageOf returns the page on the stdout of a command of a [Root].
func PageOf(c *cobra.Command) *Page {
	wide, err := c.Flags().GetBool(wideFlag)
	out := c.OutOrStdout()
	return &Page{out: out, narrow: err == nil && !wide && Terminal(out) != nil}
}

// WidePage is a page on out on which every line is whole.
func WidePage(out io.Writer) *Page { return &Page{out: out} }

// Narrow reports whether lines are folded, and keys short.
func (p *Page) Narrow() bool { return p.narrow }

// Write implements [io.Writer]. What is not a whole line yet is kept back where lines
// are folded.
func (p *Page) Write(text []byte) (int, error) {
	if !p.narrow {
		return p.out.Write(text)
	}
	p.begun = append(p.begun, text...)
	end := bytes.LastIndexByte(p.begun, '\n') + 1
	var folded []byte
	for line := range bytes.Lines(p.begun[:end]) {
		folded = fold(folded, string(line), Columns)
	}
	p.begun = p.begun[end:]
	if _, err := p.out.Write(folded); err != nil {
		return 0, err
	}
	return len(text), nil
}

// ShortKey is enough of a key to tell nodes apart.
const ShortKey = 8

// Key is a key as it is shown to people.
func (p *Page) Key(key string) string {
	if !p.narrow || len(key) <= ShortKey+1 {
		return Plain(key)
	}
	return Plain(key[:ShortKey]) + "…"
}

// fold appends a line to text, broken at spaces so that none of its parts is wider
// than width. A word that is wider stays whole, so that it can be copied.
func fold(text []byte, line string, width int) []byte {
	indent := strings.Repeat(" ", min(WidthOf(line[:len(line)-len(strings.TrimLeft(line, " \t"))])+2, width/2))
	for {
		at := breakOf(line, width)
		if at < 0 {
			return append(text, line...)
		}
		text = append(append(text, strings.TrimRight(line[:at], " ")...), '\n')
		line = indent + strings.TrimLeft(line[at+1:], " ")
	}
}

// breakOf returns where the last space is that a line of that width can end before, or
// the first one after that; negative if the line fits, or has none.
func breakOf(line string, width int) int {
	line = strings.TrimRight(line, " \n")
	if WidthOf(line) <= width {
		return -1
	}
	start := len(line) - len(strings.TrimLeft(line, " \t"))
	at := -1
	for i := start; i < len(line); i++ {
		if line[i] != ' ' {
			continue
		}
		if at >= 0 && WidthOf(line[:i]) > width {
			break
		}
		at = i
	}
	return at
}

// WidthOf counts the columns of a text without its line end.
func WidthOf(text string) (width int) {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		i += size
		switch r {
		case '\n':
		case '\t':
			width += 8 - width%8
		default:
			width++
		}
	}
	return width
}
