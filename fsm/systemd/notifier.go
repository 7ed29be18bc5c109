package systemd

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/farewell-node/farewell/fsm"
)

const (
	// sendTime is what one message may take. The queue of systemd's socket has
	// room for hundreds: it is full only if systemd itself is stuck.
	sendTime = 100 * time.Millisecond
	// statusPause is the least time between two messages on how the shutdown
	// goes: thousands of acks are not thousands of datagrams.
	statusPause = 100 * time.Millisecond
	// lastSteps is what a process may need after the alarm, to write its report
	// and to exit, before systemd is to kill it.
	lastSteps = time.Second
)

// Config configures a [Notifier]. Its zero value is valid.
type Config struct {
	// Alive is asked before each WATCHDOG=1, in a goroutine of its own; while it
	// returns false, or does not return, none is sent, and systemd ends the
	// process with SIGABRT when WatchdogSec is over. Nil: always true.
	Alive func() bool
	// Logger is told, once, that systemd cannot be reached; slog.Default() if nil.
	Logger *slog.Logger
}

// Notifier tells systemd what an orchestrator does. It is made by [New]. Its
// methods are safe for concurrent use.
type Notifier struct {
	orchestrator *fsm.Orchestrator
	alive        func() bool
	logger       *slog.Logger
	socket       string                  // "": nobody wants to be told
	write        func(text string) error // one datagram; another one in tests

	mu     sync.Mutex // READY=1 must not come after STOPPING=1
	failed sync.Once
}

// New returns a notifier for o, on the socket that systemd named in the
// environment: NOTIFY_SOCKET, a path or, with a leading @, an abstract name. If
// there is none, the notifier does nothing.
func New(o *fsm.Orchestrator, config Config) *Notifier {
	n := &Notifier{
		orchestrator: o, alive: config.Alive, logger: cmp.Or(config.Logger, slog.Default()),
		socket: os.Getenv("NOTIFY_SOCKET"),
	}
	n.write = n.writeDatagram
	return n
}

// Enabled reports whether systemd asked to be told.
func (n *Notifier) Enabled() bool { return n.socket != "" }

// Ready tells systemd that start-up is over, and status, one line for people, if
// it is not empty. It is an error if systemd cannot be told within 100 ms. Once a
// shutdown has begun, and without systemd, it does nothing.
func (n *Notifier) Ready(status string) error {
	if !n.Enabled() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.orchestrator.State() != fsm.Running {
		return nil
	}
	text := daemon.SdNotifyReady
	if status != "" {
		text += "\nSTATUS=" + oneLine(status, maxStatus)
	}
	if err := n.write(text); err != nil {
		return fmt.Errorf("systemd: ready: %w", err)
	}
	return nil
}

// Follow tells systemd what the orchestrator does. It blocks until the machine
// is terminated and that has been told, which takes 200 ms at most, or until ctx
// is cancelled. Without systemd it returns at once.
func (n *Notifier) Follow(ctx context.Context) {
	if !n.Enabled() {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var watchdog sync.WaitGroup
	defer watchdog.Wait()
	defer cancel()
	if every := n.watchdogInterval(); every > 0 {
		watchdog.Go(func() { n.feedWatchdog(ctx, every) })
	}
	n.tellSteps(ctx)
}

// tellSteps sends how the shutdown goes, from the request to the end. What could
// not be sent is tried again with what there is to say then.
func (n *Notifier) tellSteps(ctx context.Context) {
	var (
		changed  = n.changes(ctx)
		retry    <-chan time.Time
		said     string // the last status that was sent
		stopping bool   // STOPPING=1 was sent
	)
	for more := true; more; n.pause(ctx) {
		select {
		case _, more = <-changed:
		case <-retry:
		}
		report := n.orchestrator.Report()
		status := statusOf(report)
		if report.State == fsm.Running || status == said { // Running: ctx has ended
			continue
		}
		retry = nil
		if n.tell(message(report, status, !stopping)) {
			said, stopping = status, true
		} else {
			retry = time.After(statusPause)
		}
	}
}

// changes returns a channel that holds a value when something has happened, and
// is closed after the end.
func (n *Notifier) changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	go func() {
		defer close(changed)
		for range n.orchestrator.Events(ctx) {
			select {
			case changed <- struct{}{}:
			default: // whoever looks next sees this too
			}
		}
	}()
	return changed
}

// pause lets some events come together. It does not hold up the end.
func (n *Notifier) pause(ctx context.Context) {
	pause := time.NewTimer(statusPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-n.orchestrator.Done():
	case <-ctx.Done():
	}
}

// tell sends a message, and logs the first that fails.
func (n *Notifier) tell(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.write(text)
	if err != nil {
		n.failed.Do(func() { n.logger.Warn("systemd: cannot be told", "error", err) })
	}
	return err == nil
}

// writeDatagram sends one datagram. It is what daemon.SdNotify does, which has no
// deadline: a full queue would block it for good.
func (n *Notifier) writeDatagram(text string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: n.socket})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(text))
	return err
}

// watchdogInterval returns how often systemd wants to hear that the process is
// alive: twice in WatchdogSec; 0 if it does not want to.
func (n *Notifier) watchdogInterval() time.Duration {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.logger.Warn("systemd: no watchdog", "error", err)
	}
	return limit / 2
}

// feedWatchdog says that the process is alive while it is Running: from the
// request on the alarm watches it, and systemd's watchdog rests.
func (n *Notifier) feedWatchdog(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n.orchestrator.State() == fsm.Running {
		if n.alive == nil || n.alive() {
			n.tell(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
