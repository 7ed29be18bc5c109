//go:build unix

package streams

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
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

// startPeer starts a process that only is there, until the test ends.
func startPeer(tb testing.TB) (child *exec.Cmd, address string) {
	tb.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=peer")
	stdin, err := child.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := child.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = child.Process.Signal(syscall.SIGCONT)
		_ = child.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return child, strings.TrimSpace(address)
}

// A real process that is stopped is given up, although its kernel goes on acknowledging; when it goes on, it can be
// dialed again.
func TestStoppedProcessIsGivenUp(t *testing.T) {
	t.Parallel()
	child, address := startPeer(t)
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
