package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/neighborhood"
	"github.com/farewell-node/farewell/node"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
)

// runFlags are the flags of `farewell run`, as they come.
type runFlags struct {
	node         node.Config
	neighbors    []string
	log          cli.Log
	endWithStdin bool
	hang         bool
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Run one node until it is shut down",
		Long: `Run one node until it is shut down: over its UI, or by SIGINT, SIGTERM or
SIGHUP. A second signal, after 100 ms or more, forces the end. SIGHUP and SIGINT
stay ignored if they were when it started, as under nohup.

When the node is up it prints one line of JSON on stdout, with its descriptor
(null if it takes no connections) and the address of its UI. It logs on stderr.

Exit codes: 0 left in time; 1 could not start; 2 wrong flags; 3 the alarm fired;
4 in time, but some component failed, panicked or had to be insisted upon;
128+n forced by signal n. A neighbor that hangs, or breaks its stream, is none
of them: its farewell is reported as not confirmed or not reached.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.complete(c); err != nil {
				return err
			}
			return f.run(c)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.node.Listen, "listen", "", "`host:port` to accept neighbors on; empty: take no connections, have no address")
	flags.StringVar(&f.node.Advertise, "advertise", "", "`host:port` that neighbors dial, if it is not that of --listen")
	flags.StringVar(&f.node.UI, "ui", node.DefaultUI, "`address` for UIs: host:port on loopback, or unix:PATH")
	flags.StringArrayVar(&f.node.UIHosts, "ui-host", nil, "`name` of a reverse proxy that UIs come through; needs a token file; repeatable")
	flags.StringVar(&f.node.UIToken, "ui-token-file", "", "`file` with the token that UIs must show, made if there is none; empty: they need none")
	flags.StringVar(&f.node.KeyFile, "key", "", "key `file`, made if there is none (default farewell/node.key in the user's configuration folder)")
	flags.StringArrayVar(&f.neighbors, "neighbor", nil, "`descriptor` of a node to join, farewell://KEY@HOST:PORT; repeatable")
	flags.DurationVar(&f.node.Alarm, "alarm", fsm.DefaultAlarm, "how long a shutdown may take; under systemd, if nothing is said, what its TimeoutStopSec allows")
	flags.DurationVar(&f.node.InsistAfter, "insist-after", 0, "the polite part of that, below --alarm (default 80 % of it)")
	f.log.Flags(c)
	flags.BoolVar(&f.endWithStdin, "end-with-stdin", false, "shut down when stdin ends: the parent is gone")
	flags.BoolVar(&f.hang, "hang", false, "register a component that never stops, to see the alarm at work")
	for _, hidden := range []string{"end-with-stdin", "hang"} {
		_ = flags.MarkHidden(hidden)
	}
	return c
}

// complete turns the flags into the node's configuration.
func (f *runFlags) complete(c *cobra.Command) error {
	for _, text := range f.neighbors {
		descriptor, err := neighborhood.ParseDescriptor(text)
		if err != nil {
			return cli.Usage(c, fmt.Errorf("%s: %w", cli.NameOf(c, "neighbor"), err))
		}
		f.node.Neighbors = append(f.node.Neighbors, descriptor)
	}
	logger, err := f.log.Logger(c)
	if err != nil {
		return err
	}
	f.node.Logger = logger
	switch alarm, polite := f.node.Alarm, f.node.InsistAfter; {
	case alarm <= 0 || polite < 0:
		return cli.Usage(c, fmt.Errorf("%s %v, %s %v: a time to leave in is positive",
			cli.NameOf(c, "alarm"), alarm, cli.NameOf(c, "insist-after"), polite))
	case polite >= alarm:
		return cli.Usage(c, fmt.Errorf("%s %v is not below %s %v", cli.NameOf(c, "insist-after"), polite, cli.NameOf(c, "alarm"), alarm))
	}
	if !c.Flags().Changed("alarm") {
		f.node.Alarm = 0 // systemd may say
	}
	if err := f.node.Validate(); err != nil {
		return cli.Usage(c, err)
	}
	if f.node.KeyFile == "" {
		f.node.KeyFile, err = defaultKeyFile()
	}
	return err
}

func defaultKeyFile() (string, error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the key, use --key: %w", err)
	}
	folder := filepath.Join(config, "farewell")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("no folder for the key, use --key: %w", err)
	}
	return filepath.Join(folder, "node.key"), nil
}

// run runs the node and exits with the code of its report.
func (f *runFlags) run(c *cobra.Command) error {
	// Without this the process would die, without a farewell, when whoever reads its log is gone.
	// The node lets go of the signal when it has ended, and lines of the log may still come after that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	n, err := node.Start(f.node)
	if errors.Is(err, node.ErrConfig) {
		return cli.Usage(c, err)
	}
	if errors.Is(err, ui.ErrInUse) {
		return f.occupied(c, err)
	}
	if err != nil {
		return err
	}
	if f.hang {
		hang := fsm.Func(func(context.Context) error { select {} })
		if err := n.Orchestrator().Register("hang", hang); err != nil {
			f.node.Logger.Warn("cannot register", "error", err)
		}
	}
	if f.endWithStdin {
		go endWithStdin(c.InOrStdin(), n.Orchestrator())
	}
	if err := json.NewEncoder(c.OutOrStdout()).Encode(upOf(n)); err != nil {
		n.Orchestrator().Request(fsm.Command{Reason: "stdout is gone", By: "farewell run", Err: err})
	}
	return cli.ExitCode(n.Wait().ExitCode())
}

func upOf(n *node.Node) upLine {
	up := upLine{UI: n.UI()}
	if descriptor, ok := n.Descriptor(); ok {
		up.Descriptor = new(descriptor)
	}
	return up
}

// endWithStdin asks for a shutdown when the parent at the other end is gone,
// unless it has let the node go before.
func endWithStdin(stdin io.Reader, o *fsm.Orchestrator) {
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		if lines.Text() == detachLine {
			return
		}
	}
	o.Request(fsm.Command{Reason: "the parent process is gone", By: "stdin"})
}
