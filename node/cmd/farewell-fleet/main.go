// Command farewell-fleet is "farewell fleet": it shows groups of processes that have
// joined each other over NATS (package fsm/remote), follows them, has them leave, and
// is a NATS server for those who have none. See farewell fleet --help.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/demo"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/node/internal/version"
)

func main() {
	os.Exit(cli.Run(context.Background(), newRoot(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func newRoot() *cobra.Command {
	var to where
	root := &cobra.Command{
		Use:         "farewell-fleet",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "farewell fleet"},
		Short:       "Groups of processes over NATS: see them, and have them leave a few at a time",
		Long: fmt.Sprintf(`Groups of processes that have joined each other over NATS (package fsm/remote):
see them, follow them, and have them leave a few at a time. Names are
GROUP/NAME, as the processes have chosen them.

Each flag can also be set in the environment: --tls-ca as
%s. The command line wins; an empty variable counts as none; a flag
that is repeatable takes several values there, separated by white space.
Others can see command lines, so what is secret belongs in a file (--creds,
--nkey) or there: %s and
%s, or %s.

Without a NATS server at hand, start one: "farewell fleet serve".`,
			cli.EnvironmentName("tls-ca"), userVariable, passwordVariable, tokenVariable),
		Version: version.String(),
	}
	root.SetVersionTemplate("{{.DisplayName}} version {{.Version}}\n")
	to.flags(root)
	root.AddCommand(newLs(&to), newStatus(&to), newWatch(&to), newShutdown(&to), newPage(&to), newServe(&to), demo.Command())
	return cli.Root(root)
}

// untilShutdown starts what a command runs, and returns when its shutdown is over, with
// the exit code as its error. What kept it from starting is the error.
func untilShutdown(config fsm.Config, start func(context.Context, *fsm.Orchestrator) error) error {
	started := make(chan error, 1)
	code := fsm.Main(config, func(ctx context.Context, o *fsm.Orchestrator) error {
		err := start(ctx, o)
		started <- err
		return err
	})
	select {
	case err := <-started:
		if err != nil && code == fsm.ExitFailure {
			return err
		}
	default: // the alarm was first
	}
	return cli.Code(code)
}
