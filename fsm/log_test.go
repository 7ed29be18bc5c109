package fsm

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEventsForEveryKindOfReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", takes(time.Millisecond))
		register(t, o, "b", takes(time.Millisecond), After("a"))
		var read [3][]Event
		var all sync.WaitGroup
		all.Go(func() { read[0] = slices.Collect(o.Events(t.Context())) }) // live
		all.Go(func() {                                                    // slow: it is served long after the end
			for e := range o.Events(t.Context()) {
				time.Sleep(time.Hour)
				read[1] = append(read[1], e)
			}
		})
		r := shutdown(t, o)
		if r.Took != 2*time.Millisecond {
			t.Errorf("a slow reader delayed the shutdown: %v", r.Took)
		}
		read[2] = slices.Collect(o.Events(t.Context())) // late
		all.Wait()
		for i, events := range read {
			if !reflect.DeepEqual(events, r.Events) {
				t.Errorf("reader %d read %v, want %v", i, events, r.Events)
			}
		}
		for i, e := range r.Events {
			ack, ok := e.Ack()
			if e.Seq != i || ok != (e.Kind == Acked) || ack.From != e.From || ack.At != e.At {
				t.Errorf("event %d: %+v, ack %+v", i, e, ack)
			}
		}
		for e := range o.Events(t.Context()) {
			if e.Seq == 2 {
				break // a reader may stop
			}
		}
	})
}

// A reader that changes what it was given cannot reach the log.
func TestEventsAreTheReadersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := orchestrator(t, Config{})
		register(t, o, "a", takes(time.Millisecond))
		o.Request(Command{})
		_ = append(o.Report().Events, Event{From: "forged"})
		<-o.Done()
		for e := range o.Events(t.Context()) {
			if e.From == "forged" {
				t.Error("a reader wrote into the log")
			}
		}
	})
}

func TestLogEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, own := orchestrator(t, Config{})
		var text bytes.Buffer
		plain := func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "at" {
				return slog.Attr{}
			}
			return a
		}
		logger := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{ReplaceAttr: plain}))
		register(t, o, "a", returns(errBroken))
		register(t, o, "b", ignores(t))
		o.Request(Command{Reason: "why", By: "who"})
		synctest.Wait()
		o.Force(Command{Reason: "hurry", By: "whom"})
		o.LogEvents(t.Context(), logger)
		o.LogEvents(t.Context(), nil)
		want := `level=INFO msg=ShutdownRequested state=Withdrawing reason=why by=who
level=INFO msg=Withdrawn state=AwaitingAcks
level=INFO msg=Started state=AwaitingAcks from=a
level=INFO msg=Started state=AwaitingAcks from=b
level=WARN msg=Acked state=AwaitingAcks from=a error="broken pipe"
level=WARN msg=Forced state=AwaitingAcks reason=hurry by=whom
level=WARN msg=Timeout state=Terminated
`
		if text.String() != want {
			t.Errorf("got\n%s\nwant\n%s", text.String(), want)
		}
		if strings.Count(own.String(), "\n") != strings.Count(want, "\n") {
			t.Errorf("nil does not stand for the orchestrator's own logger:\n%s", own)
		}
	})
}

func TestEventJSON(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	event := Event{7, at, Acked, AwaitingAcks, "db", errBroken, nil}
	text, err := json.Marshal(event)
	want := `{"seq":7,"at":"2026-01-02T03:04:05.000000006Z","kind":"Acked","state":"AwaitingAcks",` +
		`"from":"db","error":"broken pipe"}`
	if err != nil || string(text) != want {
		t.Errorf("got  %s, %v\nwant %s", text, err, want)
	}
	var back Event
	if err := json.Unmarshal(text, &back); err != nil || back.Err.Error() != "broken pipe" {
		t.Errorf("%+v, %v", back, err)
	}
	if back.Err = errBroken; back != event {
		t.Errorf("%+v", back)
	}
	for _, bad := range []string{`{"kind":"Nope"}`, `{"state":"Nope"}`, `[]`, `{"command":{"signal":"x"}}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestNames(t *testing.T) {
	if got := State(9).String() + Kind(99).String() + Outcome(77).String(); got != "unknown(9)unknown(99)unknown(77)" {
		t.Error(got)
	}
	for u := OutcomeWaiting; u <= OutcomeSkipped; u++ {
		var back Outcome
		if text, _ := u.MarshalText(); back.UnmarshalText(text) != nil || back != u {
			t.Errorf("%v is read back as %v", u, back)
		}
	}
}

// Events that nobody reads cost nothing but memory, and a reader may come and
// go in the middle: the iterator holds no goroutine.
func TestEventsHoldNoGoroutine(t *testing.T) {
	o, _ := orchestrator(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	next := make(chan struct{})
	go func() {
		defer close(next)
		for range o.Events(ctx) {
		}
	}()
	cancel()
	<-next
}
