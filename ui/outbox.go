package ui

import (
	"sync"
	"sync/atomic"

	"github.com/gorilla/websocket"
)

// item is one frame to be written.
type item struct {
	text     []byte                     // a text message, or
	prepared *websocket.PreparedMessage // one that many UIs get, or
	close    int                        // a close frame with this code, the last one
	size     int
	written  *atomic.Int64 // counts it when it is written
}

// outbox is what one UI is still to be sent. Only its writer takes; anybody may
// put, and is never blocked by it.
type outbox struct {
	mu     sync.Mutex
	moved  sync.Cond // something was put or written, or it was closed
	items  []item
	size   int // of what is not written yet, in bytes
	closed bool
}

func newOutbox() *outbox {
	o := &outbox{}
	o.moved.L = &o.mu
	return o
}

// put adds an item. After close it is forgotten.
func (o *outbox) put(i item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(i)
}

// offer adds an item if no more than bound bytes wait, and otherwise forgets it.
func (o *outbox) offer(i item, bound int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size <= bound {
		o.add(i)
	}
}

func (o *outbox) add(i item) {
	if o.closed {
		return
	}
	o.items = append(o.items, i)
	o.size += i.size
	o.moved.Broadcast()
}

// take forgets what it gave before, which is now written, and blocks until there
// is more; it returns all of it, and nil when the outbox is closed.
func (o *outbox) take(written []item) []item {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range written {
		o.size -= i.size
	}
	o.moved.Broadcast()
	for len(o.items) == 0 && !o.closed {
		o.moved.Wait()
	}
	items := o.items
	clear(written)
	o.items = written[:0]
	return items
}

// waitBelow blocks until at most bound bytes wait, or the outbox is closed.
func (o *outbox) waitBelow(bound int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.size > bound && !o.closed {
		o.moved.Wait()
	}
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.items = true, nil
	o.moved.Broadcast()
}
