package recipetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is the server that the tests of a package share.
var postgres struct {
	once  sync.Once
	dir   string // of its socket and its data
	cmd   *exec.Cmd
	err   error
	bases atomic.Int64
}

// Postgres returns the URL of a new database, of a PostgreSQL server on a Unix socket
// of its own, which it starts if it has not yet. Where none is installed the test is
// skipped, and in CI, where one has to be, failed.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	bin, err := postgresBin()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	postgres.once.Do(func() { postgres.err = startPostgres(bin) })
	if postgres.err != nil {
		t.Fatal(postgres.err)
	}
	db, err := pgx.Connect(t.Context(), baseURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	name := fmt.Sprintf("test%d", postgres.bases.Add(1))
	if _, err := db.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return baseURL(name)
}

func baseURL(name string) string {
	return fmt.Sprintf("postgres://recipe@/%s?host=%s", name, postgres.dir)
}

func startPostgres(bin string) (err error) {
	if postgres.dir, err = os.MkdirTemp("", "pg"); err != nil { // short enough for a socket
		return err
	}
	user, err := unprivileged(postgres.dir)
	if err != nil {
		return err
	}
	run := func(name string, arguments ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), arguments...)
		cmd.Dir = postgres.dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user}
		return cmd
	}
	data := filepath.Join(postgres.dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "recipe", "-A", "trust", "-N", "--no-locale", "-E", "UTF8").CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	postgres.cmd = run("postgres", "-D", data, "-k", postgres.dir, "-h", "", "-c", "fsync=off", "-c", "max_connections=200")
	if err := postgres.cmd.Start(); err != nil {
		return err
	}
	return awaitPostgres()
}

// stopPostgres ends the server, if there is one, and leaves nothing of it.
func stopPostgres() {
	if postgres.cmd != nil && postgres.cmd.Process != nil {
		_ = postgres.cmd.Process.Signal(syscall.SIGQUIT) // at once, and its children with it
		_ = postgres.cmd.Wait()
	}
	if postgres.dir != "" {
		_ = os.RemoveAll(postgres.dir)
	}
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
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(account.Uid) // they are numbers on every Unix
	gid, _ := strconv.Atoi(account.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

func awaitPostgres() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		db, err := pgx.Connect(ctx, baseURL("postgres"))
		if err == nil {
			return db.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
