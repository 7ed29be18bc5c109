package fsmtest_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/farewell-node/farewell/fsm/fsmtest"
)

const turnstileDrawing = `stateDiagram-v2
    [*] --> Locked
    Locked --> Unlocked: Coin
    Unlocked --> Unlocked: Coin
    Unlocked --> Locked: Push
    Locked --> Broken: Kick
    Broken --> [*]
`

// turnstile is a machine by table; its faults are put in by the tests.
type turnstile struct {
	state string
	table map[[2]string]string
	wedge bool // a refusal breaks it
}

func newTurnstile() *turnstile {
	return &turnstile{state: "Locked", table: map[[2]string]string{
		{"Locked", "Coin"}: "Unlocked", {"Unlocked", "Coin"}: "Unlocked", {"Unlocked", "Push"}: "Locked",
		{"Locked", "Kick"}: "Broken",
	}}
}

func (m *turnstile) State() string { return m.state }

func (m *turnstile) Fire(event string) error {
	to, ok := m.table[[2]string{m.state, event}]
	switch {
	case to == "panic":
		panic("oh no")
	case !ok && m.wedge:
		clear(m.table)
	}
	if !ok {
		return fmt.Errorf("%s in state %s", event, m.state)
	}
	moved := strings.TrimSuffix(to, ", refused")
	m.state = moved
	if moved != to {
		return errors.New("refused, and moved")
	}
	return nil
}

// locked is a turnstile with a lock; a panic of the turnstile leaves it locked.
type locked struct {
	*turnstile
	mu sync.Mutex
}

func (m *locked) State() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.turnstile.State()
}

func (m *locked) Fire(event string) error {
	m.mu.Lock()
	err := m.turnstile.Fire(event)
	m.mu.Unlock()
	return err
}

