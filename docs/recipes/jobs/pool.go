package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

const idlePause = 50 * time.Millisecond // before an empty queue is looked at again

// spool is a queue of jobs that outlives the process: a file is a job, and the
// directory it is in is how far it is. What its name says is how long it takes.
type spool struct{ queued, running, done string }

func openSpool(dir string) (spool, error) {
	s := spool{filepath.Join(dir, "queued"), filepath.Join(dir, "running"), filepath.Join(dir, "done")}
	for _, d := range []string{s.queued, s.running, s.done} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return spool{}, err
		}
	}
	return s, s.recover()
}

// recover puts back what a process was doing when it was forced, or killed.
func (s spool) recover() error {
	entries, err := os.ReadDir(s.running)
	for _, e := range entries {
		err = errors.Join(err, move(e.Name(), s.running, s.queued))
	}
	return err
}

// take claims a job; there is none if the name is empty.
func (s spool) take() (name string, err error) {
	entries, err := os.ReadDir(s.queued)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		switch err := move(e.Name(), s.queued, s.running); {
		case err == nil:
			return e.Name(), nil
		case !errors.Is(err, os.ErrNotExist): // else another worker was faster
			return "", err
		}
	}
	return "", nil
}

func move(name, from, to string) error {
	return os.Rename(filepath.Join(from, name), filepath.Join(to, name))
}

// pool works on the jobs of a spool. Asked to leave it takes no new one; insisted
// upon it puts back what it is doing; forced it leaves it to the next process.
type pool struct {
	spool   spool
	workers int
	asked   chan struct{}
	insist  context.Context // of the jobs
	give    context.CancelFunc
	ended   chan struct{}
}

func newPool(s spool, workers int) *pool {
	p := &pool{spool: s, workers: workers, asked: make(chan struct{}), ended: make(chan struct{})}
	p.insist, p.give = context.WithCancel(context.Background())
	return p
}

// Run works until Shutdown.
func (p *pool) Run() error {
	defer close(p.ended)
	errs := make([]error, p.workers)
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() { errs[i] = p.work() })
	}
	workers.Wait()
	return errors.Join(errs...)
}

// Shutdown is the second step when ctx ends. It ends when Run does.
func (p *pool) Shutdown(ctx context.Context) error {
	close(p.asked)
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.give()
		<-p.ended
	}
	return nil
}

func (p *pool) work() error {
	for {
		select {
		case <-p.asked:
			return nil
		default:
		}
		name, err := p.spool.take()
		if err != nil {
			return err
		}
		if name == "" {
			select {
			case <-p.asked:
			case <-time.After(idlePause):
			}
			continue
		}
		if err := p.do(name); err != nil {
			return err
		}
	}
}

func (p *pool) do(name string) error {
	if err := job(p.insist, name); err != nil {
		slog.Info("put back", "job", name)
		return move(name, p.spool.running, p.spool.queued)
	}
	return move(name, p.spool.running, p.spool.done)
}

// job is what the application does; it must notice that ctx ends, and leave nothing
// half done then.
func job(ctx context.Context, name string) error {
	var number int
	var takes string
	if _, err := fmt.Sscanf(name, "%d-%s", &number, &takes); err != nil {
		return err
	}
	d, err := time.ParseDuration(takes)
	if err != nil {
		return err
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var _ fsm.Component = (*pool)(nil)
