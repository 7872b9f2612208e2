package store_test

import (
	"path/filepath"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "directory.db"), sqldb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}
