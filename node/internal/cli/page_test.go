package cli

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"short\n", "short\n"},
		{"exactly 10\n", "exactly 10\n"},
		{"one two three\n", "one two\n  three\n"},
		{"  one two three four\n", "  one two\n    three\n    four\n"},
		{"wordswithoutend and\n", "wordswithoutend\n  and\n"},
		{"wordswithoutend\n", "wordswithoutend\n"},
		{"a    b         c\n", "a    b\n  c\n"},
		{"                    deep deeper\n", "                    deep\n     deeper\n"},
		{"ééééé ééééé\n", "ééééé\n  ééééé\n"},
		{"trailing          \n", "trailing          \n"},
		{"\tx y z\n", "\tx\n     y z\n"},
		{"\n", "\n"},
	} {
		if got := string(fold(nil, test.line, 10)); got != test.want {
			t.Errorf("%q:\n%q, want\n%q", test.line, got, test.want)
		}
	}
}

func FuzzFold(f *testing.F) {
	f.Add("one two three", 10)
	f.Fuzz(func(t *testing.T, line string, width int) {
		line = strings.ReplaceAll(line, "\n", "")
		folded := string(fold(nil, line+"\n", max(4, width%200)))
		if got := strings.Fields(folded); strings.Join(got, " ") != strings.Join(strings.Fields(line), " ") {
			t.Errorf("%q became %q", line, folded)
		}
	})
}
