package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
)

// proxy is a TCP proxy that calls cut with what clients send. If it says so the server still gets that, but both
// connections are closed once it has answered.
func proxy(t *testing.T, url string, cut func(sent string) bool) string {
	t.Helper()
	server := strings.TrimPrefix(url[:strings.LastIndexByte(url, '/')], "postgres://")
	server = server[strings.LastIndexByte(server, '@')+1:]
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); open.Wait() })
	serve := func(client net.Conn) {
		defer func() { _ = client.Close() }()
		upstream, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", server)
		if err != nil {
			return
		}
		defer func() { _ = upstream.Close() }()
		answered, mute := make(chan struct{}, 1), make(chan struct{})
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := upstream.Read(buf)
				select {
				case <-mute:
					answered <- struct{}{}
					return
				default:
				}
				if err != nil {
					_ = client.Close()
					return
				}
				if _, err := client.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			last := cut(string(buf[:n]))
			if last {
				close(mute)
			}
			if _, err := upstream.Write(buf[:n]); err != nil {
				return
			}
			if last {
				go func() { _, _ = io.Copy(upstream, client) }() // should there be more of it
				<-answered
				return
			}
		}
	}
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { serve(client) })
		}
	})
	return strings.Replace(url, server, listener.Addr().String(), 1)
}

// once tells the first time that a text contains what is looked for.
func once(looked string) func(string) bool {
	var mu sync.Mutex
	found := false
	return func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		if found || !strings.Contains(text, looked) {
			return false
		}
		found = true
		return true
	}
}

func TestLostAnswerToCommitIsUnknown(t *testing.T) {
	url := postgres.Start(t).Database(t)
	direct := openPostgres(t, url)
	exec(t, direct, box)
	var armed atomic.Bool
	commit := once("COMMIT\x00")
	db := openPostgres(t, proxy(t, url, func(sent string) bool { return armed.Load() && commit(sent) }))
	armed.Store(true)
	runs := 0
	err := db.Write(t.Context(), "test", func(tx *Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), "INSERT INTO box VALUES ('a', 1)")
		return err
	})
	if !errors.Is(err, ErrUnknownOutcome) || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if got := sum(t, direct); got != 1 {
		t.Errorf("the transaction had committed, but the sum is %d", got)
	}
	exec(t, db, "UPDATE box SET n = 5")
}

func TestConnectionLostBeforeCommit(t *testing.T) {
	url := postgres.Start(t).Database(t)
	exec(t, openPostgres(t, url), box)
	for _, at := range []string{"INSERT INTO box VALUES ('a'", "INSERT INTO box VALUES ('b'"} {
		db := openPostgres(t, proxy(t, url, once(at)))
		err := db.Write(t.Context(), "test", func(tx *Tx) error {
			b := &Batch{}
			b.Exec("DELETE FROM box")
			b.Exec("INSERT INTO box VALUES ('a', 1)")
			if err := tx.Batch(t.Context(), b); err != nil {
				return errors.New("an error that hides its cause")
			}
			_, err := tx.Exec(t.Context(), "INSERT INTO box VALUES ('b', 2)")
			return err
		})
		if got := sum(t, db); err != nil || got != 3 {
			t.Errorf("sum %d, %v", got, err)
		}
		if n := testutil.ToFloat64(db.retries.WithLabelValues("test", "connection")); n != 1 {
			t.Errorf("%v retries", n)
		}
	}
}

func TestReadIsNotRunAgainAfterItGaveSomething(t *testing.T) {
	url := postgres.Start(t).Database(t)
	exec(t, openPostgres(t, url), box)
	for _, c := range []struct {
		cut  string
		runs int
	}{{"SELECT 11", 2}, {"SELECT 22", 1}} {
		db, runs := openPostgres(t, proxy(t, url, once(c.cut))), 0
		err := db.Read(t.Context(), "test", func(tx *Tx) error {
			runs++
			var n int
			if err := tx.QueryRow(t.Context(), "SELECT 11").Scan(&n); err != nil {
				return err
			}
			return tx.QueryRow(t.Context(), "SELECT 22").Scan(&n)
		})
		if runs != c.runs || (err == nil) != (c.runs == 2) {
			t.Errorf("cut at %s: %d runs, %v", c.cut, runs, err)
		}
	}
}

