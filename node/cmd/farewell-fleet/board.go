package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
	"github.com/farewell-node/farewell/node/cmd/farewell-fleet/internal/live"
	"github.com/farewell-node/farewell/node/internal/cli"
)

// board is how all instances stand. Its methods are safe for concurrent use.
type board struct {
	group string // "": all

	mu      sync.Mutex
	places  map[string]*place // by group/name
	listed  bool              // all that were there at the beginning have been told
	says    string            // what is no news of the fleet
	changed bool              // since it was laid out
	laidOut time.Time
	shown   live.Frame
}

// place is one name: whoever has it, or had it last.
type place struct {
	remote.Instance
	state string
	last  string // what happened last, in words
	at    time.Time
}

func newBoard(group string) *board {
	return &board{group: group, places: map[string]*place{}, changed: true}
}

// see takes a piece of news.
func (b *board) see(news remote.News) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if news.Kind == remote.Listed {
		b.listed = true
		return nil
	}
	name := news.Instance.String()
	p := b.places[name]
	switch {
	case p == nil || news.Kind == remote.Joined && p.Incarnation != news.Instance.Incarnation:
		p = new(place)
		b.places[name] = p
	case p.Incarnation != news.Instance.Incarnation:
		return nil // of one whose name somebody else has by now
	case p.state == left:
		return nil // the report is the last word; events may come after it
	}
	p.Instance, p.state, p.last, p.at = news.Instance, stateAfter(p.state, news), words(news), time.Now()
	if news.Kind == remote.Joined && !b.listed && p.Since.Before(p.at) {
		p.at = p.Since // by its own clock
	}
	b.changed = true
	return nil
}

// stateAfter is that of the machine, where it is in the registry or not says less.
func stateAfter(state string, news remote.News) string {
	if news.Kind == remote.Withdrawn && state != "" && state != running {
		return state
	}
	return stateOf(news)
}

// notice shows text until NATS is back.
func (b *board) notice(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if text == isBack {
		text = ""
	}
	b.says, b.changed = text, true
}

// agePause is how old an age may be that is shown.
const agePause = time.Second

// frame lays the board out, if that can have changed.
func (b *board) frame() live.Frame {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed || time.Since(b.laidOut) >= agePause {
		b.shown, b.laidOut, b.changed = b.layOut(), time.Now(), false
	}
	return b.shown
}

// rank orders the states: what moves, then what is there, then what is over.
func rank(state string) int {
	switch state {
	case running:
		return 1
	case left, expired, fsm.Terminated.String():
		return 2
	}
	return 0
}

func (b *board) layOut() live.Frame {
	places := make([]*place, 0, len(b.places))
	counts := [3]int{}
	for _, p := range b.places {
		places = append(places, p)
		counts[rank(p.state)]++
	}
	slices.SortFunc(places, func(a, b *place) int {
		byRank := cmp.Compare(rank(a.state), rank(b.state))
		if rank(a.state) != 1 { // the newest first, of what changes
			byRank = cmp.Or(byRank, b.at.Compare(a.at))
		}
		return cmp.Or(byRank, strings.Compare(a.Group, b.Group), cmp.Compare(a.Born, b.Born), strings.Compare(a.Name, b.Name))
	})
	rows := [][]string{{"INSTANCE", "STATE", "", "LAST"}}
	for _, p := range places {
		rows = append(rows, []string{cli.Plain(p.String()), p.state, cli.Coarse(time.Since(p.at).Truncate(time.Second)), cli.Plain(p.last)})
	}
	title := "All groups"
	if b.group != "" {
		title = "Group " + b.group
	}
	footer := "Ctrl-C ends this, and harms nobody."
	if b.says != "" {
		footer = b.says + "\n" + footer
	}
	return live.Frame{
		Title: fmt.Sprintf("%s: %d running, %d leaving, %d gone", cli.Plain(title), counts[1], counts[0], counts[2]), Rows: rows, Footer: footer,
	}
}
