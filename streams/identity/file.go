package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

var (
	// ErrKeyFileTooOpen means that group or others have any access to a key file: the key is no longer a secret.
	ErrKeyFileTooOpen = errors.New("key file is accessible to others, want mode 0600")
	// ErrKeyFileDamaged means that a key file holds anything but one ed25519 private key.
	ErrKeyFileDamaged = errors.New("key file is damaged")
)

const (
	pemType = "PRIVATE KEY" // PKCS#8, RFC 7468 §10
	// maxKeyFile bounds what is read: a key file has about 120 bytes.
	maxKeyFile = 4096
)

// LoadOrCreate reads the identity in the PEM file (PKCS#8, as openssl genpkey writes it) at path, or makes a fresh one
// there, with mode 0600, if there is no such file. Creation is atomic: of several processes that race, all end up with
// the same key, and a crash leaves no half-written file at path. A file that is not right is never overwritten: errors
// wrap ErrKeyFileTooOpen, ErrKeyFileDamaged or what the file system said.
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
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat() // of the open file: it cannot change between look and read
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("identity: %s: %w: not a regular file", path, ErrKeyFileDamaged)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("identity: %s: %w: mode is %04o", path, ErrKeyFileTooOpen, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
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

// create writes a fresh key beside path and links it into place. A link, unlike a rename, fails if path exists.
func create(path string) error {
	fresh, err := New()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(fresh.private)
	if err != nil {
		return err
	}
	temporary, err := writeTemporary(filepath.Dir(path), pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }()
	if err := os.Link(temporary, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func writeTemporary(directory string, content []byte) (string, error) {
	file, err := os.CreateTemp(directory, ".key-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(file.Name()))
	}
	return file.Name(), nil
}

// syncDirectory makes the new name survive a crash: a node that lost its key would come back as a stranger.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
