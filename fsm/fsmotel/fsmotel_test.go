package fsmotel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is an orchestrator whose telemetry ends up in memory.
type watched struct {
	*fsm.Orchestrator
	spans  *tracetest.InMemoryExporter
	reader *metric.ManualReader
	config Config
}

func watch(t *testing.T, alarm time.Duration) *watched {
	t.Helper()
	o, err := fsm.New(fsm.Config{Alarm: alarm, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Orchestrator: o, spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(w.spans, sdktrace.WithBatchTimeout(time.Hour)))
	metrics := metric.NewMeterProvider(metric.WithReader(w.reader))
	w.config = Config{TracerProvider: traces, MeterProvider: metrics}
	t.Cleanup(func() { _ = errors.Join(traces.Shutdown(context.Background()), metrics.Shutdown(context.Background())) })
	return w
}

func (w *watched) register(t *testing.T, id fsm.ID, c fsm.Component, options ...fsm.Option) {
	t.Helper()
	if err := w.Register(id, c, options...); err != nil {
		t.Fatal(err)
	}
}

// leave registers telemetry and shuts down.
func (w *watched) leave(t *testing.T) *fsm.Report {
	t.Helper()
	if err := Register(w.Orchestrator, w.config); err != nil {
		t.Fatal(err)
	}
	report, err := w.Shutdown(context.Background(), fsm.Command{Reason: "test", By: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// span returns what was exported under a name.
func (w *watched) span(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range w.spans.GetSpans() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q", name)
	return tracetest.SpanStub{}
}

// line writes a span in one line: where in the shutdown, its status, some of its attributes.
func (w *watched) line(t *testing.T, name string, keys ...attribute.Key) string {
	t.Helper()
	s, began := w.span(t, name), w.Report().Began
	text := fmt.Sprintf("%v-%v %v %q", s.StartTime.Sub(began), s.EndTime.Sub(began), s.Status.Code, s.Status.Description)
	for _, key := range keys {
		for _, a := range s.Attributes {
			if a.Key == key {
				text += fmt.Sprintf(" %s=%s", strings.TrimPrefix(string(key), "farewell."), a.Value.String())
			}
		}
	}
	return text
}

// points returns the values of a metric, as "attribute:value".
func (w *watched) points(t *testing.T, name string) (points []string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	add := func(set attribute.Set, value any) {
		text := ""
		for _, a := range set.ToSlice() {
			text += a.Value.String() + ":"
		}
		points = append(points, text+fmt.Sprint(value))
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Sum)
				}
			default:
				t.Fatalf("%s is %T", name, data)
			}
		}
	}
	slices.Sort(points)
	return points
}

func takes(d time.Duration) fsm.Func {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// The trace and the metrics are out when the machine terminates.
func TestOneTraceOfTheWholeShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		w.register(t, "db", takes(time.Second))
		w.register(t, "http", takes(2*time.Second), fsm.Before("db"))
		report := w.leave(t)
		equal(t, "exit code", report.ExitCode(), fsm.ExitOK)

		root := w.span(t, "shutdown")
		equal(t, "root", w.line(t, "shutdown", "farewell.reason", "farewell.by", "farewell.alarm"),
			`0s-3s Unset "" reason=test by=somebody alarm=10`)
		equal(t, "http", w.line(t, "shutdown http", "farewell.outcome", "farewell.wait"), `0s-2s Unset "" outcome=acked wait=0`)
		equal(t, "db", w.line(t, "shutdown db", "farewell.outcome", "farewell.wait", "farewell.waited_on"),
			`2s-3s Unset "" outcome=acked wait=2 waited_on=["http"]`)
		for _, s := range w.spans.GetSpans() {
			if s.SpanContext.TraceID() != root.SpanContext.TraceID() {
				t.Errorf("%s is in another trace", s.Name)
			}
			if s.Name != "shutdown" && s.Parent.SpanID() != root.SpanContext.SpanID() {
				t.Errorf("%s is not below the root", s.Name)
			}
		}
		equal(t, "spans", len(w.spans.GetSpans()), 3)
		equal(t, "first event", root.Events[0].Name, "ShutdownRequested")
		equal(t, "wait", w.points(t, "farewell.component.wait"), "[db:acked:2 http:acked:0]")
		equal(t, "duration", w.points(t, "farewell.component.duration"), "[db:acked:1 http:acked:2]")
		equal(t, "shutdown", w.points(t, "farewell.shutdown.duration"), "[3]")
	})
}

func TestTheCulpritIsPushedBeforeTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		released := make(chan struct{})
		defer close(released)
		w.register(t, "db", fsm.Func(func(context.Context) error { return nil }))
		w.register(t, "http", fsm.Func(func(context.Context) error { <-released; return nil }), fsm.Before("db"))
		w.register(t, "lease", takes(0), fsm.After("http"), fsm.Strict())
		report := w.leave(t)
		equal(t, "exit code", report.ExitCode(), fsm.ExitAlarm)
		equal(t, "root", w.span(t, "shutdown").Status, sdktrace.Status{Code: codes.Error, Description: "http, lease"})
		equal(t, "http", w.line(t, "shutdown http", "farewell.outcome", "farewell.insisted"),
			`0s-8.5s Error "has not come back" outcome=stopping insisted=true`)
		equal(t, "db", w.span(t, "shutdown db").Status.Code, codes.Unset) // it began when the push did
		equal(t, "lease", w.line(t, "shutdown lease", "farewell.outcome", "farewell.waited_on"),
			`8.5s-8.5s Error "not begun: waited for http" outcome=waiting waited_on=["http"]`)
	})
}

func TestFailuresAreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		w.register(t, "disk", fsm.Func(func(context.Context) error { return errors.New("disk is full") }))
		w.register(t, "cache", fsm.Func(func(context.Context) error { panic("cold") }), fsm.BestEffort())
		w.register(t, "queue", fsm.Func(func(ctx context.Context) error { <-ctx.Done(); return nil }), fsm.Grace(time.Second))
		w.leave(t)
		equal(t, "root", w.span(t, "shutdown").Status, sdktrace.Status{Code: codes.Error, Description: "disk, queue"})
		equal(t, "disk", w.line(t, "shutdown disk"), `0s-0s Error "disk is full"`)
		equal(t, "cache", w.line(t, "shutdown cache", "farewell.best_effort"), `0s-0s Error "fsm: component: panic: cold" best_effort=true`)
		equal(t, "queue", w.line(t, "shutdown queue"), `0s-1s Error "had to be insisted upon"`)
		equal(t, "recorded", w.span(t, "shutdown disk").Events[0].Name, "exception")
	})
}

func TestAShutdownInsideAShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := watch(t, 5*time.Second)
		inner.register(t, "pool", takes(time.Second))
		w := watch(t, 10*time.Second)
		w.register(t, "db", inner.Component())
		w.leave(t)
		equal(t, "pool's parent", w.span(t, "shutdown pool").Parent.SpanID(), w.span(t, "shutdown db").SpanContext.SpanID())
		equal(t, "pool", w.line(t, "shutdown pool"), `0s-1s Unset ""`)
	})
}

func TestMetricsWhileRunningLeavingAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		w.register(t, "db", takes(4*time.Second))
		if err := Register(w.Orchestrator, w.config); err != nil {
			t.Fatal(err)
		}
		expect := func(state, components, left string) {
			t.Helper()
			equal(t, "state", w.points(t, "farewell.state"), state)
			equal(t, "components", w.points(t, "farewell.components"), components)
			equal(t, "left", w.points(t, "farewell.alarm.remaining"), left)
		}
		expect("[AwaitingAcks:0 Running:1 Terminated:0 Withdrawing:0]",
			"[acked:0 failed:0 hung:0 panicked:0 skipped:0 stopping:0 waiting:2]", "[]")
		w.Request(fsm.Command{Reason: "test"})
		time.Sleep(3 * time.Second)
		expect("[AwaitingAcks:1 Running:0 Terminated:0 Withdrawing:0]",
			"[acked:0 failed:0 hung:0 panicked:0 skipped:0 stopping:1 waiting:1]", "[7]")
		<-w.Done()
		expect("[AwaitingAcks:0 Running:0 Terminated:1 Withdrawing:0]",
			"[acked:2 failed:0 hung:0 panicked:0 skipped:0 stopping:0 waiting:0]", "[]")
	})
}

// silent is a collector that takes what is sent, and never answers.
type silent struct{ tracetest.InMemoryExporter }

func (s *silent) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestASilentCollectorCostsAQuarterOfThePoliteTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		traces := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&silent{}, sdktrace.WithExportTimeout(time.Hour)))
		w.config.TracerProvider = traces
		w.register(t, "db", takes(time.Second))
		report := w.leave(t)
		equal(t, "exit code", report.ExitCode(), fsm.ExitOK)
		equal(t, "took", report.Took, 3*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = traces.Shutdown(ctx)
	})
}

func TestRegisterAfterTheRequest(t *testing.T) {
	w := watch(t, time.Second)
	w.Request(fsm.Command{Reason: "test"})
	if err := Register(w.Orchestrator, w.config); !errors.Is(err, fsm.ErrShutdownBegun) {
		t.Errorf("register: %v", err)
	}
	if got := w.points(t, "farewell.state"); len(got) != 0 {
		t.Errorf("what was refused is observed: %v", got)
	}
}

// Without an SDK the providers of the API do nothing, at no cost.
func TestWithoutAnSDK(t *testing.T) {
	w := watch(t, time.Minute)
	w.config = Config{}
	equal(t, "exit code", w.leave(t).ExitCode(), fsm.ExitOK)
}

// Telemetry of several components that are Last can be ordered.
func TestProvidersMayBeComponentsAfterThePush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, 10*time.Second)
		if err := Register(w.Orchestrator, w.config); err != nil {
			t.Fatal(err)
		}
		w.register(t, "traces", fsm.Func(w.config.TracerProvider.(*sdktrace.TracerProvider).Shutdown), fsm.Last(), fsm.After(ID))
		report, err := w.Shutdown(t.Context(), fsm.Command{Reason: "test"})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "exit code", report.ExitCode(), fsm.ExitOK)
	})
}
