// Package wire is what neighborhoods say to each other: node records, addresses and the messages that carry them.
//
// Records and addresses are statements of their owner. The bytes that the owner signed are kept and passed on as they
// were received, never encoded again, so that a statement survives any number of hands. Everything is CBOR (RFC 8949)
// in its deterministic encoding (§4.2.1); decoding is strict and bounded, and never panics on bad input.
package wire

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of the protocol. Both ends must agree on them, so they are no options.
const (
	// MaxDegree bounds how many half-neighbors a record may list (MASQ Node v0.9.1).
	MaxDegree = 5
	// MaxEntries bounds the records in one message. A sender with more to tell sends more messages: checking a
	// thousand signatures takes some 50 ms, and nothing else can be done meanwhile.
	MaxEntries = 1000
	// MaxMessage bounds one encoded message, in bytes: MaxEntries of the largest records fit.
	MaxMessage = 512 << 10
)

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: MaxEntries,
		MaxMapPairs:      16,
	}.DecMode())
)

// must is for the two modes above: constants whose validity the first test run proves.
func must[T any](mode T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("wire: CBOR options: %v", err))
	}
	return mode
}

// encode cannot fail: it is only given the structs of this package, which hold nothing but numbers and bytes.
func encode(v any) []byte {
	data, err := encMode.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: encode %T: %v", v, err))
	}
	return data
}
