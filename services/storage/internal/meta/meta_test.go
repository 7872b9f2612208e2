package meta_test

import (
	"path/filepath"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
)

func TestSQLite(t *testing.T) {
	metatest.Run(t, func(t *testing.T) *sqldb.DB {
		t.Helper()
		db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	})
}
