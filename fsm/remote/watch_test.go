package remote

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/farewell-node/farewell/fsm"
)

// expectNews returns what is told from the news up to the one that is wanted, "joined api/api-1",
// without events. It has less time than nats.go takes to notice that a watcher is deaf.
func expectNews(t *testing.T, told <-chan News, wanted string) (until []string) {
	t.Helper()
	late := time.After(8 * time.Second)
	for {
		select {
		case n := <-told:
			if n.Kind == Happened {
				continue
			}
			until = append(until, strings.TrimSuffix(fmt.Sprint(n.Kind, " ", n.Instance), " /"))
			if until[len(until)-1] == wanted {
				return until
			}
		case <-late:
			t.Fatalf("not told: %s; but %q", wanted, until)
		}
	}
}

// What happens while a watcher is cut off is told as soon as it is back: each once.
func TestWatchOverAPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	first := s.process("api/api-1", fsm.Config{})
	listed(t, first.nc, "", "api/api-1")
	second := s.process("api/api-2", fsm.Config{})
	listed(t, first.nc, "", "api/api-1", "api/api-2")
	first.Request(fsm.Command{})
	first.ended()
	told := watchInto(t, link.url())
	if got := expectNews(t, told, "listed"); len(got) != 2 || got[0] != "joined api/api-2" {
		t.Errorf("at the beginning it is told %q", got)
	}
	link.setCut(true)
	link.breakOff()
	second.Request(fsm.Command{})
	second.ended()
	third := s.process("api/api-3", fsm.Config{})
	listed(t, third.nc, "", "api/api-3")
	link.setCut(false)
	got := expectNews(t, told, "left api/api-2")
	third.Request(fsm.Command{})
	third.ended()
	got = append(got, expectNews(t, told, "left api/api-3")...)
	if !slices.Contains(got, "withdrawn api/api-3") { // of two buckets, in either order
		got = append(got, expectNews(t, told, "withdrawn api/api-3")...)
	}
	count := map[string]int{}
	for _, n := range got {
		count[n]++
	}
	for _, want := range []string{"withdrawn api/api-2", "left api/api-2", "joined api/api-3", "withdrawn api/api-3", "left api/api-3"} {
		if count[want] != 1 {
			t.Errorf("%s is told %d times: %q", want, count[want], got)
		}
	}
	if len(got) != 5 {
		t.Errorf("it is told %q", got)
	}
}

// A server that was killed and has lost everything: who is not there any more has
// expired, who is joins anew without a word.
func TestWatchOverALoss(t *testing.T) {
	t.Parallel()
	var store string
	s := startServer(t, func(o *server.Options) { store = o.StoreDir })
	stays := s.process("api/api-1", fsm.Config{})
	listed(t, stays.nc, "", "api/api-1")
	dies := s.process("api/api-2", fsm.Config{})
	listed(t, stays.nc, "", "api/api-1", "api/api-2")
	told := watchInto(t, s.url())
	expectNews(t, told, "listed")
	s.kill()
	dies.nc.Close()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	s.start()
	if got := expectNews(t, told, "expired api/api-2"); len(got) != 1 {
		t.Errorf("it is told %q", got)
	}
}

func watchInto(t *testing.T, url string) <-chan News {
	nc := connect(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan News, 100), make(chan struct{})
	go func() {
		defer close(ended)
		for n, err := range Watch(ctx, nc, "api") {
			if err == nil {
				told <- n
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return told
}

// Who has left after the registry was lost is told, though its revisions begin anew.
func TestWatchOverALossTellsReports(t *testing.T) {
	t.Parallel()
	var store string
	s := startServer(t, func(o *server.Options) { store = o.StoreDir })
	for range 3 { // so that the reports had more revisions than they will have
		before := s.process("api/api-1", fsm.Config{})
		listed(t, before.nc, "", "api/api-1")
		before.Request(fsm.Command{})
		before.ended()
	}
	first := s.process("api/api-1", fsm.Config{})
	listed(t, first.nc, "", "api/api-1")
	second := s.process("api/api-2", fsm.Config{})
	listed(t, first.nc, "", "api/api-1", "api/api-2")
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	told := watchInto(t, link.url())
	expectNews(t, told, "listed")
	link.setCut(true)
	s.kill()
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	s.start()
	eventually(t, func() error { // both join anew
		if list, err := List(t.Context(), first.nc, "api"); err != nil || len(list) != 2 {
			return fmt.Errorf("listed are %v, %w", list, err)
		}
		return nil
	})
	first.Request(fsm.Command{}) // while it is cut off
	first.ended()
	link.breakOff()
	link.setCut(false)
	expectNews(t, told, "left api/api-1")
	second.Request(fsm.Command{})
	second.ended()
	expectNews(t, told, "left api/api-2")
}

// Who has begun to watch before anybody has ever joined misses no report either.
func TestWatchFromNothingOverAPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	if err := Setup(t.Context(), s.connect(), Registry{}); err != nil {
		t.Fatal(err)
	}
	link := newLink(t, strings.TrimPrefix(s.url(), "nats://"))
	told := watchInto(t, link.url())
	expectNews(t, told, "listed")
	p := s.process("api/api-1", fsm.Config{})
	expectNews(t, told, "joined api/api-1")
	link.setCut(true)
	link.breakOff()
	p.Request(fsm.Command{})
	p.ended()
	link.setCut(false)
	expectNews(t, told, "left api/api-1")
}
