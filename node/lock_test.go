package node

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/streams/identity"
)

func onKey(path string) Config {
	return Config{UI: "127.0.0.1:0", KeyFile: path, Logger: slog.New(slog.DiscardHandler)}
}

// A key is one node's from its start to its end, also within one process, and also if the start fails.
func TestOneNodePerKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	broken := onKey(path)
	broken.Listen = "192.0.2.1:1" // not an address of ours
	if _, err := Start(broken); err == nil {
		t.Fatal("started")
	}
	for range 2 {
		first, err := Start(onKey(path))
		if err != nil {
			t.Fatal(err)
		}
		second, err := Start(onKey(path))
		if !errors.Is(err, identity.ErrInUse) {
			t.Errorf("a second node on the same key: %v", err)
		}
		for _, n := range []*Node{first, second} {
			if n != nil {
				n.Orchestrator().Request(fsm.Command{Reason: "the test is over"})
				n.Wait()
			}
		}
	}
}

// Where nothing can be locked the node says so once, and runs.
func TestNoLocksAreSaidOnce(t *testing.T) {
	var log bytes.Buffer
	n := &Node{config: onKey(filepath.Join(t.TempDir(), "no", "key"))}
	n.config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	if err := n.lockKey(); err != nil {
		t.Error(err)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("logged %q", log.String())
	}
	n.lock.Release()
}
