package meta_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// BenchmarkInsert measures a transaction of 64 deliveries to as many accounts.
func BenchmarkInsert(b *testing.B) {
	for name, open := range map[string]func() (*sqldb.DB, error){
		"sqlite": func() (*sqldb.DB, error) {
			return sqldb.OpenSQLite(filepath.Join(b.TempDir(), "storage.db"), sqldb.Options{})
		},
		"postgres": func() (*sqldb.DB, error) {
			return sqldb.OpenPostgres(b.Context(), sqldb.PostgresConfig{URL: postgres.Start(b).Database(b)}, sqldb.Options{})
		},
	} {
		b.Run(name, func(b *testing.B) {
			db, err := open()
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			store, err := meta.New(b.Context(), db, meta.Options{})
			if err != nil {
				b.Fatal(err)
			}
			header := make([]byte, 1500)
			for b.Loop() {
				var units []*meta.Unit
				bodies++
				for i := range 64 {
					id := fmt.Sprint(bodies, ".", i)
					c, err := meta.NewContent(id, &mailv1.Structure{Root: &mailv1.Part{}, MessageId: id, Preview: string(header[:200])}, header)
					if err != nil {
						b.Fatal(err)
					}
					c.Location = body.Location{Object: fmt.Sprint(bodies), Stored: 50, Size: 100}
					units = append(units, &meta.Unit{Rows: []*meta.Row{{
						AccountID: fmt.Sprint("account", i), Mailbox: "INBOX", Fallback: true, Content: c, DeliveryID: id, ReservationID: id,
					}}})
				}
				if err := store.Insert(b.Context(), units); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var bodies int
