package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
)

func TestServerIsKilledAndComesBackInTheMiddle(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	listed(t, edge.nc, "", "edge/edge-1", "store/store-1")
	begun, release := make(chan struct{}), make(chan struct{})
	store.register("disk", fsm.Func(func(context.Context) error { close(begun); <-release; return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{})
	<-begun
	s.kill()
	eventually(t, func() error {
		if edge.nc.IsConnected() || store.nc.IsConnected() {
			return errors.New("they have not noticed")
		}
		return nil
	})
	s.start()
	close(release)
	r := edge.ended()
	if l := line(t, r, "store"); l.Outcome != fsm.OutcomeAcked || l.Inner.ExitCode() != 0 {
		t.Errorf("edge:\n%s", r)
	}
	if there := store.ended(); there.ExitCode() != 0 || len(there.Requests) != 1 {
		t.Errorf("store:\n%s", there)
	}
}

// The report was published while the server was away; whoever asks next is told.
func TestServerIsAwayWhenTheReportIs(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	store := s.process("store/store-1", fsm.Config{})
	edge := newProcess(t, connect(t, link.url()), "edge/edge-1", fsm.Config{Alarm: generous})
	listed(t, store.nc, "", "edge/edge-1", "store/store-1")
	begun, release := make(chan struct{}), make(chan struct{})
	store.register("disk", fsm.Func(func(context.Context) error { close(begun); <-release; return errors.New("half synced") }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{})
	<-begun
	link.setCut(true)
	link.breakOff()
	close(release)
	store.ended()
	link.setCut(false)
	if l := line(t, edge.ended(), "store"); l.Inner == nil || !strings.Contains(fmt.Sprint(l.Err), "half synced") {
		t.Errorf("store: %v", l.Err)
	}
}

// A process whose NATS has never been there leaves as if alone, and is not blamed.
func TestAlone(t *testing.T) {
	t.Parallel()
	p := newProcess(t, connect(t, "nats://127.0.0.1:1"), "api/api-1", fsm.Config{})
	logged(t, p, "working as if alone")
	p.register("db", fsm.Func(func(context.Context) error { return nil }))
	p.register("store", p.member.Component("store/store-1"), fsm.BestEffort(), fsm.Grace(100*time.Millisecond))
	p.Request(fsm.Command{})
	r := p.ended()
	if r.ExitCode() != 0 || line(t, r, "db").Outcome != fsm.OutcomeAcked {
		t.Errorf("alone:\n%s", r)
	}
	if err := line(t, r, "store").Err; !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrAway) {
		t.Errorf("store: %v", err)
	}
	if n := strings.Count(p.log.String(), "as if alone"); n != 1 {
		t.Errorf("it says so %d times", n)
	}
}

func TestAloneThenRejoins(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{}), s.connect()
	before := listed(t, nc, "api", "api/api-1")
	s.kill()
	eventually(t, func() error { // the next renewal is 5 s away
		if p.nc.IsConnected() {
			return errors.New("not noticed")
		}
		return nil
	})
	if err := p.member.presence.renewNow(); !errors.Is(err, ErrAway) {
		t.Errorf("got %v", err)
	}
	s.start()
	after := listed(t, nc, "api", "api/api-1")
	if before[0].Born != after[0].Born || before[0].Incarnation != after[0].Incarnation {
		t.Errorf("it is another one: %+v, %+v", before, after)
	}
}

// renewNow is renew for a test that knows that keep does nothing meanwhile.
func (p *presence) renewNow() error {
	other := newPresence(p.nc, p.self, p.logger)
	return other.renew()
}

// A registry that has lost everything is made again by those who live.
func TestRegistryIsLost(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	if err := Setup(t.Context(), nc, Registry{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	s.process("api/api-1", fsm.Config{})
	listed(t, nc, "", "api/api-1")
	js := jetStream(t, nc)
	for _, bucket := range []string{PresentBucket, ReportsBucket} {
		if err := js.DeleteKeyValue(t.Context(), bucket); err != nil {
			t.Fatal(err)
		}
	}
	listed(t, nc, "", "api/api-1")
}

// A command that is delivered twice takes effect once.
func TestDeliveredTwice(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{}), s.connect()
	hold := make(chan struct{})
	p.register("db", fsm.Func(func(context.Context) error { <-hold; return nil }))
	r := p.commandFor(time.Minute)
	for range 5 {
		send(t, nc, r)
	}
	close(hold)
	if got := p.ended(); len(got.Requests) != 1 || got.ExitCode() != 0 {
		t.Errorf("it obeyed %d times", len(got.Requests))
	}
}

// Insisting that overtakes the asking is asking too.
func TestDeliveredOutOfOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{}), s.connect()
	asking := p.commandFor(time.Minute)
	insisting := asking
	insisting.Action, insisting.Command.Reason = insist, "now"
	if a := send(t, nc, insisting); a.Refused != "" {
		t.Errorf("refused: %s", a.Text)
	}
	r := p.ended()
	if r.Command.Reason != "now" || len(r.Requests) != 1 {
		t.Errorf("it was asked %+v", r.Requests)
	}
}

