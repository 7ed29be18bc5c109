package wire

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/farewell-node/farewell/streams/identity"
)

// addressDomain keeps an address's signature from being anything else.
const addressDomain = "farewell address v1\x00"

// Address is one node's signed statement of where it can be dialed. It travels beside the record and not in it, since
// the record goes to everybody and the address only to those entitled. It is an IP address and a port and never a name
// (as in MASQ Node v0.9.1): whoever answers for a name could make us dial into our own machine. Nor has it a zone, which
// means nothing on another machine (RFC 4007 §6). It is immutable.
type Address struct {
	Key     identity.PublicKey
	Version uint64
	At      netip.AddrPort

	payload   []byte
	signature []byte
}

type addressPayload struct {
	_       struct{} `cbor:",toarray"`
	Key     []byte
	Version uint64
	At      string
}

// SignAddress makes the address of id.
func SignAddress(id *identity.Identity, version uint64, at netip.AddrPort) *Address {
	key := id.PublicKey()
	payload := encode(addressPayload{Key: key[:], Version: version, At: at.String()})
	return &Address{
		Key: key, Version: version, At: at,
		payload: payload, signature: id.Sign(signed(addressDomain, payload)),
	}
}

func parseAddress(payload, signature []byte) (*Address, error) {
	var p addressPayload
	if err := decMode.Unmarshal(payload, &p); err != nil {
		return nil, fmt.Errorf("wire: address: %w: %w", ErrMalformed, err)
	}
	a := &Address{Version: p.Version, payload: payload, signature: signature}
	at, err := netip.ParseAddrPort(p.At)
	if err != nil || at.Addr().Zone() != "" || at.String() != p.At ||
		!setKey(&a.Key, p.Key) || !bytes.Equal(encode(p), payload) {
		return nil, fmt.Errorf("wire: address: %w", ErrMalformed)
	}
	if p.Version > MaxVersion {
		return nil, fmt.Errorf("wire: address: %w: %d", ErrVersion, p.Version)
	}
	a.At = at
	return a, nil
}

// Verify reports whether the owner signed the address.
func (a *Address) Verify() bool {
	return a.Key.Verify(signed(addressDomain, a.payload), a.signature)
}
