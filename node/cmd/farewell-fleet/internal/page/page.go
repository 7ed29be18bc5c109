// Package page is the live page of a fleet: its groups and their processes, how each
// stands, and on one axis of time when each joined, withdrew, stopped what, and left.
// It only reads. It imports fsm, fsm/remote and, for who may ask, ui.
package page

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/ui"
)

//go:generate env SCREENSHOTS=../../../../../docs go test -count=1 -run TestBrowserShowsARollingLeave .

// Config says what the page shows. Its zero value is valid: all groups.
type Config struct {
	Group string // only this one; all if empty
	// Hosts are names by which the page may be asked beside those of this machine, of
	// proxies before it. Whoever reaches such a proxy sees the page: the proxy has to
	// ask who it is.
	Hosts  []string
	Logger *slog.Logger // told when the registry cannot be watched; slog.Default() if nil
	// Drains says who drains the groups now, or has left a drain unfinished. It is
	// asked every second while somebody looks, with a ctx of one second. Nothing is shown
	// if it is nil.
	Drains func(ctx context.Context) ([]Drain, error)
}

// Drain is a rolling leave of a group.
type Drain struct {
	Group    string `json:"group"`
	Operator string `json:"operator"`
	Done     int    `json:"done"` // those that are not to be waited for any more
	Total    int    `json:"total"`
	AtOnce   string `json:"atOnce,omitempty"` // "3", "25%", as it was said
	Failed   int    `json:"failed"`
	Stopped  string `json:"stopped,omitempty"` // why it does not go on, if it does not
	Held     bool   `json:"held"`              // somebody works on it; else it can be resumed
}

// MaxBrowsers is how many are served at once; more get 503.
const MaxBrowsers = 32

// The limits of one browser's stream.
const (
	pace      = 100 * time.Millisecond // between two messages to a browser, at least
	heartbeat = 2 * time.Second        // between two messages, at most
	writeTime = 5 * time.Second        // that one message may take
)

// Page is a handler that serves the page of a fleet, and a component of a shutdown.
type Page struct {
	nc     *nats.Conn
	isNear func() bool // NATS can be reached
	config Config
	logger *slog.Logger
	fleet  *fleet
	began  time.Time // the axis begins axisBefore before

	reports  *reports
	problem  problem
	browsers browsers
	drains   drains

	ctx     context.Context // of all that it does by itself
	stop    context.CancelFunc
	working sync.WaitGroup
}

// New begins to watch a fleet. It does not block, and does not need NATS to be there:
// until it is the page says so. The page ends with [Page.Shutdown], and leaves nc open.
// An error is about config.
func New(nc *nats.Conn, config Config) (*Page, error) {
	if nc == nil {
		return nil, errors.New("page: it needs a connection")
	}
	for _, host := range config.Hosts {
		if err := ui.CheckHost(host); err != nil {
			return nil, fmt.Errorf("page: config: %w", err)
		}
	}
	nowhere, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := remote.List(nowhere, nc, config.Group); errors.Is(err, remote.ErrInvalid) { // the group is checked first
		return nil, fmt.Errorf("page: config: %w", err)
	}
	p := newPage(config)
	p.nc, p.isNear = nc, nc.IsConnected
	p.working.Go(p.watch)
	p.working.Go(p.askTheSilent)
	p.working.Go(p.followDrains)
	return p, nil
}

// newPage is a page that watches nothing yet.
func newPage(config Config) *Page {
	p := &Page{
		isNear: func() bool { return false }, config: config, logger: config.Logger,
		fleet: newFleet(), reports: newReports(maxReports), began: time.Now(),
	}
	if p.logger == nil {
		p.logger = slog.Default()
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.browsers.gone = make(chan struct{})
	return p
}

// now is where the axis is. It goes on when somebody sets the clock.
func (p *Page) now() moment { return momentOf(time.Since(p.began) + axisBefore) }

// Shutdown tells the browsers goodbye and ends the watching. It returns when all
// streams have ended, or when ctx does, with its cause: a browser that does not read
// is cut off after 5 s at the latest. Register it so that it ends before the
// server does, whose own Shutdown waits for the streams.
func (p *Page) Shutdown(ctx context.Context) error {
	p.stop()
	p.browsers.close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.working.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("page: shutdown: %w", context.Cause(ctx))
	}
	return p.browsers.wait(ctx)
}

//go:embed files
var embedded embed.FS

var files = func() http.Handler {
	files, err := fs.Sub(embedded, "files")
	if err != nil {
		panic(err) // the name is that of the folder embedded
	}
	return http.FileServerFS(files)
}()

// policy lets the page load nothing but its own files and ask nobody but its own
// server, and be framed by nobody.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves the page, its stream of what happens at /events, and the report of
// one run at /report. Whoever is not on this machine, or asks by a name that is neither
// this machine's nor among Config.Hosts, or from another page, gets 403. All that is
// not read is refused with 405. It can be mounted at a path that ends in a slash and is
// stripped.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit(w)
	if !ui.MayAsk(r, p.config.Hosts) {
		http.Error(w, fmt.Sprintf("only this machine and this page may ask, and not %q from %q: a proxy's name must be allowed (--host)",
			r.Host, r.Header.Get("Origin")), http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet && (r.Method != http.MethodHead || r.URL.Path == "/events") {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // the next process at this port may serve another page
	switch r.URL.Path {
	case "/events", "/report":
		h.Set("Cache-Control", "no-store")
		if from := r.Header.Get("Sec-Fetch-Site"); from == "cross-site" || from == "same-site" {
			http.Error(w, "this is for this page only", http.StatusForbidden) // a tag in another page sends no Origin
			return
		}
		if r.URL.Path == "/events" {
			p.serveEvents(w, r)
		} else {
			p.serveReport(w, r)
		}
	default:
		files.ServeHTTP(w, r)
	}
}

// limit bounds how long an answer may take to be read. A stream bounds each message.
func limit(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)) // where w can
}
