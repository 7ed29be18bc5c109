package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/ui/client"
)

func end(t *testing.T, n *node.Node) {
	t.Helper()
	n.Orchestrator().Request(fsm.Command{Reason: "it is its turn"})
	if code := n.Wait().ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func descriptorOf(t *testing.T, n *node.Node) neighborhood.Descriptor {
	t.Helper()
	text, _ := n.Descriptor()
	d, err := neighborhood.ParseDescriptor(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A member that is restarted while the only seed is down finds its neighbors again by what it remembers.
func TestRestartWhileTheSeedIsDown(t *testing.T) {
	seed := start(t, quiet(t))
	stays := join(t, seed)
	config := quiet(t)
	config.Neighbors = []neighborhood.Descriptor{descriptorOf(t, seed)}
	member := start(t, config)
	ask(t, member, lists(stays))
	ask(t, stays, lists(member))
	file := config.KeyFile + ".neighbors"
	ask(t, member, func(context.Context, *client.Client) (bool, error) { return exists(file), nil })
	end(t, seed)
	end(t, member)
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatal(info, err)
	}
	ask(t, stays, not(lists(member)))
	back := start(t, config)
	ask(t, back, lists(stays))
	ask(t, stays, lists(back))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestANeighborAtRuntime(t *testing.T) {
	first, config := start(t, quiet(t)), quiet(t)
	second := start(t, config)
	d := descriptorOf(t, first)
	add := func(to *node.Node, descriptor string, remember bool) error {
		c, err := client.Dial(t.Context(), to.UI())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.AddNeighbor(t.Context(), descriptor, remember)
	}
	for _, bad := range []string{"", "farewell://", strings.Replace(d.String(), "127.0.0.1", "0.0.0.0", 1), descriptorOf(t, second).String()} {
		refused := (*client.Error)(nil)
		if err := add(second, bad, true); !errors.As(err, &refused) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if exists(config.KeyFile + ".neighbors") {
		t.Error("what was refused is remembered")
	}
	if err := add(second, d.String(), true); err != nil {
		t.Fatal(err)
	}
	ask(t, first, lists(second))
	end(t, second)
	ask(t, first, not(lists(second)))
	again := start(t, config)
	ask(t, first, lists(again))
	end(t, first)
	end(t, again)
	if err := again.AddNeighbor(d, false); !errors.Is(err, neighborhood.ErrLeft) {
		t.Errorf("after the end: %v", err)
	}
}

func TestANeighborIsOnlyRememberedIfAsked(t *testing.T) {
	first, config := start(t, quiet(t)), quiet(t)
	second := start(t, config)
	if err := second.AddNeighbor(descriptorOf(t, first), false); err != nil {
		t.Fatal(err)
	}
	ask(t, second, lists(first))
	text, _ := os.ReadFile(config.KeyFile + ".neighbors")
	if strings.Contains(string(text), `"added"`) {
		t.Errorf("remembered:\n%s", text)
	}
	config.KeyFile, config.UI = "", "127.0.0.1:0"
	keyless := start(t, config)
	if err := keyless.AddNeighbor(descriptorOf(t, first), true); !errors.Is(err, node.ErrNotRemembered) {
		t.Errorf("without a key file: %v", err)
	}
	ask(t, keyless, lists(first))
}

func TestADamagedMemoryIsMovedAside(t *testing.T) {
	for name, content := range map[string]string{"half": `{"last": ["farewell://`, "no descriptor": `{"last": ["x"]}`, "empty": ""} {
		t.Run(name, func(t *testing.T) {
			config := quiet(t)
			file := config.KeyFile + ".neighbors"
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			end(t, start(t, config))
			if moved, err := os.ReadFile(file + ".damaged"); err != nil || string(moved) != content {
				t.Errorf("%q, %v", moved, err)
			}
		})
	}
}

// What cannot be written costs the memory, and nothing else.
func TestAMemoryThatCannotBeWritten(t *testing.T) {
	config := quiet(t)
	first := start(t, quiet(t))
	file := config.KeyFile + ".neighbors"
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	second := start(t, config)
	if err := os.MkdirAll(filepath.Join(file, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := second.AddNeighbor(descriptorOf(t, first), true); !errors.Is(err, node.ErrNotRemembered) {
		t.Errorf("added as if it were remembered: %v", err)
	}
	ask(t, second, lists(first))
	end(t, second)
}
