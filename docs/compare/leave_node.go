package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams"
	"github.com/farewell-node/farewell/streams/identity"
)

const (
	settleTime = 90 * time.Second // for a network to know a new member
	quiet      = time.Second      // of silence: nobody has anything more to say
)

// member is a node of this project without its UI: a neighborhood on a pool of
// streams, as package node puts them together.
type member struct {
	*neighborhood.Neighborhood
	pool         *streams.Pool
	orchestrator *fsm.Orchestrator
	descriptor   neighborhood.Descriptor
	changed      chan struct{} // has room for one
}

// network is the pool as the neighborhood wants it.
type network struct{ *streams.Pool }

func (n network) Deliver(ctx context.Context, peer identity.PublicKey, frame []byte) error {
	err := n.Pool.Deliver(ctx, peer, frame)
	if errors.Is(err, streams.ErrPeerLeft) {
		return fmt.Errorf("%w: %w", neighborhood.ErrPeerLeft, err)
	}
	return err
}

func startMember(neighbors ...neighborhood.Descriptor) (*member, error) {
	id, err := identity.New()
	if err != nil {
		return nil, err
	}
	m := &member{changed: make(chan struct{}, 1)}
	changed := func() {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
	m.Neighborhood, err = neighborhood.New(neighborhood.Config{Identity: id, Neighbors: neighbors, Changed: changed})
	if err != nil {
		return nil, err
	}
	m.pool, err = streams.New(streams.Config{
		Identity: id, Handler: m.Neighborhood, Withdrawer: m.Neighborhood, MaxFrame: neighborhood.MaxMessage,
	})
	if err != nil {
		return nil, err
	}
	m.orchestrator, err = fsm.New(fsm.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		m.orchestrator.Register("neighborhood", m.Neighborhood, fsm.Withdraws()),
		m.orchestrator.Register("streams", m.pool),
	)
	if err != nil {
		return nil, err
	}
	address, err := m.pool.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	m.descriptor = neighborhood.Descriptor{Key: id.PublicKey(), Address: address.String()}
	return m, m.Start(network{m.pool}, address.String())
}

// await waits until the neighborhood is as it should be.
func (m *member) await(ctx context.Context, is func(neighborhood.Snapshot) bool) error {
	for {
		if is(m.Snapshot()) {
			return nil
		}
		select {
		case <-m.changed:
		case <-ctx.Done():
			return fmt.Errorf("the neighborhood did not become what it should: %w", context.Cause(ctx))
		}
	}
}

// lists asks for a node's record to list as many neighbors.
func lists(key identity.PublicKey, neighbors int) func(neighborhood.Snapshot) bool {
	return func(s neighborhood.Snapshot) bool {
		for _, r := range s.Records {
			if r.Key == key {
				return len(r.HalfNeighbors) == neighbors
			}
		}
		return neighbors == 0
	}
}

func (m *member) end(ctx context.Context) error {
	report, err := m.orchestrator.Shutdown(ctx, fsm.Command{Reason: "it leaves"})
	if err != nil {
		return err
	}
	return report.Err()
}

// nodeGroup is a network whose nodes have all joined at the first. A node takes
// five neighbors at most, so most were passed on.
type nodeGroup struct{ members []*member }

func openNodes(_ context.Context, others int) (group, error) {
	g := &nodeGroup{}
	for range others {
		if err := g.add(); err != nil {
			return g, err
		}
	}
	return g, nil
}

func (g *nodeGroup) add() error {
	var at []neighborhood.Descriptor
	if len(g.members) > 0 {
		at = append(at, g.members[0].descriptor)
	}
	m, err := startMember(at...)
	if err == nil {
		g.members = append(g.members, m)
	}
	return err
}

// settle waits until everybody knows of everybody, and has nothing more to say.
func (g *nodeGroup) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, m := range g.members {
		err := m.await(ctx, func(s neighborhood.Snapshot) bool {
			inNetwork := 1
			for _, r := range s.Records {
				if len(r.HalfNeighbors) > 0 {
					inNetwork++
				}
			}
			return inNetwork == len(g.members)
		})
		if err != nil {
			return err
		}
	}
	for _, m := range g.members {
		for s := m.Snapshot(); s.Waiting > 0 || time.Since(s.LastGossip) < quiet; s = m.Snapshot() {
			select {
			case <-time.After(quiet / 10):
			case <-ctx.Done():
				return fmt.Errorf("the neighborhood is not silent: %w", context.Cause(ctx))
			}
		}
	}
	return nil
}

func (g *nodeGroup) close() error {
	var errs []error
	for _, m := range g.members {
		errs = append(errs, m.end(context.Background()))
	}
	return errors.Join(errs...)
}

type nodeLeaver struct {
	*member
	notices chan notice
}

// join has one more node join, and picks the one with the most neighbors, but for
// the first, where others join.
func (g *nodeGroup) join(ctx context.Context) (leaver, error) {
	if err := g.add(); err != nil {
		return nil, err
	}
	if err := g.settle(ctx); err != nil {
		return nil, err
	}
	at, neighbors := 0, []neighborhood.Neighbor{}
	for i, m := range g.members[1:] {
		if its := m.Snapshot().Neighbors; len(its) > len(neighbors) {
			at, neighbors = i+1, its
		}
	}
	l := &nodeLeaver{g.members[at], make(chan notice, len(g.members))}
	g.members = slices.Delete(g.members, at, at+1)
	key := l.descriptor.Key
	settling, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for _, other := range g.members {
		if err := other.await(settling, lists(key, len(neighbors))); err != nil {
			return nil, err
		}
	}
	for _, other := range g.members {
		near := slices.ContainsFunc(neighbors, func(n neighborhood.Neighbor) bool { return n.Key == other.descriptor.Key })
		go func() {
			if other.await(ctx, lists(key, 0)) == nil {
				l.notices <- notice{at: time.Now(), near: near}
			}
		}()
	}
	return l, nil
}

func (l *nodeLeaver) noticed() <-chan notice { return l.notices }

func (l *nodeLeaver) leave(ctx context.Context) error { return l.end(ctx) }
