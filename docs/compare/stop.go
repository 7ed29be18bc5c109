package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farewell-node/farewell/docs/compare/peers"
)

func stopTables(_ context.Context, s settings) ([]*table, error) {
	progress("stop: in order")
	orders, err := orderTable(s.orders)
	if err != nil {
		return nil, err
	}
	progress("stop: overhead")
	overhead, err := overheadTable(s.overheadSizes, s.overheads)
	if err != nil {
		return nil, err
	}
	progress("stop: one of ten hangs")
	hang, err := hangTable(s.hangs)
	if err != nil {
		return nil, err
	}
	return []*table{orders, overhead, hang}, nil
}

// shape is a set of components with an order.
type shape struct {
	name     string
	critical time.Duration // the longest way through the order: no shutdown can be faster
	units    []shaped
}

// shaped is one component: how long it takes to stop, and who must be done before.
type shaped struct {
	takes time.Duration
	after []int
}

// shapes are those of the table.
func shapes() []shape {
	flat := shape{name: "50 independent", critical: 20 * time.Millisecond}
	for range 50 {
		flat.units = append(flat.units, shaped{takes: 20 * time.Millisecond})
	}
	layers := shape{name: "3 layers of 10", critical: 60 * time.Millisecond}
	for i := range 30 {
		var above []int
		if layer := i / 10; layer > 0 {
			for j := range 10 {
				above = append(above, (layer-1)*10+j)
			}
		}
		layers.units = append(layers.units, shaped{20 * time.Millisecond, above})
	}
	chains := shape{name: "9 chains of 3", critical: 80 * time.Millisecond}
	for i := range 9 {
		for j := range 3 {
			var above []int
			if j > 0 {
				above = []int{len(chains.units) - 1}
			}
			takes := 10 * time.Millisecond
			if j == i%3 { // the slow one is elsewhere in each of three
				takes = 60 * time.Millisecond
			}
			chains.units = append(chains.units, shaped{takes, above})
		}
	}
	return []shape{flat, layers, chains}
}

// broken counts the orders that a stop did not keep.
type broken struct {
	edges, broken int
}

// stopShape lets one library stop the shape once.
func stopShape(peer peers.Peer, s shape) (took time.Duration, orders broken, err error) {
	done := make([]atomic.Bool, len(s.units))
	var violated atomic.Int64
	units := make([]peers.Unit, len(s.units))
	for i, u := range s.units {
		var after []string
		for _, above := range u.after {
			after = append(after, unitID(above))
		}
		orders.edges += len(after)
		units[i] = peers.Unit{ID: unitID(i), After: after, Stop: func(context.Context) error {
			for _, above := range u.after {
				if !done[above].Load() {
					violated.Add(1)
				}
			}
			time.Sleep(u.takes)
			done[i].Store(true)
			return nil
		}}
	}
	stop, err := peer.Start(units, time.Minute)
	if err != nil {
		return 0, orders, err
	}
	took, err = timed(stop)
	for i := range done {
		if !done[i].Load() {
			err = errors.Join(err, fmt.Errorf("%s was not stopped", unitID(i)))
		}
	}
	orders.broken = int(violated.Load())
	return took, orders, err
}

func unitID(i int) string { return fmt.Sprint("unit", i) }

// timed begins with a heap that owes nothing.
func timed(f func() error) (time.Duration, error) {
	runtime.GC()
	began := time.Now()
	err := f()
	return time.Since(began), err
}

