package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// listTime is what reading the registry may take.
const listTime = 5 * time.Second

func newLs(to *where) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls [GROUP]",
		Short: "List who is there",
		Long: `List who is there, in a group or in all of them, in the order in which they
joined; with --wide, or in a pipe, with the incarnation: another one each time a
process starts. One that has died without a word is listed until its entry
expires, after 15 s if nothing else was set up.

Exit codes: 0, also if nobody is there, which it says on stderr; 1 NATS is not
there, or does not permit it; 2 wrong flags.`,
		Args:              atMostOneGroup,
		ValidArgsFunction: to.completeGroups,
		RunE: func(c *cobra.Command, args []string) error {
			return to.with(c, func(ctx context.Context, nc *nats.Conn) error {
				listed, err := list(ctx, nc, groupOf(args))
				if err != nil {
					return err
				}
				if asJSON {
					return cli.PrintJSON(c.OutOrStdout(), listed)
				}
				return listed.print(c)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything, as JSON")
	return c
}

// listing is what `farewell fleet ls --json` prints.
type listing struct {
	Instances []remote.Instance `json:"instances"`
	Drains    []fleet.Standing  `json:"drains"` // groups that are leaving a few at a time

	group string // "": all
}

// list reads the registry: of all groups if group is empty.
func list(ctx context.Context, nc *nats.Conn, group string) (*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	instances, err := remote.List(ctx, nc, group)
	if err != nil {
		return nil, err
	}
	drains, err := drainsOf(ctx, nc, group)
	if instances == nil {
		instances = []remote.Instance{}
	}
	return &listing{instances, drains, group}, err
}

func (l *listing) print(c *cobra.Command) error {
	page := cli.PageOf(c)
	head := []string{"GROUP", "INSTANCE", "SINCE"}
	if !page.Narrow() {
		head = append(head, "INCARNATION", "ORDER")
	}
	rows := [][]string{head}
	for _, i := range l.Instances {
		row := []string{i.Group, i.Name, ago(i.Since)}
		if !page.Narrow() {
			row = append(row, i.Incarnation, fmt.Sprint(i.Born))
		}
		rows = append(rows, row)
	}
	show := func() error { return cli.Table(page, rows) }
	if len(l.Instances) == 0 {
		show = func() error { return sayEmpty(c, l.group) }
	}
	if err := show(); err != nil {
		return err
	}
	return printDrains(page, l.Drains)
}

func sayEmpty(c *cobra.Command, group string) error {
	if group == "" {
		_, err := fmt.Fprintln(c.ErrOrStderr(), "Nobody is there.")
		return err
	}
	_, err := fmt.Fprintf(c.ErrOrStderr(), "Nobody is there in group %s.\n", cli.Plain(group))
	return err
}

// ago says how long ago something was by another clock, which may be ahead of ours.
func ago(t time.Time) string {
	return cli.Coarse(max(0, time.Since(t))) + " ago"
}

func atMostOneGroup(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return cli.Usage(c, fmt.Errorf("%d arguments, want one group at most", len(args)))
	}
	return nil
}

func groupOf(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// completionTime is how long a shell may wait for names.
const completionTime = time.Second

// names are those that a shell offers, if NATS tells them in time.
func (w *where) names(c *cobra.Command, name func(remote.Instance) []string) (names []cobra.Completion) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
	defer cancel()
	if cli.TakeEnvironment(c) != nil {
		return nil
	}
	nc, err := w.connect(ctx, c)
	if err != nil {
		return nil
	}
	defer nc.Close()
	instances, err := remote.List(ctx, nc, "")
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	for _, i := range instances {
		for _, n := range name(i) {
			if !seen[n] {
				names = append(names, n)
			}
			seen[n] = true
		}
	}
	return names
}

func (w *where) completeGroups(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return w.names(c, func(i remote.Instance) []string { return []string{i.Group} }), cobra.ShellCompDirectiveNoFileComp
}

func (w *where) completeInstances(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return w.names(c, func(i remote.Instance) []string { return []string{i.Group, i.String()} }), cobra.ShellCompDirectiveNoFileComp
}
