package rebuild_test

import (
	"testing"

	"github.com/yubin-mail/yubin/pkg/sqldb"
)

// each runs a test on every kind of database.
func each(t *testing.T, test func(*testing.T, func(*testing.T) *sqldb.DB)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

func TestMailboxesComeBackAsTheCatalogSawThem(t *testing.T) {
	each(t, func(t *testing.T, open func(*testing.T) *sqldb.DB) {
		for seed := range uint64(3) {
			w := newWorld(t, open, seed)
			for range 6 { // a whole snapshot, and increments
				for range 60 {
					w.step()
				}
				w.snapshot()
			}
			want := w.state()
			w.start() // the database is lost
			report := w.rebuild()
			if len(report.Lost) > 0 || len(report.Damaged) > 0 || len(report.Refused) > 0 || report.Delivered > 0 {
				t.Errorf("report: %+v", report)
			}
			w.compare(w.state(), want)
		}
	})
}
