package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/demo/service"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// busy is the demo for a machine with better things to do: all of it, with less load,
// and more time for each request.
func busy() Config {
	config := Default()
	config.Rate, config.Deadline = 150, generous
	return config
}

// The real thing: twelve processes, both acts.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	result, err := Run(t.Context(), t.Context(), &out, busy())
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if len(result.Problems) > 0 || result.exitCode() != cli.ExitOK || result.load().Sent == 0 {
		t.Errorf("problems: %q\n%s", result.Problems, &out)
	}
	for _, text := range []string{
		"api-2", "FAILED: journal hung, exit code 3", "api/api-2: journal hung, in\n                service.(*journal).sync service.go:",
		"48 of 48 pairs", "23 × 0, 1 × 3 (api/api-2)", " 0 lost, 0 wrong, 0 late", "Terminated by AllAcked", "All is as it should be.\n",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not said in\n%s", text, &out)
		}
	}
	for line := range strings.Lines(out.String()) {
		if cli.WidthOf(line) > cli.Columns {
			t.Errorf("wider than %d columns: %s", cli.Columns, line)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if t.Failed() {
		data, _ := json.MarshalIndent(result, "", " ")
		t.Logf("%s", data)
	}
}

// What the requests came to is counted by what happened to each.
func TestLoadCounts(t *testing.T) {
	t.Parallel()
	server, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Shutdown(); server.WaitForShutdown() })
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	const deadline = time.Second
	_, err = nc.Subscribe(service.Subject(chain[0]), func(m *nats.Msg) {
		a := service.Answer{Via: []string{"store-1", "api-1", "edge-1"}}
		switch string(m.Data) {
		case "1":
			a.Square, a.Leaving = 1, true
		case "2": // 4 is right
			a.Square = 5
		case "3":
			a.Err = "api: no responders"
		case "4":
			return
		case "5":
			a.Square = 25
			time.AfterFunc(deadline+deadline/5, func() { respond(t, m, a) })
			return
		case "6": // one has been left out
			a.Square, a.Via = 36, a.Via[1:]
		}
		respond(t, m, a)
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &load{ctx: context.Background(), nc: nc, deadline: deadline}
	var requests sync.WaitGroup
	for n := range int64(6) {
		requests.Go(func() { l.request(n + 1) })
	}
	requests.Wait()
	got := l.cut()
	if got.Sent != 6 || got.Lost != 2 || got.Wrong != 2 || got.Late != 1 || got.Leaving != 1 ||
		got.Served["api-1"] != 2 || got.Slowest <= deadline || len(got.Errors) != mostErrors {
		t.Errorf("%+v", got)
	}
	if again := l.cut(); again.Sent != 0 {
		t.Errorf("what was cut is there again: %+v", again)
	}
}

func respond(t *testing.T, m *nats.Msg, a service.Answer) {
	data, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		t.Error(err)
	}
}

// Wrong command lines are told so, and start nothing.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"demo", "x"}, {"demo", "--rate", "7"}, {"demo", "service"}, {"demo", "--nats", "x"}, {"demo", "service", "--group", "a"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			t.Parallel()
			if code := run(args); code != cli.ExitUsage {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
