package ledger_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger/ledgertest"
)

func closing(t *testing.T, db *sqldb.DB, err error) *sqldb.DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSQLite(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) func() *sqldb.DB {
		db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "quota.db"), sqldb.Options{})
		db = closing(t, db, err)
		return func() *sqldb.DB { return db } // one process has the file
	})
}

func TestPostgres(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) func() *sqldb.DB {
		url := postgres.Start(t).Database(t)
		return func() *sqldb.DB {
			db, err := sqldb.OpenPostgres(context.Background(), sqldb.PostgresConfig{URL: url}, sqldb.Options{})
			return closing(t, db, err)
		}
	})
}
