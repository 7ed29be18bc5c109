package streams

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// On the wire a frame is a word, big-endian, and as many bytes as it says. A word with the top bit set is a control
// word and nothing follows it.
const (
	headerSize = 4
	controlBit = 1 << 31
	// wordConfirm is the last thing on a stream whose other end left first: all that it wrote has been handled.
	wordConfirm = controlBit | 1
	// From version 2 of the protocol on; see ping.go.
	wordPing  = controlBit | 2
	wordAlive = controlBit | 3
)

// idleSize is what an idle stream reads into: enough to learn that it is not idle any more.
const idleSize = 16

// frameReader cuts a byte stream into frames. It holds a chunk while bytes keep coming and none while it waits.
type frameReader struct {
	source  io.Reader
	max     int
	chunk   *chunk // unread bytes are chunk.data[begin:end]
	begin   int
	end     int
	emptied bool   // the last read left nothing behind, as far as one can know
	large   []byte // for a frame that fits no chunk; kept until the stream is idle
	idle    [idleSize]byte
}

// next returns the next word and, unless it is a control word, the frame, which is valid until the call after. The
// error is io.EOF at the end of a stream that ended after a whole frame, io.ErrUnexpectedEOF within one.
func (f *frameReader) next() (word uint32, frame []byte, err error) {
	if err := f.fill(headerSize); err != nil {
		if f.begin < f.end {
			err = unexpected(err)
		}
		return 0, nil, err
	}
	word = binary.BigEndian.Uint32(f.chunk.data[f.begin:])
	f.begin += headerSize
	if word&controlBit != 0 {
		return word, nil, nil
	}
	size := int(word)
	switch {
	case size > f.max:
		return 0, nil, fmt.Errorf("streams: %w: %d bytes announced, at most %d", ErrFrameTooBig, size, f.max)
	case size > chunkSize:
		frame, err = f.readLarge(size)
	default:
		if err = f.fill(size); err == nil {
			frame = f.chunk.data[f.begin : f.begin+size]
			f.begin += size
		}
	}
	return word, frame, unexpected(err)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// fill reads until at least n unread bytes are in the chunk.
func (f *frameReader) fill(n int) error {
	for f.chunk == nil || f.end-f.begin < n {
		if err := f.readSome(n); err != nil && (f.chunk == nil || f.end-f.begin < n) {
			return err
		}
	}
	return nil
}

// readSome reads once, making room in the chunk for n unread bytes.
func (f *frameReader) readSome(n int) error {
	if f.begin == f.end && (f.chunk == nil || f.emptied) {
		return f.readIdle()
	}
	if chunkSize-f.begin < n || f.begin == f.end {
		f.end = copy(f.chunk.data[:], f.chunk.data[f.begin:f.end])
		f.begin = 0
	}
	read, err := f.source.Read(f.chunk.data[f.end:])
	f.end += read
	f.emptied = f.end < chunkSize
	return err
}

// readIdle waits for bytes without holding a buffer.
func (f *frameReader) readIdle() error {
	f.release()
	read, err := f.source.Read(f.idle[:])
	if read > 0 {
		f.chunk = borrowChunk()
		f.begin, f.end, f.emptied = 0, copy(f.chunk.data[:], f.idle[:read]), read < idleSize
	}
	return err
}

// readLarge reads a frame that fits no chunk. Memory grows with the bytes that came, not with those announced.
func (f *frameReader) readLarge(size int) ([]byte, error) {
	f.large = append(f.large[:0], f.chunk.data[f.begin:f.end]...)
	f.begin, f.end = 0, 0
	for len(f.large) < size {
		if len(f.large) == cap(f.large) {
			f.large = slices.Grow(f.large, chunkSize)
		}
		read, err := f.source.Read(f.large[len(f.large):min(size, cap(f.large))])
		f.large = f.large[:len(f.large)+read]
		if err != nil && len(f.large) < size {
			return nil, err
		}
	}
	f.emptied = true
	return f.large, nil
}

// release gives the buffers back.
func (f *frameReader) release() {
	if f.chunk != nil {
		f.chunk.giveBack()
	}
	f.chunk, f.large, f.begin, f.end = nil, nil, 0, 0
}
