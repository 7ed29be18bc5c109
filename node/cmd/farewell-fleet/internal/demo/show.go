package demo

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// lines is where several goroutines say what happens. An error of writing stays with
// the writer.
type lines struct {
	mu sync.Mutex
	io.Writer
}

func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.Writer, format, args...)
}

// step is one line of the first act. What is longest in it comes last.
func (l *lines) step(name, asked, left, back, so string) {
	l.printf("  %-9s %8s %8s %8s  %s\n", name, asked, left, back, so)
}

// show prints the result for people.
func (r *Result) show(out *lines) {
	out.printf("\n%s\n", shallow(r.Leave.Report))
	all := r.load()
	out.printf("Requests      %d sent: %d lost, %d wrong, %d late; the slowest took %s\n",
		all.Sent, all.Lost, all.Wrong, all.Late, short(all.Slowest))
	out.printf("              %d were answered by somebody who was leaving by then\n", all.Leaving)
	out.printf("Away at once  %d at most, by the registry: %s\n", r.Away.Most, strings.Join(shortNames(r.Away.Who), " "))
	out.printf("              %d at most, by the processes that were down\n", r.Down)
	for _, c := range r.Culprits {
		out.printf("Culprit       %s: %s %s, in\n", c.Instance, c.Component, c.Outcome)
		for _, function := range c.Stack[:min(len(c.Stack), topFrames)] {
			out.printf("                %s\n", function)
		}
	}
	out.printf("Order         %d of %d pairs: every %s\n", r.Leave.Order.Pairs-len(r.Leave.Order.Broken), r.Leave.Order.Pairs,
		strings.Join(chain, " before every "))
	out.printf("Exit codes    %s\n", codes(r.Exits))
	out.printf("Took          %s\n\n", short(r.Took))
	for _, problem := range r.Problems {
		out.printf("NOT AS IT SHOULD BE: %s\n", problem)
	}
	if len(r.Problems) == 0 {
		out.printf("All is as it should be.\n")
	} else {
		out.printf("The logs are in %s\n", r.Logs)
	}
}

// topFrames of a stack are shown.
const topFrames = 2

// shortNames are those of instances without their groups.
func shortNames(names []string) (short []string) {
	for _, name := range names {
		short = append(short, path.Base(name))
	}
	return short
}

// codes counts the exit codes, and names who has one that is not 0.
func codes(exits []Exit) string {
	count, who := map[int]int{}, map[int][]string{}
	for _, e := range exits {
		count[e.Code]++
		if e.Code != 0 {
			who[e.Code] = append(who[e.Code], e.Instance)
		}
	}
	var texts []string
	for _, code := range slices.Sorted(maps.Keys(count)) {
		text := fmt.Sprintf("%d × %d", count[code], code)
		if len(who[code]) > 0 {
			text += " (" + strings.Join(who[code], ", ") + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// frames are those of a stack, as [fsm.ComponentReport] has them below a line about each
// goroutine, without the folders of packages and files: the function, and where.
func frames(stack string) (frames []string) {
	for line := range strings.Lines(stack) {
		frame, indented := strings.CutPrefix(line, "  ")
		if function, where, ok := strings.Cut(strings.TrimSpace(frame), " "); ok && indented {
			frames = append(frames, path.Base(function)+" "+path.Base(where))
		}
	}
	return frames
}

// shallow is a report without those inside of it that have nothing to say.
func shallow(report *fsm.Report) *fsm.Report {
	short := *report
	short.Components = slices.Clone(report.Components)
	for i, c := range short.Components {
		if c.Inner != nil && c.Inner.ExitCode() == fsm.ExitOK {
			short.Components[i].Inner = nil
		}
	}
	return &short
}

func short(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// clock is when something happened in an act.
func clock(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }
