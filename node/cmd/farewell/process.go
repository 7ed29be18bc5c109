package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// upLine is what `farewell run` prints when the node is up.
type upLine struct {
	Descriptor *string `json:"descriptor"` // null: it takes no connections
	UI         string  `json:"ui"`
}

// detachLine on the stdin of a node started with --end-with-stdin lets it live
// on without its parent.
const detachLine = "detach"

// process is a node that runs as a process of its own, in its own process
// group (see cli.OwnGroup): a Ctrl-C in the terminal is for its parent alone. It ends when its
// parent is gone.
type process struct {
	upLine
	Log     string // the file with what it wrote to stderr
	command *exec.Cmd
	stdin   io.WriteCloser
	ended   chan struct{} // closed when it has exited
	code    int           // its exit code, once it has
}

// startProcess starts `farewell run` with args and waits until the node is up.
// Its log goes to a file in dir.
func startProcess(ctx context.Context, dir, name string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p := &process{Log: log.Name(), ended: make(chan struct{})}
	p.command = exec.Command(self, append([]string{"run", "--end-with-stdin"}, args...)...)
	p.command.Env = cli.WithoutFlags(newRun())
	p.command.Stderr = log
	p.command.SysProcAttr = cli.OwnGroup
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	up := make(chan error, 1)
	go func() {
		up <- p.readUp(stdout)
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.command.Wait() // the exit code says it all
		p.code = p.command.ProcessState.ExitCode()
		close(p.ended)
	}()
	select {
	case err = <-up:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s did not come up: %w (see %s)", name, err, p.Log)
	}
	return p, nil
}

func (p *process) readUp(stdout io.Reader) error {
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return errors.New("it ended before it said that it is up")
	}
	return json.Unmarshal(line, &p.upLine)
}

// detach lets the node live on when this process ends.
func (p *process) detach() error {
	_, err := io.WriteString(p.stdin, detachLine+"\n")
	return err
}

// stop lets the node see that its parent is gone, and waits until it has left. It
// is an error if it does not leave politely; after patience it is killed.
func (p *process) stop(patience time.Duration) error {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
		if p.code != cli.ExitOK {
			return fmt.Errorf("node at %s left with exit code %d (see %s)", p.UI, p.code, p.Log)
		}
		return nil
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("node at %s had to be killed (see %s)", p.UI, p.Log)
	}
}

func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}
