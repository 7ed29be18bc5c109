package fsm

import (
	"bytes"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxStack bounds the stack kept of one component, in bytes.
	maxStack = 16 << 10
	// cheapSample is how long a goroutine profile may have taken to be worth
	// another one when the alarm has fired already.
	cheapSample = time.Millisecond
)

// stackSampler remembers what the last goroutine profile cost: 6.5 ms at 2,000
// goroutines and 48 ms at 16,000 were measured, too much to be late with.
type stackSampler struct {
	mu    sync.Mutex
	taken bool
	cost  time.Duration
}

// sampleStacks returns the stacks of the goroutines that carry a component's
// label, by ID. It is called before anybody is cancelled, to see where they hang.
func (o *Orchestrator) sampleStacks() map[string]string {
	o.mu.Lock()
	anybody := o.final == nil && len(o.core.running()) > 0
	o.mu.Unlock()
	if !anybody {
		return nil
	}
	o.stacks.mu.Lock()
	defer o.stacks.mu.Unlock()
	begun := time.Now()
	stacks := labelledStacks()
	o.stacks.taken, o.stacks.cost = true, time.Since(begun)
	return stacks
}

// resampleStacks is sampleStacks if that is known to be cheap.
func (o *Orchestrator) resampleStacks() map[string]string {
	o.stacks.mu.Lock()
	cheap := o.stacks.taken && o.stacks.cost < cheapSample
	o.stacks.mu.Unlock()
	if !cheap {
		return nil
	}
	return o.sampleStacks()
}

// labelledStacks reads the goroutine profile in its text form, debug=1: the one
// that has labels. Goroutines with the same stack and labels are one record of
// it, set apart by an empty line.
func labelledStacks() map[string]string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil
	}
	stacks := map[string]string{}
	for record := range strings.SplitSeq(profile.String(), "\n\n") {
		if id, ok := recordLabel(record); ok {
			stacks[id] = appendRecord(stacks[id], record)
		}
	}
	return stacks
}

// recordLabel finds Label in a line like: # labels: {"key":"value", "k":"v"}
func recordLabel(record string) (id string, ok bool) {
	_, labels, found := strings.Cut(record, "\n# labels: {")
	if !found {
		return "", false
	}
	labels, _, _ = strings.Cut(labels, "\n")
	_, value, found := strings.Cut(labels, strconv.Quote(Label)+":")
	if !found {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", false
	}
	id, err = strconv.Unquote(quoted)
	return id, err == nil
}

// appendRecord adds a record's frames, "function file:line", to a bounded stack.
func appendRecord(stack, record string) string {
	head, rest, _ := strings.Cut(record, " @ ")
	var b strings.Builder
	b.WriteString(stack)
	b.WriteString("goroutines with this stack: " + strings.TrimSpace(lastLine(head)) + "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		fields := strings.Fields(line) // # 0x4a1b2c function+0x1c file:line
		if len(fields) < 4 || fields[0] != "#" {
			continue
		}
		function, _, _ := strings.Cut(fields[2], "+0x")
		b.WriteString("  " + function + " " + strings.Join(fields[3:], " ") + "\n")
	}
	return b.String()[:min(b.Len(), maxStack)]
}

func lastLine(s string) string { return s[strings.LastIndex(s, "\n")+1:] }
