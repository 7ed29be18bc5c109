// Package identity is who a node is: an ed25519 key pair, its file, its text form, and TLS that accepts nobody else.
//
// A public key is the whole identity. There is no certificate authority, no host name and no expiry: both ends of a
// stream prove that they hold their key in a TLS 1.3 handshake, and each compares the other's with the one it expects.
package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"
)

// Identity is a key pair. Its methods are safe for concurrent use. Formatting it shows the public key only.
type Identity struct {
	public      PublicKey
	private     ed25519.PrivateKey
	certificate func() (*tls.Certificate, error) // made on first use: simulated nodes never need one
}

// New makes an identity from the system's randomness.
func New() (*Identity, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: make a key: %w", err)
	}
	return fromPrivate(private), nil
}

// FromSeed makes the identity of an RFC 8032 seed: the same seed, the same keys. It is for simulators and tests.
func FromSeed(seed [ed25519.SeedSize]byte) *Identity {
	return fromPrivate(ed25519.NewKeyFromSeed(seed[:]))
}

func fromPrivate(private ed25519.PrivateKey) *Identity {
	i := &Identity{private: private}
	copy(i.public[:], private[ed25519.SeedSize:])
	i.certificate = sync.OnceValues(i.selfSign)
	return i
}

// PublicKey returns the public half.
func (i *Identity) PublicKey() PublicKey { return i.public }

// Sign signs message. The same key also signs TLS handshakes: begin message with a prefix that says what it is.
func (i *Identity) Sign(message []byte) []byte { return ed25519.Sign(i.private, message) }

// Format prints the public key for every verb, so that no log ever holds the private one.
func (i *Identity) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, i.public.String()) }

// selfSign wraps the key in the certificate that TLS wants. Nobody checks anything in it but the key.
func (i *Identity) selfSign() (*tls.Certificate, error) {
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // "no expiry", RFC 5280 §4.1.2.5
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, i.private.Public(), i.private)
	if err != nil {
		return nil, fmt.Errorf("identity: make a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.private}, nil
}
