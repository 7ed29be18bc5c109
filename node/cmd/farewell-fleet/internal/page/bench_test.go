package page

import (
	"fmt"
	"testing"

	"github.com/farewell-node/farewell/fsm"
	"github.com/farewell-node/farewell/fsm/remote"
)

const many = 10_000

// crowd is a fleet of ten thousand, each of which has begun to leave.
func crowd() (*story, []remote.Instance) {
	s, list := listedStory(), make([]remote.Instance, many)
	for i := range list {
		list[i] = one(fmt.Sprint("group-", i%20), fmt.Sprint("instance-", i), fmt.Sprint("incarnation-", i), uint64(i+1))
		s.news(remote.Joined, list[i])
		s.asked(list[i])
		for seq, id := range []fsm.ID{"remote", "http", "cache", "queue", "db"} {
			s.started(list[i], seq+1, seq, id)
		}
	}
	return s, list
}

// One event of one of ten thousand.
func BenchmarkEvent(b *testing.B) {
	s, list := crowd()
	seq := 10
	for b.Loop() {
		seq++
		s.started(list[seq%many], seq, seq, "disk")
	}
}

// What one browser of many is told after one event.
func BenchmarkTold(b *testing.B) {
	s, list := crowd()
	_, seen := s.since(0)
	seq := 10
	for b.Loop() {
		seq++
		s.started(list[seq%many], seq, seq, "disk")
		_, seen = s.since(seen)
	}
}

// A snapshot of ten thousand, for a browser that comes after others.
func BenchmarkSnapshot(b *testing.B) {
	s, _ := crowd()
	bytes := 0
	all, _ := s.since(0)
	for _, row := range all.rows {
		bytes += len(row)
	}
	b.SetBytes(int64(bytes))
	for b.Loop() {
		s.since(0)
	}
}
