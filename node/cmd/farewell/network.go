package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/node/internal/cli"
	"github.com/farewell-node/farewell/ui"
	"github.com/farewell-node/farewell/ui/client"
)

const (
	minNodes = 4  // for one to have three neighbors
	maxNodes = 50 // processes on one machine
	// fewestNeighbors is what the node that leaves must have, for its farewells to be worth counting.
	fewestNeighbors = 3
	// silence without gossip means that the network has settled.
	silence = 500 * time.Millisecond
	// settleTime bounds the wait for that, and each later wait for what neighbors see.
	settleTime = 60 * time.Second
	pollPause  = 50 * time.Millisecond
	stopTime   = 15 * time.Second // for one node to leave when its parent is gone
)

func newNetwork() *cobra.Command {
	var nodes int
	var keep, asJSON bool
	c := &cobra.Command{
		Use:   "network",
		Short: "Start nodes here, shut one down over its UI, show what others saw",
		Long: `Start nodes as real processes on loopback, wait until they are one neighborhood
and have been silent for 500 ms, ask one with at least 3 neighbors to shut down
over its UI, follow it live, and show its report and what each of its former
neighbors saw. Exits with 0 only if all of it was as it should be.`,
		Args: cli.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if nodes < minNodes || nodes > maxNodes {
				return cli.Usage(c, fmt.Errorf("%s: %d is not within %d and %d", cli.NameOf(c, "nodes"), nodes, minNodes, maxNodes))
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // so that a second Ctrl-C does what it always does
			show := cli.PageOf(c)
			if asJSON {
				show = cli.WidePage(io.Discard)
			}
			result, err := exhibit(ctx, show, nodes, keep)
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(c.OutOrStdout(), result)
			}
			if len(result.Problems) > 0 {
				err = errors.Join(err, cli.ExitCode(cli.ExitFailed))
			}
			return err
		},
	}
	c.Flags().IntVar(&nodes, "nodes", 5, "how many")
	c.Flags().BoolVar(&keep, "keep", false, "leave the others running, and print how to reach them")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON, and nothing else")
	return c
}

// networkResult is what `farewell network --json` prints.
type networkResult struct {
	Nodes         int         `json:"nodes"`
	SettledAfter  ui.Millis   `json:"settledAfterMs"`
	Leaver        nodeRef     `json:"leaver"`
	Goodbye       *ui.Goodbye `json:"goodbye"`
	ExitCode      int         `json:"leaverExitCode"`
	Neighbors     []sighting  `json:"neighbors"`
	Messages      int         `json:"messages"`      // that the farewell cost
	NaiveMessages int         `json:"naiveMessages"` // that one gossip per removed stream would have cost
	Kept          []nodeRef   `json:"kept,omitempty"`
	Problems      []string    `json:"problems"` // empty: all is as it should be

	versionBefore uint64 // of the leaver's record
}

type nodeRef struct {
	Key string `json:"key"`
	UI  string `json:"ui"`
	Log string `json:"log,omitempty"`
}

// sighting is what a former neighbor saw of the leaver, by its own status.
type sighting struct {
	nodeRef
	Gossip       uint64 `json:"gossipFromLeaver"`  // messages since the leaver was asked to go
	Version      uint64 `json:"leaverVersion"`     // of the leaver's record
	ListedByUs   bool   `json:"listsLeaver"`       // it still lists the leaver
	LeaverListed int    `json:"leaverListsOthers"` // half-neighborships in the leaver's last record
	Farewell     string `json:"farewell"`          // what the leaver knows of it
}

