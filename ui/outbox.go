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

// outbox is what one UI is still to be sent. Whoever takes something writes it,
// and nobody else can take until it is written; anybody may put, and is never
// blocked by it.
type outbox struct {
	mu     sync.Mutex
	moved  sync.Cond // something was put or written, or it was closed
	items  []item
	spare  []item // room for the next ones
	size   int    // of what is not written yet, in bytes
	taken  bool   // somebody writes
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
	o.moved.Broadcast()
}

// leave adds an item for somebody who is about to call tryTake, and wakes nobody.
func (o *outbox) leave(i item) {
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
		o.moved.Broadcast()
	}
}

func (o *outbox) add(i item) {
	if o.closed {
		return
	}
	o.items = append(o.items, i)
	o.size += i.size
}

// take blocks until there is something to write and nobody writes, and returns all
// of it; nil when the outbox is closed.
func (o *outbox) take() []item {
	o.mu.Lock()
	defer o.mu.Unlock()
	for (len(o.items) == 0 || o.taken) && !o.closed {
		o.moved.Wait()
	}
	return o.takeAll()
}

// tryTake is take if there is something to write and nobody writes, and otherwise
// returns nil: whoever writes takes the rest, too.
func (o *outbox) tryTake() []item {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) == 0 || o.taken {
		return nil
	}
	return o.takeAll()
}

func (o *outbox) takeAll() []item {
	if o.closed {
		return nil
	}
	items := o.items
	o.items, o.spare, o.taken = o.spare, nil, true
	return items
}

// done says that what was taken is written.
func (o *outbox) done(items []item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, i := range items {
		o.size -= i.size
	}
	clear(items)
	o.spare, o.taken = items[:0], false
	o.moved.Broadcast()
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
