package fsm

import "sync"

// message is an input with what the core does not need to know.
type message struct {
	input
	err      error       // of a component
	panicked *PanicError // the same, if it did not return
	command  *Command    // of a request, an insist or a force
	of       *component  // whose run has ended
	inner    *Report     // of a component that is a shutdown of its own
	sample   *snapshot   // of those that run, taken before an insist or the end
	counted  bool        // it was the first of its kind
	next     *message    // in the inbox
}

// inbox takes messages without making the senders queue up: the first to arrive
// feeds them all to the core, the others leave theirs and go. Leaving one needs
// no memory, so that it fits into the first stack of a component's goroutine.
type inbox struct {
	mu          sync.Mutex
	first, last *message
	taken       bool // somebody is on the way to feed the core
}

// post leaves a message and reports whether the caller has to deliver.
func (b *inbox) post(m *message) (deliver bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.last == nil {
		b.first = m
	} else {
		b.last.next = m
	}
	b.last = m
	deliver = !b.taken
	b.taken = true
	return deliver
}

// take returns what has come in, linked; nothing means that the caller may go.
func (b *inbox) take() *message {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.first
	b.first, b.last, b.taken = nil, nil, first != nil
	return first
}
