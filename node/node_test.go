package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

// quiet is a node on loopback that logs nothing.
func quiet(t *testing.T) node.Config {
	return node.Config{
		Listen: "127.0.0.1:0", UI: "127.0.0.1:0", KeyFile: filepath.Join(t.TempDir(), "node.key"),
		Logger: slog.New(slog.DiscardHandler),
	}
}

func start(t *testing.T, config node.Config) *node.Node {
	t.Helper()
	n, err := node.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.Orchestrator().Request(fsm.Command{Reason: "the test is over"})
		n.Wait()
	})
	return n
}

// join starts a node that joins the network at first, and waits until both say so.
func join(t *testing.T, first *node.Node) *node.Node {
	t.Helper()
	descriptor, ok := first.Descriptor()
	if !ok {
		t.Fatal("a node that listens has no descriptor")
	}
	parsed, err := neighborhood.ParseDescriptor(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	config := quiet(t)
	config.Neighbors = []neighborhood.Descriptor{parsed}
	second := start(t, config)
	ask(t, first, lists(second))
	ask(t, second, lists(first))
	return second
}

// ask keeps asking a node's UI until the answer is fine.
func ask(t *testing.T, n *node.Node, fine func(context.Context, *client.Client) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, n.UI())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for {
		ok, err := fine(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

func lists(other *node.Node) func(context.Context, *client.Client) (bool, error) {
	descriptor, _ := other.Descriptor()
	parsed, err := neighborhood.ParseDescriptor(descriptor)
	return func(ctx context.Context, c *client.Client) (bool, error) {
		if err != nil {
			return false, err
		}
		status, err := c.Status(ctx)
		if err != nil {
			return false, err
		}
		for _, p := range status.Node.Peers {
			if p.Key == parsed.Key.String() {
				return p.Neighbor, nil
			}
		}
		return false, nil
	}
}

func not(f func(context.Context, *client.Client) (bool, error)) func(context.Context, *client.Client) (bool, error) {
	return func(ctx context.Context, c *client.Client) (bool, error) {
		ok, err := f(ctx, c)
		return !ok, err
	}
}

func TestTwoNodesMeetAndPart(t *testing.T) {
	first := start(t, quiet(t))
	second := join(t, first)
	second.Orchestrator().Request(fsm.Command{Reason: "a test", By: "TestTwoNodesMeetAndPart"})
	if report := second.Wait(); report.ExitCode() != fsm.ExitOK {
		t.Errorf("exit code %d\n%s", report.ExitCode(), report)
	}
	ask(t, first, not(lists(second)))
}

// stuck is a log that nobody reads.
type stuck struct {
	slog.Handler
	release chan struct{}
}

func (s stuck) Handle(context.Context, slog.Record) error { <-s.release; return nil }

func (s stuck) WithAttrs([]slog.Attr) slog.Handler { return s }

// Whoever should read the log does not: the node says its farewells all the same, answers, and is gone in time.
func TestStuckLogHoldsNothingUp(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	first := start(t, quiet(t))
	config := quiet(t)
	config.Logger = slog.New(stuck{slog.DiscardHandler, release})
	descriptor, _ := first.Descriptor()
	parsed, err := neighborhood.ParseDescriptor(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	config.Neighbors = []neighborhood.Descriptor{parsed}
	second := start(t, config)
	ask(t, first, lists(second))
	ask(t, second, lists(first))
	second.Orchestrator().Request(fsm.Command{Reason: "a test"})
	if report := second.Wait(); report.ExitCode() != fsm.ExitOK {
		t.Errorf("exit code %d\n%s", report.ExitCode(), report)
	}
	ask(t, first, not(lists(second)))
}

func TestUIsHearThatANeighborHasJoined(t *testing.T) {
	first := start(t, quiet(t))
	stages := make(chan string, 8)
	c, err := client.Dial(t.Context(), first.UI(), client.OnBroadcast(func(opcode string, payload json.RawMessage) {
		if opcode == "connectionChange" {
			stages <- string(payload)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if stage, err := c.Stage(t.Context()); err != nil || stage != ui.NotConnected {
		t.Fatalf("stage %q, %v", stage, err)
	}
	join(t, first)
	if stage := <-stages; stage != `{"stage":"ConnectedToNeighbor"}` {
		t.Errorf("told %s", stage)
	}
}

// Two nodes that leave each other at the same moment both end politely.
func TestTwoNodesLeaveEachOther(t *testing.T) {
	for range 10 {
		first := start(t, quiet(t))
		second := join(t, first)
		reports := make(chan *fsm.Report)
		for _, n := range []*node.Node{first, second} {
			go func() {
				n.Orchestrator().Request(fsm.Command{Reason: "a test"})
				reports <- n.Wait()
			}()
		}
		for range 2 {
			if report := <-reports; report.ExitCode() != fsm.ExitOK {
				t.Errorf("exit code %d\n%s", report.ExitCode(), report)
			}
		}
	}
}

func TestNodeWithoutListenerHasNoAddress(t *testing.T) {
	config := quiet(t)
	config.Listen = ""
	if descriptor, ok := start(t, config).Descriptor(); ok {
		t.Errorf("descriptor %q", descriptor)
	}
}

func TestEmbeddedComponent(t *testing.T) {
	n := start(t, quiet(t))
	var order []fsm.ID
	err := n.Orchestrator().Register("mine", fsm.Func(func(ctx context.Context) error {
		command, _ := fsm.CommandFrom(ctx)
		order = append(order, "mine", fsm.ID(command.Reason))
		return nil
	}), fsm.Before(node.StreamsID))
	if err != nil {
		t.Fatal(err)
	}
	n.Orchestrator().Request(fsm.Command{Reason: "a test"})
	report := n.Wait()
	if len(order) != 2 || order[1] != "a test" || report.ExitCode() != fsm.ExitOK {
		t.Errorf("%v, exit code %d", order, report.ExitCode())
	}
}

// What has started when a start fails is stopped again: goleak and the second
// start see to that.
func TestFailedStartLeavesNothing(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := quiet(t)
	config.UI = free.Addr().String()
	_ = free.Close()
	config.Listen = busy.Addr().String()
	if n, err := node.Start(config); err == nil {
		n.Orchestrator().Request(fsm.Command{})
		n.Wait()
		t.Fatal("started on a busy port")
	}
	config.Listen = "127.0.0.1:0"
	start(t, config)
}

func TestBadConfigurations(t *testing.T) {
	cases := map[string]func(*node.Config){
		"negative alarm":          func(c *node.Config) { c.Alarm = -1 },
		"insist at the alarm":     func(c *node.Config) { c.Alarm, c.InsistAfter = time.Second, time.Second },
		"listen everywhere":       func(c *node.Config) { c.Listen = ":0" },
		"listen everywhere, IPv6": func(c *node.Config) { c.Listen = "[::]:0" },
		"a neighbor twice": func(c *node.Config) {
			d := neighborhood.Descriptor{Address: "192.0.2.1:1"}
			c.Neighbors = []neighborhood.Descriptor{d, d}
		},
		"no port":                    func(c *node.Config) { c.Listen = "127.0.0.1" },
		"advertise, but not listen":  func(c *node.Config) { c.Listen, c.Advertise = "", "192.0.2.1:1" },
		"advertise port 0":           func(c *node.Config) { c.Advertise = "192.0.2.1:0" },
		"advertise everywhere":       func(c *node.Config) { c.Advertise = "0.0.0.0:1" },
		"advertise without any port": func(c *node.Config) { c.Advertise = "192.0.2.1" },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			config := quiet(t)
			spoil(&config)
			if _, err := node.Start(config); !errors.Is(err, node.ErrConfig) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A node in a program of one's own, with a component of one's own that is done
// before the streams close.
func ExampleStart() {
	n, err := node.Start(node.Config{Listen: "127.0.0.1:0", UI: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	work := fsm.Func(func(context.Context) error { fmt.Println("work finished"); return nil })
	if err := n.Orchestrator().Register("work", work, fsm.Before(node.StreamsID)); err != nil {
		fmt.Println(err)
	}
	n.Orchestrator().Request(fsm.Command{Reason: "the example is over", By: "main"}) // or a UI, or SIGTERM
	report := n.Wait()
	fmt.Println("exit code", report.ExitCode()) // for os.Exit
	// Output:
	// work finished
	// exit code 0
}
