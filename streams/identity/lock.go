package identity

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/gofrs/flock"
)

var (
	// ErrInUse means that another process, or another node of this one, runs on the key file.
	ErrInUse = errors.New("key file is in use")
	// ErrNoLocks means that a key file cannot be locked where it is: nothing keeps a second process from using it.
	ErrNoLocks = errors.New("key file cannot be locked here")
)

// Lock keeps a key file to one user at a time: two nodes with one key take each other's streams and undo each other's
// records. It ends with Release, or with the process.
type Lock struct {
	beside *flock.Flock // PATH.lock
	held   []*flock.Flock
}

// LockKeyFile locks the key file at path, which there must be, and does not wait. Two files are locked: PATH.lock, which
// stays where it is when the key file is replaced, and says who holds it; and the key file itself, which is all there is
// in a folder that cannot be written to. Either is enough to keep another process out. PATH.lock stays behind, empty:
// removing it would let in two at once.
//
// Errors wrap ErrInUse, and say which process it is if that is known, or ErrNoLocks, if neither can be locked.
func LockKeyFile(path string) (*Lock, error) {
	beside := flock.New(path+".lock", flock.SetFlag(os.O_CREATE|os.O_RDWR))
	files := []*flock.Flock{beside, flock.New(path, flock.SetFlag(os.O_RDONLY))}
	if runtime.GOOS == "windows" {
		files = files[:1] // a lock there keeps others from reading too
	}
	lock := Lock{beside: beside}
	var problems error
	for _, file := range files {
		locked, err := file.TryLock()
		switch {
		case err != nil:
			problems = errors.Join(problems, err)
		case !locked:
			lock.release()
			return nil, fmt.Errorf("identity: %s: %w%s", path, ErrInUse, holder(beside.Path()))
		default:
			lock.held = append(lock.held, file)
		}
	}
	if lock.held == nil {
		return nil, fmt.Errorf("identity: %s: %w: %w", path, ErrNoLocks, problems)
	}
	if beside.Locked() {
		host, _ := os.Hostname()
		_ = os.WriteFile(beside.Path(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), host), 0o600) // on a full disk nobody is named
	}
	return &lock, nil
}

// holder says who holds a lock, if that is known.
func holder(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	var pid int
	var host string
	if _, err := fmt.Fscanf(file, "%d %255s\n", &pid, &host); err != nil {
		return ""
	}
	if here, _ := os.Hostname(); host == here {
		return fmt.Sprintf(" by process %d", pid)
	}
	return fmt.Sprintf(" by process %d on %q", pid, host)
}

// Release lets others have the key file. Of a nil Lock, and the second time, it does nothing.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	if l.beside.Locked() {
		_ = os.Truncate(l.beside.Path(), 0) // names nobody any more
	}
	l.release()
}

func (l *Lock) release() {
	for _, file := range l.held {
		_ = file.Unlock() // it is closed in any case
	}
	l.held = nil
}
