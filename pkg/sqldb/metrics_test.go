package sqldb

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestConnectionsAndFailuresAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	db, err := OpenSQLite(t.TempDir()+"/x.db", Options{Registerer: reg, Service: "test", Readers: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx := t.Context()
	if err := db.Write(ctx, "make", func(tx *Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE t (a INTEGER PRIMARY KEY)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	insert := func(tx *Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO t VALUES (1)")
		return err
	}
	if err := db.Write(ctx, "insert", func(tx *Tx) error {
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP yubin_test_sql_connections Connections to the database by state: in_use or idle.
# TYPE yubin_test_sql_connections gauge
yubin_test_sql_connections{state="idle"} 3
yubin_test_sql_connections{state="in_use"} 1
# HELP yubin_test_sql_connections_max Most connections to the database, as configured.
# TYPE yubin_test_sql_connections_max gauge
yubin_test_sql_connections_max 4
`), "yubin_test_sql_connections", "yubin_test_sql_connections_max"); err != nil {
			t.Error(err)
		}
		return insert(tx)
	}); err != nil {
		t.Fatal(err)
	}
	failures := func(class string) (n float64) {
		for _, reason := range []string{failedConflict, failedConnection, failedCanceled, failedOther} {
			n += testutil.ToFloat64(db.failures.WithLabelValues(class, reason))
		}
		return n
	}
	// What a constraint or the caller refuses is no failure of the database.
	if err := db.Write(ctx, "insert", insert); !IsUnique(err) {
		t.Errorf("inserted twice: %v", err)
	}
	mine := errors.New("mine")
	if err := db.Write(ctx, "insert", func(*Tx) error { return mine }); !errors.Is(err, mine) {
		t.Error(err)
	}
	if n := failures("insert"); n != 0 {
		t.Errorf("%v failures", n)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := db.Write(gone, "insert", insert); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := testutil.ToFloat64(db.failures.WithLabelValues("insert", failedCanceled)); n != 1 || failures("insert") != 1 {
		t.Errorf("%v canceled of %v", n, failures("insert"))
	}
	if err := db.Read(ctx, "broken", func(tx *Tx) error {
		_, err := tx.Query(ctx, "SELECT nonsense")
		return err
	}); err == nil || testutil.ToFloat64(db.failures.WithLabelValues("broken", failedOther)) != 1 {
		t.Errorf("%v is not counted", err)
	}
}
