package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
)

func open(t *testing.T) *DB {
	t.Helper()
	db := openAt(t, filepath.Join(t.TempDir(), "test #1?.db")) // a name that needs escaping
	exec(t, db, box)
	return db
}

const box = "CREATE TABLE box (account TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0))"

// onEach runs a test on every backend, with a table box.
func onEach(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t)) })
	t.Run("postgres", func(t *testing.T) {
		db := openPostgres(t, postgres.Start(t).Database(t))
		exec(t, db, box)
		test(t, db)
	})
}

func openPostgres(t *testing.T, url string) *DB {
	t.Helper()
	db, err := OpenPostgres(t.Context(), PostgresConfig{URL: url, StatementTimeout: time.Minute}, Options{Registerer: prometheus.NewRegistry(), Service: "test"})
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

func openAt(t *testing.T, path string) *DB {
	t.Helper()
	db, err := OpenSQLite(path, Options{Registerer: prometheus.NewRegistry(), Service: "test"})
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

func exec(t *testing.T, db *DB, query string, args ...any) {
	t.Helper()
	err := db.Write(t.Context(), "test", func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func sum(t *testing.T, db *DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), "test", func(tx *Tx) error {
		return tx.QueryRow(t.Context(), "SELECT COALESCE(SUM(n), 0) FROM box").Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSettings(t *testing.T) {
	db := open(t)
	pragmas := func(run func(context.Context, string, func(*Tx) error) error) string {
		var out []string
		for _, name := range []string{"journal_mode", "synchronous", "foreign_keys", "query_only"} {
			err := run(t.Context(), "test", func(tx *Tx) error {
				var value string
				err := tx.QueryRow(t.Context(), "PRAGMA "+name).Scan(&value)
				out = append(out, value)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return strings.Join(out, " ")
	}
	if got := pragmas(db.Write); got != "wal 2 1 0" { // 2 is FULL
		t.Errorf("writer: %s", got)
	}
	if got := pragmas(db.Read); got != "wal 2 1 1" {
		t.Errorf("reader: %s", got)
	}
}

func TestCommitAndRollback(t *testing.T) { onEach(t, testCommitAndRollback) }

func testCommitAndRollback(t *testing.T, db *DB) {
	ctx := t.Context()
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "a", 1)
	failed := errors.New("failed")
	err := db.Write(ctx, "test", func(tx *Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE box SET n = n + ?", 10); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) || sum(t, db) != 1 {
		t.Errorf("%v, sum %d", err, sum(t, db))
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.Write(ctx, "test", func(tx *Tx) error {
			_, _ = tx.Exec(ctx, "UPDATE box SET n = n + ?", 10)
			panic("in the middle")
		})
	}()
	if got := sum(t, db); got != 1 {
		t.Errorf("after a panic the sum is %d", got)
	}
	cancelled, cancel := context.WithCancel(ctx)
	err = db.Write(cancelled, "test", func(tx *Tx) error {
		if _, err := tx.Exec(cancelled, "UPDATE box SET n = n + ?", 10); err != nil {
			return err
		}
		cancel()
		_, err := tx.Exec(cancelled, "UPDATE box SET n = n + ?", 10)
		return err
	})
	if !errors.Is(err, context.Canceled) || sum(t, db) != 1 {
		t.Errorf("%v, sum %d", err, sum(t, db))
	}
	if err := db.Write(cancelled, "test", func(*Tx) error { return nil }); err == nil {
		t.Error("a transaction began in a context that had ended")
	}
	if err := db.Read(ctx, "test", func(tx *Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM box")
		return err
	}); err == nil || sum(t, db) != 1 {
		t.Errorf("a read wrote: %v", err)
	}
	var kept *Tx
	exec(t, db, "UPDATE box SET n = 2")
	_ = db.Read(ctx, "test", func(tx *Tx) error { kept = tx; return nil })
	if _, err := kept.Query(ctx, "SELECT 1"); !errors.Is(err, ErrDone) {
		t.Errorf("a transaction that has ended: %v", err)
	}
}

func TestErrors(t *testing.T) { onEach(t, testErrors) }

func testErrors(t *testing.T, db *DB) {
	ctx := t.Context()
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "a", 1)
	insert := func(n int) error {
		return db.Write(ctx, "test", func(tx *Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO box VALUES (?, ?)", "a", n)
			return fmt.Errorf("insert: %w", err)
		})
	}
	if err := insert(1); !IsUnique(err) || IsFull(err) {
		t.Errorf("got %v", err)
	}
	if err := insert(-1); err == nil || IsUnique(err) {
		t.Errorf("got %v", err)
	}
	err := db.Read(ctx, "test", func(tx *Tx) error {
		var n int
		return tx.QueryRow(ctx, "SELECT n FROM box WHERE account = ?", "nobody").Scan(&n)
	})
	if !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("got %v", err)
	}
	err = db.Read(ctx, "test", func(tx *Tx) error {
		var n int
		return tx.QueryRow(ctx, "SELECT nothing FROM nowhere").Scan(&n)
	})
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshot(t *testing.T) { onEach(t, testSnapshot) }

func testSnapshot(t *testing.T, db *DB) {
	ctx := t.Context()
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "a", 1)
	err := db.Read(ctx, "test", func(tx *Tx) error {
		var before, after int
		if err := tx.QueryRow(ctx, "SELECT n FROM box").Scan(&before); err != nil {
			return err
		}
		exec(t, db, "UPDATE box SET n = 2")
		if err := tx.QueryRow(ctx, "SELECT n FROM box").Scan(&after); err != nil {
			return err
		}
		if before != 1 || after != 1 {
			t.Errorf("the snapshot moved from %d to %d", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(t, db); got != 2 {
		t.Errorf("a new snapshot has %d", got)
	}
}

func TestSameQueryWhileItsRowsAreRead(t *testing.T) { onEach(t, testSameQueryWhileItsRowsAreRead) }

func testSameQueryWhileItsRowsAreRead(t *testing.T, db *DB) {
	ctx := t.Context()
	for i := range 5 {
		exec(t, db, "INSERT INTO box VALUES (?, ?)", fmt.Sprint(i), i)
	}
	const query = "SELECT n FROM box WHERE n >= ? ORDER BY n"
	for range 2 { // the second time with cached statements
		var seen []int
		err := db.Read(ctx, "test", func(tx *Tx) error {
			outer, err := tx.Query(ctx, query, 0)
			if err != nil {
				return err
			}
			for outer.Next() {
				var n, inner int
				if err := outer.Scan(&n); err != nil {
					return err
				}
				if err := tx.QueryRow(ctx, query, n).Scan(&inner); err != nil {
					return err
				}
				if inner != n {
					t.Errorf("inner query gave %d for %d", inner, n)
				}
				seen = append(seen, n)
			}
			return outer.Err() // the rows are left open on purpose
		})
		if err != nil || fmt.Sprint(seen) != "[0 1 2 3 4]" {
			t.Errorf("got %v, %v", seen, err)
		}
	}
}

func TestConcurrentWritersLoseNothing(t *testing.T) { onEach(t, testConcurrentWritersLoseNothing) }

func testConcurrentWritersLoseNothing(t *testing.T, db *DB) {
	ctx := t.Context()
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "a", 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				err := db.Write(ctx, "add", func(tx *Tx) error {
					var n int
					if err := tx.QueryRow(ctx, "SELECT n FROM box WHERE account = ?"+db.dialect.ForUpdate, "a").Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, "UPDATE box SET n = ? WHERE account = ?", n+1, "a")
					return err
				})
				if err != nil {
					t.Error(err)
				}
				_ = sum(t, db)
			}
		})
	}
	wg.Wait()
	if got := sum(t, db); got != 200 {
		t.Errorf("sum is %d", got)
	}
	if n := testutil.CollectAndCount(db.seconds); n < 2 {
		t.Errorf("%d classes measured", n)
	}
}

func TestReadOne(t *testing.T) { onEach(t, testReadOne) }

func testReadOne(t *testing.T, db *DB) {
	ctx := t.Context()
	exec(t, db, "INSERT INTO box VALUES (?, ?)", "a", 5)
	var n int
	one := &Batch{}
	one.Query(func(rows *Rows) error { return rows.Scan(&n) }, "SELECT n FROM box WHERE account = ?", "a")
	for name, read := range map[string]func(tx *Tx) error{
		"row":   func(tx *Tx) error { return tx.QueryRow(ctx, "SELECT n FROM box WHERE account = ?", "a").Scan(&n) },
		"batch": func(tx *Tx) error { return tx.Batch(ctx, one) },
	} {
		n = 0
		if err := db.ReadOne(ctx, "one", read); err != nil || n != 5 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		again := func(tx *Tx) error {
			if err := read(tx); err != nil {
				return err
			}
			return read(tx)
		}
		if err := db.ReadOne(ctx, "two", again); !errors.Is(err, ErrOneOnly) {
			t.Errorf("%s: a second statement: %v", name, err)
		}
	}
	if db.dialect.Name == Postgres.Name {
		if trips := testutil.ToFloat64(db.trips.WithLabelValues("one")); trips != 2 {
			t.Errorf("%v round trips for two reads", trips)
		}
	}
	failed := errors.New("failed")
	if err := db.ReadOne(ctx, "test", func(*Tx) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
}

func TestStatementCacheIsBounded(t *testing.T) {
	db, ctx := open(t), t.Context()
	err := db.Read(ctx, "test", func(tx *Tx) error {
		for i := range 2 * maxStatements {
			var n int
			if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT %d", i)).Scan(&n); err != nil || n != i {
				return fmt.Errorf("got %d: %w", n, err)
			}
		}
		if n := len(tx.on.(*sqliteSession).conn.idle); n != maxStatements {
			t.Errorf("%d statements are kept", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMigrate(t *testing.T) { onEach(t, testMigrate) }

func testMigrate(t *testing.T, db *DB) {
	ctx := t.Context()
	one := fstest.MapFS{"0001_accounts.sql": {Data: []byte("CREATE TABLE a (id INTEGER PRIMARY KEY);\nCREATE TABLE b (id INTEGER);\n-- end\n")}}
	two := fstest.MapFS{"0001_accounts.sql": one["0001_accounts.sql"], "0002_more.sql": {Data: []byte("INSERT INTO a VALUES (7); INSERT INTO b SELECT id FROM a;")}}
	for _, fsys := range []fstest.MapFS{one, one, two, two} {
		if err := db.Migrate(ctx, fsys); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	err := db.Read(ctx, "test", func(tx *Tx) error { return tx.QueryRow(ctx, "SELECT COUNT(*) FROM b WHERE id = 7").Scan(&n) })
	if err != nil || n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	if err := db.Migrate(ctx, one); !errors.Is(err, ErrNewer) {
		t.Errorf("an older program: %v", err)
	}
	broken := fstest.MapFS{
		"0001_accounts.sql": one["0001_accounts.sql"], "0002_more.sql": two["0002_more.sql"],
		"0003_bad.sql": {Data: []byte("CREATE TABLE c (id INTEGER); INSERT INTO nowhere VALUES (1);")},
	}
	if err := db.Migrate(ctx, broken); err == nil || !strings.Contains(err.Error(), "0003_bad.sql") {
		t.Errorf("a broken migration: %v", err)
	}
	exec(t, db, "CREATE TABLE c (id INTEGER)") // half of the migration has not stayed
	for _, bad := range []fstest.MapFS{
		{"0002_gap.sql": {}}, {"readme.txt": {}}, {"0001_a.sql": {}, "0001_b.sql": {}},
	} {
		if err := db.Migrate(ctx, bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

func TestCloseWritesTheLogBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.db")
	db, err := OpenSQLite(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE box (n INTEGER)")
	exec(t, db, "INSERT INTO box VALUES (5)")
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("%d bytes are left in the log", info.Size())
	}
	if got := sum(t, openAt(t, path)); got != 5 {
		t.Errorf("got %d after opening again", got)
	}
}

func TestLogIsWrittenBackAsItGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	db := openAt(t, path)
	exec(t, db, "CREATE TABLE box (t TEXT)")
	const row, most = 256 << 10, checkpointPages * 4096
	for range 3 * most / row {
		exec(t, db, "INSERT INTO box VALUES (?)", strings.Repeat("x", row))
	}
	info, err := os.Stat(path + "-wal")
	if err != nil || info.Size() < most/2 || info.Size() > most+most/4 {
		t.Errorf("the log has %d bytes, %v", info.Size(), err)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.db")
	db, err := OpenSQLite(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE box (n INTEGER, t TEXT)")
	for i := range 100 {
		exec(t, db, "INSERT INTO box VALUES (?, ?)", i, strings.Repeat("x", 1000))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 2; i < len(data)/2+8192; i++ {
		data[i] = 0xAA
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openAt(t, path).Check(t.Context()); err == nil {
		t.Error("damage was not found")
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(strings.Repeat("this is no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "/nonexistent/folder/x.db"} {
		if _, err := OpenSQLite(path, Options{}); err == nil {
			t.Errorf("%s was opened", path)
		}
	}
}

func TestNumberPlaceholders(t *testing.T) {
	for query, want := range map[string]string{
		"SELECT 1":              "SELECT 1",
		"a = ? AND b IN (?, ?)": "a = $1 AND b IN ($2, $3)",
		`a = '?' AND "b?" = ? -- really?` + "\n?": `a = '?' AND "b?" = $1 -- really?` + "\n$2",
		"a = 'it''s ?' AND b = ?":                 "a = 'it''s ?' AND b = $1",
	} {
		r := rebinder{numbered: true}
		if got := r.rebind(query); got != want || r.rebind(query) != want {
			t.Errorf("%s: got %s", query, got)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	db, err := OpenSQLite(filepath.Join(b.TempDir(), "b.db"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	insert := func(query string, args ...any) error {
		return db.Write(b.Context(), "bench", func(tx *Tx) error {
			_, err := tx.Exec(b.Context(), query, args...)
			return err
		})
	}
	if err := insert("CREATE TABLE box (n INTEGER PRIMARY KEY)"); err != nil {
		b.Fatal(err)
	}
	for n := 0; b.Loop(); n++ {
		if err := insert("INSERT INTO box VALUES (?)", n); err != nil {
			b.Fatal(err)
		}
	}
}
