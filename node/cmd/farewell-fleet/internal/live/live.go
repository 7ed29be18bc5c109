// Package live shows a table that changes on a terminal.
package live

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// Frame is what is shown at one moment. Nothing in it may have control characters in it.
type Frame struct {
	Title  string     // above the table; may have several lines
	Rows   [][]string // the first one is the head; what matters most comes first
	Footer string     // below the table; may have several lines
}

// pause is between two looks at what is to be shown.
const pause = 100 * time.Millisecond

// Show shows what frame returns, which it calls ten times a second from a goroutine of
// its own, on a terminal until ctx ends; and then once more, which stays there. It
// trims a frame to the terminal, and says how many rows it has left out. It reads no
// input and handles no signals: Ctrl-C is the caller's. It blocks.
func Show(ctx context.Context, terminal *os.File, frame func() Frame) error {
	defer mute(terminal)()
	program := tea.NewProgram(&model{frame: frame}, tea.WithOutput(terminal), tea.WithInput(nil), tea.WithoutSignalHandler())
	stop := context.AfterFunc(ctx, func() { program.Send(over{}) })
	defer stop()
	_, err := program.Run()
	if err != nil {
		return fmt.Errorf("live: %w", err)
	}
	return nil
}

// over is told when the table is to be shown once more, and then no longer.
type over struct{}

// look is told when it is time to look at what is to be shown.
type look struct{}

func wait() tea.Cmd { return tea.Tick(pause, func(time.Time) tea.Msg { return look{} }) }

// model is owned by the one goroutine of bubbletea's loop.
type model struct {
	frame         func() Frame
	shown         Frame
	width, height int
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd {
	m.shown = m.frame()
	return wait()
}

// Update implements [tea.Model].
func (m *model) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case look:
		m.shown = m.frame()
		return m, wait()
	case over:
		m.shown = m.frame()
		return m, tea.Sequence(tea.ClearScreen, tea.Quit) // the terminal may have written ^C somewhere
	}
	return m, nil
}

// View implements [tea.Model].
func (m *model) View() tea.View {
	view := tea.NewView("")
	view.DisableBracketedPasteMode = true // nothing is read
	if m.width > 0 {                      // the size comes first
		view.SetContent(m.shown.fit(m.width, m.height) + "\n") // the end wipes the last line
	}
	return view
}

// fit lays a frame out for a terminal.
func (f Frame) fit(width, height int) string {
	lines := splitLines(f.Title)
	footer := splitLines(f.Footer)
	rows := f.Rows
	room := max(2, height-len(lines)-len(footer)-1) // the cursor has a line of its own
	if len(rows) > room {
		left := len(rows) - room + 1
		rows = rows[:room-1]
		footer = append([]string{fmt.Sprintf("and %d more", left)}, footer...)
	}
	lines = append(append(lines, table(rows)...), footer...)
	for i, line := range lines {
		lines[i] = ansi.Truncate(line, width, "…")
	}
	return strings.Join(lines, "\n")
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// table lays rows out in columns.
func table(rows [][]string) (lines []string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)+2))
			}
		}
		lines = append(lines, line.String())
	}
	return lines
}
