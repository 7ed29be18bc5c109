package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/demo/service"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// Command returns `farewell fleet demo`.
func Command() *cobra.Command {
	var asJSON bool
	config := Default()
	c := &cobra.Command{
		Use:   "demo",
		Short: "Restart twelve processes under load, then have them leave in order",
		Long: `Start a nats-server and twelve services as real processes on loopback, in three
groups (a request goes edge → api → store and back), and send them requests.
First all are restarted, three at a time, one of which hangs; then the whole
system leaves as one graph. Shows what was lost, who was away when at most, who
was named, and the order. Exits with 0 only if all of it was as it should be.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := noServer(c); err != nil {
				return err
			}
			config.Service = append(pathTo(c), serviceName)
			ctx, now, stop := interruptible(c.Context())
			defer stop()
			var out io.Writer = cli.PageOf(c)
			if asJSON {
				out = io.Discard
			}
			result, err := Run(ctx, now, out, config)
			if err != nil {
				return err
			}
			if asJSON {
				if err := cli.PrintJSON(c.OutOrStdout(), result); err != nil {
					return err
				}
			}
			return cli.Code(result.exitCode())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON, and nothing else")
	c.AddCommand(newService())
	return c
}

// noServer refuses what says where NATS is. In the environment it is for other commands.
func noServer(c *cobra.Command) (err error) {
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && cli.NameOf(c, f.Name) == "--"+f.Name && slices.Contains(connecting, f.Name) {
			err = cli.Usage(c, fmt.Errorf("--%s: the demo has a NATS server of its own", f.Name))
		}
	})
	return err
}

// connecting are flags of the program that are about connections.
var connecting = []string{"nats", "creds", "nkey", "tls-ca", "tls-cert", "tls-key", "inbox-prefix"}

// pathTo is by which arguments a command is reached.
func pathTo(c *cobra.Command) (args []string) {
	for ; c.HasParent(); c = c.Parent() {
		args = append([]string{c.Name()}, args...)
	}
	return args
}

// sameSignal is for how long a second signal is the first one, again: a wrapper forwards
// what the terminal has sent to all. It is what fsm has.
const sameSignal = 100 * time.Millisecond

// interruptible returns what ends with the first signal that asks for the end, and what
// ends with the second one.
func interruptible(parent context.Context) (ctx, now context.Context, stop func()) {
	now, cancelNow := context.WithCancel(parent)
	ctx, cancel := context.WithCancel(now)
	// Who reads the output may be gone: that shows in the writing.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as under nohup
			signal.Notify(signals, s)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var first time.Time
		for {
			select {
			case <-signals:
			case <-now.Done():
				return
			}
			switch {
			case first.IsZero():
				first = time.Now()
				cancel()
			case time.Since(first) > sameSignal:
				cancelNow()
			}
		}
	}()
	return ctx, now, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		cancel()
		cancelNow()
		<-ended
	}
}

const serviceName = "service"

// newService is one of the processes of the demo.
func newService() *cobra.Command {
	var config service.Config
	c := &cobra.Command{
		Use:    serviceName,
		Short:  "One service of the demo",
		Hidden: true,
		Args:   cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if config.Group == "" || config.Instance == "" {
				return cli.Usage(c, fmt.Errorf("it needs a --group and an --instance"))
			}
			config.Parent = c.InOrStdin()
			return cli.Code(service.Main(config))
		},
	}
	flags := c.Flags()
	flags.StringVar(&config.URL, "nats", "", "`URL` of the server")
	flags.StringVar(&config.Group, "group", "", "its group")
	flags.StringVar(&config.Instance, "instance", "", "its name in it")
	flags.StringVar(&config.Asks, "asks", "", "the `group` that it asks, if any")
	flags.DurationVar(&config.Alarm, "alarm", fsm.DefaultAlarm, "how long leaving may take")
	flags.BoolVar(&config.Hangs, "hang", false, "have its journal hang when it is to be closed")
	return c
}
