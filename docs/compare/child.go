package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/farewell-node/farewell/docs/compare/peers"
	"github.com/farewell-node/farewell/docs/compare/service"
)

// childVariable says, in the environment, which program this process is to be: its
// role, the library and the fault.
const (
	childVariable = "FAREWELL_COMPARE_CHILD"
	separator     = "|"
	faultRole     = "fault"
	serviceRole   = "service"
)

// recordFile is where a child says what happens to its components.
const recordFile = 3

// runChild is that program, if this process is to be one.
func runChild() {
	words := strings.Split(os.Getenv(childVariable), separator)
	if len(words) != 3 {
		return
	}
	role, library, fault := words[0], words[1], words[2]
	record := os.NewFile(recordFile, "record")
	if peer, known := peers.Find(library); known && role == faultRole {
		os.Exit(peer.Main(peers.NewParts(peers.Fault(fault), record)))
	}
	if version, known := service.Find(library); known && role == serviceRole {
		os.Exit(version.Main(&service.Env{Fault: fault, Record: record}))
	}
	os.Exit(2)
}

// child is a running program.
type child struct {
	command *exec.Cmd
	log     *bytes.Buffer // complete when it has ended; empty if the log is a pipe
	pipe    *os.File      // what it logs to, if nobody is to read that
	dir     string
	record  *os.File
	reading sync.WaitGroup

	mu    sync.Mutex
	lines []string
	news  chan struct{} // has room for one; closed when the program has ended
}

// startChild starts this program again, in a role. If nobody is to read what it
// logs, that goes to a pipe that fill fills.
func startChild(ctx context.Context, role, library, fault string, unread bool) (_ *child, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{command: exec.CommandContext(ctx, self), log: &bytes.Buffer{}, news: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.command.Env = append(os.Environ(), childVariable+"="+strings.Join([]string{role, library, fault}, separator))
	c.command.WaitDelay = time.Second
	c.command.Stdout, c.command.Stderr = c.log, c.log
	if unread {
		if err := c.openPipe(); err != nil {
			return nil, err
		}
		c.command.Stdout, c.command.Stderr = c.pipe, c.pipe
	}
	record, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.record = record
	c.command.ExtraFiles = []*os.File{write}
	err = c.command.Start()
	_ = write.Close()
	if err != nil {
		return nil, err
	}
	c.reading.Go(c.read)
	return c, nil
}

// openPipe makes a pipe whose two ends can be opened again, by name.
func (c *child) openPipe() (err error) {
	if c.dir, err = os.MkdirTemp("", "farewell-compare-"); err != nil {
		return err
	}
	name := filepath.Join(c.dir, "log")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		return err
	}
	c.pipe, err = os.OpenFile(name, os.O_RDWR, 0) // both ends: opening one alone would wait for the other
	return err
}

// fill writes to the pipe until nothing more fits: what the program logs from then
// on waits for a reader.
func (c *child) fill() error {
	end, err := syscall.Open(c.pipe.Name(), syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(end)
	for size := 4096; size > 0; {
		if _, err := syscall.Write(end, make([]byte, size)); errors.Is(err, syscall.EAGAIN) {
			size /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// read notes what happens, until the program has ended.
func (c *child) read() {
	defer close(c.news)
	for scanner := bufio.NewScanner(c.record); scanner.Scan(); {
		c.mu.Lock()
		c.lines = append(c.lines, scanner.Text())
		c.mu.Unlock()
		select {
		case c.news <- struct{}{}:
		default:
		}
	}
}

func (c *child) happened() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// await waits until the program has said a line, and reports whether it did.
func (c *child) await(line string, limit time.Duration) bool {
	late := time.After(limit)
	for open := true; ; {
		if slices.Contains(c.happened(), line) {
			return true
		}
		if !open {
			return false
		}
		select {
		case _, open = <-c.news:
		case <-late:
			return false
		}
	}
}

func (c *child) kill() { _ = c.command.Process.Kill() }

// wait waits for the end of the process, and of what it had to say.
func (c *child) wait() *os.ProcessState {
	_ = c.command.Wait() // an exit code is no error here
	c.reading.Wait()
	return c.command.ProcessState
}

func (c *child) close() {
	for _, file := range []io.Closer{c.record, c.pipe} {
		_ = file.Close()
	}
	if c.dir != "" {
		_ = os.RemoveAll(c.dir)
	}
}
