package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/fsm/remote/fleet"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// atOnce bounds how many instances are asked at the same time.
const atOnce = 128

func newStatus(to *where) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status GROUP | GROUP/NAME",
		Short: "Ask a group, or one of it, how it stands",
		Long: `Ask a group, or one of it, how it stands: whom a shutdown there waits for, and
how long the alarm is still away. Of one that has left it shows the report.

Exit codes: 0 all are running; 1 somebody who is listed does not answer, or
nobody of that name is there; 2 wrong flags; 5 somebody is leaving, and all
answer.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage(c, fmt.Errorf("%d arguments, want GROUP or GROUP/NAME", len(args)))
			}
			return nil
		},
		ValidArgsFunction: to.completeInstances,
		RunE: func(c *cobra.Command, args []string) error {
			return to.with(c, func(ctx context.Context, nc *nats.Conn) error {
				group, name, one := strings.Cut(args[0], "/")
				all, err := ask(ctx, nc, group, name, one)
				if err != nil {
					return err
				}
				if asJSON {
					err = cli.PrintJSON(c.OutOrStdout(), all)
				} else {
					err = all.print(c, args[0])
				}
				return errors.Join(err, cli.Code(all.exitCode()))
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything, as JSON")
	return c
}

// standings is what `farewell fleet status --json` prints.
type standings struct {
	Instances []standing       `json:"instances"`
	Drains    []fleet.Standing `json:"drains"`
}

// standing is how one instance stands.
type standing struct {
	remote.Instance
	State  string      `json:"state"`            // of the machine, or one of the two below
	Report *fsm.Report `json:"report,omitempty"` // of a shutdown that has begun, or is over
	Error  string      `json:"error,omitempty"`  // why there is no answer
}

// What an instance that does not answer is.
const (
	silent = "Silent" // listed, and does not answer
	gone   = "Gone"   // not listed; with its last report, if there is one
)

// ask asks all that are listed in a group, and those who leave it now; or one, listed or not.
func ask(ctx context.Context, nc *nats.Conn, group, name string, one bool) (*standings, error) {
	listed, err := list(ctx, nc, group)
	if err != nil {
		return nil, err
	}
	if one {
		instances := theOne(listed.Instances, remote.Instance{Group: group, Name: name})
		all, err := askAll(ctx, nc, instances)
		return &standings{all, listed.Drains}, err
	}
	left, err := remote.Leavers(ctx, nc, group, listed.Instances)
	if err != nil {
		return nil, err
	}
	all, err := askAll(ctx, nc, slices.Concat(listed.Instances, left))
	there := len(listed.Instances)
	if err == nil {
		leaving := slices.DeleteFunc(all[there:], func(s standing) bool { return s.State == silent || s.State == gone })
		all = all[:there+len(leaving)]
	}
	return &standings{all, listed.Drains}, err
}

func askAll(ctx context.Context, nc *nats.Conn, instances []remote.Instance) ([]standing, error) {
	all := make([]standing, len(instances))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(atOnce)
	for i, instance := range instances {
		asking.Go(func() (err error) {
			all[i], err = askOne(ctx, nc, instance)
			return err
		})
	}
	return all, asking.Wait()
}

// theOne returns the instance of that name, as it is listed if it is.
func theOne(listed []remote.Instance, one remote.Instance) []remote.Instance {
	for _, i := range listed {
		if i.Name == one.Name {
			return []remote.Instance{i}
		}
	}
	return []remote.Instance{one}
}

// askOne fails only if nobody can be asked at all.
func askOne(ctx context.Context, nc *nats.Conn, instance remote.Instance) (standing, error) {
	status, err := remote.Ask(ctx, nc, instance.String())
	switch {
	case err == nil:
		if status.Instance.Born == 0 { // not in the registry any more, or not yet
			status.Instance.Born = instance.Born
		}
		return standing{Instance: status.Instance, State: status.State.String(), Report: status.Report}, nil
	case ctx.Err() != nil || !errors.Is(err, remote.ErrUnreachable):
		return standing{}, err
	case instance.Incarnation != "":
		return standing{Instance: instance, State: silent, Error: err.Error()}, nil
	}
	report, missing := remote.LastReport(ctx, nc, instance)
	switch {
	case errors.Is(missing, remote.ErrNoReport):
		return standing{Instance: instance, State: gone, Error: "was there, and has left no report: it died, was cut off, or ended at its alarm"}, nil
	case errors.Is(missing, remote.ErrNotFound):
		return standing{Instance: instance, State: gone, Error: "nobody of that name is known"}, nil
	case missing != nil:
		return standing{}, missing
	}
	return standing{Instance: instance, State: gone, Report: report}, nil
}

func (s *standings) exitCode() int {
	code := cli.ExitOK
	for _, i := range s.Instances {
		switch i.State {
		case silent, gone:
			return cli.ExitFailed
		case fsm.Running.String():
		default:
			code = cli.ExitLeaving
		}
	}
	if len(s.Instances) == 0 {
		code = cli.ExitFailed
	}
	return code
}

func (s *standings) print(c *cobra.Command, asked string) error {
	page := cli.PageOf(c)
	if len(s.Instances) == 0 {
		return errors.Join(sayEmpty(c, asked), printDrains(page, s.Drains))
	}
	rows := [][]string{{"INSTANCE", "STATE", "SINCE", "REMARKS"}}
	for _, i := range s.Instances {
		since := "-"
		if !i.Since.IsZero() {
			since = ago(i.Since)
		}
		rows = append(rows, []string{i.String(), i.State, since, i.remarks()})
	}
	if err := cli.Table(page, rows); err != nil {
		return err
	}
	if len(s.Instances) == 1 && s.Instances[0].Report != nil {
		if _, err := fmt.Fprintf(page, "\n%s", s.Instances[0].Report); err != nil {
			return err
		}
	}
	return printDrains(page, s.Drains)
}

func (s *standing) remarks() string {
	switch {
	case s.State == silent:
		return "does not answer"
	case s.Report == nil:
		return cmp.Or(s.Error, "-")
	case s.Report.State == fsm.Terminated:
		return "left: " + s.Report.Summary()
	}
	return fmt.Sprintf("asked by %s: %s; %s", s.Report.Command.By, s.Report.Command.Reason, cli.WaitsFor(s.Report))
}