// A stranger who may send commands, and makes them up by the thousand, does not fill
// the memory.
func TestTooManyCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{Alarm: generous}), s.connect()
	hold := make(chan struct{})
	p.register("db", fsm.Func(func(context.Context) error { <-hold; return nil }))
	var last reply
	for i := range maxCommands + 1 {
		r := p.commandFor(time.Minute)
		r.ID = fmt.Sprint(i)
		last = send(t, nc, r)
	}
	close(hold)
	if r := p.ended(); last.Refused != refusedInvalid || len(r.Requests) != maxCommands {
		t.Errorf("%d commands were taken, and the last was %q", len(r.Requests), last.Refused)
	}
}

// One that is delivered when it is no longer meant takes none: it was on a wire that
// was cut when it was sent, and the one who sent it has given up.
func TestDeliveredLate(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	p, nc := newProcess(t, connect(t, link.url()), "api/api-1", fsm.Config{}), s.connect()
	listed(t, nc, "", "api/api-1")
	link.setCut(true)
	valid := 200 * time.Millisecond
	r := p.commandFor(valid)
	r.Command.Within = valid
	if err := nc.Publish(commandPrefix+p.member.self.runKey(), marshal(t, r)); err != nil {
		t.Fatal(err)
	}
	if _, err := Shutdown(t.Context(), nc, p.member.Instance(), "", fsm.Command{Within: valid}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("over a wire that is cut: %v", err)
	}
	eventually(t, func() error {
		if p.member.uptime() <= r.Until {
			return errors.New("it is not late yet")
		}
		return nil
	})
	link.setCut(false)
	logged(t, p, "command refused")
	if p.State() != fsm.Running {
		t.Error("it obeyed a command that came too late")
	}
}

// One for a process that has been started again since is not for its successor,
// wherever it turns up.
func TestDeliveredAfterARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	old := s.process("api/api-1", fsm.Config{})
	listed(t, nc, "", "api/api-1")
	r := old.commandFor(time.Hour)
	old.nc.Close() // it dies without a word
	young := s.process("api/api-1", fsm.Config{})
	eventually(t, func() error {
		status, err := Ask(t.Context(), nc, "api/api-1")
		if err == nil && status.Instance.Incarnation != young.member.self.Incarnation {
			err = errors.New("still the old one")
		}
		return err
	})
	for _, subject := range []string{
		commandPrefix + old.member.self.runKey(), commandPrefix + young.member.self.runKey(), askPrefix + young.member.self.key(),
	} {
		if err := nc.Publish(subject, marshal(t, r)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Shutdown(t.Context(), nc, old.member.Instance(), r.ID, fsm.Command{})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("the old one: %v", err)
	}
	if status, err := Ask(t.Context(), nc, "api/api-1"); err != nil || status.State != fsm.Running {
		t.Errorf("the new one: %+v, %v", status, err)
	}
}

