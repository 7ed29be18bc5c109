package fsm

import "sync"

// message is an input with what the core does not need to know.
type message struct {
	input
	err     error             // of a component
	command *Command          // of a request or a force
	stacks  map[string]string // by component, sampled before an insist or the end
}

// inbox takes messages without making the senders queue up: the first to arrive
// feeds them all to the core, the others leave theirs and go.
type inbox struct {
	mu      sync.Mutex
	pending []message
	taken   bool // somebody is on the way to feed the core
}

// post leaves a message and reports whether the caller has to deliver.
func (b *inbox) post(m message) (deliver bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending = append(b.pending, m)
	deliver = !b.taken
	b.taken = true
	return deliver
}

// take returns what has come in; nothing means that the caller may go.
func (b *inbox) take(spare []message) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.pending
	b.pending = spare[:0]
	b.taken = len(batch) > 0
	return batch
}
