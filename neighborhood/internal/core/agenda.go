package core

import (
	"container/heap"
	"time"

	"github.com/farewell-node/farewell/streams/identity"
)

// appointment is something to do about one key at a time, unless it has become void since.
type appointment struct {
	at  int64 // Unix nanoseconds
	key identity.PublicKey
}

// agenda is a heap of appointments, the earliest first; of those at one time the one with the smallest key, so that
// every run does the same.
type agenda []appointment

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].key.Compare(a[j].key) < 0
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

// Push implements heap.Interface.
func (a *agenda) Push(x any) { *a = append(*a, x.(appointment)) }

// Pop implements heap.Interface.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}

// next is the time of the first appointment; zero: there is none.
func (a agenda) next() time.Time {
	if len(a) == 0 {
		return time.Time{}
	}
	return time.Unix(0, a[0].at)
}

// due takes the first appointment off, if its time has come.
func (a *agenda) due(now time.Time) (appointment, bool) {
	if len(*a) == 0 || (*a)[0].at > now.UnixNano() {
		return appointment{}, false
	}
	return heap.Pop(a).(appointment), true
}

// runAgenda takes the changes that had to wait, and then culls.
func (c *Core) runAgenda() {
	for a, ok := c.changes.due(c.now); ok; a, ok = c.changes.due(c.now) {
		if a.key == c.self {
			c.goPast()
		} else {
			c.takeDeferred(a.key)
		}
	}
	for a, ok := c.culls.due(c.now); ok; a, ok = c.culls.due(c.now) {
		c.cull(a)
	}
}
