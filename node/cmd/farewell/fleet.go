package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// fleetProgram is what `farewell fleet` is: a program of its own, so that nothing of
// NATS is in this one, and in the go.mod of everybody who imports a part of the
// project.
const fleetProgram = "farewell-fleet"

func newFleet() *cobra.Command {
	c := &cobra.Command{
		Use:   "fleet",
		Short: "See groups of processes, and have them leave a few at a time",
		Long: `Groups of processes that have joined each other over NATS (package fsm/remote):
see them, follow them, and have them leave a few at a time.

This is a program of its own, ` + fleetProgram + `, which is looked for beside this
one and in the PATH: "farewell fleet --help" is its own help.

  go install github.com/farewell-node/farewell/node/cmd/farewell-fleet@latest

installs it; in a checkout, make build builds both.`,
		DisableFlagParsing: true, // they are that program's
		ValidArgsFunction:  completeFleet,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := findFleet()
			if err != nil {
				return err
			}
			return become(c, path, args)
		},
	}
	c.SetHelpFunc(func(c *cobra.Command, _ []string) { helpFleet(c) })
	return c
}

// helpFleet has that program help, if it is there.
func helpFleet(c *cobra.Command) {
	if path, err := findFleet(); err == nil {
		help := exec.CommandContext(c.Context(), path, "--help")
		help.Stdout, help.Stderr = c.OutOrStdout(), c.ErrOrStderr()
		if help.Run() == nil {
			return
		}
	}
	fmt.Fprintln(c.OutOrStdout(), c.Long)
}

// findFleet returns where the program is: beside this one, or in the PATH.
func findFleet() (string, error) {
	name := fleetProgram
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	self, err := os.Executable()
	if err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%s is neither beside this program nor in the PATH", name)
	}
	return "", fmt.Errorf("%w\nTo install it:\n  go install github.com/farewell-node/farewell/node/cmd/farewell-fleet@latest\nor, in a checkout, make build", err)
}

// completionTime is how long a shell may wait for what that program completes.
const completionTime = 3 * time.Second

// completeFleet has that program complete its own command lines.
func completeFleet(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	path, err := findFleet()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
	defer cancel()
	line := append([]string{cobra.ShellCompRequestCmd}, args...)
	out, err := exec.CommandContext(ctx, path, append(line, begun)...).Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return parseCompletions(out)
}

// parseCompletions reads what cobra's completion command prints: a line for each, and
// the directive after a colon.
func parseCompletions(out []byte) (all []cobra.Completion, directive cobra.ShellCompDirective) {
	for line := range bytes.Lines(out) {
		text := strings.TrimRight(string(line), "\r\n")
		if number, ok := strings.CutPrefix(text, ":"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				return all, cobra.ShellCompDirective(n)
			}
		}
		all = append(all, text)
	}
	return nil, cobra.ShellCompDirectiveError // it broke off
}