// exhibit runs the whole show. Whatever happens, no process outlives it unless
// it is to be kept.
func exhibit(ctx context.Context, out *cli.Page, nodes int, keep bool) (result *networkResult, err error) {
	dir, err := os.MkdirTemp("", "farewell-network-")
	if err != nil {
		return nil, err
	}
	network := &network{out: out, dir: dir}
	defer func() { err = network.finish(ctx, err, keep) }()
	fmt.Fprintf(out, "Starting %d nodes on loopback.\n", nodes)
	if err := network.start(ctx, nodes); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := network.settle(ctx); err != nil {
		return nil, err
	}
	result = &networkResult{Nodes: nodes, SettledAfter: ui.Millis(time.Since(began)), Problems: []string{}}
	fmt.Fprintf(out, "They are one neighborhood, and have been silent for %v; after %s.\n\n",
		silence, cli.Short(time.Since(began)))
	if err := network.farewell(ctx, result); err != nil {
		return nil, err
	}
	if keep {
		result.Kept = network.refs()
	}
	return result, network.show(result)
}

// finish stops the nodes, or lets them go if all went well and they are to be
// kept, and tidies up: when all is well, or somebody does not want to know.
func (n *network) finish(ctx context.Context, err error, keep bool) error {
	if keep && err == nil {
		return n.end(true)
	}
	err = errors.Join(err, n.end(false))
	switch {
	case ctx.Err() != nil:
		return errors.Join(errors.New("interrupted; the nodes have been shut down"), os.RemoveAll(n.dir))
	case err != nil:
		return fmt.Errorf("%w\n(logs are in %s)", err, n.dir)
	}
	return os.RemoveAll(n.dir)
}

// network is the nodes that run, and the connections to their UIs.
type network struct {
	out   *cli.Page
	dir   string // keys and logs
	nodes []*member
}

type member struct {
	*process
	ui     *client.Client
	status *ui.Status // as read last
}

func (m *member) key() string { return m.status.Node.Key }

func (m *member) ref() nodeRef { return nodeRef{Key: m.key(), UI: m.UI, Log: m.Log} }

func (n *network) refs() (refs []nodeRef) {
	for _, m := range n.nodes {
		refs = append(refs, m.ref())
	}
	return refs
}

// start starts the first node, and then all others at once; they join at the first.
func (n *network) start(ctx context.Context, count int) error {
	first, err := n.startOne(ctx, 0)
	if err != nil {
		return err
	}
	n.nodes = make([]*member, count)
	n.nodes[0] = first
	group, ctx := errgroup.WithContext(ctx)
	for i := 1; i < count; i++ {
		group.Go(func() (err error) {
			n.nodes[i], err = n.startOne(ctx, i, "--neighbor", *first.Descriptor)
			return err
		})
	}
	return group.Wait()
}

func (n *network) startOne(ctx context.Context, i int, args ...string) (*member, error) {
	name := fmt.Sprintf("node%d", i+1)
	args = append(args, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0", "--key", filepath.Join(n.dir, name+".key"))
	p, err := startProcess(ctx, n.dir, name, args...)
	if err != nil {
		return nil, err
	}
	connection, err := client.Dial(ctx, p.UI)
	if err != nil {
		p.kill()
		return nil, err
	}
	return &member{process: p, ui: connection}, nil
}

// end stops all nodes, at once, or lets them go.
func (n *network) end(keep bool) error {
	group := errgroup.Group{}
	for _, m := range n.nodes {
		if m == nil {
			continue
		}
		group.Go(func() error {
			_ = m.ui.Close() // the node's end may have come first
			if keep {
				return m.detach()
			}
			return m.stop(stopTime)
		})
	}
	return group.Wait()
}

// read reads every node's status.
func (n *network) read(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range n.nodes {
		group.Go(func() (err error) {
			m.status, err = m.ui.Status(ctx)
			return err
		})
	}
	return group.Wait()
}

// until reads the statuses again and again until they are as they should be. An
// end of time is no error: what is not as it should be shows in the result.
func (n *network) until(ctx context.Context, fine func() bool) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		if err := n.read(ctx); err != nil {
			return false, err
		}
		if fine() {
			return true, nil
		}
		select {
		case <-time.After(pollPause):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return false, nil
			}
			return false, ctx.Err()
		}
	}
}

