package kvwatch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// neverClosed is a watcher as nats.go leaves it when its connection is closed while it
// is made.
type neverClosed struct{ updates chan jetstream.KeyValueEntry }

func (w neverClosed) Updates() <-chan jetstream.KeyValueEntry { return w.updates }
func (neverClosed) Stop() error                               { return nil }

func TestStoppingAWatcherThatNeverSaysItHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		w := neverClosed{make(chan jetstream.KeyValueEntry, 1)}
		w.updates <- nil
		End(w)
		w.updates <- nil // its callback, in the middle of an entry
		time.Sleep(2 * stillTime)
	})
}

// slowToStop is one while NATS is away.
type slowToStop struct{ neverClosed }

func (slowToStop) Stop() error {
	time.Sleep(5 * time.Second)
	return nil
}

func TestStoppingAWatcherWhileNATSIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		End(slowToStop{neverClosed{make(chan jetstream.KeyValueEntry)}})
		if took := time.Since(began); took > 0 {
			t.Errorf("it has waited for %v", took)
		}
		time.Sleep(10 * time.Second)
	})
}
