package rebuild_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/rebuild"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// BenchmarkCatalog tells what a large mailbox costs in the catalog: a whole snapshot, one of ten changes in it, the look at an account in which
// nothing changed, and the way back.
func BenchmarkCatalog(b *testing.B) {
	const messages = 100_000
	open := func() (*sqldb.DB, *meta.Store) {
		db, err := sqldb.OpenSQLite(filepath.Join(b.TempDir(), "storage.db"), sqldb.Options{})
		must(b, err)
		b.Cleanup(func() { _ = db.Close() })
		store, err := meta.New(b.Context(), db, meta.Options{Retention: retention})
		must(b, err)
		return db, store
	}
	_, store := open()
	fill(b, store, messages)
	objects, err := object.OpenDir(b.TempDir())
	must(b, err)
	b.Cleanup(func() { _ = objects.Close() })
	spools, err := body.OpenSpools(body.SpoolConfig{Dir: b.TempDir()})
	must(b, err)
	c := catalog.New(catalog.Deps{Meta: store, Objects: objects, Spools: spools, Now: time.Now})
	written := func() (n int64) {
		for info, err := range objects.List(b.Context(), catalog.KeyPrefix, "") {
			must(b, err)
			n += info.Size
		}
		return n
	}
	b.ResetTimer()
	for range b.N {
		_, store := open()
		begun := time.Now()
		must(b, c.Write(b.Context()))
		whole, size := time.Since(begun), written()
		b.ReportMetric(float64(whole.Microseconds())/messages, "µs/whole-message")
		b.ReportMetric(float64(size)/messages, "B/whole-message")
		inbox, err := c.Meta.MailboxNamed(b.Context(), "alice", "INBOX")
		must(b, err)
		_, err = c.Meta.StoreFlags(b.Context(), "alice", inbox.GetMailboxId(), uidset.Set{{Start: 5, Stop: 14}},
			meta.FlagChange{Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: 1})
		must(b, err)
		begun = time.Now()
		must(b, c.Write(b.Context()))
		b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "ms/increment-of-10")
		b.ReportMetric(float64(written()-size), "B/increment-of-10")
		begun = time.Now()
		must(b, c.Write(b.Context()))
		b.ReportMetric(float64(time.Since(begun).Microseconds())/1000, "ms/unchanged")
		begun = time.Now()
		r, err := rebuild.Run(b.Context(), rebuild.Options{Meta: store, Objects: objects, Spools: spools, Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
		must(b, err)
		b.ReportMetric(float64(time.Since(begun).Microseconds())/messages, "µs/restored-row")
		if len(r.Lost) != messages { // there are no packs: all that is measured is the way of the rows
			b.Fatalf("%d messages are lost", len(r.Lost))
		}
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fill gives alice messages without bodies.
func fill(b *testing.B, store *meta.Store, messages int) {
	b.Helper()
	for n := 0; n < messages; {
		var units []*meta.Unit
		key := fmt.Sprintf("packs/20260101/%s", uuid.Must(uuid.NewV7()))
		for i := range 64 {
			n++
			c, err := meta.NewContent(uuid.Must(uuid.NewV7()).String(), &mailv1.Structure{Root: &mailv1.Part{}}, nil)
			must(b, err)
			c.Location = body.Location{Object: key, Offset: int64(100 + i*3000), Stored: 3000, Size: 4000, Sum: uint64(i)}
			prefix := bytes.Join([][]byte{[]byte("Return-Path: <list-bounces+"), fmt.Append(nil, n), []byte("@example.org>\r\nDelivered-To: alice@example.test\r\n")}, nil)
			units = append(units, &meta.Unit{Rows: []*meta.Row{{
				AccountID: "alice", Mailbox: "INBOX", Content: c, Prefix: prefix, InternalUnix: int64(1_700_000_000 + n),
			}}})
			if n == messages {
				break
			}
		}
		must(b, store.Insert(b.Context(), units))
	}
}
