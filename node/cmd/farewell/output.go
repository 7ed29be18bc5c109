package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// columns is what a terminal is sure to have.
const columns = 80

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

func isTerminal(w io.Writer) bool {
	if checked, ok := w.(*checked); ok {
		w = checked.Writer
	}
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// page is where a command prints what people read. On a terminal, unless --wide was
// given, no line is longer than that is wide, and keys are short.
type page struct {
	out    io.Writer
	narrow bool
	begun  []byte // a line whose end has not come yet
}

const wideFlag = "wide"

// pageOf returns the page on the stdout of a command.
func pageOf(c *cobra.Command) *page {
	wide, err := c.Flags().GetBool(wideFlag)
	out := c.OutOrStdout()
	return &page{out: out, narrow: err == nil && !wide && isTerminal(out)}
}

func (p *page) Write(text []byte) (int, error) {
	if !p.narrow {
		return p.out.Write(text)
	}
	p.begun = append(p.begun, text...)
	end := bytes.LastIndexByte(p.begun, '\n') + 1
	var folded []byte
	for line := range bytes.Lines(p.begun[:end]) {
		folded = fold(folded, string(line), columns)
	}
	p.begun = p.begun[end:]
	if _, err := p.out.Write(folded); err != nil {
		return 0, err
	}
	return len(text), nil
}

// shortKey is enough of a key to tell nodes apart.
const shortKey = 8

// key is a key as it is shown to people.
func (p *page) key(key string) string {
	if !p.narrow || len(key) <= shortKey+1 {
		return plain(key)
	}
	return plain(key[:shortKey]) + "…"
}

// fold appends a line to text, broken at spaces so that none of its parts is wider
// than width. A word that is wider stays whole, so that it can be copied.
func fold(text []byte, line string, width int) []byte {
	indent := strings.Repeat(" ", min(widthOf(line[:len(line)-len(strings.TrimLeft(line, " \t"))])+2, width/2))
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
	if widthOf(line) <= width {
		return -1
	}
	start := len(line) - len(strings.TrimLeft(line, " \t"))
	at := -1
	for i := start; i < len(line); i++ {
		if line[i] != ' ' {
			continue
		}
		if at >= 0 && widthOf(line[:i]) > width {
			break
		}
		at = i
	}
	return at
}

// widthOf counts the columns of a text without its line end.
func widthOf(text string) (width int) {
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
