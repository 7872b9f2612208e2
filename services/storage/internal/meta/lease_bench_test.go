package meta_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// BenchmarkLease measures what a POP3 session costs the database besides its mail.
func BenchmarkLease(b *testing.B) {
	db, err := sqldb.OpenSQLite(filepath.Join(b.TempDir(), "storage.db"), sqldb.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	store, err := meta.New(b.Context(), db, meta.Options{})
	if err != nil {
		b.Fatal(err)
	}
	lease := meta.Lease{AccountID: "bob", ID: "1"}
	for b.Loop() {
		if err := store.AcquireLease(b.Context(), lease, time.Minute); err != nil {
			b.Fatal(err)
		}
		if err := store.ReleaseLease(b.Context(), lease); err != nil {
			b.Fatal(err)
		}
	}
}
