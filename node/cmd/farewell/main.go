// Command farewell runs a node that leaves its neighborhood politely and on
// time, asks nodes to do so, and shows what happened. See farewell --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/node"
)

// Exit codes of the command line, beside those of a shutdown (fsm.Report).
const (
	exitOK     = 0
	exitFailed = 1 // could not start a node, or not reach one
	exitUsage  = 2 // wrong flags, arguments or descriptors
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code. Only main exits.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	out := &checked{Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.err
	}
	code, isCode := errors.AsType[exitCode](err)
	switch {
	case err == nil:
		return exitOK
	case isCode:
		return int(code)
	}
	fmt.Fprintln(stderr, "farewell:", err)
	if usage, ok := errors.AsType[*usageError](err); ok {
		usage.help(stderr)
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "farewell",
		Short: "A peer-to-peer node that leaves politely and on time",
		Long: fmt.Sprintf(`A peer-to-peer node that leaves politely and on time, and what asks it to.

Each flag can also be set in the environment: --log-level as
%s. The command line wins; an empty variable counts as none; a
flag that is repeatable takes several values there, separated by white space.

Completions: "farewell completion bash" (zsh, fish, powershell) prints a script;
"farewell completion bash --help" says where it belongs.`, environmentName("log-level")),
		Version:       node.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(c, fmt.Errorf("unknown command %q", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		// Runs before each command, because none has one of its own.
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return takeEnvironment(c) },
	}
	root.PersistentFlags().Bool(wideFlag, false, fmt.Sprintf("whole keys and lines, also on a terminal (which gets %d columns)", columns))
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(newRun(), newShutdown(), newStatus(), newWatch(), newDiagram(), newNetwork(), newSimulate(), newNeighbor())
	for _, c := range root.Commands() {
		c.ValidArgsFunction = cobra.NoFileCompletions // they take no arguments, or none that is a file
	}
	return root
}

// exitCode is the error of a command that has said all there is to say.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageTemplate is a template of cobra with flags that fit a terminal, and what holds
// for all of them.
func usageTemplate(template string) string {
	wrapped := fmt.Sprintf("Flags.FlagUsagesWrapped %d", columns)
	return strings.ReplaceAll(template, "Flags.FlagUsages", wrapped) + `{{if .HasAvailableLocalFlags}}
Each flag can also be set in the environment: --log-level as ` + environmentName("log-level") + `.
{{end}}`
}

// usageError is a wrong command line: exit code 2.
type usageError struct {
	command     string
	environment []string // what was taken from there
	err         error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usage(c *cobra.Command, err error) error {
	return &usageError{command: c.CommandPath(), environment: fromEnvironment(c), err: err}
}

// help says what a person needs to put the command line right.
func (e *usageError) help(w io.Writer) {
	if len(e.environment) > 0 {
		fmt.Fprintf(w, "Set in the environment: %s.\n", strings.Join(e.environment, ", "))
	}
	fmt.Fprintf(w, "Run '%s --help' for usage.\n", e.command)
}

// complete has a shell offer the values that a flag can have.
func complete(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(c, fmt.Errorf("unknown argument %q", args[0]))
	}
	return nil
}
