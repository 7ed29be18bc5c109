package identity

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// locked starts a process that locks a key file until its stdin ends.
func locked(t *testing.T, path string) (child *exec.Cmd, end func()) {
	t.Helper()
	child = exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "FAREWELL_TEST_LOCK="+path)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return child, func() {
		_ = stdin.Close()
		_ = child.Wait()
	}
}

func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if _, err := LoadOrCreate(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOneProcessPerKey(t *testing.T) {
	path := keyFile(t)
	child, end := locked(t, path)
	_, err := LockKeyFile(path)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("by process %d", child.Process.Pid)) {
		t.Errorf("error %v, want one that names process %d", err, child.Process.Pid)
	}
	end()
	lock, err := LockKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockKeyFile(path); !errors.Is(err, ErrInUse) {
		t.Errorf("twice in one process: %v", err)
	}
	lock.Release()
	lock.Release()
	again, err := LockKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
	(*Lock)(nil).Release()
}

// A process that is killed leaves nothing behind that keeps the next one out.
func TestKilledProcessLetsGo(t *testing.T) {
	path := keyFile(t)
	child, end := locked(t, path)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	end()
	lock, err := LockKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}

// A key file that is written anew by a rename, as tools that distribute secrets do, is still in use.
func TestReplacedKeyFileIsStillInUse(t *testing.T) {
	path := keyFile(t)
	lock, err := LockKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LockKeyFile(path); !errors.Is(err, ErrInUse) {
		t.Errorf("error %v", err)
	}
}

// In a folder where no file can be made, here because there is a folder of its name, the key file itself is locked; where
// there is not even that, locking is said to be impossible.
func TestLockWithoutAFileBeside(t *testing.T) {
	path := keyFile(t)
	if err := os.Mkdir(path+".lock", 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := LockKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockKeyFile(path); !errors.Is(err, ErrInUse) || !strings.HasSuffix(err.Error(), ErrInUse.Error()) {
		t.Errorf("error %v, want one that names nobody", err)
	}
	lock.Release()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := LockKeyFile(path); !errors.Is(err, ErrNoLocks) {
		t.Errorf("error %v", err)
	}
}

func TestHolderIsReadWithCare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for content, want := range map[string]string{
		"":                               "",
		"nonsense":                       "",
		"12":                             "",
		"12 elsewhere.example\n":         ` by process 12 on "elsewhere.example"`,
		"12 \x1b[2J\n":                   ` by process 12 on "\x1b[2J"`,
		"99999999999999999999999999 x\n": "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := holder(path); got != want {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
	}
}
