package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// group is a network that one member joins and leaves, again and again; the others
// stay.
type group interface {
	// join has a new member join, and returns when it and all others know of each
	// other.
	join(ctx context.Context) (leaver, error)
	close() error
}

// leaver is the member that leaves.
type leaver interface {
	// leave leaves as the documentation says, and returns when the process may go.
	leave(ctx context.Context) error
	// noticed yields once for each other that knows that the leaver has gone.
	noticed() <-chan notice
}

// notice is one other's.
type notice struct {
	at   time.Time
	near bool // it is the leaver's neighbor, where not everybody is
	dead bool // it believes that the leaver has died
}

// contender is who is measured.
type contender struct {
	name string
	open func(ctx context.Context, others int) (group, error)
}

var contenders = []contender{
	{"TCP floor", openTCP},
	{"this node", openNodes},
	{"memberlist, as for a LAN", openMemberlistLAN},
	{"memberlist, as for loopback", openMemberlistLocal},
	{"serf, as by default", openSerfLAN},
	{"serf, as for loopback", openSerfLocal},
}

// leaveSettings are those of the leave table.
type leaveSettings struct {
	sizes    []int // how many others
	trials   int
	patience time.Duration // until it is said that somebody never learned
}

// left is how one leave went.
type left struct {
	near  time.Duration // until the last neighbor knew; 0 where everybody is one
	known time.Duration // until the last of the others knew, of those that came to know
	may   time.Duration // until the leaver may go
	never int           // who had not come to know when patience was over
	dead  int           // who took the leaver for dead
}

func leaveOnce(ctx context.Context, g group, others int, patience time.Duration) (l left, err error) {
	who, err := g.join(ctx)
	if err != nil {
		return l, err
	}
	over := time.After(patience)
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		err := who.leave(ctx)
		l.may = time.Since(began)
		done <- err
	}()
	for known := 0; known < others; known++ {
		select {
		case n := <-who.noticed():
			took := n.at.Sub(began)
			l.known = max(l.known, took)
			if n.near {
				l.near = max(l.near, took)
			}
			if n.dead {
				l.dead++
			}
			continue
		case <-over:
			l.never = others - known
		}
		break
	}
	return l, <-done
}

const leaveNote = `One of a network on loopback leaves, all of it in one process; medians of %d leaves. A node of this project has at most five
neighbors, and the others hear of it from them. In memberlist and serf everybody is everybody's. It may go: Shutdown, or
Leave and Shutdown, are back. Never learned: not within %v, of all others in all leaves. The floor is one write of 1 KiB to each over a
TCP connection that is there.`

func leaveTables(ctx context.Context, s settings) ([]*table, error) {
	t := &table{
		title: "Leave",
		head: []string{
			"who", "others", "ms until its neighbors know", "ms until all know", "the longest", "ms until it may go", "never learned",
			"took it for dead",
		},
		note: fmt.Sprintf(leaveNote, s.leave.trials, s.leave.patience),
	}
	for _, size := range s.leave.sizes {
		for _, c := range contenders {
			progress("leave: %s, %d others", c.name, size)
			row, err := leaveRow(ctx, c, size, s.leave)
			if err != nil {
				return nil, fmt.Errorf("leave: %s, %d: %w", c.name, size, err)
			}
			t.add(row...)
		}
	}
	return []*table{t}, nil
}

func leaveRow(ctx context.Context, c contender, size int, s leaveSettings) (row []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, err := c.open(ctx, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	var near, known, may []time.Duration
	never, dead := 0, 0
	for range s.trials {
		l, err := leaveOnce(ctx, g, size, s.patience)
		if err != nil {
			return nil, err
		}
		near, known, may = append(near, l.near), append(known, l.known), append(may, l.may)
		never += l.never
		dead += l.dead
	}
	nearest := "–"
	if median(near) > 0 {
		nearest = millis(median(near))
	}
	of := size * s.trials
	return []string{
		c.name, fmt.Sprint(size), nearest, millis(median(known)), millis(slices.Max(known)), millis(median(may)),
		fmt.Sprintf("%d of %d", never, of), fmt.Sprintf("%d of %d", dead, of),
	}, nil
}

// The floor: one frame to each.

const floorFrame = 1 << 10

type tcpGroup struct {
	listener net.Listener
	others   int
}

func openTCP(_ context.Context, others int) (group, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	return &tcpGroup{l, others}, err
}

func (g *tcpGroup) close() error { return g.listener.Close() }

type tcpLeaver struct {
	conns   []net.Conn
	readers sync.WaitGroup
	notices chan notice
}

func (g *tcpGroup) join(context.Context) (leaver, error) {
	who := &tcpLeaver{notices: make(chan notice, g.others)}
	for range g.others {
		conn, err := net.Dial("tcp", g.listener.Addr().String())
		if err != nil {
			return nil, err
		}
		who.conns = append(who.conns, conn)
		other, err := g.listener.Accept()
		if err != nil {
			return nil, err
		}
		who.readers.Go(func() {
			defer other.Close()
			if _, err := io.ReadFull(other, make([]byte, floorFrame)); err == nil {
				who.notices <- notice{at: time.Now()}
			}
		})
	}
	return who, nil
}

func (l *tcpLeaver) noticed() <-chan notice { return l.notices }

func (l *tcpLeaver) leave(context.Context) error {
	frame := make([]byte, floorFrame)
	for _, conn := range l.conns {
		if _, err := conn.Write(frame); err != nil {
			return err
		}
	}
	for _, conn := range l.conns {
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
