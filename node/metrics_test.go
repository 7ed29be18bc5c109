package node_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/node/internal/metrics"
	"github.com/farewell-node/farewell/ui/client"
)

func scrape(t *testing.T, n *node.Node, c *http.Client) string {
	t.Helper()
	response, err := c.Get("http://" + n.UI() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return string(text)
}

// scrapeOfNeighbors scrapes until the node has a full neighborship.
func scrapeOfNeighbors(t *testing.T, n *node.Node, c *http.Client) (text string) {
	t.Helper()
	for !strings.Contains(text, `neighborship="full"} 1`) {
		text = scrape(t, n, c)
		if t.Context().Err() != nil {
			t.Fatal(text)
		}
	}
	return text
}

// oneConnection is a client that asks over one connection, and closes it at the end.
func oneConnection(t *testing.T) *http.Client {
	transport := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestMetrics(t *testing.T) {
	first := start(t, quiet(t))
	join(t, first)
	c := oneConnection(t)
	text := scrapeOfNeighbors(t, first, c)
	for _, want := range []string{
		`farewell_state{state="Running"} 1`, `farewell_shutdown_components_outstanding 0`, `farewell_shutdown_alarm_left_seconds 5`,
		`farewell_neighbors{neighborship="full"} 1`, `farewell_streams 1`, `farewell_gossip_messages_total{direction="receive",kind="debut"} 1`,
		`farewell_stream_io_bytes_total{direction="transmit"} `, `farewell_stream_refused_bytes_total 0`, `farewell_log_dropped_total 0`,
		`go_goroutines `, `farewell_build_info{version="` + node.Version() + `"} 1`,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
	// The status has the same series.
	ask(t, first, func(ctx context.Context, ui *client.Client) (bool, error) {
		status, err := ui.Status(ctx)
		if err != nil {
			return false, err
		}
		series := slices.Collect(maps.Keys(status.Node.Metrics))
		missing := slices.DeleteFunc(ownSeries(text), func(name string) bool { return slices.Contains(series, name) })
		if len(missing) > 0 || len(series) == 0 {
			t.Errorf("the status lacks %q", missing)
		}
		return true, nil
	})
}

// ownSeries are the series of the node, without those of Go and the process.
func ownSeries(text string) (series []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "farewell_") {
			series = append(series, line[:strings.LastIndex(line, " ")])
		}
	}
	return series
}

// A scrape during the shutdown says what it waits for, and one in the last moments does
// not hold it up.
func TestMetricsDuringAndAfterTheEnd(t *testing.T) {
	n := start(t, quiet(t))
	stopping, release := make(chan struct{}), make(chan struct{})
	slow := fsm.Func(func(context.Context) error { close(stopping); <-release; return nil })
	if err := n.Orchestrator().Register("slow", slow); err != nil {
		t.Fatal(err)
	}
	c := oneConnection(t)
	scrape(t, n, c)
	n.Orchestrator().Request(fsm.Command{Reason: "a test"})
	<-stopping
	text := scrape(t, n, c)
	for _, want := range []string{`farewell_state{state="Running"} 0`, `farewell_components{progress="stopping"} `} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	var outstanding, left float64
	for line := range strings.Lines(text) {
		_, _ = fmt.Sscanf(line, "farewell_shutdown_components_outstanding %g", &outstanding)
		_, _ = fmt.Sscanf(line, "farewell_shutdown_alarm_left_seconds %g", &left)
	}
	if outstanding < 1 || left <= 0 || left >= 5 {
		t.Errorf("%g outstanding, %g s left", outstanding, left)
	}
	ended := make(chan struct{})
	go func() { // scrapes until nobody answers any more
		defer close(ended)
		for {
			response, err := c.Get("http://" + n.UI() + "/metrics")
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}()
	close(release)
	report := n.Wait()
	<-ended
	if code := report.ExitCode(); code != fsm.ExitOK {
		t.Errorf("exit code %d\n%s", code, report)
	}
}

// Every metric and label that the dashboard asks for is there.
func TestDashboard(t *testing.T) {
	first := start(t, quiet(t))
	join(t, first)
	known, labels := namesIn(scrapeOfNeighbors(t, first, oneConnection(t)))
	// What has not happened yet has no series.
	for _, described := range regexp.MustCompile("(?m)^\\| `(\\w+)(?:{(.*?)})?`").FindAllStringSubmatch(metrics.Table(), -1) {
		known[described[1]] = true
		for _, label := range strings.Split(described[2], ", ") {
			labels[label] = true
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	text, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil || len(dashboard.Panels) < 10 {
		t.Fatal(len(dashboard.Panels), err)
	}
	asked := map[string]bool{}
	check := func(where, expression string) {
		t.Helper()
		found := 0
		for _, name := range identifiers(expression) {
			switch {
			case known[name]:
				asked[name] = true
				found++
			case !labels[name]:
				t.Errorf("%s: there is no %q: %s", where, name, expression)
			}
		}
		if found == 0 {
			t.Errorf("%s asks for no metric: %s", where, expression)
		}
	}
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("%s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			check(panel.Title, target.Expr)
		}
	}
	check("templating", dashboard.Templating.List[1].Query)
	if len(asked) < 15 {
		t.Errorf("only %d metrics are shown", len(asked))
	}
}

// namesIn returns the metrics and labels of an exposition; what a scrape adds, too.
func namesIn(text string) (metrics, labels map[string]bool) {
	metrics, labels = map[string]bool{}, map[string]bool{"instance": true}
	label := regexp.MustCompile(`[{,]([a-z_]+)="`)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		name, _, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		metrics[name] = true
		for _, found := range label.FindAllStringSubmatch(lines.Text(), -1) {
			labels[found[1]] = true
		}
	}
	return metrics, labels
}

// identifiers are the names in an expression that are not PromQL's own, nor Grafana's.
func identifiers(expression string) (names []string) {
	expression = regexp.MustCompile(`"[^"]*"|\$\w+|\[[^]]*\]`).ReplaceAllString(expression, " ")
	for _, found := range regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*\s*\(?`).FindAllString(expression, -1) {
		name := strings.TrimSpace(found)
		if !strings.HasSuffix(name, "(") && name != "by" {
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "sum" || name == "count" || name == "max" })
}