func TestRestartOfTheServer(t *testing.T) {
	server := postgres.Start(t)
	db, ctx := openPostgres(t, server.Database(t)), t.Context()
	exec(t, db, box)
	const workers, rows = 8, 60
	done := make(chan struct{}, workers*rows)
	var mu sync.Mutex
	kept := 0
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rows {
				key := fmt.Sprint(w, "-", i)
				for {
					err := db.Write(ctx, "test", func(tx *Tx) error {
						_, err := tx.Exec(ctx, "INSERT INTO box VALUES (?, 1) ON CONFLICT (account) DO NOTHING", key)
						return err
					})
					if err == nil {
						break
					}
					if !IsUnavailable(err) {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				kept++
				mu.Unlock()
				done <- struct{}{}
			}
		})
	}
	for range 2 {
		for range workers * 5 {
			<-done
		}
		server.Restart(t)
	}
	wg.Wait()
	if got := sum(t, db); got != kept || kept != workers*rows {
		t.Errorf("%d rows were acknowledged, %d are there", kept, got)
	}
}

func TestWatch(t *testing.T) {
	server := postgres.Start(t)
	db := openPostgres(t, server.Database(t))
	ctx, cancel := context.WithCancel(t.Context())
	states := make(chan error)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.watch(ctx, time.Millisecond, func(err error) {
			select {
			case states <- err:
			case <-ctx.Done():
			}
		})
	})
	if err := <-states; err != nil {
		t.Errorf("a database that answers: %v", err)
	}
	server.Kill(t)
	for err := range states {
		if err != nil {
			break
		}
	}
	err := db.Read(ctx, "test", func(tx *Tx) error {
		var n int
		return tx.QueryRow(ctx, "SELECT 1").Scan(&n)
	})
	if fault.Code(err) != codes.Unavailable || strings.Contains(fault.Text(err), "127.0.0.1") {
		t.Errorf("while the server is gone: %v, text %q", err, fault.Text(err))
	}
	server.Restart(t)
	for err := range states {
		if err == nil {
			break
		}
	}
	cancel()
	wg.Wait()
}

