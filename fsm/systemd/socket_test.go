package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

// listen plays systemd's end of the notify socket.
func listen(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Skipf("no datagram sockets on this system: %v", err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return socket
}

func receive(t *testing.T, socket *net.UnixConn) string {
	t.Helper()
	if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4097)
	n, err := socket.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:n])
}

// Byte for byte what comes out at the other end of the socket, one datagram each.
func TestOverTheSocket(t *testing.T) {
	for _, name := range []string{
		filepath.Join(t.TempDir(), "notify"),
		fmt.Sprintf("@farewell-test-%d/notify", os.Getpid()), // abstract: of no file system
	} {
		socket := listen(t, name)
		o := orchestrator(t, fsm.Config{Alarm: time.Minute})
		release := make(chan struct{})
		register(t, o, "db", fsm.Func(func(context.Context) error { <-release; return nil }))
		n := New(o, Config{})
		var told sync.WaitGroup
		told.Go(func() { n.Follow(t.Context()) })

		if err := n.Ready("up"); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, socket), "READY=1\nSTATUS=up"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		o.Request(fsm.Command{Reason: "test"})
		got := receive(t, socket)
		for strings.Contains(got, "about to begin") { // seen before the component had begun
			got = receive(t, socket)
		}
		var alarm string
		var micros int
		_, rest, _ := strings.Cut(got, "STATUS=")
		if _, err := fmt.Sscanf(rest, "AwaitingAcks: waiting for db; alarm at %s\nEXTEND_TIMEOUT_USEC=%d", &alarm, &micros); err != nil {
			t.Errorf("%s: got %q: %v", name, got, err)
		}
		if micros > 61_000_000 || micros < 10_000_000 {
			t.Errorf("%s: asked for %d µs to leave in a minute", name, micros)
		}
		close(release)
		told.Wait()
		if got, want := receive(t, socket), "STATUS="+o.Report().Summary(); got != want {
			t.Errorf("%s: at the end got %q, want %q", name, got, want)
		}
	}
}

func TestWithoutSystemdNothingHappens(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := New(orchestrator(t, fsm.Config{}), Config{})
	n.Follow(t.Context()) // returns
	if err := n.Ready("up"); err != nil || n.Enabled() {
		t.Errorf("ready: %v, enabled: %v", err, n.Enabled())
	}
	if alarm, err := Alarm(t.Context()); alarm != 0 || err != nil {
		t.Errorf("alarm %v, %v", alarm, err)
	}
}

func TestSocketThatIsNotThere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		filepath.Join(t.TempDir(), "gone"), "@nobody-listens-here", file, "vsock:2:1234", strings.Repeat("x", 4096), "relative",
	} {
		t.Setenv("NOTIFY_SOCKET", name)
		var logged bytes.Buffer
		o := orchestrator(t, fsm.Config{})
		register(t, o, "db", takes(0))
		n := New(o, Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		if err := n.Ready("up"); err == nil {
			t.Errorf("%.40s: ready", name)
		}
		var told sync.WaitGroup
		told.Go(func() { n.Follow(t.Context()) })
		if r := end(t, o, &told); r.ExitCode() != fsm.ExitOK {
			t.Errorf("%.40s: %s", name, r.Summary())
		}
		if lines := strings.Count(logged.String(), "\n"); lines != 1 {
			t.Errorf("%.40s: logged %d lines:\n%s", name, lines, &logged)
		}
	}
}

// A queue that nobody empties costs a message 100 ms, and the shutdown nothing.
func TestSocketThatIsFull(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	listen(t, name)
	filler, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = filler.Close() }()
	for err == nil { // until the queue is full
		_ = filler.SetWriteDeadline(time.Now().Add(sendTime))
		_, err = filler.Write([]byte("X=1"))
	}
	o := orchestrator(t, fsm.Config{Alarm: time.Minute})
	register(t, o, "db", takes(0))
	n := New(o, Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := n.Ready("up"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ready: %v", err)
	}
	var told sync.WaitGroup
	told.Go(func() { n.Follow(t.Context()) })
	if r := end(t, o, &told); r.ExitCode() != fsm.ExitOK || r.Took > 30*time.Second {
		t.Error(r.Summary())
	}
}
