//go:build unix

package streams

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func init() { children["peer"] = answerPings }

// answerPings is a node that only is there.
func answerPings() {
	pool, err := New(Config{Identity: id(1), Handler: silent{}})
	if err != nil {
		panic(err)
	}
	address, err := pool.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(address)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// stop has a process hang until the test ends.
func stop(tb testing.TB, child *exec.Cmd) {
	tb.Helper()
	if err := child.Process.Signal(syscall.SIGSTOP); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = child.Process.Signal(syscall.SIGCONT) }) // or it could not end
}

// A real process that is stopped is given up, although its kernel goes on acknowledging; when it goes on, it can be
// dialed again.
func TestStoppedProcessIsGivenUp(t *testing.T) {
	t.Parallel()
	child, address := startChild(t, "peer")
	peer := id(1).PublicKey()
	a := newNode(t, 2, func(c *Config) { c.PingAfter, c.PingTimeout = time.Second, 4*time.Second })
	if err := a.Dial(t.Context(), peer, address); err != nil {
		t.Fatal(err)
	}
	a.untilUp(t, peer)
	stop(t, child)
	stopped := time.Now()
	assertIs(t, a.untilDown(t, peer), ErrSilent)
	t.Logf("with PingAfter 1s and PingTimeout 4s the stopped process was given up after %v", time.Since(stopped))
	if err := child.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := a.Dial(t.Context(), peer, address); err != nil {
		t.Error(err)
	}
	a.Remove(peer)
}
