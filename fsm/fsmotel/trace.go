package fsmotel

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/farewell-node/farewell/fsm"
)

// record makes the trace of a shutdown that has come as far as report says.
func record(tracer trace.Tracer, r *fsm.Report) {
	// A shutdown belongs to no request of the process: it is a trace of its own.
	ctx, span := tracer.Start(context.Background(), "shutdown",
		trace.WithNewRoot(), trace.WithTimestamp(r.Began), trace.WithAttributes(attributesOf(r)...))
	for _, e := range r.Events {
		addEvent(span, e)
	}
	for i := range r.Components {
		if c := &r.Components[i]; c.ID != ID {
			recordComponent(ctx, tracer, r.Began, c)
		}
	}
	if culprits := culpritsOf(r); len(culprits) > 0 {
		span.SetStatus(codes.Error, strings.Join(culprits, ", "))
	}
	span.End(trace.WithTimestamp(r.Began.Add(r.Took)))
}

func attributesOf(r *fsm.Report) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.String("farewell.reason", r.Command.Reason),
		attribute.String("farewell.by", r.Command.By),
		attribute.Float64("farewell.alarm", r.Deadline.Sub(r.Began).Seconds()),
	}
	if r.Command.Signal != 0 {
		attributes = append(attributes, attribute.Int("farewell.signal", int(r.Command.Signal)))
	}
	for _, request := range r.Requests {
		if request.Err != nil {
			return append(attributes, attribute.String("farewell.error", request.Err.Error()))
		}
	}
	return attributes
}

func addEvent(span trace.Span, e fsm.Event) {
	attributes := []attribute.KeyValue{attribute.Stringer("farewell.state", e.State)}
	if e.From != "" {
		attributes = append(attributes, attribute.String("farewell.component", string(e.From)))
	}
	if e.Err != nil {
		attributes = append(attributes, attribute.String("farewell.error", e.Err.Error()))
	}
	span.AddEvent(e.Kind.String(), trace.WithTimestamp(e.At), trace.WithAttributes(attributes...))
}

// recordComponent makes the span of one component, and below it those of its own shutdown.
func recordComponent(ctx context.Context, tracer trace.Tracer, began time.Time, c *fsm.ComponentReport) {
	start := began.Add(c.Waited)
	ctx, span := tracer.Start(ctx, "shutdown "+string(c.ID), trace.WithTimestamp(start), trace.WithAttributes(
		attribute.String("farewell.component", string(c.ID)),
		attribute.Stringer("farewell.outcome", c.Outcome),
		attribute.Float64("farewell.wait", c.Waited.Seconds()),
		attribute.StringSlice("farewell.waited_on", textsOf(c.WaitedOn)),
		attribute.Bool("farewell.insisted", c.Insisted),
		attribute.Bool("farewell.best_effort", c.BestEffort),
	))
	if err := errors.Join(c.QuiesceErr, c.Err); err != nil {
		span.RecordError(err, trace.WithTimestamp(start.Add(c.Ran)))
	}
	if c.Stack != "" {
		span.SetAttributes(attribute.String("code.stacktrace", c.Stack))
	}
	if cause := causeOf(c); cause != "" {
		span.SetStatus(codes.Error, cause)
	}
	if c.Inner != nil {
		for i := range c.Inner.Components {
			recordComponent(ctx, tracer, c.Inner.Began, &c.Inner.Components[i])
		}
	}
	if begun(c) {
		span.End(trace.WithTimestamp(start.Add(c.Ran)))
	} else {
		span.End(trace.WithTimestamp(start)) // it never began: no length
	}
}

// causeOf says why a component did not leave politely; "" if it did.
func causeOf(c *fsm.ComponentReport) string {
	undecided := c.Outcome == fsm.OutcomeWaiting || c.Outcome == fsm.OutcomeStopping
	switch err := errors.Join(c.QuiesceErr, c.Err); {
	case undecided && c.Last: // it comes after the push, or runs beside it
	case c.Outcome == fsm.OutcomeStopping && !c.Insisted: // it began at last call, as the push did
	case c.Outcome == fsm.OutcomeWaiting, c.Outcome == fsm.OutcomeSkipped:
		return "not begun: waited for " + strings.Join(textsOf(c.WaitedOn), ", ")
	case c.Outcome == fsm.OutcomeStopping, c.Outcome == fsm.OutcomeHung:
		return "has not come back"
	case c.Outcome != fsm.OutcomeAcked && err != nil:
		return err.Error()
	case c.Outcome != fsm.OutcomeAcked:
		return c.Outcome.String()
	case c.Insisted:
		return "had to be insisted upon"
	}
	return ""
}

// culpritsOf names those because of whom the exit code will not be 0.
func culpritsOf(r *fsm.Report) (culprits []string) {
	for i := range r.Components {
		c := &r.Components[i]
		if c.ID != ID && !c.BestEffort && causeOf(c) != "" {
			culprits = append(culprits, string(c.ID))
		}
	}
	for _, request := range r.Requests {
		if request.Err != nil {
			culprits = append(culprits, "the request: "+request.Err.Error())
		}
	}
	return culprits
}

func textsOf(ids []fsm.ID) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return texts
}
