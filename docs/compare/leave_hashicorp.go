package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/hashicorp/serf/serf"
)

// leaveTimeout is what Leave is given to tell somebody.
const leaveTimeout = 5 * time.Second

// gossiper is a member of memberlist or serf.
type gossiper interface {
	address() string
	join(addresses ...string) error
	leave() error
	stop() error
}

// observer is told what one member sees of the others.
type observer struct {
	mu    sync.Mutex
	known map[string]bool
	gone  map[string]chan<- notice // to be told of this one
	news  chan struct{}            // has room for one
}

func newObserver() *observer {
	return &observer{known: map[string]bool{}, gone: map[string]chan<- notice{}, news: make(chan struct{}, 1)}
}

func (o *observer) joined(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[name] = true
	select {
	case o.news <- struct{}{}:
	default:
	}
}

func (o *observer) left(name string, dead bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, name)
	if notices := o.gone[name]; notices != nil {
		notices <- notice{at: time.Now(), dead: dead}
		delete(o.gone, name)
	}
}

// tell has notices told when a member has gone.
func (o *observer) tell(name string, notices chan<- notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone[name] = notices
}

func (o *observer) await(ctx context.Context, name string) error {
	for {
		o.mu.Lock()
		known := o.known[name]
		o.mu.Unlock()
		if known {
			return nil
		}
		select {
		case <-o.news:
		case <-ctx.Done():
			return fmt.Errorf("%s is not known: %w", name, context.Cause(ctx))
		}
	}
}

// gossipGroup is a cluster.
type gossipGroup struct {
	open      func(name string, o *observer) (gossiper, error)
	members   []gossiper
	observers []*observer
	leavers   int
}

func openGossip(ctx context.Context, others int, open func(string, *observer) (gossiper, error)) (group, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	g := &gossipGroup{open: open}
	for i := range others {
		o := newObserver()
		m, err := open(fmt.Sprint("other", i), o)
		if err != nil {
			return g, err
		}
		g.members, g.observers = append(g.members, m), append(g.observers, o)
		if i > 0 {
			if err := m.join(g.addresses()[:i]...); err != nil {
				return g, err
			}
		}
	}
	for _, o := range g.observers {
		for i := range others {
			if err := o.await(ctx, fmt.Sprint("other", i)); err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

// addresses are those of all members: who joins tells each of them, or it could
// take a while until everybody knows.
func (g *gossipGroup) addresses() (all []string) {
	for _, m := range g.members {
		all = append(all, m.address())
	}
	return all
}

func (g *gossipGroup) close() error {
	var errs []error
	for _, m := range g.members {
		errs = append(errs, m.stop())
	}
	return errors.Join(errs...)
}

type gossipLeaver struct {
	gossiper
	notices chan notice
}

func (g *gossipGroup) join(ctx context.Context) (leaver, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	g.leavers++
	name := fmt.Sprint("leaver", g.leavers)
	own := newObserver()
	m, err := g.open(name, own)
	if err != nil {
		return nil, err
	}
	if err := m.join(g.addresses()...); err != nil {
		return nil, err
	}
	l := &gossipLeaver{m, make(chan notice, len(g.members))}
	for i, o := range g.observers {
		if err := own.await(ctx, fmt.Sprint("other", i)); err != nil {
			return nil, err
		}
		if err := o.await(ctx, name); err != nil {
			return nil, err
		}
		o.tell(name, l.notices)
	}
	time.Sleep(quiet)
	return l, nil
}

func (l *gossipLeaver) noticed() <-chan notice { return l.notices }

func (l *gossipLeaver) leave(context.Context) error {
	return errors.Join(l.gossiper.leave(), l.stop())
}

// memberlist

func openMemberlistLAN(ctx context.Context, others int) (group, error) {
	return openGossip(ctx, others, listMemberOf(memberlist.DefaultLANConfig))
}

func openMemberlistLocal(ctx context.Context, others int) (group, error) {
	return openGossip(ctx, others, listMemberOf(memberlist.DefaultLocalConfig))
}

func listMemberOf(config func() *memberlist.Config) func(string, *observer) (gossiper, error) {
	return func(name string, o *observer) (gossiper, error) {
		c := onLoopback(config(), name)
		c.Events = listEvents{o}
		list, err := memberlist.Create(c)
		return listMember{list}, err
	}
}

func onLoopback(c *memberlist.Config, name string) *memberlist.Config {
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort, c.LogOutput = name, "127.0.0.1", 0, 0, io.Discard
	return c
}

type listEvents struct{ *observer }

func (e listEvents) NotifyJoin(n *memberlist.Node)  { e.joined(n.Name) }
func (e listEvents) NotifyLeave(n *memberlist.Node) { e.left(n.Name, n.State == memberlist.StateDead) }
func (e listEvents) NotifyUpdate(*memberlist.Node)  {}

type listMember struct{ *memberlist.Memberlist }

func (m listMember) address() string { return m.LocalNode().Address() }
func (m listMember) leave() error    { return m.Leave(leaveTimeout) }
func (m listMember) stop() error     { return m.Shutdown() }

func (m listMember) join(addresses ...string) error {
	_, err := m.Join(addresses)
	return err
}

// serf

func openSerfLAN(ctx context.Context, others int) (group, error) {
	return openGossip(ctx, others, serfMemberOf(memberlist.DefaultLANConfig))
}

func openSerfLocal(ctx context.Context, others int) (group, error) {
	return openGossip(ctx, others, serfMemberOf(memberlist.DefaultLocalConfig))
}

func serfMemberOf(config func() *memberlist.Config) func(string, *observer) (gossiper, error) {
	return func(name string, o *observer) (gossiper, error) {
		c := serf.DefaultConfig()
		c.Init()
		c.NodeName, c.LogOutput = name, io.Discard
		c.MemberlistConfig = onLoopback(config(), name)
		events := make(chan serf.Event, 1024)
		c.EventCh = events
		s, err := serf.Create(c)
		if err != nil {
			return nil, err
		}
		go o.follow(events, s.ShutdownCh())
		return serfMember{s}, nil
	}
}

// follow passes serf's events on.
func (o *observer) follow(events <-chan serf.Event, ended <-chan struct{}) {
	for {
		select {
		case event := <-events:
			change, ok := event.(serf.MemberEvent)
			if !ok {
				continue
			}
			for _, member := range change.Members {
				switch change.Type {
				case serf.EventMemberJoin:
					o.joined(member.Name)
				case serf.EventMemberLeave:
					o.left(member.Name, false)
				case serf.EventMemberFailed:
					o.left(member.Name, true)
				}
			}
		case <-ended:
			return
		}
	}
}

type serfMember struct{ *serf.Serf }

func (m serfMember) address() string {
	local := m.LocalMember()
	return fmt.Sprintf("%s:%d", local.Addr, local.Port)
}
func (m serfMember) leave() error { return m.Leave() }
func (m serfMember) stop() error  { return m.Shutdown() }

func (m serfMember) join(addresses ...string) error {
	_, err := m.Join(addresses, true)
	return err
}
