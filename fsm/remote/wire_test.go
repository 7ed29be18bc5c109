package remote

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"action":"leave","id":"x","incarnation":"y","until":5,"via":["a/b"],"command":{"reason":"r","by":"b","withinMs":3.5,"error":"e","signal":9}}`))
	f.Add([]byte(`{"action":"ask","id":"x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRequest(data)
		if err != nil {
			refused(t, err)
			return
		}
		command := clean(r.Command)
		if r.ID == "" || len(r.Via) > maxVia || command.Signal != 0 || command.Within < 0 || len(command.Reason)+len(command.By) > 2*maxText {
			t.Errorf("taken: %+v", r)
		}
		again, err := decodeRequest(marshal(t, r))
		if err != nil && len(marshal(t, r)) <= maxRequest || err == nil && again.ID != r.ID {
			t.Errorf("%+v is read back as %+v, %v", r, again, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"id":"x","action":"ask","instance":{"group":"a","name":"b","incarnation":"c"},"uptime":1,"state":"Running"}`))
	f.Add([]byte(`{"instance":{"group":"a","name":"b","incarnation":"c"},"over":true,"report":{"state":"Terminated"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeReply(data)
		if err != nil {
			refused(t, err)
			return
		}
		sound(t, r.Instance, r.Report, r.Over)
	})
}

func FuzzTold(f *testing.F) {
	f.Add([]byte(`{"instance":{"group":"a","name":"b.c","incarnation":"d"},"event":{"seq":1,"kind":"Acked","state":"AwaitingAcks","from":"db","error":"e"}}`))
	f.Add([]byte(`{"instance":{"group":"a","name":"b","incarnation":"c"},"over":true,"report":{"state":"Terminated","components":[{"id":"db","outcome":"hung","inner":{"state":"Running"}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeTold(data)
		if err != nil {
			refused(t, err)
			return
		}
		sound(t, m.Instance, m.Report, m.Over)
		if m.Event != nil {
			_ = m.Event.String()
		}
	})
}

func FuzzLast(f *testing.F) {
	f.Add("a", "b.c", []byte(`{"incarnation":"d"}`))
	f.Fuzz(func(t *testing.T, group, name string, data []byte) {
		i, err := decodeLast(group, name, data)
		if err != nil {
			refused(t, err)
			return
		}
		sound(t, i, nil, false)
	})
}

func FuzzEntry(f *testing.F) {
	f.Add("a.b", []byte(`{"group":"a","name":"b","incarnation":"c","born":7,"since":"2026-01-02T03:04:05Z"}`))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		i, err := decodeEntry(key, data)
		if err != nil {
			refused(t, err)
			return
		}
		sound(t, i, nil, false)
		if parsed, err := parseName(i.String()); err != nil || parsed.key() != key {
			t.Errorf("%q is about %+v", key, i)
		}
	})
}

func refused(t *testing.T, err error) {
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("refused with %v", err)
	}
}

// sound is what is promised of what was read from others.
func sound(t *testing.T, i Instance, r *fsm.Report, over bool) {
	for token := range strings.SplitSeq(i.runKey(), ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n") {
			t.Errorf("%q cannot be in a subject", i.runKey())
		}
	}
	if over && (r == nil || r.State != fsm.Terminated) {
		t.Error("a last word that is not said")
	}
	if r != nil { // it can be printed, and counted
		_, _, _ = r.String(), r.ExitCode(), r.Err()
		_ = fit(r, 1<<10)
	}
}

// A report that is too long for a message loses what is least needed, and keeps who
// is to blame; the one that it was made of is not touched.
func TestReportsFit(t *testing.T) {
	t.Parallel()
	r := &fsm.Report{State: fsm.Terminated, Edge: fsm.Transition{From: fsm.AwaitingAcks, On: fsm.Timeout, To: fsm.Terminated}, Took: time.Second}
	for i := range 300 {
		l := fsm.ComponentReport{ID: fsm.ID(fmt.Sprint("c", i)), Outcome: fsm.OutcomeAcked}
		if i%10 == 0 {
			l.Outcome, l.Stack = fsm.OutcomeHung, strings.Repeat("stack ", 2000)
			l.Inner = &fsm.Report{Components: []fsm.ComponentReport{{ID: "inside", Stack: strings.Repeat("stack ", 2000)}}}
		}
		r.Components = append(r.Components, l)
		r.Events = append(r.Events, fsm.Event{Kind: fsm.Acked, From: l.ID})
	}
	before := marshal(t, r)
	for _, limit := range []int{2 << 20, 300 << 10, 80 << 10, 20 << 10, 1 << 10} {
		got := fit(r, limit)
		if n := len(marshal(t, got)); n > limit {
			t.Errorf("%d bytes do not fit into %d", n, limit)
		}
		if got.ExitCode() != fsm.ExitAlarm || limit > 10<<10 && len(got.Outstanding()) == 0 {
			t.Errorf("in %d bytes it says %d and names %d", limit, got.ExitCode(), len(got.Outstanding()))
		}
	}
	if string(before) != string(marshal(t, r)) {
		t.Error("the report was changed")
	}
}

func TestReportsNestedTooDeep(t *testing.T) {
	t.Parallel()
	i := Instance{Group: "a", Name: "b", Incarnation: "c"}
	for depth, ok := range map[int]bool{1: true, 16: true, 32: false, 1 << 16: false} {
		inner := strings.Repeat(`{"state":"Terminated","components":[{"id":"x\\\"{","outcome":"acked","inner":`, depth) + "null" + strings.Repeat("}]}", depth)
		data := fmt.Sprintf(`{"instance":%s,"report":%s}`, marshal(t, i), inner)
		if m, err := decodeTold([]byte(data)); (err == nil) != ok || ok && m.Report.Components[0].ID != `x\"{` {
			t.Errorf("%d deep: %v", depth, err)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"api/api-1": true, "api/host.example.org": true, "a_B-9/x": true,
		"": false, "api": false, "api/": false, "/x": false, "a.b/c": false, "a/b/c": false, "a/.b": false, "a/b.": false,
		"a/b..c": false, "a/*": false, ">/a": false, "a/b c": false, "a/b\n": false, "ä/b": false,
		strings.Repeat("a", 65) + "/b": false, "a/" + strings.Repeat("b", 129): false,
	} {
		if _, err := parseName(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
