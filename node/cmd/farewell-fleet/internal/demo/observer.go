package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// observer reads, over a connection of its own, what the registry and the processes
// themselves say. It knows nothing of who asks them to leave.
type observer struct {
	mu      sync.Mutex
	news    []remote.News // in the order in which the server has sent them
	err     error         // why there is nothing more
	changed chan struct{} // closed when there is
}

func newObserver() *observer { return &observer{changed: make(chan struct{})} }

// watch blocks until ctx ends.
func (o *observer) watch(ctx context.Context, nc *nats.Conn) {
	for news, err := range remote.Watch(ctx, nc, "") {
		o.mu.Lock()
		if err != nil {
			o.err = err
		} else {
			o.news = append(o.news, news)
		}
		close(o.changed)
		o.changed = make(chan struct{})
		o.mu.Unlock()
	}
}

func (o *observer) seen() (news []remote.News, changed <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clip(o.news), o.changed, o.err
}

// until blocks until what was seen is as it should be, or ctx ends.
func (o *observer) until(ctx context.Context, fine func([]remote.News) bool) error {
	for {
		news, changed, err := o.seen()
		if fine(news) || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// present returns who is in the registry after all that.
func present(news []remote.News) map[string]remote.Instance {
	there := map[string]remote.Instance{}
	for _, n := range news {
		switch n.Kind {
		case remote.Joined:
			there[n.Instance.String()] = n.Instance
		case remote.Withdrawn, remote.Expired:
			delete(there, n.Instance.String())
		}
	}
	return there
}

// Absences is how many instances were out of the registry at once.
type Absences struct {
	Most   int            `json:"most"`             // of all
	Groups map[string]int `json:"groups"`           // of each group
	Who    []string       `json:"who"`              // they were, the first time that it were so many
	Left   int            `json:"left"`             // how often one went
	Joined int            `json:"joined"`           // how often one came back as another run
	Unseen []string       `json:"unseen,omitempty"` // who never went
}

// absences counts in news, which begin when all of the instances are there.
func absences(all []string, news []remote.News) Absences {
	a := Absences{Groups: map[string]int{}, Who: []string{}}
	away, gone := map[string]string{}, map[string]bool{}
	for _, n := range news {
		name := n.Instance.String()
		switch n.Kind {
		case remote.Withdrawn, remote.Expired:
			away[name], gone[name] = n.Instance.Group, true
			a.Left++
		case remote.Joined:
			if gone[name] {
				a.Joined++
			}
			delete(away, name)
		}
		if len(away) > a.Most {
			a.Most, a.Who = len(away), slices.Sorted(maps.Keys(away))
		}
		of := map[string]int{}
		for _, group := range away {
			of[group]++
			a.Groups[group] = max(a.Groups[group], of[group])
		}
	}
	for _, name := range all {
		if !gone[name] {
			a.Unseen = append(a.Unseen, name)
		}
	}
	return a
}

// Order is whether whole groups left one after the other.
type Order struct {
	Pairs  int      `json:"pairs"`  // of instances, one of which had to be done before the other began
	Broken []string `json:"broken"` // those that were not in order, or of which nothing was seen
}

// life is when, by its place in the news, an instance began to leave, had ended
// everything, and was over; 0 where that was not seen.
type life struct{ began, ended, over int }

// lives reads them from events. What one process knew of another before it began
// comes later in news, since the server sees it later: nobody's clock is asked.
func lives(news []remote.News) map[string]life {
	all := map[string]life{}
	for i, n := range news {
		if n.Kind != remote.Happened {
			continue
		}
		at, l := i+1, all[n.Instance.String()]
		switch {
		case n.Event.State == fsm.Terminated:
			l.over = at
		case n.Event.Kind == fsm.ShutdownRequested && l.began == 0:
			l.began = at
		case n.Event.Kind == fsm.Acked && n.Event.From != lastWord:
			l.ended = at
		}
		all[n.Instance.String()] = l
	}
	return all
}

// allOver reports whether the lives of all of them were seen to their end.
func allOver(names []string, news []remote.News) bool {
	all := lives(news)
	return !slices.ContainsFunc(names, func(name string) bool { return all[name].over == 0 })
}

// orderOf compares each instance with all of the groups after its own.
func orderOf(groups [][]string, news []remote.News) Order {
	order, all := Order{Broken: []string{}}, lives(news)
	compare := func(earlier, later string) {
		order.Pairs++
		a, b := all[earlier], all[later]
		switch {
		case a.ended == 0 || a.over == 0 || b.began == 0:
			order.Broken = append(order.Broken, fmt.Sprintf("%s before %s, of which not all was seen", earlier, later))
		case b.began < a.ended:
			order.Broken = append(order.Broken, fmt.Sprintf("%s before %s", earlier, later))
		}
	}
	for i, group := range groups {
		for _, earlier := range group {
			for _, later := range slices.Concat(groups[i+1:]...) {
				compare(earlier, later)
			}
		}
	}
	return order
}

// lastWord is the component that tells others that all else has ended: they learn of
// it before it acks.
const lastWord = remote.DefaultID + "-report"
