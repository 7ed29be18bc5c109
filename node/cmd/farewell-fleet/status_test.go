package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func TestStatus(t *testing.T) {
	s := startNATS(t)
	letGo := make(chan struct{})
	s.join("edge", "edge-1")
	leaving, member := s.join("edge", "edge-2", hanging(letGo))
	over, overMember := s.join("store", "store-1")
	status := func(want int, args ...string) string {
		t.Helper()
		code, stdout, stderr := command(t, append(append([]string{"status"}, args...), "--nats", s.url())...)
		if code != want {
			t.Errorf("%v: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
		}
		return golden(stdout) + stderr
	}
	same := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}

	same(status(cli.ExitOK, "edge"), `INSTANCE STATE SINCE REMARKS
edge/edge-1 Running AGO -
edge/edge-2 Running AGO -
`)
	same(status(cli.ExitFailed, "edge/edge-3"), `INSTANCE STATE SINCE REMARKS
edge/edge-3 Gone - nobody of that name is known
`)
	same(status(cli.ExitFailed, "nobody"), "Nobody is there in group nobody.\n")

	leaving.Request(fsm.Command{Reason: "deploy \x1b[31m42", By: "ana"})
	nc := s.connect()
	eventually(t, func() error { // it is off the registry, and answers
		if list, err := remote.List(t.Context(), nc, "edge"); err != nil || len(list) != 1 {
			return fmt.Errorf("%v %w", list, err)
		}
		return nil
	})
	text := status(cli.ExitLeaving, "edge") // who leaves is not listed, and still of the group
	if err := inOrder(text, "edge/edge-1 Running", "edge/edge-2 AwaitingAcks AGO asked by ana", "waits for db"); err != nil {
		t.Error(err)
	}
	text = status(cli.ExitLeaving, "edge/edge-2")
	if err := inOrder(text, "edge/edge-2 AwaitingAcks AGO asked by ana: deploy [31m42; waits for db (for", "alarm in ", "COMPONENT OUTCOME", "db stopping"); err != nil {
		t.Error(err)
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("it does something to the terminal: %q", text)
	}
	_, stdout, _ := command(t, "status", "edge/edge-2", "--json", "--nats", s.url())
	var all struct {
		Instances []struct {
			Name, State string
			Report      *fsm.Report
		}
	}
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all.Instances) != 1 {
		t.Fatal(err, stdout)
	}
	if one := all.Instances[0]; one.Name != "edge-2" || one.State != "AwaitingAcks" || one.Report.Command.By != "ana" {
		t.Errorf("%+v", one)
	}
	close(letGo)
	<-member.Done()

	same(status(cli.ExitOK, "edge"), "INSTANCE STATE SINCE REMARKS\nedge/edge-1 Running AGO -\n")

	leave(t, over, overMember, "the night")
	if err := inOrder(status(cli.ExitFailed, "store/store-1"),
		"store/store-1 Gone - left: shutdown (the night) Terminated by AllAcked", "exit code 0", "Shutdown requested by ana: the night"); err != nil {
		t.Error(err)
	}
}

// Who is listed and does not answer is that, and neither running nor gone.
func TestStatusOfTheSilent(t *testing.T) {
	s := startNATS(t)
	s.join("edge", "edge-1")
	nc := s.connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	entry := `{"group":"edge","name":"edge-2","incarnation":"aaaaaaaaaaaaaaaaaaaaaa","since":"2026-11-25T09:00:00Z"}`
	if _, err := js.Publish(t.Context(), "$KV."+remote.PresentBucket+".edge.edge-2", []byte(entry)); err != nil {
		t.Fatal(err)
	}
	// One that died long ago, without a word, is none of the group.
	if _, err := js.Publish(t.Context(), "$KV."+remote.ReportsBucket+".last.edge.edge-3", []byte(`{"incarnation":"bbbbbbbbbbbbbbbbbbbbbb"}`)); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []string{"edge", "edge/edge-2"} {
		code, stdout, stderr := command(t, "status", asked, "--nats", s.url())
		if strings.Contains(stdout, "edge-3") {
			t.Errorf("%s: %s", asked, stdout)
		}
		if code != cli.ExitFailed || !strings.Contains(stdout, "Silent") || !strings.Contains(stdout, "does not answer") {
			t.Errorf("%s: exit code %d: %s%s", asked, code, stdout, stderr)
		}
	}
}

// Who died without a word was there all the same: a name is not mistyped.
func TestStatusOfWhoLeftNoReport(t *testing.T) {
	s := startNATS(t)
	s.join("edge", "edge-1")
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "$KV."+remote.ReportsBucket+".last.edge.edge-2", []byte(`{"incarnation":"bbbbbbbbbbbbbbbbbbbbbb"}`)); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "status", "edge/edge-2", "--nats", s.url())
	if code != cli.ExitFailed || !strings.Contains(stdout, "was there, and has left no report") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if _, stdout, _ = command(t, "status", "edge/edge-2", "--json", "--nats", s.url()); strings.Contains(stdout, "0001-01-01") {
		t.Errorf("it claims to know since when: %s", stdout)
	}
}

// Whoever may report can put what it likes into its stacks.
func TestStatusOfSomebodyMalicious(t *testing.T) {
	s := startNATS(t)
	s.join("edge", "edge-1")
	js, err := jetstream.New(s.connect())
	if err != nil {
		t.Fatal(err)
	}
	const who = `{"group":"edge","name":"edge-2","incarnation":"bbbbbbbbbbbbbbbbbbbbbb","since":"2026-11-25T09:00:00Z"}`
	evil := `"\u001b]0;evil\u0007"`
	for key, value := range map[string]string{
		"last.edge.edge-2": `{"incarnation":"bbbbbbbbbbbbbbbbbbbbbb"}`,
		"report.edge.edge-2.bbbbbbbbbbbbbbbbbbbbbb": `{"instance":` + who + `,"report":{"state":"Terminated","command":{"reason":` + evil + `,"by":` + evil + `},
			"components":[{"id":` + evil + `,"outcome":"hung","stack":"goroutine 1\n\u001b[2Jmain.main"}]}}`,
	} {
		if _, err := js.Publish(t.Context(), "$KV."+remote.ReportsBucket+"."+key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := command(t, "status", "edge/edge-2", "--nats", s.url())
	if code != cli.ExitFailed || !strings.Contains(stdout, "main.main") || strings.ContainsAny(stdout+stderr, "\x1b\x07") {
		t.Errorf("exit code %d: %q%q", code, stdout, stderr)
	}
}

func TestExitCodeOfStandings(t *testing.T) {
	for _, test := range []struct {
		states string
		want   int
	}{
		{"", cli.ExitFailed},
		{"Running", cli.ExitOK},
		{"Running Withdrawing", cli.ExitLeaving},
		{"AwaitingAcks Running", cli.ExitLeaving},
		{"Withdrawing Silent Running", cli.ExitFailed},
		{"Gone", cli.ExitFailed},
	} {
		var all standings
		for _, state := range strings.Fields(test.states) {
			all.Instances = append(all.Instances, standing{State: state})
		}
		if got := all.exitCode(); got != test.want {
			t.Errorf("%s: %d, want %d", test.states, got, test.want)
		}
	}
}
