package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
)

var (
	// ErrTooOpen means that others have access to the file of a secret: it is none any more.
	ErrTooOpen = errors.New("file is accessible to others: its mode must be 0600, or 0440 or 0640 if it is root's and " +
		"its group is one of this process's")
	// ErrNoFile means that what should hold a secret is a folder, a pipe or the like.
	ErrNoFile = errors.New("not a regular file")
)

// ReadSecret reads a file that only its owner has access to, and at most limit bytes of it. A file of root's that a group
// of this process may read, mode 0440 or 0640, is fine too: so Kubernetes mounts a secret for an fsGroup. Errors wrap
// ErrTooOpen, ErrNoFile, or what the file system said.
func ReadSecret(path string, limit int64) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, ErrNoFile // before it is opened: a pipe would make us wait for its writer
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat() // of the open file: it cannot change between look and read
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNoFile
	}
	if owner, group := ownerOf(info); hasModes && !isSecret(info.Mode().Perm(), owner, group, ourGroups()) {
		return nil, fmt.Errorf("%w: it is %04o", ErrTooOpen, info.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(file, limit))
}

// hasModes: Windows makes the mode of a file up, and says that all can read all.
const hasModes = runtime.GOOS != "windows"

func isSecret(mode fs.FileMode, owner, group int, ours []int) bool {
	if mode&0o077 == 0 {
		return true
	}
	return (mode == 0o440 || mode == 0o640) && owner == 0 && slices.Contains(ours, group)
}

func ourGroups() []int {
	groups, _ := os.Getgroups() // without them, our own has to do
	return append(groups, os.Getegid())
}

// link is os.Link, but in tests.
var link = os.Link

// CreateSecret makes a file at path, with mode 0600, unless there is one: then the error wraps fs.ErrExist. It is made
// beside path and linked into place, whole or not at all, whatever fails, and whoever else tries the same. (A link, unlike
// a rename, fails if path exists.) On a file system without hard links it is written in place: there a crash may leave
// half of it behind.
func CreateSecret(path string, content []byte) error {
	temporary, err := writeTemporary(filepath.Dir(path), content)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary) }()
	err = link(temporary, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = writeInPlace(path, content)
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func writeTemporary(directory string, content []byte) (string, error) {
	file, err := os.CreateTemp(directory, ".farewell-*") // mode 0600
	if err != nil {
		return "", err
	}
	return file.Name(), writeAll(file, content)
}

func writeInPlace(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return writeAll(file, content)
}

// writeAll fills and closes a new file, or removes it.
func writeAll(file *os.File, content []byte) error {
	_, err := file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// syncDirectory makes the new name survive a crash, where that can be asked for: a node that lost its key would come back
// as a stranger.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	err = directory.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, directory.Close())
}
