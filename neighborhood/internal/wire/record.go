package wire

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/farewell-node/farewell/streams/identity"
)

// MaxVersion is the highest version a record may have. The one above it is refused: its owner could never change
// anything again, and could not go past a record that somebody else made with its key.
const MaxVersion = math.MaxUint64 - 1

// Flags are what a record says of its node beside its half-neighbors. Unknown bits are kept.
type Flags uint64

// AcceptsConnections says that the node has an address and listens there.
const AcceptsConnections Flags = 1

// Errors about one record or address. They cost that record or address only.
var (
	ErrMalformed = errors.New("malformed")
	ErrVersion   = errors.New("version out of range")
	ErrDegree    = errors.New("too many half-neighbors")
)

// recordDomain keeps a record's signature from being anything else: the same key signs addresses and TLS handshakes.
const recordDomain = "farewell record v1\x00"

// Record is one node's signed statement: the half-neighborships it claims. It is immutable.
type Record struct {
	Key       identity.PublicKey
	Version   uint64
	Flags     Flags
	Neighbors []identity.PublicKey // ascending, without Key, at most MaxDegree

	payload   []byte // the bytes that the owner signed, as received
	signature []byte
}

type recordPayload struct {
	_         struct{} `cbor:",toarray"`
	Key       []byte
	Version   uint64
	Flags     Flags
	Neighbors [][]byte
}

// SignRecord makes the record of id. neighbors must be ascending and at most MaxDegree; it is kept.
func SignRecord(id *identity.Identity, version uint64, flags Flags, neighbors []identity.PublicKey) *Record {
	key := id.PublicKey()
	list := make([][]byte, len(neighbors))
	for i := range neighbors {
		list[i] = neighbors[i][:]
	}
	payload := encode(recordPayload{Key: key[:], Version: version, Flags: flags, Neighbors: list})
	return &Record{
		Key: key, Version: version, Flags: flags, Neighbors: neighbors,
		payload: payload, signature: id.Sign(signed(recordDomain, payload)),
	}
}

func parseRecord(payload, signature []byte) (*Record, error) {
	var p recordPayload
	if err := decMode.Unmarshal(payload, &p); err != nil {
		return nil, fmt.Errorf("wire: record: %w: %w", ErrMalformed, err)
	}
	r := &Record{Version: p.Version, Flags: p.Flags, payload: payload, signature: signature}
	if p.Version > MaxVersion {
		return nil, fmt.Errorf("wire: record: %w: %d", ErrVersion, p.Version)
	}
	if len(p.Neighbors) > MaxDegree {
		return nil, fmt.Errorf("wire: record: %w: %d", ErrDegree, len(p.Neighbors))
	}
	if p.Neighbors == nil || !setKey(&r.Key, p.Key) || !r.setNeighbors(p.Neighbors) || !bytes.Equal(encode(p), payload) {
		return nil, fmt.Errorf("wire: record: %w", ErrMalformed)
	}
	return r, nil
}

// setNeighbors also refuses a list out of order, so that one set of claims has one encoding.
func (r *Record) setNeighbors(list [][]byte) bool {
	r.Neighbors = make([]identity.PublicKey, len(list))
	for i, key := range list {
		if !setKey(&r.Neighbors[i], key) || r.Neighbors[i] == r.Key {
			return false
		}
		if i > 0 && r.Neighbors[i-1].Compare(r.Neighbors[i]) >= 0 {
			return false
		}
	}
	return true
}

// Verify reports whether the owner signed the record. It is the expensive part of accepting one: about 50 µs.
func (r *Record) Verify() bool {
	return r.Key.Verify(signed(recordDomain, r.payload), r.signature)
}

// Lists reports whether the record claims a half-neighborship to key.
func (r *Record) Lists(key identity.PublicKey) bool { return slices.Contains(r.Neighbors, key) }

// Compare orders two records of one owner: positive when r is the one to keep, 0 when they say the same. The higher
// version wins. An owner that signs two stories under one version has equivocated; then the greater SHA-256 wins, so
// that everybody keeps the same story whichever came first. What is compared is the signed bytes: a second signature
// over the same bytes is no second story.
func (r *Record) Compare(other *Record) int {
	if byVersion := cmp.Compare(r.Version, other.Version); byVersion != 0 || bytes.Equal(r.payload, other.payload) {
		return byVersion
	}
	mine, theirs := sha256.Sum256(r.payload), sha256.Sum256(other.payload)
	return bytes.Compare(mine[:], theirs[:])
}

func signed(domain string, payload []byte) []byte {
	return append([]byte(domain), payload...)
}

func setKey(key *identity.PublicKey, text []byte) bool {
	return copy(key[:], text) == len(key) && len(text) == len(key)
}
