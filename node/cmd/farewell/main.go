// Command farewell runs a node that leaves its neighborhood politely and on
// time, asks nodes to do so, and shows what happened. See farewell --help.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/node/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), newRoot(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
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
"farewell completion bash --help" says where it belongs.`, cli.EnvironmentName("log-level")),
		Version: node.Version(),
	}
	root.AddCommand(newRun(), newShutdown(), newStatus(), newWatch(), newDiagram(), newNetwork(), newSimulate(), newNeighbor(), newFleet())
	return cli.Root(root)
}
