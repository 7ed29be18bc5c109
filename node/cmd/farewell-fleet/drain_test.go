package main

import (
	"strings"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func TestPrintDrains(t *testing.T) {
	var out strings.Builder
	page := cli.WidePage(&out)
	if err := printDrains(page, nil); err != nil || out.Len() > 0 {
		t.Errorf("nobody leaves: %v, %q", err, out.String())
	}
	if err := printDrains(page, []fleet.Standing{
		{Group: "edge", Operator: "ana@desk", Held: true, Since: time.Now(), Total: 12, Done: 3},
		{Group: "store", Operator: "bo\x1b", Total: 4, Done: 2, Failed: 1, Stopped: "too many failed"},
		{Group: "api", Operator: "bo", Total: 4},
	}); err != nil {
		t.Fatal(err)
	}
	const want = `
LEAVING BY DONE
edge ana@desk 3 of 12, begun AGO
store bo 2 of 4, 1 failed, stopped: too many failed
api bo 0 of 4, interrupted
`
	if got := strings.ReplaceAll(out.String(), "0s ago", "AGO"); spaces.ReplaceAllString(got, " ") != want {
		t.Errorf("%s", got)
	}
}
