package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
)

// ErrKeyFileDamaged means that a key file holds anything but one ed25519 private key.
var ErrKeyFileDamaged = errors.New("key file is damaged")

const (
	pemType = "PRIVATE KEY" // PKCS#8, RFC 7468 §10
	// maxKeyFile bounds what is read: a key file has about 120 bytes.
	maxKeyFile = 4096
)

// LoadOrCreate reads the identity in the PEM file (PKCS#8, as openssl genpkey writes it) at path, or makes a fresh one
// there, as CreateSecret does, if there is no such file: of several processes that race, all end up with the same key. A
// file that is not right is never overwritten: errors wrap ErrTooOpen (see ReadSecret), ErrKeyFileDamaged or what the file
// system said.
func LoadOrCreate(path string) (*Identity, error) {
	identity, err := load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return identity, err
	}
	if err := create(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("identity: create %s: %w", path, err)
	}
	return load(path) // ours, or that of the process which was faster
}

func load(path string) (*Identity, error) {
	text, err := ReadSecret(path, maxKeyFile)
	if errors.Is(err, ErrNoFile) {
		err = fmt.Errorf("%w: %w", ErrKeyFileDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w", path, err)
	}
	private, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("identity: %s: %w: %w", path, ErrKeyFileDamaged, err)
	}
	return fromPrivate(private), nil
}

func decode(text []byte) (ed25519.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("want one PEM block of type " + pemType)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key is a %T, want ed25519", key)
	}
	return private, nil
}

func create(path string) error {
	fresh, err := New()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh.private)
	if err != nil {
		return err
	}
	return CreateSecret(path, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
}
