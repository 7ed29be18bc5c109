package recipetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres starts a PostgreSQL server on a Unix socket of its own and returns the
// URL of its database. Where none is installed the test is skipped, and in CI, where
// one has to be, failed.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	bin, err := postgresBin()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "pg") // t.TempDir() is too long a name for a socket, and not everybody's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run := func(name string, arguments ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), arguments...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged(t, dir)}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "recipe", "-A", "trust", "-N", "--no-locale", "-E", "UTF8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-h", "", "-c", "fsync=off", "-c", "max_connections=200")
	var log lockedBuffer
	server.Stdout, server.Stderr = &log, &log
	server.WaitDelay = time.Second
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once, and its children with it
		_ = server.Wait()
		if t.Failed() {
			t.Logf("PostgreSQL logged:\n%s", log.String())
		}
	})
	url = fmt.Sprintf("postgres://recipe@/postgres?host=%s", dir)
	awaitPostgres(t, url)
	return url
}

func postgresBin() (dir string, err error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path)
		return filepath.Dir(path), err
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian keeps them off the PATH
	if len(found) == 0 {
		return "", fmt.Errorf("there is no PostgreSQL here (Debian: postgresql)")
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// unprivileged gives dir to the user postgres if we are root, as whom PostgreSQL
// refuses to run.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(account.Uid) // they are numbers on every Unix
	gid, _ := strconv.Atoi(account.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func awaitPostgres(t testing.TB, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		db, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = db.Close(ctx)
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
