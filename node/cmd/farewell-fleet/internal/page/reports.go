package page

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// maxReports is how many bytes of reports are kept here, the last ones. The registry
// keeps all of them, for a day or what its owner says.
const maxReports = 16 << 20

// reports are the last ones, as JSON, of so many bytes.
type reports struct {
	most int

	mu    sync.Mutex
	texts map[string][]byte
	order []string
	bytes int
}

func newReports(most int) *reports { return &reports{most: most, texts: map[string][]byte{}} }

// runName names one run of a process.
func runName(i remote.Instance) string { return i.String() + "/" + i.Incarnation }

func (r *reports) keep(i remote.Instance, report *fsm.Report) {
	text, err := json.Marshal(report)
	if err != nil {
		return // the registry has it
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := runName(i)
	if old, known := r.texts[key]; known {
		r.bytes -= len(old)
	} else {
		r.order = append(r.order, key)
	}
	r.texts[key] = text
	for r.bytes += len(text); r.bytes > r.most; r.order = r.order[1:] {
		r.bytes -= len(r.texts[r.order[0]])
		delete(r.texts, r.order[0])
	}
}

func (r *reports) find(i remote.Instance) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.texts[runName(i)]
}

// reportTime is what it may take to get a report from the registry or from the process.
const reportTime = 3 * time.Second

// serveReport serves the report of one run: its last word, or how it stands now. 404 is
// that there is none.
func (p *Page) serveReport(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	i := remote.Instance{Group: query.Get("group"), Name: query.Get("name"), Incarnation: query.Get("incarnation")}
	if !p.fleet.knows(i) {
		http.Error(w, "nothing is known of it", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), reportTime)
	defer cancel()
	text, err := p.report(ctx, i)
	switch {
	case errors.Is(err, remote.ErrNotFound), errors.Is(err, remote.ErrUnreachable):
		http.Error(w, "there is no report of it", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text) // to a browser that may be gone
	}
}

func (p *Page) report(ctx context.Context, i remote.Instance) ([]byte, error) {
	if text := p.reports.find(i); text != nil {
		return text, nil
	}
	report, err := remote.LastReport(ctx, p.nc, i)
	if errors.Is(err, remote.ErrNotFound) { // it may be on its way
		var status remote.Status
		status, err = remote.Ask(ctx, p.nc, i.String())
		report = status.Report
		if err == nil && (report == nil || status.Instance.Incarnation != i.Incarnation) {
			err = remote.ErrNotFound
		}
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(report)
}
