package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Standing is how the latest drain of a group stands, as it is written down.
type Standing struct {
	Group    string    `json:"group"`
	ID       string    `json:"id"`
	Operator string    `json:"operator,omitempty"` // who ran it last
	Began    time.Time `json:"began,omitzero"`
	Resumed  int       `json:"resumed,omitempty"`

	Holder string    `json:"holder,omitempty"` // who drains the group now; said while Held
	Held   bool      `json:"held"`             // somebody does, or has died less than a lease ago
	Since  time.Time `json:"since,omitzero"`   // when he took it up, by his clock

	Total  int `json:"total"`
	AtOnce int `json:"atOnce,omitempty"` // how many may be away at a time
	Done   int `json:"done"`             // with an outcome
	Failed int `json:"failed"`           // of those

	Finished bool   `json:"finished"`
	Stopped  string `json:"stopped,omitempty"` // why it was, if it was
}

// Unfinished reports whether [Resume] would take it up.
func (s *Standing) Unfinished() bool { return s.ID != "" && !s.Finished && !s.Held }

func (t tenure) standing(group string) Standing {
	return Standing{
		Group: group, ID: t.Drain, Operator: t.Operator, Holder: t.Operator, Held: true, Since: t.Since,
	}
}

// Current returns how the latest drain of a group stands. The error wraps
// [ErrNothing] if there has been none within [Keep]. It blocks until the bucket has
// answered.
func Current(ctx context.Context, nc *nats.Conn, group string) (*Standing, error) {
	if group == "" {
		return nil, fmt.Errorf("fleet: current: %w: which group", ErrInvalid)
	}
	all, err := standings(ctx, nc, group)
	if err == nil && len(all) == 0 {
		err = ErrNothing
	}
	if err != nil {
		return nil, fmt.Errorf("fleet: current: group %s: %w", clipped(group, maxName), err)
	}
	return &all[0], nil
}

// List returns how the latest drain of each group stands, ordered by the groups'
// names. It blocks until the bucket has answered.
func List(ctx context.Context, nc *nats.Conn) ([]Standing, error) {
	all, err := standings(ctx, nc, "")
	if err != nil {
		return nil, fmt.Errorf("fleet: list: %w", err)
	}
	return all, nil
}

func standings(ctx context.Context, nc *nats.Conn, group string) ([]Standing, error) {
	j, err := openJournal(ctx, nc, group, false)
	if errors.Is(err, errNoBucket) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pattern := cmp.Or(group, "*")
	found := map[string]Standing{}
	err = j.each(ctx, recordKey(pattern), func(key string, data []byte) {
		group := strings.TrimPrefix(key, recordKey(""))
		if r, err := decodeRecord(group, data); err == nil {
			found[group] = r.standing()
		}
	})
	if err != nil {
		return nil, err
	}
	err = j.each(ctx, leaseKey(pattern), func(key string, data []byte) {
		group := strings.TrimPrefix(key, leaseKey(""))
		if t, err := decodeTenure(data); err == nil {
			found[group] = found[group].heldBy(t, group)
		}
	})
	if err != nil {
		return nil, err
	}
	var all []Standing
	for _, s := range found {
		if s.Held || !s.Finished && s.Stopped == "" { // it goes on, or its operator has died
			if err := s.count(ctx, j); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Standing) int { return strings.Compare(a.Group, b.Group) })
	return all, nil
}

func (r *record) standing() Standing {
	return Standing{
		Group: r.Plan.Group, ID: r.ID, Operator: r.Operator, Began: r.Began, Resumed: r.Resumed,
		Total: r.Total, AtOnce: r.Plan.AtOnce.Of(r.Total), Done: r.Done, Failed: r.Failed, Finished: r.Finished, Stopped: r.Stopped,
	}
}

// heldBy adds who drains the group now.
func (s Standing) heldBy(t tenure, group string) Standing {
	if s.ID != t.Drain { // it has the lease, and has not written its plan down
		return t.standing(group)
	}
	s.Operator, s.Holder, s.Held, s.Since = t.Operator, t.Operator, true, t.Since
	return s
}

// howFar adds to a [HeldError] how far that drain is, if that can be told.
func howFar(ctx context.Context, j *journal, err error) error {
	var held *HeldError
	if !errors.As(err, &held) {
		return err
	}
	r, _, unread := j.record(ctx)
	if unread != nil || r.ID != held.ID {
		return err
	}
	s := r.standing()
	s.Operator, s.Holder, s.Held, s.Since = held.Holder, held.Holder, held.Held, held.Since
	if s.count(ctx, j) == nil {
		held.Standing = s
	}
	return err
}

// count counts the outcomes of a drain that is not over.
func (s *Standing) count(ctx context.Context, j *journal) error {
	of := journal{j.js, j.kv, s.Group}
	s.Done, s.Failed = 0, 0
	outcomes, err := of.outcomes(ctx, record{ID: s.ID, counts: counts{Total: s.Total}})
	for _, o := range outcomes {
		s.Done++
		if o.State.failure() {
			s.Failed++
		}
	}
	return err
}
