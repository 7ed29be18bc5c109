package clitest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// PseudoTerminal is a terminal that a test looks at.
type PseudoTerminal struct {
	Slave  *os.File // what a process has as its stdout
	master *os.File
}

// Terminal opens a terminal of 80 columns and 24 lines, which the test's end closes.
func Terminal(t *testing.T) *PseudoTerminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &PseudoTerminal{Slave: slave, master: master}
	p.Resize(t, 80, 24)
	return p
}

// Resize makes the terminal another size. Processes that it controls get SIGWINCH.
func (p *PseudoTerminal) Resize(t *testing.T, columns, lines uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: lines}); err != nil {
		t.Fatal(err)
	}
}

// Read implements [io.Reader]: what was printed on the terminal.
func (p *PseudoTerminal) Read(b []byte) (int, error) { return p.master.Read(b) }

// ReadAll returns what is printed on the terminal until everybody has closed it. The
// test closes its own end here, so the process has to be started already.
func (p *PseudoTerminal) ReadAll() string {
	_ = p.Slave.Close()
	text, _ := io.ReadAll(p.master) // ends with EIO when the other end is closed
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}
