package sim

import (
	"container/heap"
	"context"
	"time"
)

// task is something that will happen.
type task struct {
	at   time.Time
	turn uint64 // of tasks at one time the one planned first happens first
	do   func()
}

// schedule is a heap of tasks.
type schedule struct {
	tasks []task
	turns uint64
}

func (q *schedule) Len() int { return len(q.tasks) }

func (q *schedule) Less(i, j int) bool {
	a, b := &q.tasks[i], &q.tasks[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.turn < b.turn
}

func (q *schedule) Swap(i, j int) { q.tasks[i], q.tasks[j] = q.tasks[j], q.tasks[i] }

// Push implements heap.Interface.
func (q *schedule) Push(x any) { q.tasks = append(q.tasks, x.(task)) }

// Pop implements heap.Interface.
func (q *schedule) Pop() any {
	last := len(q.tasks) - 1
	t := q.tasks[last]
	q.tasks[last] = task{}
	q.tasks = q.tasks[:last]
	return t
}

func (s *simulation) at(when time.Time, do func()) {
	s.queue.turns++
	heap.Push(&s.queue, task{at: when, turn: s.queue.turns, do: do})
}

func (s *simulation) after(d time.Duration, do func()) { s.at(s.now.Add(d), do) }

// runUntil lets everything happen that is due by end.
func (s *simulation) runUntil(ctx context.Context, end time.Time) {
	for len(s.queue.tasks) > 0 && !s.queue.tasks[0].at.After(end) && ctx.Err() == nil {
		t := heap.Pop(&s.queue).(task)
		s.now = t.at
		t.do()
	}
	s.now = end
}

const (
	silence  = 35 * time.Second // longer than isolated records are kept and than guests may stay
	patience = 15 * time.Minute
)

// settle runs until nothing has been said for a while, and the network is in no more parts than must be. One that does
// not fall silent violates what it promises.
func (s *simulation) settle(ctx context.Context) {
	give := s.now.Add(patience)
	for end := s.now.Add(silence); ctx.Err() == nil; {
		s.runUntil(ctx, end)
		end = s.tally.lastSent.Add(silence)
		silent := !end.After(s.now)
		if silent && !s.inNeedlessParts() {
			return
		}
		if s.now.After(give) {
			if !silent {
				s.violate("silence", "still talking after %v", patience)
			}
			return // what has come of it is checked
		}
		if silent {
			end = s.now.Add(silence) // somebody will be dialed
		}
	}
}
