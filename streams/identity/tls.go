package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// ErrWrongKey is wrapped by the error of a handshake with somebody else than the expected peer.
var ErrWrongKey = errors.New("peer has another key than expected")

// protocols are the ALPN names (RFC 7301), the newest first: a node never speaks to a server of something else that
// shares its key type, and two nodes speak the newest version that both know. Version 2 has pings.
var protocols = []string{"farewell/2", "farewell/1"}

// ServerTLS returns a configuration for the accepting side. Any ed25519 key is let in: the caller asks PeerKey who it
// is, and decides. TLS 1.3 only, no session tickets, hence no resumption and no stale authentication.
func (i *Identity) ServerTLS() *tls.Config {
	config := i.baseTLS()
	config.ClientAuth = tls.RequireAnyClientCert
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() }
	config.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := PeerKey(state)
		return err
	}
	return config
}

// ClientTLS returns a configuration for the dialing side that accepts exactly the peer expected; with anybody else
// the handshake fails with an error that wraps ErrWrongKey. A server that refuses the dialer says so only after the
// dialer's handshake is over: the refusal shows on its first read (RFC 8446 §4.4.2.4, and how TLS 1.3 orders flights).
func (i *Identity) ClientTLS(expected PublicKey) *tls.Config {
	config := i.baseTLS()
	config.InsecureSkipVerify = true // the chain and the name say nothing; VerifyConnection compares the key
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() }
	config.VerifyConnection = func(state tls.ConnectionState) error {
		key, err := PeerKey(state)
		if err != nil {
			return err
		}
		if key != expected {
			return fmt.Errorf("identity: %w: is %v, want %v", ErrWrongKey, key, expected)
		}
		return nil
	}
	return config
}

func (i *Identity) baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
		// Small records make the first bytes of a web page show sooner; here they only cost system calls.
		DynamicRecordSizingDisabled: true,
	}
}

// ProtocolVersion returns the version of the stream protocol that both sides of a handshake made with ServerTLS or
// ClientTLS speak: 1 or 2, or 0 if it was another handshake.
func ProtocolVersion(state tls.ConnectionState) int {
	if i := slices.Index(protocols, state.NegotiatedProtocol); i >= 0 {
		return len(protocols) - i
	}
	return 0
}

// PeerKey returns the key that the other side of a connection proved to hold. The state is that of a completed
// handshake made with ServerTLS or ClientTLS. Errors wrap ErrBadKey.
func PeerKey(state tls.ConnectionState) (PublicKey, error) {
	if state.Version < tls.VersionTLS13 || ProtocolVersion(state) == 0 || len(state.PeerCertificates) != 1 {
		return PublicKey{}, fmt.Errorf("identity: %w: not a farewell handshake with one certificate", ErrBadKey)
	}
	raw, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok || len(raw) != ed25519.PublicKeySize {
		return PublicKey{}, fmt.Errorf("identity: %w: certificate holds a %T", ErrBadKey, state.PeerCertificates[0].PublicKey)
	}
	return PublicKey(raw), nil
}
