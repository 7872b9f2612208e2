package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/catalog"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
)

// rebuild runs a rebuild on the harness's stores.
func (h *harness) rebuild(dryRun bool) (*RebuildReport, error) {
	var cfg Config
	fs := pflag.NewFlagSet("storage", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse(nil); err != nil {
		h.t.Fatal(err)
	}
	cfg.Dir = h.dir
	return Rebuild(h.t.Context(), cfg, RebuildOptions{DryRun: dryRun, Log: slog.New(slog.DiscardHandler)})
}

// loseDatabase removes the stopped service's database, and what quota knew.
func (h *harness) loseDatabase() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "storage.db*"))
	if err != nil || len(files) == 0 {
		h.t.Fatalf("find database: %v, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			h.t.Fatal(err)
		}
	}
	h.quota = quotatest.New()
}

func TestTheServiceWritesACatalogFromWhichItIsRebuilt(t *testing.T) {
	h := &harness{t: t, dir: t.TempDir(), quota: quotatest.New(), clock: &clock{}}
	h.run("--storage-catalog-interval=1s")
	uid := h.mustDeliver("bob", mail("kept", "x"))
	inbox := h.mailbox("bob", "INBOX")
	h.flag("bob", inbox.GetMailboxId(), storagev1.StoreFlagsRequest_OPERATION_ADD, 5, span(uid, uid))
	count := func() (n int) {
		for _, err := range h.objects.List(t.Context(), catalog.KeyPrefix, "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	eventually(t, "the catalog sees the last change", func() bool {
		stale, _, err := h.service.Meta.StaleAccounts(context.Background(), "")
		return err == nil && len(stale) == 0 && count() > 0
	})
	h.stop()

	if _, err := h.rebuild(false); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("rebuild of a database that is there: got %v, want ErrNotEmpty", err)
	}
	h.loseDatabase()
	if r, err := h.rebuild(true); err != nil || len(r.Accounts) != 1 {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	r, err := h.rebuild(false)
	if err != nil || len(r.Accounts) != 1 || r.Accounts[0].Messages != 1 || r.Accounts[0].Snapshot.IsZero() {
		t.Fatalf("rebuild: %+v, %v", r, err)
	}
	h.run()
	t.Cleanup(func() { h.stop(); h.check() })
	again := h.mailbox("bob", "INBOX")
	if again.GetUidValidity() != inbox.GetUidValidity() || again.GetMailboxId() != inbox.GetMailboxId() {
		t.Errorf("from %v to %v", inbox, again)
	}
	s := h.sync("bob", again.GetMailboxId(), 0)
	if len(s.changed) != 1 || s.changed[0].GetUid() != uid || s.changed[0].GetFlags() != 5 {
		t.Errorf("messages: %v", s.changed)
	}
	eventually(t, "quota is told", func() bool { return h.quota.Account("bob").UsedMessages == 1 })
	if next := h.mustDeliver("bob", mail("new", "y")); next <= uid+1000 {
		t.Errorf("the next UID is %d after %d", next, uid)
	}
}

func TestAnInterruptedRebuildKeepsTheServiceFromStarting(t *testing.T) {
	h := &harness{t: t, dir: t.TempDir(), quota: quotatest.New(), clock: &clock{}}
	h.run()
	h.mustDeliver("bob", mail("kept", "x"))
	h.stop()
	h.loseDatabase()
	ctx, cancel := context.WithCancel(t.Context())
	var cfg Config
	fs := pflag.NewFlagSet("storage", pflag.ContinueOnError)
	cfg.Flags(fs)
	cfg.Dir = h.dir
	_, err := Rebuild(ctx, cfg, RebuildOptions{Log: slog.New(slog.DiscardHandler), Progress: func(string, int, int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted rebuild: %v", err)
	}
	if _, err := New(t.Context(), cfg, Deps{Log: slog.New(slog.DiscardHandler), Quota: h.quota.Client()}); !errors.Is(err, errRebuilding) {
		t.Fatalf("start: got %v, want errRebuilding", err)
	}
	if r, err := h.rebuild(false); err != nil || !r.Resumed {
		t.Fatalf("rebuild: %+v, %v", r, err)
	}
	h.run()
	t.Cleanup(func() { h.stop(); h.check() })
	if m := h.mailbox("bob", "INBOX"); m.GetMessages() != 1 {
		t.Errorf("bob has %d messages, want 1", m.GetMessages())
	}
}
