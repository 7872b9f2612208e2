package sqldb

import (
	"errors"
	"path/filepath"
	"testing"
)

// Whatever becomes of a relaxed transaction, the next write waits for the disk again.
func TestWriteRelaxedLeavesNoTrace(t *testing.T) {
	db, err := OpenSQLite(filepath.Join(t.TempDir(), "relaxed.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	const normal, full = 1, 2
	level := func(tx *Tx) (level int) {
		if err := tx.QueryRow(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil {
			t.Error(err)
		}
		return level
	}
	failure := errors.New("failure")
	for _, outcome := range []error{nil, failure, nil} {
		err := db.WriteRelaxed(t.Context(), "test", func(tx *Tx) error {
			if got := level(tx); got != normal {
				t.Errorf("relaxed transaction runs with synchronous=%d, want %d", got, normal)
			}
			return outcome
		})
		if !errors.Is(err, outcome) {
			t.Errorf("WriteRelaxed = %v, want %v", err, outcome)
		}
		err = db.Write(t.Context(), "test", func(tx *Tx) error {
			if got := level(tx); got != full {
				t.Errorf("after a relaxed transaction that ended with %v, Write runs with synchronous=%d, want %d", outcome, got, full)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
