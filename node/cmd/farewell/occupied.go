package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui/client"
)

// occupiedTime is how long whoever has the UI's address may take to say who it is.
const occupiedTime = 2 * time.Second

// occupied adds to an error that says that the UI's address is in use who uses it, and
// how to ask.
func (f *runFlags) occupied(c *cobra.Command, err error) error {
	ctx, cancel := context.WithTimeout(c.Context(), occupiedTime)
	defer cancel()
	to := where{f.node.UI, f.node.UIToken}
	var found found
	connection, failed := to.dial(ctx)
	if failed == nil {
		failed = found.look(ctx, connection)
		_ = connection.Close()
	}
	ask := fmt.Sprintf("%s status --ui %s", os.Args[0], to.address)
	if to.tokenFile != "" {
		ask += " --ui-token-file " + to.tokenFile
	}
	_, wantsToken := errors.AsType[*client.Error](failed)
	switch {
	case wantsToken:
		return fmt.Errorf("%w\nA process with a UI is there, which wants its token: %s --ui-token-file FILE", err,
			fmt.Sprintf("%s status --ui %s", os.Args[0], to.address))
	case failed != nil:
		return fmt.Errorf("%w\nIt is no node, or does not answer (%w). Choose another address with --ui", err, failed)
	}
	who := "A process that is no node"
	if found.status.Node != nil {
		who = "Node " + cli.Plain(found.status.Node.Key)
	}
	return fmt.Errorf("%w\n%s is there: %s, up for %s. Ask it:\n  %s\nor choose another address with --ui",
		err, who, found.status.Report.State, cli.Coarse(time.Duration(found.status.Uptime)), ask)
}