func (n *network) settle(ctx context.Context) error {
	settled, err := n.until(ctx, func() bool { return n.connected() && n.silent() && n.leaver() != nil })
	if err != nil {
		return err
	}
	if !settled {
		return fmt.Errorf("after %v the nodes are not one settled neighborhood in which one has %d neighbors",
			settleTime, fewestNeighbors)
	}
	return nil
}

// silent reports whether nobody has sent or received gossip for a while, or is
// about to: a change that comes too soon after another waits for up to a second,
// and on a slow machine a Debut may take as long.
func (n *network) silent() bool {
	for _, m := range n.nodes {
		last := m.status.Node.LastGossip
		if last == nil || time.Duration(*last) < silence || m.status.Node.Pending > 0 {
			return false
		}
	}
	return true
}

// connected reports whether full neighborships, of which both ends know, connect
// all nodes.
func (n *network) connected() bool {
	members := map[string]*member{}
	for _, m := range n.nodes {
		members[m.key()] = m
	}
	reached := map[string]bool{n.nodes[0].key(): true}
	for queue := []*member{n.nodes[0]}; len(queue) > 0; queue = queue[1:] {
		for _, key := range neighborsOf(queue[0]) {
			if next := members[key]; next != nil && !reached[key] && lists(next, queue[0].key()) {
				reached[key] = true
				queue = append(queue, next)
			}
		}
	}
	return len(reached) == len(n.nodes)
}

