package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/farewell-node/farewell/streams/identity"
)

func init() {
	children["descriptors"] = runOutOfDescriptors
	children["vanish"] = vanish
}

func TestSocketsAreWatched(t *testing.T) {
	a, b := newNode(t, 1, func(c *Config) { c.DeadAfter = 18 * time.Second }), newNode(t, 2, nil)
	connect(t, a, b)
	for _, c := range []struct {
		n                              *node
		idle, interval, count, timeout int
	}{{a, 9, 3, 3, 18_000}, {b, 15, 5, 3, 30_000}} {
		c.n.Pool.mu.Lock()
		var socket *net.TCPConn
		for s := range c.n.live {
			socket = s.socket.transport.(*net.TCPConn)
		}
		c.n.Pool.mu.Unlock()
		for option, want := range map[int]int{
			unix.TCP_KEEPIDLE: c.idle, unix.TCP_KEEPINTVL: c.interval, unix.TCP_KEEPCNT: c.count, unix.TCP_USER_TIMEOUT: c.timeout,
		} {
			raw, err := socket.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var got int
			if err := raw.Control(func(fd uintptr) { got, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("option %d is %d, want %d", option, got, want)
			}
		}
	}
}

// --- out of file descriptors ---

// echo answers frames, and on command uses up the process's file descriptors, or frees them.
type echo struct {
	pool *Pool
	held []*os.File
}

func (e *echo) PeerUp(identity.PublicKey)          {}
func (e *echo) PeerDown(identity.PublicKey, error) {}

func (e *echo) Frame(peer identity.PublicKey, frame []byte) {
	switch string(frame) {
	case "exhaust":
		for {
			file, err := os.Open(os.DevNull)
			if err != nil {
				break
			}
			e.held = append(e.held, file)
		}
	case "free":
		for _, file := range e.held {
			_ = file.Close()
		}
	}
	_ = e.pool.Send(peer, frame)
}

// runOutOfDescriptors is a node with few file descriptors.
func runOutOfDescriptors() {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		panic(err)
	}
	handler := &echo{}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pool, err := New(Config{Identity: id(1), Handler: handler, Logger: logger})
	if err != nil {
		panic(err)
	}
	handler.pool = pool
	address, err := pool.Listen("127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(address)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// A node that has no file descriptors left serves the streams it has, says so, and accepts again as soon as it can.
func TestOutOfFileDescriptors(t *testing.T) {
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=descriptors")
	stdin, err1 := child.StdinPipe()
	stdout, err2 := child.StdoutPipe()
	stderr, err3 := child.StderrPipe()
	if err := errors.Join(err1, err2, err3, child.Start()); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	server := id(1).PublicKey()
	first, second := newNode(t, 2, nil), newNode(t, 3, nil)
	if err := first.Dial(t.Context(), server, address); err != nil {
		t.Fatal(err)
	}
	command := func(word string) {
		t.Helper()
		if err := first.Send(server, []byte(word)); err != nil {
			t.Fatal(err)
		}
		first.until(t, word, func() bool {
			frames := first.frames[server]
			return len(frames) > 0 && string(frames[len(frames)-1]) == word
		})
	}
	command("exhaust")
	dialed := make(chan error, 1)
	go func() { dialed <- second.Dial(t.Context(), server, address) }()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(line, "accepting no streams for now") || !strings.Contains(line, "too many open files") {
		t.Errorf("the node says %q, %v", line, err)
	}
	command("still here")
	command("free")
	if err := <-dialed; err != nil {
		t.Errorf("after that: %v", err)
	}
	first.Remove(server)
	second.Remove(server)
	_ = stdin.Close()
	_, _ = io.Copy(io.Discard, stderr)
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("without descriptors 1 of 1 frames was answered; then 1 of 1 waiting peers was let in")
}

// --- a peer that vanishes ---

// vanish runs in a network namespace of its own, takes its only interface down under streams that are up, and prints
// how long it took to notice: with nothing on its way, and with something.
func vanish() {
	check := func(err error) {
		if err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
	}
	check(setLoopback(true))
	quiet, busy := newRecorder(), newRecorder()
	var keys []identity.PublicKey
	var pools []*Pool
	for i, r := range []*recorder{quiet, busy} {
		far, err := New(Config{Identity: id(byte(10 + i)), Handler: silent{}})
		check(err)
		address, err := far.Listen("127.0.0.1:0")
		check(err)
		near, err := New(Config{Identity: id(byte(20 + i)), Handler: r, DeadAfter: minDeadAfter})
		check(err)
		check(near.Dial(context.Background(), id(byte(10+i)).PublicKey(), address.String()))
		keys, pools = append(keys, id(byte(10+i)).PublicKey()), append(pools, near)
	}
	start := time.Now()
	check(setLoopback(false))
	check(pools[1].Deliver(context.Background(), keys[1], make([]byte, 1000)))
	for i, r := range []*recorder{quiet, busy} {
		for down := false; !down; {
			r.mu.Lock()
			down = len(r.down[keys[i]]) > 0
			changed := r.changed
			r.mu.Unlock()
			if !down {
				<-changed
			}
		}
		r.mu.Lock()
		fmt.Printf("%v: %v\n", time.Since(start).Round(10*time.Millisecond), r.down[keys[i]][0])
		r.mu.Unlock()
	}
}

func setLoopback(up bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if up {
		request.SetUint16(unix.IFF_UP)
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// A peer that vanishes without FIN or RST is noticed, whether it was idle or had something coming. Where the system lets
// nobody have a network of their own to take down, TestSocketsAreWatched has to do.
func TestPeerThatVanishesIsNoticed(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childVariable+"=vanish")
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var output strings.Builder
	child.Stdout, child.Stderr = &output, &output
	if err := child.Start(); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		t.Logf("no network namespace to be had here: %v", err)
		return
	} else if err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil {
		t.Fatalf("%v: %s", err, output.String())
	}
	lines := strings.Split(strings.TrimSpace(output.String()), "\n")
	for i, line := range lines {
		if !strings.Contains(line, "timed out") && !strings.Contains(line, "unreachable") {
			t.Errorf("noticed %s", line)
		}
		t.Logf("with DeadAfter %v the vanished %s peer was noticed after %s", minDeadAfter, []string{"idle", "busy"}[i], line)
	}
	if len(lines) != 2 {
		t.Errorf("output %q", output.String())
	}
}
