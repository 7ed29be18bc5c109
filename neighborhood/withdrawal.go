package neighborhood

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// Farewell is what became of the one message to one former neighbor.
type Farewell struct {
	Neighbor identity.PublicKey
	Err      error         // nil: it was written to the neighbor's stream; otherwise the neighbor was not reached
	Took     time.Duration // from the beginning of the withdrawal until it was written or had failed
}

// Written reports whether the farewell was written. Whether it was read as well only the streams can know.
func (f Farewell) Written() bool { return f.Err == nil }

// Left reports whether the farewell was not written because the neighbor was leaving itself: nobody is left to be told.
func (f Farewell) Left() bool { return errors.Is(f.Err, ErrPeerLeft) }

// Withdrawal returns what became of the farewells, one for each neighbor there was, by key. It is nil until all of them
// are written or have failed, and empty then if there was no neighbor.
func (n *Neighborhood) Withdrawal() []Farewell {
	select {
	case <-n.ended:
	default:
		return nil
	}
	all := []Farewell{}
	for _, f := range n.core.View().Farewells {
		if f.Err != nil && n.left[f.Neighbor] && !errors.Is(f.Err, ErrPeerLeft) {
			f.Err = fmt.Errorf("%w: %w", ErrPeerLeft, f.Err)
		}
		all = append(all, Farewell{Neighbor: f.Neighbor, Err: f.Err, Took: f.Took})
	}
	return all
}

// NotReachedError says that farewells were not written. It wraps their errors.
type NotReachedError struct {
	Farewells []Farewell // those that failed
}

// Error names every neighbor that was not reached.
func (e *NotReachedError) Error() string {
	each := make([]string, len(e.Farewells))
	for i, f := range e.Farewells {
		each[i] = fmt.Sprintf("%s (%v)", f.Neighbor, f.Err)
	}
	return "neighborhood: farewell not written to " + strings.Join(each, ", ")
}

// Unwrap returns the error of each.
func (e *NotReachedError) Unwrap() []error {
	errs := make([]error, len(e.Farewells))
	for i, f := range e.Farewells {
		errs[i] = f.Err
	}
	return errs
}

func notReached(all []Farewell) error {
	var failed []Farewell
	for _, f := range all {
		if !f.Written() && !f.Left() {
			failed = append(failed, f)
		}
	}
	if failed == nil {
		return nil
	}
	return &NotReachedError{Farewells: failed}
}
