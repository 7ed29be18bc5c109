package streams

import (
	"encoding/binary"
	"fmt"
	"io"
)

// helloSize is that of verdict, instance and sequence.
const helloSize = 1 + 8 + 8

// verdict is how a hello is answered. A dialer's own hello says accepted.
type verdict byte

const (
	accepted verdict = iota
	rejectedDuplicate
	rejectedFull
	rejectedLeaving
)

func (v verdict) String() string {
	switch v {
	case accepted:
		return "accepted"
	case rejectedDuplicate:
		return "another stream was kept"
	case rejectedFull:
		return "full"
	case rejectedLeaving:
		return "leaving"
	default:
		return fmt.Sprintf("verdict %d", byte(v))
	}
}

// hello is the first frame each way. Instance is random per pool; sequence grows with every dial that this pool begins
// and every stream that it accepts. So of two streams with one peer each side can tell which the peer began, or took,
// later, and a peer that restarted is never mistaken for one that dials twice.
type hello struct {
	verdict  verdict
	instance uint64
	sequence uint64
}

func (h hello) writeTo(w io.Writer) error {
	frame := make([]byte, headerSize, headerSize+helloSize)
	binary.BigEndian.PutUint32(frame, helloSize)
	frame = append(frame, byte(h.verdict))
	frame = binary.BigEndian.AppendUint64(frame, h.instance)
	frame = binary.BigEndian.AppendUint64(frame, h.sequence)
	_, err := w.Write(frame)
	return err
}

// readHello reads a peer's hello; a refusal is an error that wraps ErrRejected.
func readHello(f *frameReader) (hello, error) {
	f.max = helloSize
	_, frame, err := f.next()
	if err != nil {
		return hello{}, err
	}
	if len(frame) != helloSize {
		return hello{}, fmt.Errorf("%w: hello of %d bytes", ErrProtocol, len(frame))
	}
	h := hello{verdict(frame[0]), binary.BigEndian.Uint64(frame[1:]), binary.BigEndian.Uint64(frame[9:])}
	if h.verdict != accepted {
		return h, fmt.Errorf("%w: %v", ErrRejected, h.verdict)
	}
	return h, nil
}
