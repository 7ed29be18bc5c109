package shop

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Telemetry sends traces and metrics to a collector, and shows the metrics to Prometheus.
type Telemetry struct {
	traces  *trace.TracerProvider
	metrics *sdkmetric.MeterProvider
}

// NewTelemetry sets the providers of the process. The collector need not be there.
func NewTelemetry(ctx context.Context, collector string) (*Telemetry, error) {
	traces, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(collector), otlptracegrpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	metrics, err := otlpmetricgrpc.New(ctx, otlpmetricgrpc.WithEndpoint(collector), otlpmetricgrpc.WithInsecure())
	if err != nil {
		return nil, err
	}
	scraped, err := prometheus.New()
	if err != nil {
		return nil, err
	}
	t := &Telemetry{
		trace.NewTracerProvider(trace.WithBatcher(traces)),
		sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)), sdkmetric.WithReader(scraped)),
	}
	otel.SetTracerProvider(t.traces)
	otel.SetMeterProvider(t.metrics)
	orders, err = t.metrics.Meter("shop").Int64Counter("shop.orders", metric.WithDescription("Orders stored."))
	return t, err
}

// Shutdown sends what has not been sent yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	return errors.Join(t.traces.Shutdown(ctx), t.metrics.Shutdown(ctx))
}

var orders metric.Int64Counter

func placed(ctx context.Context) { orders.Add(ctx, 1) }
