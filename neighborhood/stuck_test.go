package neighborhood

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/farewell-node/farewell/neighborhood/internal/core"
	"github.com/farewell-node/farewell/streams/identity"
)

// gate is what a log writes to that takes nothing until it is opened.
type gate struct {
	opened chan struct{}
	bytes.Buffer
}

func (g *gate) Write(line []byte) (int, error) {
	<-g.opened
	return g.Buffer.Write(line)
}

// startWith starts a node that can be dialed by others.
func startWith(t *testing.T, f *fakeNetwork, cfg Config) *node {
	t.Helper()
	cfg.Identity = identity.FromSeed([32]byte{100})
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := Descriptor{Key: cfg.Identity.PublicKey(), Address: "192.0.2.100:4000"}
	started := &node{Neighborhood: n, net: f, key: d.Key, descriptor: d}
	f.nodes[d.Address], f.keys[d.Key] = started, started
	if err := n.Start(started, d.Address); err != nil {
		t.Fatal(err)
	}
	return started
}

// cutShort shuts down with a ctx that has ended, and checks that it does not take long and says why.
func cutShort(t *testing.T, n *node) {
	t.Helper()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	begun := time.Now()
	if err := n.Shutdown(ctx); !errors.Is(err, enough) {
		t.Errorf("error %v, want %v", err, enough)
	}
	if took := time.Since(begun); took > stuckAfter {
		t.Errorf("took %v", took)
	}
}

func TestAStuckLogHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		log := &gate{opened: make(chan struct{})}
		center := startWith(t, f, Config{Logger: slog.New(slog.NewTextHandler(log, nil))})
		other := f.start(t, 1, center.descriptor)
		settle()
		for range maxLines { // two lines each, of which the first half fits
			f.vanish(other)
			f.nodes[other.descriptor.Address] = other
			if err := other.Dial(t.Context(), center.key, center.descriptor.Address); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
		if got := center.Snapshot().Neighbors; len(got) != 1 || got[0].Key != other.key {
			t.Errorf("neighbors %v", got)
		}
		center.WithdrawFromNetwork()
		settle()
		cutShort(t, center)
		if all := center.Withdrawal(); len(all) != 1 || !all[0].Written() {
			t.Errorf("farewells %v", all)
		}
		close(log.opened)
		shutDown(t, center, other)
		if lines := strings.Count(log.String(), "\n"); lines < maxLines || lines > maxLines+3 {
			t.Errorf("%d lines logged, want as many as are kept", lines)
		}
	})
}

func TestLostLinesAreCounted(t *testing.T) {
	var log bytes.Buffer
	n, err := New(Config{Identity: identity.FromSeed([32]byte{1}), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	o := &owner{Neighborhood: n}
	for range maxLines + 3 {
		o.logNote(core.Note{Text: "x"}, time.Now())
	}
	(<-o.lines)()
	o.logNote(core.Note{Text: "y"}, time.Now())
	close(o.lines)
	o.writeLog()
	if !strings.Contains(log.String(), `"lines lost"=3`) || strings.Count(log.String(), "\n") != maxLines+2 {
		t.Errorf("logged %s", log.String())
	}
}

func TestAStuckOwnerIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNetwork()
		opened := make(chan struct{})
		var stick atomic.Bool
		center := startWith(t, f, Config{Changed: func() {
			if stick.Load() {
				<-opened
			}
		}})
		other := f.start(t, 1, center.descriptor)
		settle()
		if got := len(center.Snapshot().Neighbors); got != 1 {
			t.Fatalf("%d neighbors", got)
		}
		stick.Store(true)
		late := f.start(t, 2, center.descriptor)
		settle()
		begun := time.Now()
		if got := len(center.Snapshot().Neighbors); got != 1 {
			t.Errorf("%d neighbors, want the one there was", got)
		}
		if took := time.Since(begun); took > stuckAfter {
			t.Errorf("the snapshot took %v", took)
		}
		cutShort(t, center)
		close(opened)
		shutDown(t, center, other, late)
	})
}
