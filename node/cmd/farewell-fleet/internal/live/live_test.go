package live

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFit(t *testing.T) {
	frame := Frame{
		Title: "a title", Footer: "a footer\nof two lines",
		Rows: [][]string{{"NAME", "STATE"}, {"edge/1", "Running"}, {"é", "Withdrawing"}, {"", "x"}},
	}
	for _, test := range []struct {
		what          string
		width, height int
		want          string
	}{
		{"all fits", 40, 8, "a title\nNAME    STATE\nedge/1  Running\né       Withdrawing\n        x\na footer\nof two lines"},
		{"too many rows", 40, 7, "a title\nNAME    STATE\nedge/1  Running\nand 2 more\na footer\nof two lines"},
		{"no room at all", 40, 1, "a title\nNAME  STATE\nand 3 more\na footer\nof two lines"},
		{"too wide", 9, 8, "a title\nNAME    …\nedge/1  …\né       …\n        x\na footer\nof two l…"},
	} {
		if got := frame.fit(test.width, test.height); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", test.what, got, test.want)
		}
	}
	if got := (Frame{}).fit(80, 24); got != "" {
		t.Errorf("nothing is %q", got)
	}
	if lines := strings.Count(frame.fit(80, 5), "\n") + 1; lines > 5 {
		t.Errorf("%d lines on a terminal of 5", lines)
	}
}
