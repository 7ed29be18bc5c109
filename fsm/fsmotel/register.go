package fsmotel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/farewell-node/farewell/fsm"
)

// ID is under which the component that pushes registers.
const ID fsm.ID = "telemetry"

// scope names this package to OpenTelemetry.
const scope = "github.com/farewell-node/farewell/fsm/fsmotel"

// graceShare is the part of the polite time that the push may take.
const graceShare = 4

// Config configures [Register]. Its zero value is valid.
type Config struct {
	TracerProvider trace.TracerProvider // otel.GetTracerProvider() if nil
	MeterProvider  metric.MeterProvider // otel.GetMeterProvider() if nil
	// Grace is what the push may take; a quarter of the polite time if zero.
	Grace time.Duration
}

// Register measures o, and registers the component "telemetry" that records the
// trace of the shutdown and pushes all there is. It does not block. What is
// refused leaves nothing behind; the errors are those of [fsm.Orchestrator.Register],
// and of a meter that cannot make an instrument.
func Register(o *fsm.Orchestrator, config Config) error {
	p := &pusher{
		orchestrator: o,
		traces:       config.TracerProvider,
		metrics:      config.MeterProvider,
	}
	if p.traces == nil {
		p.traces = otel.GetTracerProvider()
	}
	if p.metrics == nil {
		p.metrics = otel.GetMeterProvider()
	}
	stop, err := p.instruments.open(o, p.metrics.Meter(scope))
	if err != nil {
		return fmt.Errorf("fsmotel: %w", err)
	}
	grace := cmp.Or(config.Grace, o.Polite()/graceShare)
	err = o.Register(ID, p, fsm.Last(), fsm.BestEffort(), fsm.Grace(grace))
	if err != nil {
		return fmt.Errorf("fsmotel: %w", errors.Join(err, stop()))
	}
	return nil
}

// pusher is the component.
type pusher struct {
	orchestrator *fsm.Orchestrator
	traces       trace.TracerProvider
	metrics      metric.MeterProvider
	instruments  instruments
}

// flusher is what the SDK's providers can do, and those of the API need not.
type flusher interface {
	ForceFlush(ctx context.Context) error
}

// Shutdown records how the shutdown went so far, and pushes it: the spans and the
// metrics at the same time.
func (p *pusher) Shutdown(ctx context.Context) error {
	report := p.orchestrator.Report()
	record(p.traces.Tracer(scope), report)
	p.instruments.record(ctx, report)
	pushed := make(chan error, 1)
	go func() { pushed <- flush(ctx, p.metrics) }()
	return errors.Join(flush(ctx, p.traces), <-pushed)
}

func flush(ctx context.Context, provider any) error {
	if f, ok := provider.(flusher); ok {
		return f.ForceFlush(ctx)
	}
	return nil
}
