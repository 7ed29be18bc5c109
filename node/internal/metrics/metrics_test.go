package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The names keep OpenTelemetry's conventions; the Prometheus names follow from them.
func TestNamesKeepTheConventions(t *testing.T) {
	legal := regexp.MustCompile(`^farewell(\.[a-z][a-z0-9]*(_[a-z0-9]+)*)+$`)
	for _, i := range instruments {
		if !legal.MatchString(i.name) || i.help == "" || strings.HasSuffix(i.name, "total") {
			t.Errorf("%s: %q", i.name, i.help)
		}
		switch i.unit {
		case "", "s", "By":
		default:
			if !strings.HasPrefix(i.unit, "{") || !strings.HasSuffix(i.unit, "}") {
				t.Errorf("%s: unit %s", i.name, i.unit)
			}
		}
		for _, other := range instruments {
			if strings.HasPrefix(other.name, i.name+".") {
				t.Errorf("%s is a metric, and the namespace of %s", i.name, other.name)
			}
			if other != i && other.promName() == i.promName() {
				t.Errorf("%s is there twice", i.promName())
			}
		}
	}
}

func TestDocumentListsAll(t *testing.T) {
	text, err := os.ReadFile("../../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), Table()) {
		t.Errorf("docs/operate.md does not have\n%s", Table())
	}
}
