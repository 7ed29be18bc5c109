// Package metrics measures a node, for Prometheus and for its status.
package metrics

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams"
)

// instrument is something that is measured, by its OpenTelemetry name: in lower case,
// with dots, its unit in UCUM beside it (opentelemetry.io/docs/specs/semconv/general/naming).
type instrument struct {
	name    string
	unit    string
	counter bool
	help    string
	labels  []string
	desc    *prometheus.Desc
}

// instruments are all, in the order in which they were added.
var instruments []*instrument

func newInstrument(counter bool, name, unit, help string, labels ...string) *instrument {
	i := &instrument{name: name, unit: unit, counter: counter, help: help, labels: labels}
	i.desc = prometheus.NewDesc(i.promName(), help, labels, nil)
	instruments = append(instruments, i)
	return i
}

func gauge(name, unit, help string, labels ...string) *instrument {
	return newInstrument(false, name, unit, help, labels...)
}

func counter(name, unit, help string, labels ...string) *instrument {
	return newInstrument(true, name, unit, help, labels...)
}

// promName is the Prometheus name that OpenTelemetry's rules of compatibility make of
// its own: underscores, base units and the kind at the end
// (opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics).
func (i *instrument) promName() string {
	name := strings.ReplaceAll(i.name, ".", "_")
	name += map[string]string{"By": "_bytes", "s": "_seconds"}[i.unit]
	if i.counter {
		name += "_total"
	}
	return name
}

var (
	buildInfo = gauge("farewell.build_info", "", "Always 1; the label says which build this is.", "version")
	state     = gauge("farewell.state", "", "1 for the state that the shutdown machine is in, 0 for the others.", "state")
	alarm     = gauge("farewell.shutdown.alarm", "s", "How long a shutdown may take.")
	alarmLeft = gauge("farewell.shutdown.alarm_left", "s",
		"Time until the alarm of the shutdown that is under way; all of it before a request, 0 after the end.")
	outstanding = gauge("farewell.shutdown.components_outstanding", "{component}",
		"Components that a shutdown waits for; 0 before a request.")
	components = gauge("farewell.components", "{component}", "Components by how far they are.", "progress")
	uis        = gauge("farewell.uis", "{ui}", "UIs that are connected.")

	neighbors = gauge("farewell.neighbors", "{neighbor}",
		"Nodes that the own record lists: full if they list this one too.", "neighborship")
	records     = gauge("farewell.record.known", "{record}", "Records of nodes that are known, the own one included.")
	messages    = counter("farewell.gossip.messages", "{message}", "Gossip messages, by direction and kind.", "direction", "kind")
	rejected    = counter("farewell.gossip.rejected", "{item}", "Messages, records and addresses that were dropped.", "reason")
	taken       = counter("farewell.record.taken", "{record}", "Records that were new or changed.")
	culled      = counter("farewell.record.culled", "{record}", "Records that were forgotten.")
	dials       = counter("farewell.dial.attempts", "{dial}", "Connections to other nodes that were tried.")
	dialsFailed = counter("farewell.dial.failures", "{dial}", "Of these, those that failed.")

	connected    = gauge("farewell.streams", "{stream}", "Streams to other nodes that are up.")
	queued       = gauge("farewell.stream.queue", "By", "Bytes that wait to be written to streams.")
	carried      = counter("farewell.stream.io", "By", "Bytes written to and read from streams.", "direction")
	refused      = counter("farewell.stream.refused", "By", "Bytes dropped because a queue was full or there was no stream.")
	turnedAway   = counter("farewell.connections.refused", "{connection}", "Connections that were not let in.")
	droppedLines = counter("farewell.log.dropped", "{line}", "Lines that were dropped because nobody took the log.")

	allStates   = []fsm.State{fsm.Running, fsm.Withdrawing, fsm.AwaitingAcks, fsm.Terminated}
	allOutcomes = []fsm.Outcome{
		fsm.OutcomeWaiting, fsm.OutcomeStopping, fsm.OutcomeAcked, fsm.OutcomeFailed, fsm.OutcomePanicked, fsm.OutcomeHung,
		fsm.OutcomeSkipped,
	}
)

// progressAtUse is how far a component is before a request.
const progressAtUse = "running"

// The directions, as OpenTelemetry calls the values of network.io.direction.
const (
	transmit = "transmit"
	receive  = "receive"
)

// Table describes all that is measured of the node, for docs/operate.md.
func Table() string {
	var b strings.Builder
	b.WriteString("| Prometheus | OpenTelemetry | unit | what |\n|---|---|---|---|\n")
	for _, i := range instruments {
		labels := ""
		if len(i.labels) > 0 {
			labels = "{" + strings.Join(i.labels, ", ") + "}"
		}
		fmt.Fprintf(&b, "| `%s%s` | `%s` | %s | %s |\n", i.promName(), labels, i.name, i.unit, i.help)
	}
	return b.String()
}

// sample is one value.
type sample struct {
	of     *instrument
	value  float64
	labels []string // values, in the order of the instrument's
}

