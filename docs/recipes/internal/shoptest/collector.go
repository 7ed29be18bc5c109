package shoptest

import (
	"context"
	"net"
	"sync"
	"testing"

	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// Collector takes telemetry, as an OpenTelemetry collector does, and counts it.
type Collector struct {
	Address string

	metricpb.UnimplementedMetricsServiceServer
	mu     sync.Mutex
	spans  map[string]int
	orders int64
}

// NewCollector starts one, for the time of the test.
func NewCollector(t testing.TB) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Address: l.Addr().String(), spans: map[string]int{}}
	server := grpc.NewServer()
	metricpb.RegisterMetricsServiceServer(server, c)
	tracepb.RegisterTraceServiceServer(server, traces{of: c})
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return c
}

// Spans is how many came of that name.
func (c *Collector) Spans(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spans[name]
}

// Orders is how many orders the shop said last that it has stored.
func (c *Collector) Orders() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.orders)
}

// Export takes metrics.
func (c *Collector) Export(_ context.Context, request *metricpb.ExportMetricsServiceRequest) (*metricpb.ExportMetricsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceMetrics() {
		for _, scope := range resource.GetScopeMetrics() {
			for _, m := range scope.GetMetrics() {
				if m.GetName() == "shop.orders" {
					c.orders = m.GetSum().GetDataPoints()[0].GetAsInt()
				}
			}
		}
	}
	return new(metricpb.ExportMetricsServiceResponse), nil
}

type traces struct {
	tracepb.UnimplementedTraceServiceServer
	of *Collector
}

func (t traces) Export(_ context.Context, request *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				t.of.spans[span.GetName()]++
			}
		}
	}
	return new(tracepb.ExportTraceServiceResponse), nil
}
