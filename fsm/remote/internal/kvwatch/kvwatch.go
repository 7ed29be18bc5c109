// Package kvwatch ends what follows a bucket.
package kvwatch

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// stillTime is how long a watcher that was stopped has to be still to have ended.
const stillTime = time.Second

// End ends a watcher, and its callback, which may wait for somebody to read.
// It does not block: while NATS is away each one takes as long as a request
// may take to end. One that has ended in the moment it was made never says so.
func End(w jetstream.KeyWatcher) {
	go func() {
		_ = w.Stop() // of a connection that may be gone
		for {
			select {
			case _, open := <-w.Updates():
				if !open {
					return
				}
			case <-time.After(stillTime):
				return
			}
		}
	}()
}
