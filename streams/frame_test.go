package streams

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/farewell-node/farewell/streams/identity"
)

// reference decodes what next does, from all bytes at once.
func reference(wire []byte, limit int) (words []uint32, frames [][]byte, err error) {
	for len(wire) > 0 {
		if len(wire) < headerSize {
			return words, frames, io.ErrUnexpectedEOF
		}
		word := binary.BigEndian.Uint32(wire)
		wire = wire[headerSize:]
		size := int(word)
		switch {
		case word&controlBit != 0:
			size = 0
		case size > limit:
			return words, frames, ErrFrameTooBig
		case size > len(wire):
			return words, frames, io.ErrUnexpectedEOF
		}
		words, frames, wire = append(words, word), append(frames, wire[:size]), wire[size:]
	}
	return words, frames, io.EOF
}

// pieces reads a few bytes at a time, as many as a fuzzed sequence says.
type pieces struct {
	wire  []byte
	sizes []byte
	reads int
}

func (p *pieces) Read(buffer []byte) (int, error) {
	if len(p.wire) == 0 {
		return 0, io.EOF
	}
	n := len(buffer)
	if len(p.sizes) > 0 {
		size := int(p.sizes[p.reads%len(p.sizes)])
		n = min(n, 1+size*size)
		p.reads++
	}
	n = copy(buffer[:n], p.wire)
	p.wire = p.wire[n:]
	return n, nil
}

func frameOf(data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{0, 0, 0}, []byte{0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 7}, []byte{0, 1})
	f.Add([]byte{0x80, 0, 0, 1}, []byte{1})
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 1}, []byte{9})
	f.Add(append(frameOf(make([]byte, 3*chunkSize)), frameOf([]byte("after"))...), []byte{255, 3})
	f.Add(append(frameOf([]byte("before")), frameOf(make([]byte, chunkSize))...), []byte{200})
	f.Fuzz(func(t *testing.T, wire, sizes []byte) {
		const limit = 4 * chunkSize
		words, frames, want := reference(wire, limit)
		reader := frameReader{source: &pieces{wire: wire, sizes: sizes}, max: limit}
		defer reader.release()
		for i := range words {
			word, frame, err := reader.next()
			if err != nil || word != words[i] || !bytes.Equal(frame, frames[i]) {
				t.Fatalf("frame %d: %#x, %d bytes, %v; want %#x, %d bytes", i, word, len(frame), err, words[i], len(frames[i]))
			}
		}
		if _, _, err := reader.next(); !errors.Is(err, want) {
			t.Errorf("end is %v, want %v", err, want)
		}
	})
}

// A length that is announced costs no memory until the bytes come.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) {
	wire := append(binary.BigEndian.AppendUint32(nil, 1<<28), make([]byte, chunkSize)...)
	reader := frameReader{source: bytes.NewReader(wire), max: 1 << 28}
	_, _, err := reader.next()
	assertIs(t, err, io.ErrUnexpectedEOF)
	if cap(reader.large) > 4*chunkSize {
		t.Errorf("%d bytes allocated for %d received", cap(reader.large), chunkSize)
	}
}

func TestIdleReaderHoldsNoBuffer(t *testing.T) {
	read, written := io.Pipe()
	reader := frameReader{source: read, max: chunkSize}
	go func() {
		_, _ = written.Write(frameOf(make([]byte, 1000)))
		_ = written.CloseWithError(iotest.ErrTimeout)
	}()
	if _, _, err := reader.next(); err != nil {
		t.Fatal(err)
	}
	_, _, err := reader.next()
	assertIs(t, err, iotest.ErrTimeout)
	if reader.chunk != nil {
		t.Error("a buffer is held while nothing comes")
	}
}

// endless repeats a frame.
type endless struct {
	frame []byte
	at    int
}

func (e *endless) Read(buffer []byte) (int, error) {
	n := 0
	for n < len(buffer) {
		k := copy(buffer[n:], e.frame[e.at:])
		n, e.at = n+k, (e.at+k)%len(e.frame)
	}
	return n, nil
}

func TestReadingAllocatesNothing(t *testing.T) {
	for _, size := range []int{0, 100, 16 << 10} {
		reader := frameReader{source: &endless{frame: frameOf(make([]byte, size))}, max: chunkSize}
		allocations := testing.AllocsPerRun(1000, func() {
			if _, frame, err := reader.next(); err != nil || len(frame) != size {
				t.Fatal(len(frame), err)
			}
		})
		if allocations > 0 {
			t.Errorf("%v allocations for a frame of %d bytes", allocations, size)
		}
	}
}

func TestSendingAllocatesNothing(t *testing.T) {
	s := newStream(newNode(t, 1, nil).Pool, id(2).PublicKey(), nil, nil) // no writer: the test takes the chunks
	frame := make([]byte, 1<<10)
	allocations := testing.AllocsPerRun(1000, func() {
		if err := s.send(frame); err != nil {
			t.Fatal(err)
		}
		if s.queue.head != s.queue.tail {
			c := s.queue.take()
			s.wrote(c, c.used)
			c.giveBack()
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations for a frame", allocations)
	}
}

// From Send to the other side's Handler. What is allocated at all is so by the record, within crypto/tls, and under the
// race detector by the buffer, since sync.Pool then drops some on purpose; how many frames go into one is up to the load.
func TestAllocationsEndToEnd(t *testing.T) {
	const batch = 1000
	a, b := newNode(t, 1, nil), newNode(t, 2, nil)
	arrived := 0
	done := make(chan struct{})
	b.config.Handler = frameFunc(func(identity.PublicKey, []byte) {
		if arrived++; arrived%batch == 0 {
			done <- struct{}{}
		}
	})
	if err := a.Dial(t.Context(), b.key, b.address); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 1<<10)
	allocations := testing.AllocsPerRun(20, func() {
		for range batch {
			for errors.Is(a.Send(b.key, frame), ErrQueueFull) {
				if err := a.Flush(t.Context(), b.key); err != nil {
					t.Fatal(err)
				}
			}
		}
		<-done
	})
	t.Logf("%v allocations for %d frames", allocations, batch)
	if allocations > 4*batch {
		t.Error("that is too many")
	}
}

// frameFunc is a Handler that is only told of frames.
type frameFunc func(identity.PublicKey, []byte)

func (frameFunc) PeerUp(identity.PublicKey)                     {}
func (f frameFunc) Frame(peer identity.PublicKey, frame []byte) { f(peer, frame) }
func (frameFunc) PeerDown(peer identity.PublicKey, err error)   {}
