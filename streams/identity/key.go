package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
)

// ErrBadKey is wrapped by every error about a text or a certificate that does not hold an ed25519 public key.
var ErrBadKey = errors.New("not an ed25519 public key")

// PublicKey is an ed25519 public key (RFC 8032), the name of a node. It is comparable and may be a map key.
type PublicKey [ed25519.PublicKeySize]byte

// Strict decoding refuses set trailing bits, so that each key has exactly one text.
var encoding = base64.RawURLEncoding.Strict()

// textLength is that of 32 bytes in unpadded base64url.
const textLength = 43

// ParsePublicKey reads the text form: unpadded base64url (RFC 4648 §5), exactly 43 characters. It accepts exactly the
// texts that String makes; errors wrap ErrBadKey.
func ParsePublicKey(text string) (PublicKey, error) {
	var key PublicKey
	err := key.UnmarshalText([]byte(text))
	return key, err
}

// String returns the text form that ParsePublicKey reads.
func (k PublicKey) String() string { return encoding.EncodeToString(k[:]) }

// MarshalText implements encoding.TextMarshaler; it never fails.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. On an error, which wraps ErrBadKey, the key is unchanged.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) != textLength {
		return fmt.Errorf("identity: %w: %d characters, want %d", ErrBadKey, len(text), textLength)
	}
	var decoded PublicKey
	n, err := encoding.Decode(decoded[:], text)
	if err != nil {
		return fmt.Errorf("identity: %w: %w", ErrBadKey, err)
	}
	if n != len(decoded) { // the decoder skips line breaks
		return fmt.Errorf("identity: %w: %d bytes, want %d", ErrBadKey, n, len(decoded))
	}
	*k = decoded
	return nil
}

// Compare orders keys by their bytes: -1, 0 or +1, as bytes.Compare.
func (k PublicKey) Compare(other PublicKey) int { return bytes.Compare(k[:], other[:]) }

// Verify reports whether signature is k's over message. Signer and verifier must agree on a domain prefix within
// message, since the same key signs other things too.
func (k PublicKey) Verify(message, signature []byte) bool {
	return ed25519.Verify(k[:], message, signature)
}
