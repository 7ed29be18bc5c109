package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// browsers are the open streams.
type browsers struct {
	mu     sync.Mutex
	open   int
	closed bool
	gone   chan struct{} // closed when the last one has ended, once closed
}

func (b *browsers) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.open >= MaxBrowsers {
		return false
	}
	b.open++
	return true
}

func (b *browsers) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open--; b.open == 0 && b.closed {
		close(b.gone)
	}
}

func (b *browsers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && b.open == 0 {
		close(b.gone)
	}
	b.closed = true
}

// count is how many look.
func (b *browsers) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// wait blocks until all have left, once closed.
func (b *browsers) wait(ctx context.Context) error {
	select {
	case <-b.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("page: shutdown: a browser does not read: %w", context.Cause(ctx))
	}
}

// message is what a browser is sent, as the data of a server-sent event.
type message struct {
	Now     moment            `json:"now"`               // where the axis is
	Reset   *settings         `json:"reset,omitempty"`   // from here on everything is told anew
	Whole   bool              `json:"whole,omitzero"`    // that was everything: what was not in it is not there
	Rows    []json.RawMessage `json:"rows,omitempty"`    // that are new, or have changed
	Dropped []string          `json:"dropped,omitempty"` // that are not remembered any more
	Status  *status           `json:"status,omitempty"`  // if it has changed
	Goodbye bool              `json:"goodbye,omitzero"`  // the server ends
}

// settings hold for the whole stream.
type settings struct {
	Group string `json:"group"`  // the only one that is watched, or all
	Beat  int    `json:"beatMs"` // so often something is said at least
}

// status is what the page knows of itself.
type status struct {
	NATS    bool    `json:"nats"`    // it is there
	Problem string  `json:"problem"` // why the page does not know how things are
	Listed  bool    `json:"listed"`  // who is there is known
	More    int     `json:"more"`    // that are there and not shown
	Drains  []Drain `json:"drains"`
}

// maxRows is how many go into one message, so that each is written in time and a
// browser has something to show soon.
const maxRows = 500

// stream is what one browser has been told.
type stream struct {
	page   *Page
	w      http.ResponseWriter
	c      *http.ResponseController
	seen   uint64
	status string // as JSON
	listed bool
	more   int
	told   time.Time
}

func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !p.browsers.enter() {
		http.Error(w, fmt.Sprintf("more than %d browsers, or the page is going", MaxBrowsers), http.StatusServiceUnavailable)
		return
	}
	defer p.browsers.leave()
	s := &stream{page: p, w: w, c: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that would wait for more
	for {
		began := time.Now()
		if err := s.tell(); err != nil {
			return // it is cut off, and comes back by itself
		}
		// One that takes long to read, or a fleet in which much happens, is told less often.
		pause := time.NewTimer(max(pace, 4*time.Since(began)))
		select {
		case <-pause.C:
		case <-r.Context().Done():
			pause.Stop()
			return
		case <-p.ctx.Done():
			pause.Stop()
			_ = s.write(message{Goodbye: true}) // to one that may be gone
			return
		}
	}
}

// tell writes what has happened since it did so last, and now and then that nothing has.
func (s *stream) tell() error {
	c, version := s.page.fleet.since(s.seen)
	if version != s.seen {
		s.listed, s.more = c.listed, c.more
	}
	status, text := s.statusNow()
	m := message{}
	if c.reset {
		m.Reset = &settings{Group: s.page.config.Group, Beat: int(heartbeat.Milliseconds())}
	}
	if text != s.status {
		m.Status = status
	}
	if version == s.seen && m.Status == nil && time.Since(s.told) < heartbeat {
		return nil
	}
	m.Dropped = c.dropped
	for first := true; first || len(c.rows) > 0; first = false {
		n := min(maxRows, len(c.rows))
		m.Rows, c.rows = c.rows[:n], c.rows[n:]
		m.Whole = c.reset && len(c.rows) == 0
		if err := s.write(m); err != nil {
			return err
		}
		m = message{}
	}
	s.seen, s.status = version, text
	return nil
}

func (s *stream) statusNow() (now *status, text string) {
	p := s.page
	now = &status{
		NATS: p.isNear(), Problem: p.problem.said(), Listed: s.listed, More: s.more,
		Drains: p.drains.current(),
	}
	data, _ := json.Marshal(now) // strings, numbers and booleans
	return now, string(data)
}

func (s *stream) write(m message) error {
	m.Now = s.page.now()
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := s.c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "data: %s\n\n", data); err != nil {
		return err
	}
	s.told = time.Now()
	return s.c.Flush()
}