// neighborsOf returns the immediate neighbors: those that the own record lists.
func neighborsOf(m *member) (keys []string) {
	for _, p := range m.status.Node.Peers {
		if p.Neighbor {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

func lists(m *member, key string) bool {
	for _, p := range m.status.Node.Peers {
		if p.Key == key {
			return p.Neighbor
		}
	}
	return false
}

// leaver picks the node with the most neighbors, if they are enough.
func (n *network) leaver() *member {
	var most *member
	for _, m := range n.nodes {
		if most == nil || len(neighborsOf(m)) > len(neighborsOf(most)) {
			most = m
		}
	}
	if len(neighborsOf(most)) < fewestNeighbors {
		return nil
	}
	return most
}

// farewell has one node leave, and collects what it and its neighbors know of it.
func (n *network) farewell(ctx context.Context, result *networkResult) error {
	leaver := n.leaver()
	result.Leaver = leaver.ref()
	result.versionBefore = leaver.status.Node.Version
	told := neighborsOf(leaver)
	before := map[string]uint64{}
	var rest, former []*member
	for _, m := range n.nodes {
		if m == leaver {
			continue
		}
		rest = append(rest, m)
		if lists(leaver, m.key()) {
			former = append(former, m)
			before[m.key()] = gossipFrom(m, leaver.key())
		}
	}
	fmt.Fprintf(n.out, "Asking %s, which has %d neighbors, to shut down over its UI at %s:\n",
		n.out.Key(leaver.key()), len(told), leaver.UI)
	see, _ := showEvents(n.out)
	goodbye, err := leaver.ui.Shutdown(ctx, "farewell network", see)
	if err != nil {
		return err
	}
	result.Goodbye = goodbye
	select {
	case <-leaver.ended:
		result.ExitCode = leaver.code
	case <-time.After(stopTime):
		return fmt.Errorf("the leaver is still there %v after its good-bye; its log is %s", stopTime, leaver.Log)
	}
	n.nodes = rest
	gone := func() bool {
		for _, m := range former {
			if lists(m, leaver.key()) {
				return false
			}
		}
		return n.silent()
	}
	if _, err := n.until(ctx, gone); err != nil {
		return err
	}
	for _, m := range former {
		result.Neighbors = append(result.Neighbors, sightingOf(m, leaver.key(), before[m.key()], goodbye))
	}
	result.Messages, result.NaiveMessages = len(goodbye.Farewells), len(told)*(len(told)-1)/2
	result.judge(len(told))
	return nil
}

func gossipFrom(m *member, key string) (messages uint64) {
	for _, p := range m.status.Node.Peers {
		if p.Key == key {
			for _, count := range p.Gossip {
				messages += count
			}
		}
	}
	return messages
}

func sightingOf(m *member, leaver string, before uint64, goodbye *ui.Goodbye) sighting {
	s := sighting{nodeRef: m.ref(), Gossip: gossipFrom(m, leaver) - before, ListedByUs: lists(m, leaver), Farewell: "none"}
	for _, r := range m.status.Node.Records {
		if r.Key == leaver {
			s.Version, s.LeaverListed = r.Version, len(r.HalfNeighbors)
		}
	}
	for _, f := range goodbye.Farewells {
		if f.Key == m.key() {
			s.Farewell = string(f.Outcome)
		}
	}
	return s
}

// judge notes everything that is not as it should be.
func (r *networkResult) judge(neighbors int) {
	problem := func(wrong bool, format string, args ...any) {
		if wrong {
			r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		}
	}
	report := r.Goodbye.Report
	problem(r.ExitCode != cli.ExitOK, "the leaver exited with %d, not 0", r.ExitCode)
	problem(report.ExitCode() != r.ExitCode, "the report says exit code %d", report.ExitCode())
	problem(report.Edge.On != fsm.AllAcked, "the machine was terminated by %s, not AllAcked", report.Edge.On)
	problem(len(r.Neighbors) != neighbors, "%d of %d former neighbors are left to ask", len(r.Neighbors), neighbors)
	problem(r.Messages != neighbors, "the farewell went to %d of %d neighbors", r.Messages, neighbors)
	for _, s := range r.Neighbors {
		problem(s.Gossip != 1, "%s received %d gossip messages from the leaver, not 1", s.Key, s.Gossip)
		problem(s.Version <= r.versionBefore || s.Version != r.Neighbors[0].Version,
			"%s knows the leaver's record in version %d, which is not its last", s.Key, s.Version)
		problem(s.LeaverListed != 0, "%s believes that the leaver has %d neighbors", s.Key, s.LeaverListed)
		problem(s.ListedByUs, "%s still lists the leaver", s.Key)
		told := ui.Told(s.Farewell)
		problem(told == ui.NotReached || told == ui.NotConfirmed || told == "none", "%s: farewell %s", s.Key, told)
	}
}

// show prints the result for people.
func (n *network) show(r *networkResult) error {
	if _, err := fmt.Fprintf(n.out, "\n%s\nWhat its former neighbors saw, by their own status:\n", r.Goodbye.Report); err != nil {
		return err
	}
	rows := [][]string{{"NEIGHBOR", "GOSSIP FROM IT SINCE", "ITS LAST VERSION", "STILL LISTS IT", "FAREWELL"}}
	for _, s := range r.Neighbors {
		rows = append(rows, []string{n.out.Key(s.Key), fmt.Sprint(s.Gossip), fmt.Sprint(s.Version), yes(s.ListedByUs), s.Farewell})
	}
	if err := cli.Table(n.out, rows); err != nil {
		return err
	}
	fmt.Fprintf(n.out, "\nThe farewell cost %d messages; one gossip per removed stream would have cost %d.\n",
		r.Messages, r.NaiveMessages)
	fmt.Fprintf(n.out, "The leaver's exit code: %d\n", r.ExitCode)
	for _, ref := range r.Kept {
		fmt.Fprintf(n.out, "Still running: %[1]s\n  page http://%[2]s/\n  %[3]s status --ui %[2]s\n  %[3]s shutdown --ui %[2]s\n  log %[4]s\n",
			n.out.Key(ref.Key), ref.UI, os.Args[0], ref.Log)
	}
	if len(r.Kept) > 0 {
		fmt.Fprintf(n.out, "Their keys and logs are in %s.\n", n.dir)
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(n.out, "NOT AS IT SHOULD BE:", problem)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(n.out, "All is as it should be.")
	}
	return nil
}
