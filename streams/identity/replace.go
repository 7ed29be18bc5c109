package identity

import (
	"errors"
	"os"
	"path/filepath"
)

// ReplaceSecret puts a file with mode 0600 at path, in the place of the one that may be there. It is made beside path and
// renamed: whatever fails, the file is the old one or the new one, whole.
func ReplaceSecret(path string, content []byte) error {
	temporary, err := writeTemporary(filepath.Dir(path), content)
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDirectory(filepath.Dir(path))
}
