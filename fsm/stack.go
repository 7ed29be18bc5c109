package fsm

import (
	"bytes"
	"cmp"
	"runtime"
	"runtime/pprof"
	"slices"
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
	// reportPatience is what those that are shutdowns of their own have to say how
	// they stand; they must not block, and one that does must hide nobody's stack.
	reportPatience = 20 * time.Millisecond
)

// snapshot is how those stand that run: their stacks, and the reports of those
// that are shutdowns of their own, by ID. It is taken before anybody is
// cancelled, to see where they hang.
type snapshot struct {
	stacks map[string]string
	inner  map[ID]*Report
}

func (o *Orchestrator) takeSample(withStacks bool) *snapshot {
	o.mu.Lock()
	anybody := o.final == nil && slices.ContainsFunc(o.core.nodes, func(n node) bool { return n.phase == running })
	o.mu.Unlock()
	if !anybody {
		return nil
	}
	s := new(snapshot)
	if begun := time.Now(); withStacks {
		s.stacks = o.profile()
		o.profileCost.Store(int64(max(time.Since(begun), 1)))
	}
	s.inner = o.innerReports()
	return s
}

// innerReports asks those that are shutdowns of their own. It must not hold mu,
// because what it calls is not ours.
func (o *Orchestrator) innerReports() map[ID]*Report {
	asked := o.reporters()
	if len(asked) == 0 {
		return nil
	}
	type answer struct {
		id     ID
		report *Report
	}
	answers := make(chan answer, len(asked))
	for _, c := range asked {
		a := answer{id: c.id}
		go contain(func() error { a.report = c.reporter.Report(); return nil }, func(error) { answers <- a })
	}
	inner := map[ID]*Report{}
	patience := time.NewTimer(reportPatience)
	defer patience.Stop()
	for range asked {
		select {
		case a := <-answers:
			inner[a.id] = a.report
		case <-patience.C:
			return inner
		}
	}
	return inner
}

func (o *Orchestrator) reporters() (found []*component) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range o.components {
		if c != nil && c.reporter != nil && o.core.nodes[i].phase == running {
			found = append(found, c)
		}
	}
	return found
}

// keep keeps what was sampled of those that still run. The caller holds mu.
func (o *Orchestrator) keep(s *snapshot) {
	for id, c := range o.index {
		if o.core.nodes[c.index].phase == running {
			c.stack, c.inner = cmp.Or(s.stacks[string(id)], c.stack), cmp.Or(s.inner[id], c.inner)
		}
	}
}

// sampleWithin is takeSample if that is done in time, and else where its result
// comes later.
func (o *Orchestrator) sampleWithin(d time.Duration, withStacks bool) (taken *snapshot, later <-chan *snapshot) {
	sampled := make(chan *snapshot, 1)
	go func() { sampled <- o.takeSample(withStacks) }()
	if taken, ok := receiveWithin(d, sampled); ok {
		return taken, nil
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

// alarmSample is takeSample, with stacks if they can be expected to be cheap. It
// does not wait for a profile that is being taken, nor long for what is not ours.
func (o *Orchestrator) alarmSample() *snapshot {
	cost := time.Duration(o.profileCost.Load())
	cheap := cost <= cheapProfile && (cost != 0 || runtime.NumGoroutine() <= fewGoroutines)
	taken, _ := o.sampleWithin(forcePatience, cheap)
	return taken
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
