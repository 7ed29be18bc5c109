package shop

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	attemptTime = 2 * time.Second        // to reach the database once
	retryPause  = 200 * time.Millisecond // before it is tried again
)

// Store keeps orders in PostgreSQL.
type Store struct{ pool *pgxpool.Pool }

// OpenStore connects. A database that is not there yet is waited for, until ctx ends.
func OpenStore(ctx context.Context, url string) (*Store, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	s := &Store{pool}
	for {
		err := s.prepare(ctx)
		if err == nil {
			return s, nil
		}
		slog.Warn("waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			pool.Close()
			return nil, fmt.Errorf("database: %w", context.Cause(ctx))
		case <-time.After(retryPause):
		}
	}
}

func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	_, err := s.pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS orders (name text PRIMARY KEY)")
	return err
}

// Place stores an order, in a transaction that takes some time.
func (s *Store) Place(ctx context.Context, name string, takes time.Duration) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders VALUES ($1)", name); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_sleep($1)", takes.Seconds())
		return err
	})
}

// Close waits for the queries under way.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}