func orderTable(trials int) (*table, error) {
	t := &table{
		title: "Stop: in order", head: []string{"library"},
		note: fmt.Sprintf("Milliseconds, medians of %d, until all is stopped, beside the critical path, which nobody can beat without breaking "+
			"an order; in brackets the orders broken, of all. Who cannot be told an order stops everything at once.", trials),
	}
	all := shapes()
	for _, s := range all {
		t.head = append(t.head, fmt.Sprintf("%s (%s)", s.name, millis(s.critical)))
	}
	took := map[string][][]time.Duration{}
	orders := map[string][]broken{}
	for range trials {
		for i, s := range all {
			for _, peer := range peers.All { // in turn, so that all see the same machine
				d, o, err := stopShape(peer, s)
				if err != nil {
					return nil, fmt.Errorf("stop: %s, %s: %w", peer.Name, s.name, err)
				}
				if took[peer.Name] == nil {
					took[peer.Name], orders[peer.Name] = make([][]time.Duration, len(all)), make([]broken, len(all))
				}
				took[peer.Name][i] = append(took[peer.Name][i], d)
				orders[peer.Name][i].broken = max(orders[peer.Name][i].broken, o.broken)
				orders[peer.Name][i].edges = o.edges
			}
		}
	}
	for _, peer := range peers.All {
		row := []string{peer.Name}
		for i := range all {
			cell := millis(median(took[peer.Name][i]))
			if o := orders[peer.Name][i]; o.edges > 0 {
				cell += fmt.Sprintf(" (%d/%d)", o.broken, o.edges)
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	return t, nil
}

func overheadTable(sizes []int, trials int) (*table, error) {
	t := &table{
		title: "Stop: overhead", head: []string{"library"},
		note: fmt.Sprintf("Independent components that return at once: milliseconds for all, in brackets microseconds for each, medians of "+
			"%d. Set-up is not timed.", trials),
	}
	took := map[string][][]time.Duration{}
	for i, n := range sizes {
		t.head = append(t.head, fmt.Sprint(n))
		units := make([]peers.Unit, n)
		for j := range units {
			units[j] = peers.Unit{ID: unitID(j), Stop: func(context.Context) error { return nil }}
		}
		for range trials {
			for _, peer := range peers.All {
				stop, err := peer.Start(units, time.Minute)
				if err != nil {
					return nil, fmt.Errorf("overhead: %s: %w", peer.Name, err)
				}
				d, err := timed(stop)
				if err != nil {
					return nil, fmt.Errorf("overhead: %s: %w", peer.Name, err)
				}
				if took[peer.Name] == nil {
					took[peer.Name] = make([][]time.Duration, len(sizes))
				}
				took[peer.Name][i] = append(took[peer.Name][i], d)
			}
		}
	}
	for _, peer := range peers.All {
		row := []string{peer.Name}
		for i, n := range sizes {
			d := median(took[peer.Name][i])
			row = append(row, fmt.Sprintf("%s (%.2f)", millis(d), float64(d.Nanoseconds())/1e3/float64(n)))
		}
		t.add(row...)
	}
	return t, nil
}

const (
	hangDeadline = 300 * time.Millisecond
	hangPatience = 5 * hangDeadline
	hangingUnit  = "culprit"
)

// hung is how a library took one of ten that hangs.
type hung struct {
	took   time.Duration
	never  bool // it had not returned by hangPatience
	others int  // that were done when it returned
	named  bool // in what it returned
}

func stopHung(peer peers.Peer) (h hung, err error) {
	release := make(chan struct{})
	var done atomic.Int64
	units := make([]peers.Unit, 10)
	for i := range units {
		units[i] = peers.Unit{ID: unitID(i), Stop: func(context.Context) error { done.Add(1); return nil }}
	}
	units[4] = peers.Unit{ID: hangingUnit, Stop: func(context.Context) error { <-release; return nil }}
	stop, err := peer.Start(units, hangDeadline)
	if err != nil {
		return h, err
	}
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		h.took, h.others = time.Since(began), int(done.Load())
		h.named = err != nil && strings.Contains(err.Error(), hangingUnit)
		close(release)
	case <-time.After(hangPatience):
		h.never, h.others = true, int(done.Load())
		close(release)
		<-ended
	}
	return h, nil
}

func hangTable(trials int) (*table, error) {
	t := &table{
		title: "Stop: one of ten hangs",
		head:  []string{"library", "ms until it returns", "the others stopped", "culprit named"},
		note: fmt.Sprintf("It takes no notice of its ctx, and the deadline is %v; medians of %d. Never: not within %v. Named: in the error "+
			"that is returned.", hangDeadline, trials, hangPatience),
	}
	all := map[string][]hung{}
	for range trials {
		for _, peer := range peers.All {
			h, err := stopHung(peer)
			if err != nil {
				return nil, fmt.Errorf("hang: %s: %w", peer.Name, err)
			}
			all[peer.Name] = append(all[peer.Name], h)
		}
	}
	for _, peer := range peers.All {
		var took []time.Duration
		sum := hung{others: 9, named: true}
		for _, h := range all[peer.Name] {
			took = append(took, h.took)
			sum.never = sum.never || h.never
			sum.others = min(sum.others, h.others)
			sum.named = sum.named && h.named
		}
		returned, who := millis(median(took)), "no"
		if sum.never {
			returned = "never"
		}
		if sum.named {
			who = "yes"
		}
		t.add(peer.Name, returned, fmt.Sprintf("%d of 9", sum.others), who)
	}
	return t, nil
}
