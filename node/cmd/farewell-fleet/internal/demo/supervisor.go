package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/farewell-node/farewell/node/internal/cli"
)

const (
	// restartPause is how long after its end a process is started again: systemd's
	// default of RestartSec.
	restartPause = 100 * time.Millisecond
	// stopTime is how much longer than its alarm a process may take to leave when its
	// parent is gone, before it is killed.
	stopTime = 5 * time.Second
)

// Exit is the end of one process.
type Exit struct {
	Instance string `json:"instance"` // "group/name"
	Run      int    `json:"run"`      // how often it had been started before
	Code     int    `json:"exitCode"` // negative: a signal killed it
}

// supervisor keeps processes running, as systemd does those with Restart=always, until
// it is told that they may leave.
type supervisor struct {
	start func(unit instance, run int) *exec.Cmd
	dir   string        // for their logs
	final chan struct{} // closed by letGo
	letGo func()        // has nobody started again; may be called twice
	units sync.WaitGroup

	mu      sync.Mutex
	failed  error // why one could not be started
	stopped bool
	stdins  map[string]io.Closer // of those that run, by instance
	exits   []Exit
	down    int // that have ended and are to be started again
	most    int // of those, at once
}

func newSupervisor(dir string, start func(unit instance, run int) *exec.Cmd) *supervisor {
	s := &supervisor{start: start, dir: dir, final: make(chan struct{}), stdins: map[string]io.Closer{}}
	s.letGo = sync.OnceFunc(func() { close(s.final) })
	return s
}

// keep starts a process, and again whenever it has ended.
func (s *supervisor) keep(unit instance) {
	s.units.Go(func() {
		for run := 0; s.once(unit, run); run++ {
			select {
			case <-s.final:
				return
			case <-time.After(restartPause):
			}
		}
	})
}

// once runs it to its end, and reports whether it is to be started again.
func (s *supervisor) once(unit instance, run int) bool {
	cmd, err := s.begin(unit, run)
	if cmd == nil {
		return false
	}
	if err == nil {
		_ = cmd.Wait() // the exit code says it all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stdins, unit.String())
	if err != nil {
		s.failed = fmt.Errorf("start %s: %w", unit, err)
		return false
	}
	s.exits = append(s.exits, Exit{Instance: unit.String(), Run: run, Code: cmd.ProcessState.ExitCode()})
	if !isClosed(s.final) {
		s.down++
		s.most = max(s.most, s.down)
	}
	return true
}

// begin starts it, unless all are to leave: then there is no command.
func (s *supervisor) begin(unit instance, run int) (*exec.Cmd, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || run > 0 && isClosed(s.final) {
		return nil, nil
	}
	cmd := s.start(unit, run)
	log, err := os.OpenFile(filepath.Join(s.dir, unit.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return cmd, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, cli.OwnGroup
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return cmd, err
	}
	if err := cmd.Start(); err != nil {
		return cmd, err
	}
	s.stdins[unit.String()] = stdin
	if run > 0 {
		s.down--
	}
	return cmd, nil
}

// stop has all processes see that their parent is gone, and waits until they have left.
func (s *supervisor) stop() {
	s.mu.Lock()
	s.stopped = true
	for _, stdin := range s.stdins {
		_ = stdin.Close() // its end may have come first
	}
	s.mu.Unlock()
	s.letGo()
	s.units.Wait()
}

// ended blocks until all have exited, or ctx ends.
func (s *supervisor) ended(ctx context.Context) error {
	gone := make(chan struct{})
	go func() {
		s.units.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *supervisor) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// seen returns what became of the processes so far, and how many were down at once.
func (s *supervisor) seen() (exits []Exit, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.exits), s.most
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
