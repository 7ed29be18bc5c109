package fleet

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

// Progress is one step of one instance.
type Progress struct {
	At       time.Time       `json:"at"` // by the clock of who drains
	Instance remote.Instance `json:"instance"`
	State    InstanceState   `json:"state"`
	Report   *fsm.Report     `json:"report,omitempty"` // if there is one; not to be changed
	Culprits []string        `json:"culprits,omitempty"`
	Err      error           `json:"-"` // as in [Line]
	Took     time.Duration   `json:"-"` // since it was asked
}

// progressLog is finite, a few entries per instance, so that no reader needs to be
// waited for or to miss anything.
type progressLog struct {
	mu      sync.Mutex
	entries []Progress
	ended   bool
	changed chan struct{} // closed at the next append; nil while nobody waits
}

func (l *progressLog) append(entries ...Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.entries = append(l.entries, entries...)
	l.wake()
}

func (l *progressLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// wake is called with mu held.
func (l *progressLog) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// after returns what follows the first n entries, and a channel that is closed when
// there is more, or nil after the end.
func (l *progressLog) after(n int) ([]Progress, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return slices.Clip(l.entries[n:]), nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return slices.Clip(l.entries[n:]), l.changed
}

// Progress returns what has happened so far and then what happens, in order: first
// one for each instance as it stands when the drain begins or is taken up again, then
// one for each change, to the last outcome. It ends with the drain, or when ctx does,
// and blocks in between. A reader, however slow or late, neither delays the drain nor
// misses anything, and there can be any number of them.
func (d *Drain) Progress(ctx context.Context) iter.Seq[Progress] {
	return func(yield func(Progress) bool) {
		for next := 0; ; {
			entries, changed := d.log.after(next)
			for _, p := range entries {
				if ctx.Err() != nil || !yield(p) {
					return
				}
			}
			if next += len(entries); changed == nil {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
