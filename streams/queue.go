package streams

import (
	"encoding/binary"
	"sync"
)

// chunkSize is the size of a write, and of a read while frames keep coming. Smaller ones cost a system call more
// often: 1 KiB frames are an order of magnitude faster through 64 KiB than one by one.
const chunkSize = 64 << 10

// chunk is a buffer of bytes on their way. Only busy streams hold any; idle ones have given theirs back.
type chunk struct {
	next    *chunk
	used    int
	control int  // how many of those bytes are control words
	pings   bool // there is a ping among them
	data    [chunkSize]byte
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func borrowChunk() *chunk { return chunks.Get().(*chunk) }

func (c *chunk) giveBack() {
	c.next, c.used, c.control, c.pings = nil, 0, 0, false
	chunks.Put(c)
}

// queue is bytes in chunks, appended by senders and taken by the writer a chunk at a time: what gathers while one
// write is under way goes into the next. It is guarded by its stream's mutex.
type queue struct{ head, tail *chunk }

func (q *queue) append(data []byte) {
	for len(data) > 0 {
		if q.tail == nil || q.tail.used == chunkSize {
			q.push(borrowChunk())
		}
		n := copy(q.tail.data[q.tail.used:], data)
		q.tail.used += n
		data = data[n:]
	}
}

// appendControl appends a word that stands between frames, and in one chunk.
func (q *queue) appendControl(word uint32) {
	if q.tail == nil || chunkSize-q.tail.used < headerSize {
		q.push(borrowChunk())
	}
	t := q.tail
	binary.BigEndian.PutUint32(t.data[t.used:], word)
	t.used, t.control = t.used+headerSize, t.control+headerSize
	t.pings = t.pings || word == wordPing
}

func (q *queue) push(c *chunk) {
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.next = c
	}
	q.tail = c
}

// take removes the first chunk, nil if there is none.
func (q *queue) take() *chunk {
	c := q.head
	if c == nil {
		return nil
	}
	q.head, c.next = c.next, nil
	if q.head == nil {
		q.tail = nil
	}
	return c
}

func (q *queue) discard() {
	for c := q.take(); c != nil; c = q.take() {
		c.giveBack()
	}
}