func TestDeadConnectionsOfThePool(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database(t)
	db, ctx := openPostgres(t, url), t.Context()
	exec(t, db, box)
	var wg sync.WaitGroup
	barrier := make(chan struct{})
	for range 10 { // fill the pool
		wg.Go(func() {
			err := db.Read(ctx, "test", func(tx *Tx) error {
				var n int
				err := tx.QueryRow(ctx, "SELECT 1").Scan(&n)
				<-barrier
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(barrier)
	wg.Wait()
	other := openPostgres(t, url)
	for range 3 {
		exec(t, other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		exec(t, db, "INSERT INTO box VALUES (?, 1) ON CONFLICT (account) DO UPDATE SET n = box.n + 1", "a")
	}
	if got := sum(t, db); got != 3 {
		t.Errorf("sum %d", got)
	}
}

func TestDeadlockRunsAgain(t *testing.T) {
	db, ctx := openPostgres(t, postgres.Start(t).Database(t)), t.Context()
	exec(t, db, box)
	exec(t, db, "INSERT INTO box VALUES ('a', 0), ('b', 0)")
	var met, wg sync.WaitGroup
	met.Add(2)
	for _, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			var first sync.Once
			err := db.Write(ctx, "test", func(tx *Tx) error {
				for i, account := range order {
					if _, err := tx.Exec(ctx, "UPDATE box SET n = n + 1 WHERE account = ?", account); err != nil {
						return err
					}
					if i == 0 {
						first.Do(func() { met.Done(); met.Wait() })
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := sum(t, db); got != 4 {
		t.Errorf("sum %d", got)
	}
	if n := testutil.ToFloat64(db.retries.WithLabelValues("test", "conflict")); n < 1 {
		t.Errorf("%v retries", n)
	}
}

func TestStatementsOutliveAMigrationByAnother(t *testing.T) {
	url := postgres.Start(t).Database(t)
	db, other, ctx := openPostgres(t, url), openPostgres(t, url), t.Context()
	exec(t, db, box)
	read := func() (columns int) {
		err := db.Write(ctx, "test", func(tx *Tx) error {
			rows, err := tx.Query(ctx, "SELECT * FROM box")
			if err != nil {
				return err
			}
			columns = len(rows.cursor.(*postgresCursor).rows.FieldDescriptions())
			return errors.Join(rows.Err(), rows.Close())
		})
		if err != nil {
			t.Error(err)
		}
		return columns
	}
	_ = read()
	exec(t, other, "ALTER TABLE box ADD COLUMN more BIGINT")
	if got := read(); got != 3 {
		t.Errorf("%d columns", got)
	}
}

func TestFailureThatWasSwallowedDoesNotCommit(t *testing.T) {
	db, ctx := openPostgres(t, postgres.Start(t).Database(t)), t.Context()
	exec(t, db, box)
	err := db.Write(ctx, "test", func(tx *Tx) error {
		_, _ = tx.Exec(ctx, "INSERT INTO box VALUES ('a', 1)")
		_, _ = tx.Exec(ctx, "INSERT INTO box VALUES ('a', 1)")
		return nil
	})
	if err == nil || sum(t, db) != 0 {
		t.Errorf("%v, sum %d", err, sum(t, db))
	}
}

func TestRelaxedOnPostgres(t *testing.T) {
	db, ctx := openPostgres(t, postgres.Start(t).Database(t)), t.Context()
	level := func(write func(context.Context, string, func(*Tx) error) error) (level string) {
		err := write(ctx, "test", func(tx *Tx) error {
			return tx.QueryRow(ctx, "SHOW synchronous_commit").Scan(&level)
		})
		if err != nil {
			t.Error(err)
		}
		return level
	}
	if got := level(db.Write) + level(db.WriteRelaxed) + level(db.Write); got != "onoffon" {
		t.Errorf("synchronous_commit %s", got)
	}
}

func TestRoundTrips(t *testing.T) {
	db, ctx := openPostgres(t, postgres.Start(t).Database(t)), t.Context()
	exec(t, db, box)
	err := db.WriteRelaxed(ctx, "batch", func(tx *Tx) error {
		b := &Batch{}
		for i := range 100 {
			b.Exec("INSERT INTO box VALUES (?, 1)", fmt.Sprint(i))
		}
		return tx.Batch(ctx, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Write(ctx, "nothing", func(*Tx) error { return nil })
	for class, want := range map[string]float64{"batch": 2, "nothing": 0} {
		if got := testutil.ToFloat64(db.trips.WithLabelValues(class)); got != want {
			t.Errorf("%s: %v round trips, want %v", class, got, want)
		}
	}
}

func TestSeveralProgramsMigrate(t *testing.T) {
	url := postgres.Start(t).Database(t)
	scripts := fstest.MapFS{}
	for i := range 5 {
		scripts[fmt.Sprintf("%04d_step.sql", i+1)] = &fstest.MapFile{Data: fmt.Appendf(nil, "CREATE TABLE t%d (id BIGINT); INSERT INTO t%d VALUES (1);", i, i)}
	}
	var wg sync.WaitGroup
	for range 6 {
		db := openPostgres(t, url)
		wg.Go(func() {
			if err := db.Migrate(t.Context(), scripts); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMigrationsMayTakeLong(t *testing.T) {
	db, err := OpenPostgres(t.Context(), PostgresConfig{URL: postgres.Start(t).Database(t), StatementTimeout: 100 * time.Millisecond}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const long = "SELECT pg_sleep(0.5)"
	if err := db.Migrate(t.Context(), fstest.MapFS{"0001_long.sql": {Data: []byte(long)}}); err != nil {
		t.Error(err)
	}
	err = db.Write(t.Context(), "test", func(tx *Tx) error {
		_, err := tx.Exec(t.Context(), long)
		return err
	})
	if fault.Code(err) != codes.Unavailable {
		t.Errorf("a statement that takes too long: %v", err)
	}
}

func TestOpenPostgresRefuses(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database(t)
	for _, bad := range []string{
		strings.Replace(url, ":yubin-test@", ":secret-word@", 1),
		strings.Replace(url, "/test_", "/missing_", 1),
		strings.Replace(url, "sslmode=disable", "sslmode=secret-word", 1),
	} {
		db, err := OpenPostgres(t.Context(), PostgresConfig{URL: bad}, Options{})
		if err == nil {
			_ = db.Close()
			t.Error("a wrong URL was taken")
		} else if strings.Contains(err.Error(), ":secret-word") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}
