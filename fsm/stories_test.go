package fsm

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// stage is where a story takes place: an orchestrator whose doings are written
// down in words, in virtual time.
type stage struct {
	*Orchestrator
	t      *testing.T
	text   strings.Builder
	logged *lockedBuffer
}

// cast registers a component, and says what it is going to do.
func (s *stage) cast(id ID, does string, c Component, options ...Option) {
	s.t.Helper()
	register(s.t, s.Orchestrator, id, c, options...)
	fmt.Fprintf(&s.text, "  %-14s %s\n", id, does)
}

// tell writes the events down once the shutdown is over, and its report.
func (s *stage) tell() string {
	r, err := s.Wait(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	time.Sleep(time.Hour) // for what comes after the end
	synctest.Wait()
	s.text.WriteString("\n")
	state := Running
	for _, e := range r.Events {
		fmt.Fprintf(&s.text, "%8s  %s", e.At.Sub(r.Began), e)
		if e.Command != nil {
			fmt.Fprintf(&s.text, ", by %s: %s", e.Command.By, e.Command.Reason)
		}
		if e.State != state {
			fmt.Fprintf(&s.text, "  -->  %s", e.State)
		}
		s.text.WriteString("\n")
		state = e.State
	}
	report, _, _ := strings.Cut(r.String(), "\n\n") // without stacks, which name lines of code
	fmt.Fprintf(&s.text, "\n%s\n\n%s\n", strings.TrimSpace(report), r.Summary())
	if log := s.logged.String(); log != "" {
		fmt.Fprintf(&s.text, "\nIn the log besides:\n%s", log)
	}
	return s.text.String()
}

// obeys takes d, or leaves with the cause when it is insisted upon.
func obeys(d time.Duration) Component { return takes(d) }

func (s *stage) hangs() Component { return ignores(s.t) }

var short = Config{Alarm: time.Second}

var stories = []struct {
	file, title string
	config      Config
	happens     func(s *stage)
}{
	{"polite", "A server, its workers and its database, in the reverse order of their start.", Config{}, func(s *stage) {
		s.cast("db", "closes in 5ms", obeys(5*ms))
		s.cast("workers", "need 120ms for what they have begun; before db", obeys(120*ms), Before("db"))
		s.cast("http", "needs 40ms for its last requests; before workers", obeys(40*ms), Before("workers"))
		s.Request(Command{Reason: "deploy 42", By: "operator"})
	}},
	{"withdraw", "A node tells its neighbors before it closes its streams.", Config{}, func(s *stage) {
		s.cast("neighborhood", "withdraws in 30ms", obeys(30*ms), Withdraws())
		s.cast("streams", "takes no new streams at once; flushes in 80ms", quiescing{takes(80 * ms), returns(nil)})
		s.cast("ui", "closes in 10ms; after streams", obeys(10*ms), After("streams"))
		s.Request(Command{Reason: "shutdown button", By: "ui 127.0.0.1:50312"})
	}},
	{"culprit", "One component never stops. The alarm names it, and the others have stopped.", short, func(s *stage) {
		s.cast("cache", "closes in 10ms", obeys(10*ms))
		s.cast("consumer", "ignores everything", s.hangs())
		s.cast("db", "closes in 5ms; after consumer", obeys(5*ms), After("consumer"))
		s.Request(Command{Reason: "scale down", By: "operator"})
	}},
	{"insist", "Being insisted upon helps: what is slow cuts its work short, in time.", Config{}, func(s *stage) {
		s.cast("uploads", "would need an hour", obeys(time.Hour))
		s.cast("index", "writes itself in 2ms; after uploads", obeys(2*ms), After("uploads"))
		s.Request(Command{Reason: "power is low", By: "operator"})
	}},
	{"late", "Those who start late have a context that lives, until their turn comes.", Config{}, func(s *stage) {
		s.cast("first", "ignores everything", s.hangs())
		s.cast("second", "needs 100ms; after first", obeys(100*ms), After("first"))
		s.cast("third", "would need an hour; after second", obeys(time.Hour), After("second"))
		s.Request(Command{Reason: "test", By: "operator"})
	}},
	{"grace", "A grace of 200ms: the next one does not wait for longer than that.", Config{}, func(s *stage) {
		s.cast("metrics", "pushes for an hour; grace 200ms", obeys(time.Hour), Grace(200*ms))
		s.cast("net", "closes in 1ms; after metrics", obeys(1*ms), After("metrics"))
		s.Request(Command{Reason: "test", By: "operator"})
	}},
	{"stalled", "A withdrawal that stalls has half the polite time, and not more.", Config{}, func(s *stage) {
		s.cast("neighborhood", "is stuck with a neighbor that does not read", s.hangs(), Withdraws())
		s.cast("streams", "close in 20ms", obeys(20*ms))
		s.Request(Command{Reason: "test", By: "operator"})
		time.Sleep(3 * time.Second)
		s.Force(Command{Reason: "enough", By: "operator"})
	}},
	{"quiesce", "To take no new work is asked of all at once. Who is late is not waited for.", Config{}, func(s *stage) {
		s.cast("api", "is quiet after 50ms, done after 10ms", quiescing{takes(10 * ms), takes(50 * ms)})
		s.cast("queue", "does not become quiet before it is told to", quiescing{takes(10 * ms), takes(time.Hour)})
		s.cast("cron", "fails to become quiet after 70ms", quiescing{takes(30 * ms), func(context.Context) error {
			time.Sleep(70 * ms)
			return errBroken
		}})
		s.Request(Command{Reason: "test", By: "operator"})
	}},
	{"failures", "Errors, panics and Goexit are acks too.", Config{Logger: slog.New(slog.DiscardHandler)}, func(s *stage) {
		after := func(d time.Duration, then func() error) Component {
			return Func(func(context.Context) error { time.Sleep(d); return then() })
		}
		s.cast("fails", "returns an error after 1ms", after(1*ms, func() error { return errBroken }))
		s.cast("panics", "panics after 2ms", after(2*ms, func() error { panic("index out of range") }))
		s.cast("exits", "calls Goexit after 3ms", after(3*ms, func() error { runtime.Goexit(); return nil }))
		s.cast("last", "closes in 1ms; after all of them", obeys(1*ms), After("fails", "panics", "exits"))
		s.Request(Command{Reason: "test", By: "operator"})
	}},
	{"signals", "The second signal ends it.", Config{}, func(s *stage) {
		s.cast("done", "closes in 10ms", obeys(10*ms))
		s.cast("stuck", "ignores everything", s.hangs())
		s.cast("behind", "would close in 1ms; after stuck", obeys(1*ms), After("stuck"))
		received := make(chan os.Signal)
		go s.obey(received, nil)
		received <- syscall.SIGTERM
		time.Sleep(300 * ms)
		received <- syscall.SIGINT
	}},
	{"force", "A force before any request: there is no time for anybody.", Config{}, func(s *stage) {
		s.cast("db", "is never asked", obeys(0))
		s.cast("http", "is never asked; before db", obeys(0), Before("db"))
		s.Force(Command{Reason: "now", By: "operator"})
	}},
	{"failure", "A failure is the reason, and is not hidden. A second request joins.", Config{}, func(s *stage) {
		s.cast("db", "closes in 5ms", obeys(5*ms))
		s.Request(Command{Reason: "disk is full", By: "db", Err: errBroken})
		s.Request(Command{Reason: "too late to be the reason", By: "operator"})
	}},
	{"nobody", "Nobody to wait for.", Config{}, func(s *stage) {
		s.Request(Command{Reason: "test", By: "operator"})
	}},
	{"after", "What returns after the end is told to the log, and changes nothing.", short, func(s *stage) {
		s.cast("sleeper", "fails after 2s, and hears nothing before", Func(func(context.Context) error {
			time.Sleep(2 * time.Second)
			return errBroken
		}))
		s.Request(Command{Reason: "test", By: "operator"})
	}},
}

// The stories are shutdowns as they are told by their events: what the
// specification says, to be read. With -update they are written anew.
func TestStories(t *testing.T) {
	for _, story := range stories {
		t.Run(story.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{t: t, logged: new(lockedBuffer)}
				if story.config.Logger == nil {
					plain := func(_ []string, a slog.Attr) slog.Attr {
						if a.Key == slog.TimeKey {
							return slog.Attr{}
						}
						return a
					}
					story.config.Logger = slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{ReplaceAttr: plain}))
				}
				o, err := New(story.config)
				if err != nil {
					t.Fatal(err)
				}
				s.Orchestrator = o
				fmt.Fprintf(&s.text, "%s\n\n", story.title)
				story.happens(s)
				golden(t, filepath.Join("stories", story.file+".txt"), s.tell())
			})
		})
	}
}