// commandFor is a command as somebody sends it who has asked this process before.
func (p *process) commandFor(valid time.Duration) request {
	return request{
		Action: leave, ID: "deploy-42", Incarnation: p.member.self.Incarnation, Until: p.member.uptime() + valid,
		Command: fsm.Command{Reason: "deploy 42", By: "a test"},
	}
}

func send(t testing.TB, nc *nats.Conn, r request) reply {
	t.Helper()
	var m *nats.Msg
	eventually(t, func() (err error) { // it may not have subscribed yet
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		m, err = nc.RequestWithContext(ctx, commandPrefix+"api.api-1."+r.Incarnation, marshal(t, r))
		return err
	})
	answer, err := decodeReply(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// An entry that has expired says nothing of the process, which answers; and it comes
// back by itself.
func TestEntryExpiresWhileTheProcessLives(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	if err := Setup(t.Context(), nc, Registry{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	p := newProcess(t, connect(t, link.url()), "api/api-1", fsm.Config{})
	listed(t, nc, "", "api/api-1")
	var kinds []NewsKind
	for news, err := range Watch(t.Context(), nc, "api") {
		if err != nil {
			t.Fatal(err)
		}
		switch kinds = append(kinds, news.Kind); news.Kind {
		case Listed:
			link.setCut(true)
		case Expired:
			link.setCut(false)
		}
		if len(kinds) == 4 {
			break
		}
	}
	if got := fmt.Sprint(kinds); got != "[joined listed expired joined]" {
		t.Errorf("news: %s", got)
	}

	// Now there is no entry when it is asked.
	bucket, err := jetStream(t, nc).KeyValue(t.Context(), PresentBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), "api.api-1"); err != nil {
		t.Fatal(err)
	}
	edge := s.process("edge/edge-1", fsm.Config{})
	edge.register("api", Component(edge.nc, "api/api-1"))
	edge.Request(fsm.Command{})
	if l := line(t, edge.ended(), "api"); l.Outcome != fsm.OutcomeAcked || l.Inner == nil {
		t.Errorf("api %s: %v", l.Outcome, l.Err)
	}
	if r := p.ended(); r.ExitCode() != 0 {
		t.Errorf("api:\n%s", r)
	}
}

// One that is cut off from the rest is unreachable to them, and leaves as if alone.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	store := newProcess(t, connect(t, link.url()), "store/store-1", fsm.Config{})
	edge := s.process("edge/edge-1", fsm.Config{Alarm: 2 * time.Second})
	listed(t, edge.nc, "", "edge/edge-1", "store/store-1")
	store.register("disk", fsm.Func(func(context.Context) error { return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.register("log", fsm.Func(func(context.Context) error { return nil }), fsm.After("store"), fsm.Strict())
	link.setCut(true)
	edge.Request(fsm.Command{})
	r := edge.ended()
	if l := line(t, r, "store"); !errors.Is(l.Err, ErrUnreachable) || !l.Insisted {
		t.Errorf("edge:\n%s", r)
	}
	store.Request(fsm.Command{})
	if r := store.ended(); r.ExitCode() != 0 || line(t, r, "disk").Outcome != fsm.OutcomeAcked {
		t.Errorf("store:\n%s", r)
	}
	link.setCut(false)
}

// One that dies in the middle is unreachable, with what was heard of it.
func TestDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	store.register("disk", fsm.Func(func(context.Context) error { <-release; return nil }))
	edge.register("store", edge.member.Component("store/store-1"))
	edge.Request(fsm.Command{})
	eventually(t, func() error {
		if inner := line(t, edge.Report(), "store").Inner; inner == nil || line(t, inner, "disk").Outcome != fsm.OutcomeStopping {
			return errors.New("the report there is not inside of the one here")
		}
		return nil
	})
	store.nc.Close()
	r := edge.ended()
	l := line(t, r, "store")
	if !errors.Is(l.Err, ErrUnreachable) || l.Insisted || l.Inner == nil || !strings.Contains(l.Err.Error(), "disk") {
		t.Errorf("edge:\n%s", r)
	}
}

// A second signal starts no component, and the others hear of it all the same.
func TestForced(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p, nc := s.process("api/api-1", fsm.Config{}), s.connect()
	listed(t, nc, "", "api/api-1")
	p.Force(fsm.Command{Reason: "signal interrupt", Signal: 2})
	p.ended()
	listed(t, nc, "")
	if r, err := LastReport(t.Context(), nc, p.member.Instance()); err != nil || r.ExitCode() != 130 {
		t.Errorf("%v, %v", r, err)
	}
}

// Of two with one name the newer is listed, the older says so, each obeys its own
// commands, and the older does not take the newer off.
func TestTwoUseOneName(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	if err := Setup(t.Context(), nc, Registry{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	older := s.process("api/api-1", fsm.Config{})
	listed(t, nc, "", "api/api-1")
	newer := s.process("api/api-1", fsm.Config{})
	logged(t, older, "a newer process has joined under this name")
	r, err := Shutdown(t.Context(), nc, older.member.Instance(), "", fsm.Command{})
	if err != nil || r.ExitCode() != 0 {
		t.Errorf("the older: %v, %v", r, err)
	}
	older.ended()
	list := listed(t, nc, "", "api/api-1")
	if list[0].Incarnation != newer.member.self.Incarnation || newer.State() != fsm.Running {
		t.Errorf("listed is %+v", list[0])
	}
	if _, err := Shutdown(t.Context(), nc, list[0], "", fsm.Command{}); err != nil {
		t.Error(err)
	}
	newer.ended()
}

// Who has crashed after an earlier run has left is not taken for that one.
func TestAnOldReportIsNoAck(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	if err := Setup(t.Context(), nc, Registry{TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	first := s.process("store/store-1", fsm.Config{})
	listed(t, nc, "", "store/store-1")
	first.Request(fsm.Command{})
	first.ended()
	second := s.process("store/store-1", fsm.Config{})
	listed(t, nc, "", "store/store-1")
	eventually(t, func() error { // it has written down that it is the last one
		if _, err := LastReport(t.Context(), nc, Instance{Group: "store", Name: "store-1"}); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("the last report is the first one's: %v", err)
		}
		return nil
	})
	second.nc.Close()
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	edge.register("store", Component(edge.nc, "store/store-1"))
	edge.Request(fsm.Command{})
	if l := line(t, edge.ended(), "store"); !errors.Is(l.Err, ErrUnreachable) || l.Insisted {
		t.Errorf("store %s: %v", l.Outcome, l.Err)
	}
}

// Garbage on every subject and in every entry harms nobody.
func TestGarbageOnEverySubject(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	edge := s.process("edge/edge-1", fsm.Config{Alarm: generous})
	nc := s.connect()
	listed(t, nc, "", "edge/edge-1", "store/store-1")
	hold := make(chan struct{})
	store.register("disk", fsm.Func(func(context.Context) error { <-hold; return nil }))
	edge.register("store", edge.member.Component("store/store-1"))

	other := store.member.Instance()
	other.Name = "store-2"
	fake := &fsm.Report{State: fsm.Terminated}
	run := store.member.self.runKey()
	inbox, err := nc.SubscribeSync("_INBOX.>") // where the requests' answers go
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	flood := func() {
		for range 10 {
			bytes := make([]byte, random.IntN(200))
			for i := range bytes {
				bytes[i] = byte(random.Uint32())
			}
			for _, data := range [][]byte{
				bytes, nil, []byte("null"), []byte("{}"), []byte("[]"), []byte(strings.Repeat("[", 1<<12)), marshal(t, request{Action: leave}),
				marshal(t, told{Instance: other, Report: fake, Over: true}), marshal(t, reply{Instance: other, Report: fake, Over: true}),
				marshal(t, told{Instance: store.member.Instance(), Over: true}), make([]byte, maxRequest+1),
			} {
				for _, prefix := range []string{askPrefix, commandPrefix, eventPrefix, reportPrefix} {
					for _, key := range []string{run, store.member.self.key(), edge.member.self.key()} {
						if err := nc.Publish(prefix+key, data); err != nil {
							t.Fatal(err)
						}
					}
				}
				for m, err := inbox.NextMsg(time.Microsecond); err == nil; m, err = inbox.NextMsg(time.Microsecond) {
					if strings.HasPrefix(string(m.Data), `{"id"`) {
						_ = nc.Publish(m.Subject, data)
					}
				}
			}
		}
	}
	js := jetStream(t, nc)
	for bucket, keys := range map[string][]string{
		PresentBucket: {"store.garbage", "garbage"}, ReportsBucket: {"last.store.garbage", "report." + run, "report.garbage"},
	} {
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if _, err := kv.Put(t.Context(), key, []byte("garbage")); err != nil {
				t.Fatal(err)
			}
		}
	}
	flood()
	listed(t, nc, "", "edge/edge-1", "store/store-1")
	if store.State() != fsm.Running || edge.State() != fsm.Running {
		t.Fatal("somebody obeyed garbage")
	}
	edge.Request(fsm.Command{})
	flood()
	close(hold)
	r := edge.ended()
	if l := line(t, r, "store"); l.Outcome != fsm.OutcomeAcked || line(t, l.Inner, "disk").Outcome != fsm.OutcomeAcked {
		t.Errorf("edge:\n%s", r)
	}
	if r := store.ended(); len(r.Requests) != 1 || r.ExitCode() != 0 {
		t.Errorf("store:\n%s", r)
	}
}

// Somebody's clock that is wrong by years changes nothing but what people read.
func TestClocksDoNotMatter(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	for i, name := range []string{"c", "a", "b"} {
		p := newPresence(nc, Instance{Group: "api", Name: name, Incarnation: "x", Since: time.Now().AddDate(-10*i, 0, 0)}, nil)
		if err := p.renew(); err != nil {
			t.Fatal(err)
		}
	}
	listed(t, nc, "api", "api/c", "api/a", "api/b")

	p := s.process("x/y", fsm.Config{})
	var fields map[string]any
	if err := json.Unmarshal(marshal(t, p.commandFor(time.Second)), &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range fields {
		if text, ok := value.(string); ok {
			if _, err := time.Parse(time.RFC3339Nano, text); err == nil {
				t.Errorf("a command carries a time of day: %s", name)
			}
		}
	}
}

// A process that was stopped in a debugger, or with SIGSTOP, is still there for NATS.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	nc := s.connect()
	frozen := Instance{Group: "api", Name: "api-1", Incarnation: "x"}
	sub, err := nc.Subscribe(commandPrefix+frozen.runKey(), func(m *nats.Msg) {
		r, err := decodeRequest(m.Data)
		if err != nil {
			t.Error(err)
			return
		}
		began := time.Now()
		a := reply{ID: r.ID, Action: r.Action, Instance: frozen, State: fsm.Running}
		if r.Action == leave {
			a.State = fsm.AwaitingAcks
			a.Report = &fsm.Report{
				Requests: []fsm.Command{r.Command}, State: a.State, Began: began, Deadline: began.Add(100 * time.Millisecond),
				Components: []fsm.ComponentReport{{ID: "disk", Outcome: fsm.OutcomeStopping}},
			}
			err = m.Sub.Unsubscribe() // that is its last word …
		}
		if err := errors.Join(err, m.Respond(marshal(t, a))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	deaf, err := nc.Subscribe(sub.Subject, func(*nats.Msg) {}) // … and it is still there
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Unsubscribe() }()
	report, err := Shutdown(t.Context(), s.connect(), frozen, "", fsm.Command{})
	if !errors.Is(err, ErrUnreachable) || report == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("%v, %v", report, err)
	}
}

func TestHowLongSilenceIsBorne(t *testing.T) {
	t.Parallel()
	now := time.Now()
	second := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	for name, c := range map[string]struct {
		word, due time.Time
		mute      bool
	}{
		"it has just answered":                          {second(0), time.Time{}, false},
		"it has said nothing for long":                  {second(-30), time.Time{}, true},
		"its alarm has not rung":                        {second(-29), second(1), false},
		"its alarm rings, and it goes on answering":     {second(-1), second(-20), false},
		"its alarm has just rung":                       {second(-20), second(-2), false},
		"its alarm has rung, and it says nothing since": {second(-3), second(-3), true},
	} {
		f := follower{word: c.word, due: c.due}
		if f.mute(now) != c.mute {
			t.Errorf("%s: %t", name, !c.mute)
		}
	}
}

// A connection that was closed for good, as nats.go's are after two minutes unless they
// are told otherwise, is not waited for.
func TestConnectionIsClosedInTheMiddle(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	begun, release := make(chan struct{}), make(chan struct{})
	store.register("disk", fsm.Func(func(context.Context) error { close(begun); <-release; return nil }))
	asker := s.connect()
	to := listed(t, asker, "", "store/store-1")[0]
	go func() {
		<-begun
		asker.Close()
	}()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	late := time.AfterFunc(generous/2, func() { cancel(errors.New("it waits for ever")) })
	defer late.Stop()
	if _, err := Shutdown(ctx, asker, to, "", fsm.Command{}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrAway) {
		t.Errorf("got %v", err)
	}
	close(release)
}

// Who has all the time there is has a command that is not late from the beginning.
func TestAllTheTimeThereIs(t *testing.T) {
	t.Parallel()
	f := &follower{left: func() time.Duration { return math.MaxInt64 }, uptime: time.Hour, clock: time.Now()}
	var r request
	if f.fill(&r); r.Until < r.Command.Within {
		t.Errorf("within %v, until %v", r.Command.Within, r.Until)
	}
}

// What has not been taken is sent again soon, insisting too: it has little time.
func TestHowSoonItIsSentAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    follower
		next time.Duration
	}{
		"it was not taken":                       {follower{}, 2 * resendFirst},
		"it was taken":                           {follower{accepted: true}, resend},
		"insisting was not":                      {follower{accepted: true, insisting: true}, 2 * resendFirst},
		"that was too":                           {follower{accepted: true, insisting: true, insisted: true}, resend},
		"it was taken, and then nobody answered": {follower{accepted: true, silent: time.Now()}, resend},
	} {
		if got := c.f.pauseAfter(resendFirst); got != c.next {
			t.Errorf("%s: after %v", name, got)
		}
	}
}

// Whoever closes its connection under its last word is not kept waiting for it.
func TestClosedUnderTheLastWord(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	store := s.process("store/store-1", fsm.Config{Alarm: generous})
	listed(t, s.connect(), "", "store/store-1")
	store.register("connection", fsm.Func(func(context.Context) error { store.nc.Close(); return nil }))
	report := make(chan struct{})
	go func() {
		defer close(report)
		_, _ = Shutdown(t.Context(), s.connect(), store.member.Instance(), "", fsm.Command{Within: generous})
	}()
	r := store.ended()
	if l := line(t, r, "remote-report"); l.Outcome != fsm.OutcomeFailed || l.Ran >= absence {
		t.Errorf("it has waited:\n%s", r)
	}
	<-report
}
