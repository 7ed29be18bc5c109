package fsm

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"
)

const (
	// startupID names start-up in the report of a shutdown that began before it was over.
	startupID ID = "start-up"
	// What the log may take after the end: an end in time leaves it a second, but
	// nothing keeps the process longer than a quarter second past the alarm.
	logTime, logTimeLate = time.Second, 200 * time.Millisecond
)

// Main runs a process from its first line to its exit code:
//
//	func main() { os.Exit(fsm.Main(fsm.Config{}, start)) }
//
// It handles signals as [Orchestrator.HandleSignals] does, calls start, logs the
// events as [Orchestrator.LogEvents] does and then what the report says, and
// returns [Report.ExitCode] when the shutdown is over.
//
// start starts the process: it registers components in the order in which it
// starts them, and returns. An error is a shutdown with that error, of whatever
// it had registered. A shutdown that begins meanwhile ends its ctx; everything
// that is registered then waits until start has returned, or until last call. The
// report then has a line for start, under the ID "start-up": an error of what was
// interrupted is reported and does not count, a panic or coming back too late does.
//
// Whatever start, the components or the log do, Main returns at the latest a
// quarter second after the alarm. A broken pipe does not end the process from
// Main's first line on. It returns [ExitFailure] at once for a config that [New]
// refuses, or a nil start.
func Main(config Config, start func(ctx context.Context, o *Orchestrator) error) int {
	keepBrokenPipes()
	o, err := New(config)
	if err == nil && start == nil {
		err = fmt.Errorf("fsm: main: %w: it needs a function", ErrInvalid)
	}
	if err != nil {
		logged := make(chan struct{})
		go func() {
			defer close(logged)
			cmp.Or(config.Logger, slog.Default()).Error("cannot start", "error", err)
		}()
		receiveWithin(logTimeLate, logged)
		return ExitFailure
	}
	o.HandleSignals(config.Signals...)
	return o.main(start)
}

// main is Main without signals.
func (o *Orchestrator) main(start func(context.Context, *Orchestrator) error) int {
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		o.LogEvents(context.Background(), nil)
		<-o.done // its event comes a moment before the report
		o.final.log(o.logger)
	}()
	o.startUp(start) // refused if a signal was faster; then there is nothing to start
	<-o.done
	receiveWithin(o.timeForLog(), logged)
	return o.final.ExitCode()
}

// startUp runs start as the component that all others wait for.
func (o *Orchestrator) startUp(start func(context.Context, *Orchestrator) error) {
	_ = o.add(startupID, func() (*component, error) {
		run := func(ctx context.Context) error { return start(ctx, o) }
		c, err := newGo(startupID, run, []Option{Withdraws()})
		if err == nil {
			c.graced, c.startup = true, true // the whole polite time is its own
			// What start has started may go on with its ctx when start is back.
			c.runner.ctx = &begunContext{o.context.Context, c.labels}
		}
		return c, err
	})
}

// timeForLog is how long the log is waited for after the end.
func (o *Orchestrator) timeForLog() time.Duration {
	if o.final.ForcedBy != nil {
		return logTimeLate
	}
	return min(logTime, time.Until(o.final.Deadline)+logTimeLate)
}

// log tells the log what came of the shutdown, and who is to blame.
func (r *Report) log(logger *slog.Logger) {
	level := slog.LevelInfo
	if r.ExitCode() != ExitOK {
		level = slog.LevelError
	}
	ctx := context.Background()
	logger.Log(ctx, level, r.Summary())
	for _, l := range r.culprits() {
		logger.Log(ctx, level, l.Error(), "id", string(l.ID), "waited", l.Waited, "on", l.WaitedOn, "ran", l.Ran, "stack", l.Stack)
	}
}
