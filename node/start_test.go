package node

import (
	"log/slog"
	"testing"

	"github.com/farewell-node/farewell/fsm"
)

func TestRequestDuringTheStartIsNotLost(t *testing.T) {
	n, err := prepare(Config{Listen: "127.0.0.1:0", UI: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	n.orchestrator.Request(fsm.Command{Reason: "changed my mind"})
	if _, err := n.start(); err != nil {
		t.Fatal(err)
	}
	report := n.Wait()
	if report.Command.Reason != "changed my mind" || report.ExitCode() != fsm.ExitOK {
		t.Errorf("exit code %d\n%s", report.ExitCode(), report)
	}
}
