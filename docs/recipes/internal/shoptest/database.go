package shoptest

import (
	"context"
	"slices"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Orders are the names that are stored, sorted.
func Orders(t testing.TB, database string) []string {
	t.Helper()
	pool := open(t, database)
	rows, err := pool.Query(context.Background(), "SELECT name FROM orders")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// Freeze makes the server answer nobody of those who are connected, as if its disk
// had gone, until the test ends.
func Freeze(t testing.TB, database string) {
	t.Helper()
	rows, err := open(t, database).Query(context.Background(),
		"SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	if err != nil {
		t.Fatal(err)
	}
	backends, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(backends) == 0 {
		t.Fatalf("%d backends: %v", len(backends), err)
	}
	for _, pid := range backends {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	}
}

func open(t testing.TB, database string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
