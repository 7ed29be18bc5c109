package wire

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/farewell-node/farewell/streams/identity"
)

// Kind is what a message is for. It is a tag in the message, not guessed from its shape.
type Kind uint8

// The kinds of gossip (MASQ Node v0.9.1).
const (
	Debut        Kind = iota + 1 // a node shows itself: its own record, with its address if it has one
	Introduction                 // the answer to a Debut: the introducer, and one other to debut to
	Pass                         // the answer of one without room: debut there instead
	Standard                     // the records that the receiver may lack
)

// Kinds are all of them, in order.
var Kinds = [...]Kind{Debut, Introduction, Pass, Standard}

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case Debut:
		return "Debut"
	case Introduction:
		return "Introduction"
	case Pass:
		return "Pass"
	case Standard:
		return "Standard"
	default:
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
}

// Errors about a whole message.
var (
	ErrTooBig      = errors.New("message too big")
	ErrTooMany     = errors.New("too many records in a message")
	ErrUndecodable = errors.New("undecodable message")
)

// Entry is one record of a message, with its owner's address where that is shown.
type Entry struct {
	Record  *Record
	Address *Address // nil: not shown, or bad
	Err     error    // why Record or Address is nil although something stood there
}

// Message is one piece of gossip. Its sender is not in it: that is who the authenticated stream says it is.
type Message struct {
	Kind    Kind
	Entries []Entry
}

type messageForm struct {
	_       struct{} `cbor:",toarray"`
	Kind    uint8
	Entries []entryForm
}

type entryForm struct {
	_                struct{} `cbor:",toarray"`
	Record           []byte
	Signature        []byte
	Address          []byte
	AddressSignature []byte
}

// Encode makes the frame of a message.
func (m Message) Encode() []byte {
	form := messageForm{Kind: uint8(m.Kind), Entries: make([]entryForm, len(m.Entries))}
	for i, e := range m.Entries {
		form.Entries[i] = entryForm{Record: e.Record.payload, Signature: e.Record.signature}
		if e.Address != nil {
			form.Entries[i].Address, form.Entries[i].AddressSignature = e.Address.payload, e.Address.signature
		}
	}
	return encode(form)
}

// Decode reads a frame; nothing in the result shares memory with it. An error refuses the message whole and wraps
// ErrTooBig, ErrTooMany or ErrUndecodable. A bad record or address costs only itself: its entry says why. Signatures
// are not checked here, since most of them need no check: the record is known already.
func Decode(frame []byte) (Message, error) {
	if len(frame) > MaxMessage {
		return Message{}, fmt.Errorf("wire: %w: %d bytes, at most %d", ErrTooBig, len(frame), MaxMessage)
	}
	var form messageForm
	if err := decMode.Unmarshal(frame, &form); err != nil {
		if tooMany := (*cbor.MaxArrayElementsError)(nil); errors.As(err, &tooMany) {
			return Message{}, fmt.Errorf("wire: %w: at most %d", ErrTooMany, MaxEntries)
		}
		return Message{}, fmt.Errorf("wire: %w: %w", ErrUndecodable, err)
	}
	m := Message{Kind: Kind(form.Kind), Entries: make([]Entry, len(form.Entries))}
	if m.Kind < Debut || m.Kind > Standard {
		return Message{}, fmt.Errorf("wire: %w: kind %d", ErrUndecodable, form.Kind)
	}
	for i, e := range form.Entries {
		m.Entries[i] = e.parse()
	}
	return m, nil
}

func (e entryForm) parse() Entry {
	record, err := parseRecord(e.Record, e.Signature)
	if err != nil || len(e.Address) == 0 {
		return Entry{Record: record, Err: err}
	}
	address, err := parseAddress(e.Address, e.AddressSignature)
	if err == nil && address.Key != record.Key {
		return Entry{Record: record, Err: fmt.Errorf("wire: address: %w: not its record's owner's", ErrMalformed)}
	}
	return Entry{Record: record, Address: address, Err: err}
}

// Forged is the frame of a Standard with a record that its owner did not sign: the old signature under another story.
// It is for simulators, which have to see it refused.
func Forged(r *Record, version uint64, neighbors []identity.PublicKey) []byte {
	list := make([][]byte, len(neighbors))
	for i := range neighbors {
		list[i] = neighbors[i][:]
	}
	payload := encode(recordPayload{Key: r.Key[:], Version: version, Flags: r.Flags, Neighbors: list})
	return encode(messageForm{Kind: uint8(Standard), Entries: []entryForm{{Record: payload, Signature: r.signature}}})
}
