package meta_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// A change waits for the server a few times, however many messages it is about. The begin of a transaction goes along with its first
// statements; the commit is a wait of its own.
func TestRoundTrips(t *testing.T) {
	registry := prometheus.NewRegistry()
	db, err := sqldb.OpenPostgres(t.Context(), sqldb.PostgresConfig{URL: postgres.Start(t).Database(t)}, sqldb.Options{Registerer: registry, Service: "storage"})
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, db)
	store, err := meta.New(t.Context(), db, meta.Options{Retention: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	bodies := 0
	group := func(n int) (units []*meta.Unit) {
		object := fmt.Sprint("packs/", bodies)
		for i := range n {
			bodies++
			c, err := meta.NewContent(fmt.Sprint("E", bodies), &mailv1.Structure{
				Root: &mailv1.Part{}, MessageId: fmt.Sprint(bodies), References: []string{fmt.Sprint(bodies - 1), "older"},
			}, []byte("Subject: x\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			c.Location = body.Location{Object: object, Offset: int64(50 * i), Stored: 50, Size: 100}
			row := func(account string) *meta.Row {
				return &meta.Row{AccountID: account, Mailbox: "INBOX", Content: c, DeliveryID: fmt.Sprint("d", bodies), Keywords: []string{fmt.Sprint("k", i%7)}, ReservationID: "r"}
			}
			units = append(units, &meta.Unit{Rows: []*meta.Row{row("everybody"), row(fmt.Sprint("user", i))}})
		}
		return units
	}
	insert := func(n int) func() error {
		return func() error {
			units := group(n)
			err := store.Insert(t.Context(), units)
			for _, u := range units {
				if err == nil {
					err = u.Err
				}
			}
			return err
		}
	}
	inbox := uint64(1)
	every := func(n uint32) (set uidset.Set) {
		for uid := uint32(1); uid <= 200; uid += n {
			set = append(set, uidset.Range{Start: uid, Stop: uid})
		}
		return set
	}
	flags := func(set uidset.Set, f storagev1.Flag) func() error {
		return func() error {
			_, err := store.StoreFlags(t.Context(), "everybody", inbox, set, meta.FlagChange{
				Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(f),
			})
			return err
		}
	}
	for _, c := range []struct {
		what, class string
		most        float64
		do          func() error
	}{
		{"the first deliveries to 65 accounts", "deliver", 5, insert(64)},
		{"64 deliveries to 2 accounts each", "deliver", 3, insert(64)},
		{"200 deliveries to 2 accounts each", "deliver", 6, insert(200)},
		{"flags of 200 messages", "store_flags", 4, flags(uidset.Set{{Start: 1, Stop: 200}}, storagev1.Flag_FLAG_FLAGGED)},
		{"flags of every third message", "store_flags", 4, flags(every(3), storagev1.Flag_FLAG_SEEN)},
		{"flags of all, as many runs", "store_flags", 4, flags(uidset.All, storagev1.Flag_FLAG_SEEN)},
		{"flags of every third message", "store_flags", 4, flags(every(3), storagev1.Flag_FLAG_DELETED)},
		{"states and envelopes of every third message", "fetch", 3, func() error {
			page, _, err := store.Messages(t.Context(), "everybody", inbox, every(3), 0, meta.Wanted{Summary: true})
			if err == nil && len(page) != 67 {
				err = fmt.Errorf("%d messages", len(page))
			}
			return err
		}},
		{"a copy of every second message", "copy", 4, func() error {
			_, err := store.Copy(t.Context(), "everybody", inbox, every(2), "Archive", meta.Reserved{ID: "r", Bytes: 1 << 20, Messages: 1000})
			return err
		}},
		{"a move of every seventh message", "move", 4, func() error {
			_, err := store.Move(t.Context(), "everybody", inbox, every(7), "Archive")
			return err
		}},
		{"an expunge of 57 messages", "expunge", 4, func() error {
			gone, _, err := store.Expunge(t.Context(), "everybody", inbox, uidset.All)
			if err == nil && gone.Len() != 57 {
				err = fmt.Errorf("%d messages went", gone.Len())
			}
			return err
		}},
		{"the removal of expired messages", "purge_expired", 7, func() error {
			n, _, err := store.PurgeExpired(t.Context())
			if err == nil && n != 57 {
				err = fmt.Errorf("%d messages went", n)
			}
			return err
		}},
	} {
		before := trips(t, registry, c.class)
		if err := c.do(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		n := trips(t, registry, c.class) - before
		t.Logf("%s: %.0f round trips", c.what, n)
		if n < 1 || n > c.most {
			t.Errorf("%s: %.0f round trips, want at most %.0f", c.what, n, c.most)
		}
	}
}

// trips reads how often transactions of a class have waited for the server.
func trips(t *testing.T, registry *prometheus.Registry, class string) (n float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "yubin_storage_sql_round_trips_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "class" && l.GetValue() == class {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}
