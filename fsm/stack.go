package fsm

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

const (
	// maxStack bounds the stack kept of one component, in bytes.
	maxStack = 16 << 10
	// A goroutine profile costs 6.5 ms at 2,000 goroutines and 48 ms at 16,000.
	// The alarm, which must not be late, takes one only if the last one took no
	// longer than cheapProfile, or if there was none, which needs an insist and an
	// alarm at nearly the same moment, and goroutines are fewer than fewGoroutines.
	cheapProfile  = time.Millisecond
	fewGoroutines = 4000
	// forcePatience is what a force waits for a profile: somebody waits for it.
	forcePatience = 50 * time.Millisecond
)

// sampleStacks returns the stacks of the goroutines that carry a component's
// label, by ID. It is called before anybody is cancelled, to see where they hang.
func (o *Orchestrator) sampleStacks() map[string]string {
	o.mu.Lock()
	anybody := o.final == nil && len(o.core.running()) > 0
	o.mu.Unlock()
	if !anybody {
		return nil
	}
	begun := time.Now()
	stacks := o.profile()
	o.profileCost.Store(int64(max(time.Since(begun), 1)))
	return stacks
}

// stacksWithin is sampleStacks if that is done in time, and else where its result
// comes later.
func (o *Orchestrator) stacksWithin(d time.Duration) (stacks map[string]string, later <-chan map[string]string) {
	sampled := make(chan map[string]string, 1)
	go func() { sampled <- o.sampleStacks() }()
	if stacks, ok := receiveWithin(d, sampled); ok {
		return stacks, nil
	}
	return nil, sampled
}

func receiveWithin[T any](d time.Duration, from <-chan T) (value T, ok bool) {
	patience := time.NewTimer(d)
	defer patience.Stop()
	select {
	case value = <-from:
		return value, true
	case <-patience.C:
		return value, false
	}
}

// alarmStacks is sampleStacks if that can be expected to be cheap. It does not
// wait for a profile that is being taken.
func (o *Orchestrator) alarmStacks() map[string]string {
	cost := time.Duration(o.profileCost.Load())
	if cost > cheapProfile || cost == 0 && runtime.NumGoroutine() > fewGoroutines {
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
// Inside of a value it cannot stand like this, because quotes are escaped there.
func recordLabel(record string) (id string, ok bool) {
	_, value, _ := strings.Cut(record, strconv.Quote(Label)+":")
	quoted, err := strconv.QuotedPrefix(value)
	if err != nil {
		return "", false
	}
	id, err = strconv.Unquote(quoted)
	return id, err == nil
}

// appendRecord adds a record's frames, "function file:line", to a bounded stack.
func appendRecord(stack, record string) string {
	if len(stack) == maxStack {
		return stack
	}
	head, rest, _ := strings.Cut(record, " @ ")
	var b strings.Builder
	b.WriteString(stack)
	b.WriteString("goroutines with this stack: " + head[strings.LastIndex(head, "\n")+1:] + "\n")
	for line := range strings.SplitSeq(rest, "\n") {
		fields := strings.Fields(line) // # 0x4a1b2c function+0x1c file:line
		if len(fields) < 4 || fields[0] != "#" || !strings.HasPrefix(fields[1], "0x") {
			continue
		}
		function, _, _ := strings.Cut(fields[2], "+0x")
		b.WriteString("  " + function + " " + strings.Join(fields[3:], " ") + "\n")
	}
	return b.String()[:min(b.Len(), maxStack)]
}
