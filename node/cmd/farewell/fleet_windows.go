package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// become runs another program in this one's place, and exits as it does. Ctrl-C is for
// that one, which the console tells too.
func become(_ *cobra.Command, path string, args []string) error {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	child := exec.Command(path, args...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := child.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return cli.ExitCode(child.ProcessState.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("cannot run %s: %w", path, err)
	}
	return nil
}
