package fsm

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv names the program that the test binary is to be.
const childEnv = "FSM_TEST_CHILD"

var children = map[string]func(){
	// a component that hangs, and an alarm that nobody waits for
	"hung": func() {
		child(Config{Alarm: time.Hour}, func(_ context.Context, o *Orchestrator) error {
			return o.Register("hung", Func(func(context.Context) error { fmt.Println("stopping"); select {} }))
		})
	},
	// start-up waits for a database that is not there
	"starting": func() {
		child(Config{Alarm: time.Minute}, func(ctx context.Context, o *Orchestrator) error {
			fmt.Println("up")
			for {
				if c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:1"); err == nil || ctx.Err() != nil {
					return fmt.Errorf("db: %v, %w", c, err)
				}
			}
		})
	},
	// which leaves SIGHUP alone
	"selective": func() {
		child(Config{Signals: []os.Signal{syscall.SIGTERM}}, func(context.Context, *Orchestrator) error { return nil })
	},
	// start-up hears nothing
	"deaf": func() {
		child(Config{Alarm: 500 * time.Millisecond}, func(context.Context, *Orchestrator) error { fmt.Println("up"); select {} })
	},
	// what is saved, and a log in a pipe
	"saves": func() {
		config := Config{Alarm: time.Minute, Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))}
		child(config, func(_ context.Context, o *Orchestrator) error {
			return o.Register("db", Func(func(context.Context) error { return os.WriteFile(os.Getenv("FSM_TEST_SAVED"), nil, 0o600) }))
		})
	},
	// a log that nobody reads, full already
	"stalled": func() {
		config := Config{Alarm: 500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
		child(config, func(_ context.Context, o *Orchestrator) error {
			go config.Logger.Info(strings.Repeat("x", 1<<20))
			return o.Register("db", Func(func(context.Context) error { panic("logged first") }))
		})
	},
}

// child is a main, as the documentation has it.
func child(config Config, start func(context.Context, *Orchestrator) error) {
	os.Exit(Main(config, func(ctx context.Context, o *Orchestrator) error {
		err := start(ctx, o)
		fmt.Println("up")
		return err
	}))
}

// startChild starts one of children, and returns when it has said that it is up.
func startChild(t *testing.T, name string, wrapped func(*exec.Cmd), env ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent signals")
	}
	c := exec.CommandContext(t.Context(), os.Args[0])
	if wrapped != nil {
		wrapped(c)
	}
	c.Env = append(append(os.Environ(), childEnv+"="+name), env...)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill() })
	lines := bufio.NewReader(out)
	for said := ""; said != "up\n"; {
		if said, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("it never came up: %v", err)
		}
	}
	t.Cleanup(func() { _ = out.Close() })
	if name == "saves" {
		must(t, out.Close()) // whoever read the log is gone
	}
	return c, lines
}

func signalled(t *testing.T, c *exec.Cmd, signals ...os.Signal) (code int) {
	t.Helper()
	for _, s := range signals {
		must(t, c.Process.Signal(s))
	}
	_ = c.Wait()
	return c.ProcessState.ExitCode()
}

func TestSecondSignalForcesARealProcess(t *testing.T) {
	c, said := startChild(t, "hung", nil)
	must(t, c.Process.Signal(syscall.SIGHUP))
	if text, err := said.ReadString('\n'); text != "stopping\n" {
		t.Fatalf("it says %q, %v", text, err)
	}
	<-time.After(sameSignal + sameSignal/2)
	if code := signalled(t, c, syscall.SIGTERM); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want 143", code)
	}
}

// A signal during start-up is told to start-up, and ends the process in time.
func TestSignalDuringStartUp(t *testing.T) {
	for name, want := range map[string]int{"starting": ExitOK, "deaf": ExitAlarm} {
		c, _ := startChild(t, name, nil)
		if code := signalled(t, c, syscall.SIGTERM); code != want {
			t.Errorf("%s: exit code %d, want %d", name, code, want)
		}
	}
}

// A program that has other uses for a signal says which ones Main may have.
func TestMainTakesTheSignalsThatItIsGiven(t *testing.T) {
	for signal, want := range map[os.Signal]int{syscall.SIGTERM: ExitOK, syscall.SIGHUP: -1} { // killed, as ever
		c, _ := startChild(t, "selective", nil)
		if code := signalled(t, c, signal); code != want {
			t.Errorf("%v: exit code %d, want %d", signal, code, want)
		}
	}
}

// prog | tee log: tee dies first, and what prog logs of its shutdown kills nobody.
func TestBrokenPipeDoesNotKill(t *testing.T) {
	saved := filepath.Join(t.TempDir(), "saved")
	c, _ := startChild(t, "saves", nil, "FSM_TEST_SAVED="+saved)
	if code := signalled(t, c, syscall.SIGINT); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(saved); err != nil {
		t.Error(err)
	}
}

// A log that nobody reads keeps no process longer than the alarm and a quarter second.
func TestStalledLogDoesNotKeepTheProcess(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c, _ := startChild(t, "stalled", func(c *exec.Cmd) { c.Stderr = w })
	must(t, w.Close())
	if code := signalled(t, c, syscall.SIGTERM); code != ExitImpolite {
		t.Errorf("exit code %d", code)
	}
}

// What was ignored when the process started stays ignored.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no nohup")
	}
	shell := func(c *exec.Cmd) {
		c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP INT; exec "$0"`, os.Args[0]}
	}
	c, _ := startChild(t, "hung", shell)
	for range 3 {
		must(t, c.Process.Signal(syscall.SIGHUP))
		must(t, c.Process.Signal(syscall.SIGINT))
	}
	if code := signalled(t, c, syscall.SIGKILL); code != -1 {
		t.Errorf("exit code %d: it obeyed", code)
	}
}