// series is how Prometheus writes whose value it is.
func (s sample) series() string {
	if len(s.labels) == 0 {
		return s.of.promName()
	}
	pairs := make([]string, 0, len(s.labels))
	for i, value := range s.labels {
		pairs = append(pairs, fmt.Sprintf("%s=%q", s.of.labels[i], value))
	}
	return s.of.promName() + "{" + strings.Join(pairs, ",") + "}"
}

type samples []sample

func (s *samples) add(of *instrument, value float64, labels ...string) {
	*s = append(*s, sample{of, value, labels})
}

func (s *samples) addCount(of *instrument, value uint64, labels ...string) {
	s.add(of, float64(value), labels...)
}

// Node is what is measured. Its functions must not block, and may be called at any time.
type Node struct {
	Version      string
	Orchestrator *fsm.Orchestrator
	Neighborhood func() neighborhood.Snapshot
	Streams      func() streams.Stats
	UIs          func() int
	LinesDropped func() int64 // of the log, since the start
}

// ByName measures a node of which a part is known already, as /metrics does: by the name
// and the labels of a series.
func (n *Node) ByName(known neighborhood.Snapshot, pool streams.Stats) map[string]float64 {
	measured := n.measure(known, pool)
	named := make(map[string]float64, len(measured))
	for _, sample := range measured {
		named[sample.series()] = sample.value
	}
	return named
}

func (n *Node) measure(known neighborhood.Snapshot, pool streams.Stats) samples {
	var s samples
	s.add(buildInfo, 1, n.Version)
	s.ofShutdown(n.Orchestrator)
	s.add(uis, float64(n.UIs()))
	s.ofNeighborhood(known)
	s.ofStreams(pool)
	s.add(droppedLines, float64(n.LinesDropped()))
	return s
}

func (s *samples) ofShutdown(o *fsm.Orchestrator) {
	report := o.Report()
	for _, each := range allStates {
		s.add(state, oneIf(each == report.State), each.String())
	}
	var left time.Duration
	switch report.State {
	case fsm.Running:
		left = o.Alarm()
	case fsm.Withdrawing, fsm.AwaitingAcks:
		left = report.Deadline.Sub(report.Began.Add(report.Took)) // who asked may have given it less than the alarm
	}
	s.add(alarm, o.Alarm().Seconds())
	s.add(alarmLeft, max(0, left).Seconds())
	progress, open := map[string]int{}, 0
	for _, c := range report.Components {
		switch {
		case report.State == fsm.Running:
			progress[progressAtUse]++
			continue
		case c.Outcome == fsm.OutcomeWaiting || c.Outcome == fsm.OutcomeStopping:
			open++
		}
		progress[c.Outcome.String()]++
	}
	s.add(outstanding, float64(open))
	s.add(components, float64(progress[progressAtUse]), progressAtUse)
	for _, outcome := range allOutcomes {
		s.add(components, float64(progress[outcome.String()]), outcome.String())
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (s *samples) ofNeighborhood(known neighborhood.Snapshot) {
	full := 0
	for _, neighbor := range known.Neighbors {
		if neighbor.Full {
			full++
		}
	}
	s.add(neighbors, float64(full), "full")
	s.add(neighbors, float64(len(known.Neighbors)-full), "half")
	s.add(records, float64(len(known.Records)+1))
	for direction, traffic := range map[string]map[string]neighborhood.Traffic{
		transmit: known.Counters.Sent, receive: known.Counters.Received,
	} {
		for _, kind := range slices.Sorted(maps.Keys(traffic)) {
			s.addCount(messages, traffic[kind].Messages, direction, strings.ToLower(kind))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(known.Counters.Rejected)) {
		s.addCount(rejected, known.Counters.Rejected[reason], reason)
	}
	s.addCount(taken, known.Counters.Taken)
	s.addCount(culled, known.Counters.Culled)
	s.addCount(dials, known.Counters.Dials)
	s.addCount(dialsFailed, known.Counters.DialsFailed)
}

func (s *samples) ofStreams(pool streams.Stats) {
	up, waiting := 0, uint64(0)
	for _, stream := range pool.Streams {
		up += int(oneIf(!stream.Closing))
		waiting += stream.Traffic.Unwritten()
	}
	s.add(connected, float64(up))
	s.addCount(queued, waiting)
	s.addCount(carried, pool.Total.Written, transmit)
	s.addCount(carried, pool.Total.BytesReceived, receive)
	s.addCount(refused, pool.Total.Refused)
	s.addCount(turnedAway, pool.TurnedAway)
}

// Describe implements [prometheus.Collector].
func (n *Node) Describe(to chan<- *prometheus.Desc) {
	for _, i := range instruments {
		to <- i.desc
	}
}

// Collect implements [prometheus.Collector].
func (n *Node) Collect(to chan<- prometheus.Metric) {
	for _, s := range n.measure(n.Neighborhood(), n.Streams()) {
		kind := prometheus.GaugeValue
		if s.of.counter {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(s.of.desc, kind, s.value, s.labels...)
	}
}

// Bounds of a scrape: there is one Prometheus, or two.
const (
	scrapesAtOnce = 4
	scrapeTime    = 5 * time.Second
)

// Registry has what is measured of the node, of the Go runtime, and of the process.
func (n *Node) Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(n, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler answers scrapes.
func (n *Node) Handler() http.Handler {
	return promhttp.HandlerFor(n.Registry(), promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeTime})
}
