package systemd

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/fsm"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // for the times in STATUS
	goleak.VerifyTestMain(m)
}

func orchestrator(t *testing.T, config fsm.Config) *fsm.Orchestrator {
	t.Helper()
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	o, err := fsm.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func register(t *testing.T, o *fsm.Orchestrator, id fsm.ID, c fsm.Component, options ...fsm.Option) {
	t.Helper()
	if err := o.Register(id, c, options...); err != nil {
		t.Fatal(err)
	}
}

// takes is a component that needs d, or returns the cause of its ctx.
func takes(d time.Duration) fsm.Func {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// mailbox is systemd's end without a socket. While broken is set nothing gets through.
type mailbox struct {
	mu     sync.Mutex
	broken error
	texts  []string
}

func (m *mailbox) write(text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		m.texts = append(m.texts, text)
	}
	return m.broken
}

func (m *mailbox) breakDown(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

func (m *mailbox) received() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.texts
}

// followed is a notifier that writes to a mailbox and follows o to its end.
func followed(t *testing.T, o *fsm.Orchestrator, config Config) (n *Notifier, box *mailbox, told *sync.WaitGroup) {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", "/nobody/reads/this")
	box, told = new(mailbox), new(sync.WaitGroup)
	config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	n = New(o, config)
	n.write = box.write
	told.Go(func() { n.Follow(t.Context()) })
	return n, box, told
}

// end asks for a shutdown and waits until it is over and has been told.
func end(t *testing.T, o *fsm.Orchestrator, told *sync.WaitGroup) *fsm.Report {
	t.Helper()
	report, err := o.Shutdown(context.Background(), fsm.Command{Reason: "test", By: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	told.Wait()
	return report
}
