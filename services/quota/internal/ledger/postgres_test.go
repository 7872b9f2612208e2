package ledger_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	"github.com/yubin-mail/yubin/services/quota/internal/ledger"
)

// group is the capacity of a group of deliveries, as storage asks for it and settles it.
type group struct {
	*ledger.Ledger
	accounts []string
	n        int64
}

func newGroup(tb testing.TB, db *sqldb.DB, size int) *group {
	tb.Helper()
	l, err := ledger.New(tb.Context(), db, ledger.Options{
		Default: ledger.Amount{Bytes: 1 << 40, Messages: ledger.Unlimited}, TTL: time.Hour, Levels: []int{80}, Now: time.Now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	g := &group{Ledger: l}
	for i := range size {
		id := fmt.Sprintf("account-%03d", i)
		g.accounts = append(g.accounts, id)
		if err := l.Open(tb.Context(), ledger.Account{ID: id, Domain: "example.test"}); err != nil {
			tb.Fatal(err)
		}
	}
	return g
}

func (g *group) deliver(ctx context.Context) error {
	g.n++
	var reservations []ledger.Reservation
	var events []ledger.Event
	for _, id := range g.accounts {
		name := fmt.Sprint(id, "-", g.n)
		reservations = append(reservations, ledger.Reservation{ID: name, AccountID: id, Amount: ledger.Amount{Bytes: 4096, Messages: 1}})
		events = append(events, ledger.Event{AccountID: id, Sequence: g.n, Delta: ledger.Amount{Bytes: 4096, Messages: 1}, ReservationIDs: []string{name}})
	}
	if _, err := g.Reserve(ctx, reservations); err != nil {
		return err
	}
	s, err := g.Settle(ctx, events)
	if err == nil && s.Events != len(events) {
		return fmt.Errorf("%d of %d events were applied", s.Events, len(events))
	}
	return err
}

func TestAGroupIsSixRoundTrips(t *testing.T) {
	registry := prometheus.NewRegistry()
	db, err := sqldb.OpenPostgres(t.Context(), sqldb.PostgresConfig{URL: postgres.Start(t).Database(t)}, sqldb.Options{Registerer: registry, Service: "quota"})
	db = closing(t, db, err)
	if err := newGroup(t, db, 64).deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	trips := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "yubin_quota_sql_round_trips_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			trips[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if trips["reserve"] != 3 || trips["settle"] != 3 { // lock and read, write, commit
		t.Errorf("round trips %v", trips)
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, size := range []int{1, 64} {
		run := func(name string, open func(b *testing.B) (*sqldb.DB, error)) {
			b.Run(fmt.Sprint(name, "/", size), func(b *testing.B) {
				db, err := open(b)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = db.Close() }()
				g := newGroup(b, db, size)
				for b.Loop() {
					if err := g.deliver(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("sqlite", func(b *testing.B) (*sqldb.DB, error) {
			return sqldb.OpenSQLite(filepath.Join(b.TempDir(), "quota.db"), sqldb.Options{})
		})
		run("postgres", func(b *testing.B) (*sqldb.DB, error) {
			return sqldb.OpenPostgres(b.Context(), sqldb.PostgresConfig{URL: postgres.Start(b).Database(b)}, sqldb.Options{})
		})
	}
}
