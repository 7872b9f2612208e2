package meta_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
)

func TestSQLite(t *testing.T) { metatest.Run(t, openSQLite) }

func TestPostgreSQL(t *testing.T) { metatest.Run(t, openPostgres) }

// TestTheReleaseBeforeRunsBeside: the replicas of an upgrade are replaced one after the other, and it can be rolled back.
func TestTheReleaseBeforeRunsBeside(t *testing.T) {
	const released = 5 // migrations that v0.1.0 knows
	for dialect, open := range map[string]func(*testing.T) *sqldb.DB{"sqlite": openSQLite, "postgres": openPostgres} {
		db := open(t)
		if _, err := meta.New(t.Context(), db, meta.Options{}); err != nil {
			t.Fatal(err)
		}
		known := fstest.MapFS{}
		for n := 1; n <= released; n++ {
			names, err := filepath.Glob(fmt.Sprintf("migrations/%s/%04d_*.sql", dialect, n))
			if err != nil || len(names) != 1 {
				t.Fatalf("migration %d is %v, %v", n, names, err)
			}
			known[filepath.Base(names[0])] = &fstest.MapFile{}
		}
		if err := db.Migrate(t.Context(), known); err != nil {
			t.Errorf("%s: %v", dialect, err)
		}
	}
}

func openSQLite(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.OpenSQLite(filepath.Join(t.TempDir(), "storage.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, db)
	return db
}

func openPostgres(t *testing.T) *sqldb.DB {
	t.Helper()
	return connect(t, postgres.Start(t).Database(t))
}

// connect opens another handle on a database, as another replica does.
func connect(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	// Commits need not wait for the disk: what a server that dies keeps is tested elsewhere.
	db, err := sqldb.OpenPostgres(t.Context(), sqldb.PostgresConfig{URL: url + "&options=-c%20synchronous_commit%3Doff"}, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, db)
	return db
}

func closeLater(t *testing.T, db *sqldb.DB) {
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestReplicasOnPostgreSQL(t *testing.T) {
	metatest.RunReplicas(t, func(t *testing.T) [2]*sqldb.DB {
		t.Helper()
		url := postgres.Start(t).Database(t)
		return [2]*sqldb.DB{connect(t, url), connect(t, url)}
	})
}
