package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// environmentPrefix begins the name of every variable that stands for a flag. (A
// Kubernetes service called farewell brings others that begin like that: what is no
// flag is not looked at.)
const environmentPrefix = "FAREWELL_"

// EnvironmentName is the variable that stands for a flag.
func EnvironmentName(flag string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environmentMark is the annotation of a flag that was set by the environment.
const environmentMark = "set by the environment"

// inEnvironment reports whether a flag can be set there: what asks for something else
// than the command itself cannot.
func inEnvironment(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" && !f.Hidden }

// TakeEnvironment sets the flags that the command line does not from the environment.
// An empty variable counts as none. A flag that is repeatable takes several values,
// separated by white space. A [Root] does this before each command that is run, but
// not before one that is completed.
func TakeEnvironment(c *cobra.Command) (err error) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		text := os.Getenv(EnvironmentName(f.Name))
		if err != nil || text == "" || f.Changed || !inEnvironment(f) {
			return
		}
		if err = setFlag(f, text); err != nil {
			err = Usage(c, fmt.Errorf("%s: %q: %w", EnvironmentName(f.Name), text, err))
			return
		}
		f.Changed = true
		_ = c.Flags().SetAnnotation(f.Name, environmentMark, nil) // the flag exists
	})
	return err
}

func setFlag(f *pflag.Flag, text string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.Replace(strings.Fields(text))
	}
	return f.Value.Set(text)
}

// fromEnvironment returns the variables that flags of a command were taken from.
func fromEnvironment(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if isFromEnvironment(f) {
			names = append(names, EnvironmentName(f.Name))
		}
	})
	return names
}

func isFromEnvironment(f *pflag.Flag) bool {
	_, marked := f.Annotations[environmentMark]
	return marked
}

// NameOf returns what the value of a flag was given by: the flag, or its variable.
func NameOf(c *cobra.Command, flag string) string {
	if f := c.Flags().Lookup(flag); f != nil && isFromEnvironment(f) {
		return EnvironmentName(flag)
	}
	return "--" + flag
}

// WithoutFlags returns the variables of this process that stand for no flag of a
// command: what a process is started with that is told all by its flags.
func WithoutFlags(c *cobra.Command) []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, environmentPrefix), "_", "-"))
		return strings.HasPrefix(name, environmentPrefix) && c.Flags().Lookup(flag) != nil
	})
}
