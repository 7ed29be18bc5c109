package fsm

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Component makes the orchestrator a component of another one: a plugin, a
// tenant, a library with a life of its own. Its shutdown has the command and the
// time of the outer one; whoever insists upon it insists inside; its report stands
// in that of the outer one, and its error is the report's, less what the command
// itself carried. One that would be inside itself, or 32 deep, is refused with
// [ErrCycle].
func (o *Orchestrator) Component() Component { return &nested{o} }

type nested struct{ inner *Orchestrator }

func (n *nested) Shutdown(ctx context.Context) error {
	command, _ := CommandFrom(ctx)
	command.Within = timeInside(ctx)
	if command.Err != nil {
		command.Err = &passedOn{command.Err}
	}
	n.inner.Request(command)
	select {
	case <-n.inner.done:
	case <-ctx.Done():
		n.inner.Insist(Command{
			Reason: "the outer shutdown insists: " + command.Reason, By: command.By, Within: timeInside(ctx),
		})
		<-n.inner.done
	}
	return n.inner.final.errorOfItsOwn()
}

// timeInside is how long an inner shutdown may take, so that its report is final
// before the outer one has to be; 0 if nothing is said.
func timeInside(ctx context.Context) time.Duration {
	var command Command
	if left, ok := TimeLeft(ctx); ok {
		command.notBeyond(time.Now().Add(left))
	}
	return command.Within
}

func (n *nested) Report() *Report { return n.inner.Report() }

// deepest is how many orchestrators may stand inside each other.
const deepest = 32

// contains reports whether other is n's orchestrator, or inside it, or too deep.
func (n *nested) contains(other *Orchestrator, depth int) bool {
	if n.inner == other || depth == 0 {
		return true
	}
	return slices.ContainsFunc(n.inner.nestedOnes(), func(child *nested) bool { return child.contains(other, depth-1) })
}

func (o *Orchestrator) nestedOnes() (children []*nested) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.index {
		if child, ok := c.shutdown.(*nested); ok {
			children = append(children, child)
		}
	}
	return children
}

// passedOn is the error of a command that came from outside.
type passedOn struct{ error }

func (e *passedOn) Unwrap() error { return e.error }

// errorOfItsOwn is Err without what came with the command from outside.
func (r *Report) errorOfItsOwn() error {
	var own []error
	for _, err := range r.errs() {
		if _, foreign := err.(*passedOn); !foreign {
			own = append(own, err)
		}
	}
	return errors.Join(own...)
}
