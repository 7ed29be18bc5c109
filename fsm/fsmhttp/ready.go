package fsmhttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// Readiness answers whether the process wants requests: 200 while it does, and
// 503 from the first moment of a shutdown and before start-up is over, as
// [fsm.Orchestrator.Ready] says. The body says why. It is what a load balancer's
// health check or a readiness probe should ask; a liveness probe should not,
// because it would have the process killed that is about to leave.
func Readiness(o *fsm.Orchestrator) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, why := http.StatusOK, "ready"
		if !o.Ready() {
			if status, why = http.StatusServiceUnavailable, "starting"; o.State() != fsm.Running {
				why = "shutting down"
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, why+"\n") // whoever asked may have gone
	})
}

// Registrar is the part of an [fsm.Orchestrator] that [Drain] needs.
type Registrar interface {
	Alarm() time.Duration
	Polite() time.Duration
	Register(id fsm.ID, component fsm.Component, options ...fsm.Option) error
}

// Drain registers a component that keeps the process serving for d after its
// readiness has gone, because those who route requests notice late. It is one
// that [fsm.Withdraws]: nothing that does not withdraw is shut down before it is
// done.
//
// In Kubernetes a pod that is deleted gets SIGTERM at the same time as it is taken
// out of the EndpointSlices of its Services; kube-proxies, ingresses and load
// balancers learn of that in the seconds that follow, and until then send requests
// to it. They need no probe for it, so d is the time that news takes to spread, 5
// to 15 s mostly, and a preStop sleep is not needed. Elsewhere, who asks
// [Readiness] every p and believes the n-th failure needs d > n*p. The alarm plus
// a quarter second has to be below terminationGracePeriodSeconds, 30 s if nothing
// is said:
//
//	fsm.Config{Alarm: 25 * time.Second} // polite for 20
//	fsmhttp.Drain(o, "drain", 10*time.Second)
//
// d must be below the polite time, what is left of which is all that the others
// have to be polite in; else the error wraps [fsm.ErrInvalid] and names both. Zero
// is no drain, but still a component. If a request leaves a shutdown less time
// than that, see [fsm.Command], it drains for half of its polite time. One that is
// insisted upon ends at once, and that does not count in the exit code. Other
// errors are those of [fsm.Orchestrator.Register].
func Drain(o Registrar, id fsm.ID, d time.Duration, options ...fsm.Option) error {
	switch polite := o.Polite(); {
	case d < 0:
		return fmt.Errorf("fsmhttp: drain %q: %w: %v is negative", string(id), fsm.ErrInvalid, d)
	case d >= polite:
		return fmt.Errorf("fsmhttp: drain %q: %w: %v is not below the polite time of %v, of an alarm of %v",
			string(id), fsm.ErrInvalid, d, polite, o.Alarm())
	}
	drain := fsm.Func(func(ctx context.Context) error { return drain(ctx, d) })
	own := []fsm.Option{fsm.Withdraws(), fsm.Grace(o.Polite()), fsm.BestEffort()}
	return o.Register(id, drain, append(own, options...)...)
}

func drain(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); d >= left {
			d = left / 2
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
