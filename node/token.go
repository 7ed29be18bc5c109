package node

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/farewell-node/farewell/streams/identity"
	"github.com/farewell-node/farewell/ui"
)

// maxTokenFile bounds what is read of a token file.
const maxTokenFile = 4096

// LoadToken reads the token in a file that there is, as clients do. Whoever can read the file can use the node's UI: it
// must be a secret, as [identity.ReadSecret] has it, and the error otherwise wraps what that says.
func LoadToken(path string) (string, error) {
	text, err := identity.ReadSecret(path, maxTokenFile)
	if err != nil {
		return "", fmt.Errorf("node: token file %s: %w", path, err)
	}
	token, err := ui.ParseToken(text)
	if err != nil {
		return "", fmt.Errorf("node: token file %s: %w", path, err)
	}
	return token, nil
}

// loadOrCreateToken reads the token in a file, or makes one and the file for it, whole or not at all. Of several
// processes that race, all end up with the same token.
func loadOrCreateToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	token, err := LoadToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	err = identity.CreateSecret(path, []byte(ui.NewToken()+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("node: create token file %s: %w", path, err)
	}
	return LoadToken(path) // ours, or that of the process which was faster
}
