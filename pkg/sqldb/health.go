package sqldb

import (
	"context"
	"fmt"
	"time"
)

const (
	pingEvery   = 5 * time.Second
	pingTimeout = 2 * time.Second
	// pingFailures in a row make a database unreachable; fewer are a restart that transactions wait for.
	pingFailures = 3
)

// Ping tells whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	err := db.ReadOne(ctx, "ping", func(tx *Tx) error {
		var one int
		return tx.QueryRow(ctx, "SELECT 1").Scan(&one)
	})
	if err != nil {
		return fmt.Errorf("ping database: %w", err)
	}
	return nil
}

// Watch tells set, until ctx ends, whether the database can be reached: nil at once when it answers, an error after it has
// not for some 15 seconds. It is a lifecycle component's loop.
func (db *DB) Watch(ctx context.Context, set func(error)) error {
	return db.watch(ctx, pingEvery, set)
}

func (db *DB) watch(ctx context.Context, every time.Duration, set func(error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failures := 0
	for {
		ping, cancel := context.WithTimeout(ctx, pingTimeout)
		err := db.Ping(ping)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			set(nil)
		default:
			if failures++; failures >= pingFailures {
				set(err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Check looks for corruption and tells what it finds. With SQLite it reads the whole database; PostgreSQL has its own tools for that.
func (db *DB) Check(ctx context.Context) error {
	if db.dialect.Name != SQLite.Name {
		return db.Ping(ctx)
	}
	return db.Read(ctx, "check", func(tx *Tx) error {
		var verdict string
		if err := tx.QueryRow(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
			return fmt.Errorf("check database: %w", err)
		}
		if verdict != "ok" {
			return fmt.Errorf("check database: %w: %s", ErrCorrupt, verdict)
		}
		return nil
	})
}
