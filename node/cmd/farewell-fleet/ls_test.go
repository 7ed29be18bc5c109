package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/cli/clitest"
)

func TestLs(t *testing.T) {
	s := startNATS(t)
	if code, stdout, stderr := command(t, "ls", "--nats", s.url()); code != cli.ExitOK || stdout != "" || stderr != "Nobody is there.\n" {
		t.Errorf("an empty fleet: exit code %d: %s%s", code, stdout, stderr)
	}
	s.join("store", "store-2")
	s.join("edge", "edge-1")
	s.join("store", "store-1")

	code, stdout, stderr := command(t, "ls", "--nats", s.url())
	const want = `GROUP INSTANCE SINCE INCARNATION ORDER
edge edge-1 AGO INCARNATION 2
store store-2 AGO INCARNATION 1
store store-1 AGO INCARNATION 3
`
	if code != cli.ExitOK || golden(stdout) != want || stderr != "" {
		t.Errorf("exit code %d: %s\n%s", code, golden(stdout), stderr)
	}
	if _, stdout, _ := command(t, "ls", "store", "--nats", s.url()); strings.Contains(stdout, "edge-1") || strings.Count(stdout, "\n") != 3 {
		t.Errorf("%s", stdout)
	}
	code, stdout, stderr = command(t, "ls", "nobody", "--nats", s.url())
	if code != cli.ExitOK || stdout != "" || stderr != "Nobody is there in group nobody.\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := command(t, "ls", "a.b", "--nats", s.url()); code != cli.ExitUsage || !strings.Contains(stderr, `group "a.b"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}

	_, stdout, _ = command(t, "ls", "--json", "--nats", s.url())
	var listed struct{ Instances []remote.Instance }
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil || len(listed.Instances) != 3 {
		t.Fatal(err, stdout)
	}
	if first := listed.Instances[0]; first.String() != "edge/edge-1" || first.Incarnation == "" || first.Born != 2 || first.Since.IsZero() {
		t.Errorf("%+v", first)
	}
	for _, empty := range []string{"instances", "drains"} {
		if _, stdout, _ := command(t, "ls", "nobody", "--json", "--nats", s.url()); !strings.Contains(stdout, fmt.Sprintf("%q: []", empty)) {
			t.Errorf("no list: %s", stdout)
		}
	}
}

// BenchmarkLs lists 10,000 instances, with everything from connecting to printing.
func BenchmarkLs(b *testing.B) {
	s := startNATS(b)
	nc := s.connect()
	if err := remote.Setup(b.Context(), nc, remote.Registry{}); err != nil {
		b.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	const many = 10_000
	for i := range many {
		name := fmt.Sprintf("edge-%05d", i)
		entry := fmt.Sprintf(`{"group":"edge","name":%q,"incarnation":"aaaaaaaaaaaaaaaaaaaaaa","since":"2026-11-25T09:00:00Z"}`, name)
		if _, err := js.PublishAsync("$KV."+remote.PresentBucket+".edge."+name, []byte(entry)); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	for b.Loop() {
		var out, errs clitest.Buffer
		if code := cli.Run(b.Context(), newRoot(), []string{"ls", "--nats", s.url()}, nil, &out, &errs); code != cli.ExitOK {
			b.Fatal(code, errs.String())
		}
		if lines := strings.Count(out.String(), "\n"); lines != many+1 {
			b.Fatal(lines)
		}
	}
}