func parse(t *testing.T, drawing string) *fsmtest.Diagram {
	t.Helper()
	d, err := fsmtest.Parse(drawing)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDrive(t *testing.T) {
	d := parse(t, turnstileDrawing)
	coverage := d.Test(t, func() fsmtest.Machine { return newTurnstile() }, "Coin", "Hammer")
	want := fsmtest.Coverage{States: 3, AllStates: 3, Edges: 4, AllEdges: 4, Refused: 8, Paths: 4}
	if coverage != want {
		t.Errorf("covered %+v, want %+v", coverage, want)
	}
}

func TestDriveFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		drawing string
		also    []string
		fault   func(*turnstile)
		want    string
	}{
		"undrawn": {
			"", nil, func(m *turnstile) { m.table[[2]string{"Unlocked", "Kick"}] = "Broken" },
			"fsmtest: after Locked --Coin--> Unlocked: undrawn transition Unlocked --Kick--> Broken",
		},
		"undrawn event": {
			"",
			[]string{"Hammer"},
			func(m *turnstile) { m.table[[2]string{"Locked", "Hammer"}] = "Broken" },
			"fsmtest: after the start: undrawn transition Locked --Hammer--> Broken",
		},
		"drawn, refused": {
			"", nil, func(m *turnstile) { delete(m.table, [2]string{"Unlocked", "Push"}) },
			"fsmtest: after Locked --Coin--> Unlocked: Unlocked --Push--> Locked is drawn, and refused: Push in state Unlocked",
		},
		"elsewhere": {
			"", nil, func(m *turnstile) { m.table[[2]string{"Locked", "Kick"}] = "Unlocked" },
			"fsmtest: after the start and Kick: the state is Unlocked, drawn is Broken",
		},
		"refused, moved": {
			"", nil, func(m *turnstile) { m.table[[2]string{"Broken", "Coin"}] = "Locked, refused" },
			"fsmtest: after Locked --Kick--> Broken: Coin in state Broken was refused, and led to Locked",
		},
		"wedged": {
			"", nil, func(m *turnstile) { m.wedge = true },
			"fsmtest: after the start: Locked --Coin--> Unlocked is drawn, and refused: Coin in state Locked",
		},
		"panic": {
			"", nil, func(m *turnstile) { m.table[[2]string{"Broken", "Push"}] = "panic" },
			"fsmtest: after Locked --Kick--> Broken: Push in state Broken: panic: oh no",
		},
		"initial": {
			"", nil, func(m *turnstile) { m.state = "Unlocked" },
			"fsmtest: after the start: the state is Unlocked, drawn is Locked",
		},
		"unreachable": {
			turnstileDrawing + "Lost --> Locked: Find", nil, func(*turnstile) {},
			"fsmtest: no path leads to state Lost",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.drawing == "" {
				test.drawing = turnstileDrawing
			}
			_, err := parse(t, test.drawing).Drive(func() fsmtest.Machine {
				m := newTurnstile()
				test.fault(m)
				return m
			}, test.also...)
			if err == nil || !strings.Contains(err.Error()+"\n", test.want+"\n") {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

// complete draws n states, with an edge from each to every other but the first.
func complete(n int) string {
	drawing := "stateDiagram-v2\n[*] --> S0\n"
	for from := range n {
		for to := 1; to < n; to++ {
			if from != to {
				drawing += fmt.Sprintf("S%d --> S%d: to%d\n", from, to, to)
			}
		}
	}
	return drawing
}

// One wrong edge is one line, however many paths lead through it.
func TestDriveReportsAnEdgeOnce(t *testing.T) {
	d := parse(t, complete(6))
	drive := func(wrong fsmtest.Edge, to string) (fsmtest.Coverage, error) {
		return d.Drive(func() fsmtest.Machine {
			m := &turnstile{state: "S0", table: map[[2]string]string{}}
			for _, e := range d.Edges {
				m.table[[2]string{e.From, e.On}] = e.To
			}
			m.table[[2]string{wrong.From, wrong.On}] = to
			return m
		})
	}
	wrong := fsmtest.Edge{From: "S2", On: "to4", To: "S4"}
	all, err := drive(wrong, wrong.To)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"S2, refused": "fsmtest: after S0 --to2--> S2: S2 --to4--> S4 is drawn, and refused: refused, and moved",
		"S3":          "fsmtest: after S0 --to2--> S2 and to4: the state is S3, drawn is S4",
		"panic":       "fsmtest: after S0 --to2--> S2: S2 --to4--> S4 is drawn, and refused: panic: oh no",
	} {
		coverage, err := drive(wrong, to)
		if err == nil || err.Error() != want {
			t.Errorf("to %s: got %v\nwant %s", to, err, want)
		}
		if coverage.Edges != all.Edges-1 || coverage.Refused != all.Refused || coverage.Paths >= all.Paths {
			t.Errorf("to %s: covered %+v, without a fault %+v", to, coverage, all)
		}
	}
}

// A refusal that breaks a machine is one line, and breaks no edge of the others.
func TestDriveReportsABrokenRefusalOnce(t *testing.T) {
	coverage, err := parse(t, turnstileDrawing).Drive(func() fsmtest.Machine {
		m := newTurnstile()
		m.wedge = true
		return m
	})
	want := "fsmtest: after the start: Locked --Coin--> Unlocked is drawn, and refused: Coin in state Locked\n" +
		"fsmtest: after Locked --Coin--> Unlocked: Unlocked --Coin--> Unlocked is drawn, and refused: Coin in state Unlocked"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if coverage.Edges != 4 || coverage.Paths != 4 {
		t.Errorf("covered %+v", coverage)
	}
}

// A machine that panicked is not asked again: it may hold a lock for ever.
func TestDriveLeavesAMachineThatPanicked(t *testing.T) {
	_, err := parse(t, turnstileDrawing).Drive(func() fsmtest.Machine {
		m := newTurnstile()
		m.table[[2]string{"Broken", "Push"}] = "panic"
		m.table[[2]string{"Unlocked", "Push"}] = "panic"
		return &locked{turnstile: m}
	})
	for _, want := range []string{
		"fsmtest: after Locked --Kick--> Broken: Push in state Broken: panic: oh no\n",
		"fsmtest: after Locked --Coin--> Unlocked: Unlocked --Push--> Locked is drawn, and refused: panic: oh no\n",
	} {
		if err == nil || !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// mute is a turnstile whose State panics in one state, or once it has refused.
type mute struct {
	*turnstile
	in      string
	refused bool
}

func (m *mute) State() string {
	if state := m.turnstile.State(); state != m.in && !m.refused {
		return state
	}
	panic("no word")
}

func (m *mute) Fire(event string) error {
	err := m.turnstile.Fire(event)
	m.refused = m.in == "" && err != nil
	return err
}

func TestDriveRecoversAPanicOfState(t *testing.T) {
	for in, want := range map[string]string{
		"Locked": "fsmtest: after the start: State: panic: no word\n",
		"Broken": "fsmtest: after the start and Kick: State: panic: no word\n",
		"":       "fsmtest: after the start: Push in state Locked: State: panic: no word\n",
	} {
		_, err := parse(t, turnstileDrawing).Drive(func() fsmtest.Machine {
			return &mute{turnstile: newTurnstile(), in: in}
		})
		if err == nil || !strings.Contains(err.Error()+"\n", want) {
			t.Errorf("mute in %q: got %v\nwant %s", in, err, want)
		}
	}
}

// In a complete diagram of n states the number of simple paths is known.
func TestPathsOfACompleteDiagram(t *testing.T) {
	d := parse(t, complete(5))
	simple := 0
	for _, path := range d.Paths(fsmtest.MaxPaths) {
		visited := map[string]bool{d.Initial: true}
		for _, e := range path {
			visited[e.To] = true
		}
		if len(visited) == len(path)+1 {
			simple++
		}
	}
	if want := 4 + 4*3 + 4*3*2 + 4*3*2*1; simple != want {
		t.Errorf("%d simple paths, want %d", simple, want)
	}
	if got := len(d.Paths(7)); got != 7 {
		t.Errorf("%d paths, the limit is 7", got)
	}
}
