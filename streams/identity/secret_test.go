package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWhatIsASecret(t *testing.T) {
	ours := []int{1000, 4242}
	for _, c := range []struct {
		mode         fs.FileMode
		owner, group int
		want         bool
	}{
		{0o600, 1000, 1000, true},
		{0o400, 7, 7, true},
		{0o440, 0, 4242, true}, // a Kubernetes secret with fsGroup
		{0o640, 0, 4242, true},
		{0o440, 0, 7, false},       // another group
		{0o440, 1000, 4242, false}, // another owner, who could change the mode
		{0o640, -1, -1, false},     // who knows
		{0o444, 0, 4242, false},
		{0o660, 0, 4242, false},
		{0o644, 1000, 1000, false},
		{0o604, 1000, 1000, false},
		{0o602, 1000, 1000, false},
	} {
		if got := isSecret(c.mode, c.owner, c.group, ours); got != c.want {
			t.Errorf("%04o of %d:%d: %v, want %v", c.mode, c.owner, c.group, got, c.want)
		}
	}
}

// withoutLinks is a file system that has no hard links.
func withoutLinks(t *testing.T, errno syscall.Errno) {
	link = func(from, to string) error {
		if _, err := os.Lstat(to); err == nil {
			return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EEXIST}
		}
		return &os.LinkError{Op: "link", Old: from, New: to, Err: errno}
	}
	t.Cleanup(func() { link = os.Link })
}

func TestCreateSecret(t *testing.T) {
	for _, c := range []struct {
		name  string
		errno syscall.Errno
	}{{"by a link", 0}, {"EPERM", syscall.EPERM}, {"ENOTSUP", syscall.ENOTSUP}, {"EMLINK", syscall.EMLINK}} {
		t.Run(c.name, func(t *testing.T) {
			if c.errno != 0 {
				withoutLinks(t, c.errno)
			}
			path := filepath.Join(t.TempDir(), "secret")
			if err := CreateSecret(path, []byte("s3cret")); err != nil {
				t.Fatal(err)
			}
			if err := CreateSecret(path, []byte("another")); !errors.Is(err, fs.ErrExist) {
				t.Errorf("again: %v", err)
			}
			content, err := ReadSecret(path, 100)
			if err != nil || string(content) != "s3cret" {
				t.Errorf("read %q, %v", content, err)
			}
			if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// What cannot be written whole is not there at all, so that it can be made the next time.
func TestHalfASecretIsNone(t *testing.T) {
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, errno := range []syscall.Errno{0, syscall.EPERM} {
		if errno != 0 {
			withoutLinks(t, errno)
		}
		path := filepath.Join(dir, "secret")
		full := limit
		full.Cur = 4096 // as a disk with one page left: EFBIG after it, where a disk says ENOSPC
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
			t.Fatal(err)
		}
		err := CreateSecret(path, bytes.Repeat([]byte("x"), 5000))
		inPlace := writeInPlace(path, bytes.Repeat([]byte("x"), 5000))
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(err, syscall.EFBIG) || !errors.Is(inPlace, syscall.EFBIG) {
			t.Fatalf("errors %v, %v", err, inPlace)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Fatalf("left behind: %v", entries)
		}
	}
	if err := CreateSecret(filepath.Join(dir, "secret"), []byte("with room again")); err != nil {
		t.Error(err)
	}
}

func TestReadSecretTakesOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} { // nobody ever writes into the pipe
		if _, err := ReadSecret(path, 100); !errors.Is(err, ErrNoFile) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Root's file of a group, read by a process of that group and by one that is not in it. Only root can make such a file:
// TestWhatIsASecret has to do elsewhere.
func TestKubernetesSecret(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root here")
		return
	}
	dir, err := os.MkdirTemp("", "farewell-secret-") // which others can enter, unlike that of a test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "key")
	if _, err := LoadOrCreate(path); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.Chown(path, 0, 4242), os.Chmod(path, 0o440)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	reader := filepath.Join(dir, "reader")
	if err := os.WriteFile(reader, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	for group, want := range map[uint32]bool{4242: true, 4243: false} {
		child := exec.CommandContext(t.Context(), reader)
		child.Env = append(os.Environ(), "FAREWELL_TEST_KEY_FILE="+path)
		nobody := &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{group}}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: nobody}
		if output, err := child.CombinedOutput(); (err == nil) != want {
			t.Errorf("group %d: %v: %s", group, err, output)
		}
	}
}
