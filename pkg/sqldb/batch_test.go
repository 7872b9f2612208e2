package sqldb

import (
	"errors"
	"fmt"
	"testing"
)

func TestBatch(t *testing.T) { onEach(t, testBatch) }

func testBatch(t *testing.T, db *DB) {
	ctx := t.Context()
	var changed int64
	var seen []string
	fill := func(tx *Tx) error {
		changed, seen = -1, nil
		b := &Batch{}
		for i := range 5 {
			b.Exec("INSERT INTO box (account, n) VALUES (?, ?)", fmt.Sprint("a", i), i)
		}
		b.ExecCount(&changed, "UPDATE box SET n = n + ? WHERE n < ?", 10, 3)
		b.Query(func(rows *Rows) error {
			var account string
			var n int64
			err := rows.Scan(&account, &n)
			seen = append(seen, fmt.Sprintf("%s=%d", account, n))
			return err
		}, "SELECT account, n FROM box WHERE n >= ? ORDER BY account", 4)
		b.Query(func(*Rows) error { return errors.New("a row of nobody") }, "SELECT n FROM box WHERE account = ?", "nobody")
		if b.Len() != 8 {
			t.Errorf("length %d", b.Len())
		}
		return tx.Batch(ctx, b)
	}
	for _, first := range []bool{true, false} {
		err := db.Write(ctx, "test", func(tx *Tx) error {
			if !first {
				if _, err := tx.Exec(ctx, "DELETE FROM box"); err != nil {
					return err
				}
			}
			if err := fill(tx); err != nil {
				return err
			}
			return tx.Batch(ctx, &Batch{})
		})
		if want := "[a0=10 a1=11 a2=12 a4=4]"; err != nil || changed != 3 || fmt.Sprint(seen) != want {
			t.Errorf("%d changed, rows %v, %v; want 3, %s", changed, seen, err, want)
		}
	}
}

func TestBatchFails(t *testing.T) { onEach(t, testBatchFails) }

func testBatchFails(t *testing.T, db *DB) {
	ctx := t.Context()
	after := int64(-1)
	err := db.Write(ctx, "test", func(tx *Tx) error {
		b := &Batch{}
		b.Exec("INSERT INTO box VALUES (?, ?)", "a", 1)
		b.Exec("INSERT INTO box VALUES (?, ?)", "a", 2)
		b.ExecCount(&after, "DELETE FROM box")
		return tx.Batch(ctx, b)
	})
	if !IsUnique(err) || after != -1 || sum(t, db) != 0 {
		t.Errorf("%v, and then %d, sum %d", err, after, sum(t, db))
	}
	failure := errors.New("cannot read this")
	err = db.Write(ctx, "test", func(tx *Tx) error {
		b := &Batch{}
		b.Exec("INSERT INTO box VALUES (?, ?)", "a", 1)
		b.Query(func(*Rows) error { return failure }, "SELECT n FROM box")
		b.Exec("INSERT INTO box VALUES (?, ?)", "b", 1)
		return tx.Batch(ctx, b)
	})
	if !errors.Is(err, failure) || sum(t, db) != 0 {
		t.Errorf("%v, sum %d", err, sum(t, db))
	}
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "c", 3)
	if got := sum(t, db); got != 3 {
		t.Errorf("sum %d after failures", got)
	}
	var kept *Tx
	_ = db.Read(ctx, "test", func(tx *Tx) error { kept = tx; return nil })
	if err := kept.Batch(ctx, &Batch{}); !errors.Is(err, ErrDone) {
		t.Errorf("a transaction that has ended: %v", err)
	}
}
