package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
)

// The diagram in the documentation is what is on the wire.
func TestTranscript(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{})
	tap := s.connect()
	listed(t, tap, "", "edge/edge-1", "store/store-1")
	store.register("disk", fsm.Func(func(context.Context) error { return nil }))
	edge.register("http", fsm.Func(func(context.Context) error { return nil }))
	edge.register("store", edge.member.Component("store/store-1"), fsm.After("http"))

	var mu sync.Mutex
	var lines []string
	sub, err := tap.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if text := arrow(m, store.member.self); text != "" {
			lines = append(lines, text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := tap.FlushTimeout(generous); err != nil {
		t.Fatal(err)
	}
	edge.Request(fsm.Command{Reason: "deploy 42", By: "ana"})
	edge.ended()
	store.ended()

	doc, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // until the tap has had it all
		mu.Lock()
		defer mu.Unlock()
		if got := diagram(lines); !strings.Contains(string(doc), "```mermaid\n"+got+"```\n") {
			return errors.New("docs/fleet.md does not have this diagram:\n" + got)
		}
		return nil
	})
	if err := sub.Unsubscribe(); err != nil {
		t.Error(err)
	}
}

// arrow draws one message that is to or from the instance.
func arrow(m *nats.Msg, i Instance) string {
	switch m.Subject {
	case askPrefix + i.key():
		return "edge->>store: ask: who are you?"
	case commandPrefix + i.runKey():
		r, err := decodeRequest(m.Data)
		if err != nil || r.Action != leave {
			return ""
		}
		return fmt.Sprintf("edge->>store: leave, in the time that is left (by %s, because of %s)", strings.ReplaceAll(r.Command.By, ">", "›"), r.Command.Reason)
	case eventPrefix + i.runKey():
		if told, err := decodeTold(m.Data); err == nil && (told.Event.Kind == fsm.Withdrawn || told.Event.From == "disk" && told.Event.Kind == fsm.Acked) {
			return "store-)watchers: " + told.Event.String()
		}
	case reportPrefix + i.runKey():
		return "store->>edge: report: everybody has acked"
	case "$KV." + PresentBucket + "." + i.key():
		if m.Header.Get("KV-Operation") == "DEL" {
			return "store->>registry: no longer here"
		}
	case "$KV." + ReportsBucket + "." + reportKey(i):
		return "store->>registry: the report, for who asks later"
	}
	if r, err := decodeReply(m.Data); err == nil && r.Instance.key() == i.key() && r.ID != "" && r.Report == nil {
		if r.Action == ask {
			return "store-->>edge: incarnation, uptime, " + r.State.String()
		}
		return "store-->>edge: taken"
	}
	return ""
}

// diagram puts the events, which travel by themselves, before the report that has
// them too, and says once what was sent again.
func diagram(lines []string) string {
	var first []string
	report := -1
	for _, l := range lines {
		switch {
		case slices.Contains(first, l):
		case report >= 0 && strings.HasPrefix(l, "store-)"):
			first = slices.Insert(first, report, l)
			report++
		default:
			if strings.HasPrefix(l, "store->>edge: report") {
				report = len(first)
			}
			first = append(first, l)
		}
	}
	return "sequenceDiagram\n    participant edge as edge/edge-1\n    participant store as store/store-1\n" +
		"    participant registry as JetStream buckets\n    participant watchers\n    " + strings.Join(first, "\n    ") + "\n"
}
