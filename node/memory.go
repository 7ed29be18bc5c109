package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/streams/identity"
)

// memorySuffix makes the name of the file beside the key file in which a node keeps whom it may dial when it comes back.
const memorySuffix = ".neighbors"

const (
	maxMemory = 64 << 10 // bytes read of the file; it has some 150 for each neighbor
	maxAdded  = 64       // neighbors that it is asked to remember
)

// remembered is the content of that file.
type remembered struct {
	Added []neighborhood.Descriptor `json:"added,omitempty"` // at runtime, to be remembered
	Last  []neighborhood.Descriptor `json:"last,omitempty"`  // full neighbors, the newest first
}

// memory keeps the file. It is written by a goroutine of its own: the neighborhood's owner must not wait for a disk.
type memory struct {
	path    string // "": nothing is kept
	failed  func(error)
	changed chan struct{} // has room for one
	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex // guards what is kept
	kept    remembered
	written sync.Mutex // held while the file is written
}

// openMemory reads what an earlier life has left. A file that cannot be read is moved aside and reported to failed: a node
// without memory is better than none.
func openMemory(keyFile string, failed func(error)) *memory {
	m := &memory{failed: failed, changed: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
	if keyFile == "" {
		return m
	}
	m.path = keyFile + memorySuffix
	if err := m.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		aside := m.path + ".damaged"
		failed(errors.Join(fmt.Errorf("node: remembered neighbors: moved aside to %s: %w", aside, err), os.Rename(m.path, aside)))
	}
	return m
}

func (m *memory) read() error {
	text, err := identity.ReadSecret(m.path, maxMemory)
	if err != nil {
		return err
	}
	var kept remembered
	if err := json.Unmarshal(text, &kept); err != nil {
		return err
	}
	m.kept = kept
	return nil
}

// neighbors are those to dial: the configured ones with those that were added, and those that are only remembered.
func (m *memory) neighbors(configured []neighborhood.Descriptor) (all, last []neighborhood.Descriptor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all = slices.Clone(configured)
	for _, d := range m.kept.Added {
		if !slices.ContainsFunc(all, func(other neighborhood.Descriptor) bool { return other.Key == d.Key }) {
			all = append(all, d)
		}
	}
	return all, slices.Clone(m.kept.Last)
}

// last is told the last full neighbors. It does not wait.
func (m *memory) last(neighbors []neighborhood.Descriptor) {
	m.mu.Lock()
	m.kept.Last = neighbors
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default: // what is written next has it
	}
}

var (
	errNoMemory   = errors.New("a node without a key file remembers nothing")
	errMemoryFull = fmt.Errorf("at most %d neighbors can be remembered", maxAdded)
)

// add keeps a neighbor for the lives to come; when it returns nil the file is written.
func (m *memory) add(d neighborhood.Descriptor) error {
	if m.path == "" {
		return errNoMemory
	}
	m.mu.Lock()
	before := m.kept.Added
	m.kept.Added = append(slices.DeleteFunc(slices.Clone(before), func(other neighborhood.Descriptor) bool {
		return other.Key == d.Key
	}), d)
	if len(m.kept.Added) > maxAdded {
		m.kept.Added = before
		m.mu.Unlock()
		return errMemoryFull
	}
	m.mu.Unlock()
	err := m.write()
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.kept.Added = before
	}
	return err
}

func (m *memory) write() error {
	m.written.Lock()
	defer m.written.Unlock()
	m.mu.Lock()
	text, err := json.MarshalIndent(m.kept, "", "  ")
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return identity.ReplaceSecret(m.path, append(text, '\n'))
}

// run writes what is to be kept until it is stopped, and says once if that fails.
func (m *memory) run() {
	defer close(m.stopped)
	said := false
	for {
		select {
		case <-m.changed:
		case <-m.stop:
			if len(m.changed) == 0 {
				return
			}
			<-m.changed
		}
		if m.path == "" {
			continue
		}
		if err := m.write(); err == nil {
			said = false
		} else if !said {
			said = true
			m.failed(fmt.Errorf("node: remembered neighbors: %w", err))
		}
	}
}

// close ends run when all is written, and waits for that for a while: a disk that is stuck is no reason to stay.
func (m *memory) close(patience time.Duration) {
	close(m.stop)
	select {
	case <-m.stopped:
	case <-time.After(patience):
	}
}
