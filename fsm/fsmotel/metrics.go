package fsmotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/farewell-node/farewell/fsm"
)

var (
	states   = []fsm.State{fsm.Running, fsm.Withdrawing, fsm.AwaitingAcks, fsm.Terminated}
	outcomes = []fsm.Outcome{
		fsm.OutcomeWaiting, fsm.OutcomeStopping, fsm.OutcomeAcked, fsm.OutcomeFailed,
		fsm.OutcomePanicked, fsm.OutcomeHung, fsm.OutcomeSkipped,
	}
)

// instruments are what is measured.
type instruments struct {
	state          metric.Int64ObservableGauge
	components     metric.Int64ObservableUpDownCounter
	alarmRemaining metric.Float64ObservableGauge

	shutdownDuration, componentDuration, componentWait metric.Float64Histogram
}

// open makes the instruments and begins to observe o. stop ends that.
func (i *instruments) open(o *fsm.Orchestrator, meter metric.Meter) (stop func() error, err error) {
	var errs [6]error
	i.state, errs[0] = meter.Int64ObservableGauge("farewell.state",
		metric.WithDescription("1 for the state the machine is in, 0 for the others."))
	i.components, errs[1] = meter.Int64ObservableUpDownCounter("farewell.components",
		metric.WithUnit("{component}"), metric.WithDescription("How many components stand how."))
	i.alarmRemaining, errs[2] = meter.Float64ObservableGauge("farewell.alarm.remaining",
		metric.WithUnit("s"), metric.WithDescription("What is left to the alarm, during a shutdown."))
	i.shutdownDuration, errs[3] = histogram(meter, "farewell.shutdown.duration", "From the request to the push of telemetry.")
	i.componentDuration, errs[4] = histogram(meter, "farewell.component.duration", "How long a component's Shutdown ran.")
	i.componentWait, errs[5] = histogram(meter, "farewell.component.wait", "How long a component waited before its Shutdown began.")
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	observing, err := meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		i.observe(observer, o.Report(), time.Now())
		return nil
	}, i.state, i.components, i.alarmRemaining)
	if err != nil {
		return nil, err
	}
	return observing.Unregister, nil
}

// shutdownBuckets are in seconds: shutdowns take from a millisecond to minutes.
var shutdownBuckets = []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

func histogram(meter metric.Meter, name, description string) (metric.Float64Histogram, error) {
	return meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(shutdownBuckets...))
}

// observe says how things stand now.
func (i *instruments) observe(observer metric.Observer, r *fsm.Report, now time.Time) {
	for _, state := range states {
		value := int64(0)
		if state == r.State {
			value = 1
		}
		observer.ObserveInt64(i.state, value, metric.WithAttributes(attribute.Stringer("farewell.state", state)))
	}
	counts := map[fsm.Outcome]int64{}
	for _, c := range r.Components {
		counts[c.Outcome]++
	}
	for _, outcome := range outcomes {
		observer.ObserveInt64(i.components, counts[outcome],
			metric.WithAttributes(attribute.Stringer("farewell.outcome", outcome)))
	}
	if r.State == fsm.Withdrawing || r.State == fsm.AwaitingAcks {
		observer.ObserveFloat64(i.alarmRemaining, r.Deadline.Sub(now).Seconds())
	}
}

// record says once how the shutdown went.
func (i *instruments) record(ctx context.Context, r *fsm.Report) {
	ctx = context.WithoutCancel(ctx) // recording takes no time, also when time is up
	i.shutdownDuration.Record(ctx, r.Took.Seconds())
	for _, c := range r.Components {
		if c.ID == ID {
			continue
		}
		which := metric.WithAttributes(
			attribute.String("farewell.component", string(c.ID)),
			attribute.Stringer("farewell.outcome", c.Outcome),
		)
		i.componentWait.Record(ctx, c.Waited.Seconds(), which)
		if begun(&c) {
			i.componentDuration.Record(ctx, c.Ran.Seconds(), which)
		}
	}
}

// begun reports whether a component's Shutdown was called.
func begun(c *fsm.ComponentReport) bool {
	return c.Outcome != fsm.OutcomeWaiting && c.Outcome != fsm.OutcomeSkipped
}
