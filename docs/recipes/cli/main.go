// Command cli runs a command for each of the files that it is given, for minutes if
// it has to, and keeps what that writes: whole, or not at all. Ctrl-C stops it
// without leaving anything behind, and a second one does so at once.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/farewell-node/farewell/fsm"
)

const exitInterrupted = 130 // what a shell has for SIGINT: "cli && next" must not go on

type work struct {
	command  string
	out      string
	files    []string
	patience time.Duration // with a child that was asked to leave

	temp     string
	child    atomic.Int64 // its process group; 0 while there is none
	finished atomic.Bool
}

func main() {
	var w work
	flag.StringVar(&w.command, "command", "gzip", "shell command that reads a file and writes the result")
	flag.StringVar(&w.out, "out", ".", "directory for the results")
	flag.DurationVar(&w.patience, "patience", 2*time.Second, "how long a child may take to leave")
	flag.Parse()
	w.files = flag.Args()
	os.Exit(w.do())
}

func (w *work) do() (code int) {
	temp, err := os.MkdirTemp(w.out, ".cli-") // on the same file system as the results
	if err != nil {
		slog.Error("cannot start", "error", err)
		return fsm.ExitFailure
	}
	w.temp = temp
	code = fsm.Main(fsm.Config{}, w.start)
	w.clean() // here and not in a component: a second Ctrl-C has not waited for anybody
	if code == fsm.ExitOK && !w.finished.Load() {
		return exitInterrupted
	}
	return code
}

func (w *work) start(_ context.Context, o *fsm.Orchestrator) error {
	return o.Go("convert", func(ctx context.Context) error {
		if err := w.convertAll(ctx); err != nil {
			return err // which is a shutdown with exit code 1
		}
		o.Request(fsm.Command{Reason: "nothing left to do", By: "convert"})
		return nil
	})
}

func (w *work) convertAll(ctx context.Context) error {
	for i, file := range w.files {
		if err := w.convert(ctx, file); ctx.Err() != nil {
			slog.Info("interrupted", "done", i, "of", len(w.files))
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		slog.Info("converted", "file", file)
	}
	w.finished.Store(true)
	return nil
}

func (w *work) convert(ctx context.Context, file string) (err error) {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(w.temp, filepath.Base(file)))
	if err != nil {
		return err
	}
	if err := w.run(ctx, in, out); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), filepath.Join(w.out, filepath.Base(file)))
}

// run asks the child to leave when ctx ends, and kills it if it does not.
func (w *work) run(ctx context.Context, in, out *os.File) error {
	child := exec.CommandContext(ctx, "sh", "-c", w.command)
	child.Stdin, child.Stdout, child.Stderr = in, out, os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours to pass on
	child.Cancel = func() error { return syscall.Kill(-child.Process.Pid, syscall.SIGTERM) }
	child.WaitDelay = w.patience
	if err := child.Start(); err != nil {
		return err
	}
	w.child.Store(int64(child.Process.Pid))
	defer w.child.Store(0)
	defer w.killChild() // and what it has left running
	return child.Wait()
}

func (w *work) killChild() {
	if group := int(w.child.Load()); group != 0 {
		_ = syscall.Kill(-group, syscall.SIGKILL) // mostly there is nobody any more
	}
}

func (w *work) clean() {
	w.killChild()
	_ = os.RemoveAll(w.temp)
}
