// Package cli is what the project's command lines have in common: how one is run and
// what its exit codes are, flags that can be set in the environment, and how things
// are shown to people: on pages that fit a terminal, in tables, and in the same words.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of a command line, beside those of a shutdown (fsm.Report).
const (
	ExitOK      = 0
	ExitFailed  = 1 // could not start something, or not reach it
	ExitUsage   = 2 // wrong flags, arguments or descriptors
	ExitLeaving = 5 // of a status: somebody is being shut down
)

// ExitCode is the error of a command that has said all there is to say.
type ExitCode int

func (c ExitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// Code is nil for [ExitOK], and else an [ExitCode].
func Code(code int) error {
	if code != ExitOK {
		return ExitCode(code)
	}
	return nil
}

// Root makes c, with all commands that it has below it, a program that [Run] runs: it
// has the flag --wide (see [PageOf]), all its flags can be set in the environment,
// its helps fit a terminal, and what is wrong on its command line is a [UsageError].
// No command below it may have a PersistentPreRun of its own.
func Root(c *cobra.Command) *cobra.Command {
	c.SilenceUsage, c.SilenceErrors = true, true
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return TakeEnvironment(c) }
	c.PersistentFlags().Bool(wideFlag, false, fmt.Sprintf("whole keys and lines, also on a terminal (which gets %d columns)", Columns))
	c.SetUsageTemplate(usageTemplate(c.UsageTemplate()))
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return Usage(c, err) })
	for _, below := range c.Commands() {
		if below.ValidArgsFunction == nil {
			below.ValidArgsFunction = cobra.NoFileCompletions // they take no arguments, or none that is a file
		}
	}
	return Parent(c)
}

// Parent makes c a command that does nothing but to have others below it.
func Parent(c *cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return Usage(c, unknown(c, args[0]))
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

// unknown says that there is no command of that name below c, and which are like it.
func unknown(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = 2 // as cobra has it
	if like := c.SuggestionsFor(name); len(like) > 0 {
		return fmt.Errorf("unknown command %q; there is %s", name, strings.Join(like, ", "))
	}
	return fmt.Errorf("unknown command %q", name)
}

// Run executes one command line of a [Root] and returns the exit code. What goes
// wrong is said on stderr.
func Run(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	out := &checked{Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.err
	}
	code, isCode := errors.AsType[ExitCode](err)
	switch {
	case err == nil:
		return ExitOK
	case isCode:
		return int(code)
	}
	fmt.Fprintf(stderr, "%s: %v\n", root.DisplayName(), err)
	if usage, ok := errors.AsType[*UsageError](err); ok {
		usage.help(stderr)
		return ExitUsage
	}
	return ExitFailed
}

// usageTemplate is a template of cobra with flags that fit a terminal, and what holds
// for all of them.
func usageTemplate(template string) string {
	wrapped := fmt.Sprintf("Flags.FlagUsagesWrapped %d", Columns)
	return strings.ReplaceAll(template, "Flags.FlagUsages", wrapped) + `{{if .HasAvailableLocalFlags}}
Each flag can also be set in the environment: --log-level as ` + EnvironmentName("log-level") + `.
{{end}}`
}

// UsageError is a wrong command line: exit code 2.
type UsageError struct {
	command     string
	environment []string // what was taken from there
	err         error
}

// Usage returns err as a [UsageError] of a command.
func Usage(c *cobra.Command, err error) error {
	return &UsageError{command: c.CommandPath(), environment: fromEnvironment(c), err: err}
}

func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap returns what is wrong.
func (e *UsageError) Unwrap() error { return e.err }

// help says what a person needs to put the command line right.
func (e *UsageError) help(w io.Writer) {
	if len(e.environment) > 0 {
		fmt.Fprintf(w, "Set in the environment: %s.\n", strings.Join(e.environment, ", "))
	}
	fmt.Fprintf(w, "Run '%s --help' for usage.\n", e.command)
}

// Complete has a shell offer the values that a flag can have.
func Complete(c *cobra.Command, flag string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

// NoArgs is the Args of a command that takes none.
func NoArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Usage(c, fmt.Errorf("unknown argument %q", args[0]))
	}
	return nil
}
