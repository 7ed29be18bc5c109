package demo

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/farewell-node/farewell/node/internal/cli"
)

// asCommand makes the test binary the command, for the processes that it starts.
const asCommand = "DEMO_AS_COMMAND"

// generous is for what has no reason to take long, on a busy machine.
const generous = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(run(os.Args[1:]))
	}
	_ = os.Setenv(asCommand, "yes")
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // its second at the end of each process is not ours
	goleak.VerifyTestMain(m)
}

func run(args []string) int {
	root := &cobra.Command{Use: "farewell-fleet", Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "farewell fleet"}}
	root.PersistentFlags().String("nats", "", "as the program has it")
	root.AddCommand(Command())
	return cli.Run(context.Background(), cli.Root(root), args, os.Stdin, os.Stdout, os.Stderr)
}
