package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/demo/service"
)

const (
	workers = 16 // that send requests
	// patience is how many times its deadline an answer is waited for: then it is lost,
	// and not only late.
	patience = 3
	// mostErrors are kept of those that requests came to.
	mostErrors = 3
)

// Tally is what came of the requests of a while: each counts when it is over.
type Tally struct {
	Sent    int            `json:"sent"`
	Lost    int            `json:"lost"`      // not answered, or only with what went wrong
	Wrong   int            `json:"wrong"`     // answered, but not with the right answer
	Late    int            `json:"late"`      // answered rightly, after the deadline
	Leaving int            `json:"byLeavers"` // answered rightly by one who was leaving by then
	Slowest time.Duration  `json:"-"`         // of those that were answered
	Served  map[string]int `json:"served"`    // instance: requests that it worked on
	Errors  []string       `json:"errors,omitempty"`
}

// MarshalJSON adds the durations, in milliseconds.
func (t Tally) MarshalJSON() ([]byte, error) {
	type plain Tally
	return json.Marshal(struct {
		plain
		Slowest float64 `json:"slowestMs"`
	}{plain(t), milliseconds(t.Slowest)})
}

// plus adds two of them.
func (t Tally) plus(u Tally) Tally {
	t.Sent, t.Lost, t.Wrong, t.Late = t.Sent+u.Sent, t.Lost+u.Lost, t.Wrong+u.Wrong, t.Late+u.Late
	t.Leaving += u.Leaving
	t.Slowest = max(t.Slowest, u.Slowest)
	served := maps.Clone(t.Served)
	if served == nil {
		served = map[string]int{}
	}
	for name, n := range u.Served {
		served[name] += n
	}
	t.Served = served
	errs := slices.Concat(t.Errors, u.Errors)
	t.Errors = errs[:min(len(errs), mostErrors)]
	return t
}

// load sends requests to the first group, at a steady rate, until it is stopped.
type load struct {
	ctx      context.Context // ends when no answer is waited for any more
	nc       *nats.Conn
	pause    time.Duration // of each worker
	deadline time.Duration
	number   atomic.Int64
	final    chan struct{}
	stop     func() // may be called twice
	working  sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// startLoad begins to send, at the configured rate.
func startLoad(ctx context.Context, nc *nats.Conn, config Config) *load {
	l := &load{
		ctx: ctx, nc: nc, deadline: config.Deadline, final: make(chan struct{}),
		pause: workers * time.Second / time.Duration(config.Rate),
	}
	l.stop = sync.OnceFunc(func() { close(l.final) })
	for i := range workers {
		l.working.Go(func() { l.work(l.pause * time.Duration(i) / workers) })
	}
	return l
}

func (l *load) work(first time.Duration) {
	next := time.NewTimer(first)
	defer next.Stop()
	for {
		select {
		case <-l.final:
			return
		case now := <-next.C:
			l.request(l.number.Add(1))
			next.Reset(max(0, l.pause-time.Since(now)))
		}
	}
}

func (l *load) request(n int64) {
	ctx, cancel := context.WithTimeout(l.ctx, patience*l.deadline)
	defer cancel()
	began := time.Now()
	m, err := l.nc.RequestWithContext(ctx, service.Subject(chain[0]), strconv.AppendInt(nil, n, 10))
	var one Tally
	if err == nil {
		one = l.judge(n, m.Data, time.Since(began))
	} else {
		one = Tally{Lost: 1, Errors: []string{err.Error()}}
	}
	one.Sent = 1
	for i, text := range one.Errors {
		one.Errors[i] = fmt.Sprintf("request %d: %s", n, text)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally = l.tally.plus(one)
}

// judge reads an answer. One that only says what went wrong is none.
func (l *load) judge(n int64, data []byte, took time.Duration) Tally {
	var a service.Answer
	err := json.Unmarshal(data, &a)
	switch {
	case err == nil && a.Err != "":
		return Tally{Lost: 1, Errors: []string{a.Err}}
	case err != nil || a.Square != n*n || len(a.Via) != len(chain):
		return Tally{Wrong: 1, Slowest: took, Errors: []string{fmt.Sprintf("answered with %.200q", data)}}
	}
	t := Tally{Slowest: took, Served: map[string]int{}}
	for _, name := range a.Via {
		t.Served[name]++
	}
	if took > l.deadline {
		t.Late = 1
	}
	if a.Leaving {
		t.Leaving = 1
	}
	return t
}

// cut returns what came of the requests that have ended since the last cut.
func (l *load) cut() Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	l.tally = Tally{}
	return t
}

// Shutdown sends nothing more, and waits for the answers to what was sent.
func (l *load) Shutdown(ctx context.Context) error {
	l.stop()
	answered := make(chan struct{})
	go func() {
		l.working.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
