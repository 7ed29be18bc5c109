//go:build linux || darwin

package live

import (
	"os"

	"github.com/charmbracelet/x/termios"
	"golang.org/x/sys/unix"
)

// mute has a terminal not show what is typed, as the ^C of Ctrl-C, which would break
// into the table; undo is what undoes that.
func mute(terminal *os.File) (undo func()) {
	fd := int(terminal.Fd())
	was, err := termios.GetTermios(fd)
	if err != nil || was.Lflag&unix.ECHO == 0 {
		return func() {}
	}
	echo := func(on bool) {
		_ = termios.SetTermios(fd, uint32(was.Ispeed), uint32(was.Ospeed), nil, nil, nil, nil, map[termios.L]bool{termios.ECHO: on}) // a blemish at worst
	}
	echo(false)
	return func() { echo(true) }
}
