package store_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	"github.com/yubin-mail/yubin/services/directory/internal/store"
	"github.com/yubin-mail/yubin/services/directory/internal/store/storetest"
)

func opened(t *testing.T, db *sqldb.DB, err error) *store.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() *store.Store {
		db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "directory.db"), sqldb.Options{})
		s := opened(t, db, err)
		return func() *store.Store { return s } // one process has the file
	})
}

func TestPostgres(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() *store.Store {
		url := postgres.Start(t).Database(t)
		return func() *store.Store {
			db, err := sqldb.OpenPostgres(context.Background(), sqldb.PostgresConfig{URL: url}, sqldb.Options{})
			return opened(t, db, err)
		}
	})
}
