package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	directory "github.com/yubin-mail/yubin/services/directory/server"
	quota "github.com/yubin-mail/yubin/services/quota/server"
	storage "github.com/yubin-mail/yubin/services/storage/server"
)

// world is directory, quota and storage in one process, and the command line on it.
type world struct {
	t       *testing.T
	clients *clients
	storage storagev1.StorageServiceClient // as an IMAP gateway
	state   string                         // the import state's folder
	dir     string                         // data directory
}

func newWorld(t *testing.T) *world {
	log := slog.New(slog.DiscardHandler)
	in := rpc.NewInproc(log, nil)
	dir := t.TempDir()
	settings := pflag.NewFlagSet("test", pflag.ContinueOnError)
	people, capacity, mail := directory.Config{Dir: filepath.Join(dir, "directory")}, quota.Config{Dir: filepath.Join(dir, "quota")}, storage.Config{Dir: filepath.Join(dir, "storage")}
	people.Flags(settings)
	capacity.Flags(settings)
	mail.Flags(settings)
	if err := settings.Parse([]string{"--directory-argon2-memory=1MiB", "--directory-argon2-time=1", "--quota-warn-levels=1000"}); err != nil {
		t.Fatal(err)
	}
	asQuota := in.Client("quota")
	d, err := directory.New(t.Context(), people, directory.Deps{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	q, err := quota.New(t.Context(), capacity, quota.Deps{
		Log: log, Directory: directoryv1.NewDirectoryServiceClient(asQuota), DirectoryAdmin: directoryv1.NewDirectoryAdminServiceClient(asQuota),
		Storage: storagev1.NewStorageServiceClient(asQuota), StorageAdmin: storagev1.NewStorageAdminServiceClient(asQuota),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.New(t.Context(), mail, storage.Deps{Log: log, Quota: quotav1.NewQuotaServiceClient(in.Client("storage"))})
	if err != nil {
		t.Fatal(err)
	}
	d.Register(in)
	q.Register(in)
	s.Register(in)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() {
		stopped <- lifecycle.Run(ctx, log, append(d.Components(), append(q.Components(), s.Components()...)...)...)
	}()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	admin := in.Client("admin")
	return &world{t: t, clients: newClients(admin, admin, admin), storage: storagev1.NewStorageServiceClient(in.Client("imap")), state: t.TempDir(), dir: dir}
}

// result of a command.
type result struct {
	code     int
	out, err string
}

func (w *world) runWith(stdin string, args ...string) result {
	w.t.Helper()
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(stdin), out: &out, errOut: &errOut, dialled: w.clients}
	code := a.execute(w.t.Context(), args)
	return result{code, out.String(), errOut.String()}
}

// ok runs a command, given as words, that must succeed, and gives what it printed.
func (w *world) ok(command string, args ...any) string {
	w.t.Helper()
	r := w.runWith("correct horse\n", strings.Fields(fmt.Sprintf(command, args...))...)
	if r.code != exitOK {
		w.t.Fatalf("yubin %s: exit %d\n%s%s", fmt.Sprintf(command, args...), r.code, r.out, r.err)
	}
	return r.out
}

// fails runs a command that must fail with the code and say something.
func (w *world) fails(code int, say, command string, args ...any) {
	w.t.Helper()
	r := w.runWith("", strings.Fields(fmt.Sprintf(command, args...))...)
	if r.code != code || !strings.Contains(r.err, say) {
		w.t.Errorf("yubin %s: exit %d, want %d; stderr lacks %q:\n%s", fmt.Sprintf(command, args...), r.code, code, say, r.err)
	}
}

// jsonLines runs a command with --json and decodes each line it prints.
func jsonLines[T any](w *world, command string, args ...any) (out []T) {
	w.t.Helper()
	d := json.NewDecoder(strings.NewReader(w.ok(command+" --json", args...)))
	d.DisallowUnknownFields()
	for {
		var v T
		err := d.Decode(&v)
		if err == io.EOF {
			return out
		}
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, v)
	}
}

func want(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

// accounts adds example.test with alice and bob.
func (w *world) accounts() {
	w.t.Helper()
	w.ok("domain add example.test")
	w.ok("account add alice@example.test --password-stdin --display-name Alice")
	w.ok("account add bob@example.test --no-password")
}

// imapDelete expunges all messages of a mailbox, as a mail program does.
func (w *world) imapDelete(address, mailbox string) {
	w.t.Helper()
	acc, err := w.clients.account(w.t.Context(), address)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.storage.GetMailbox(w.t.Context(), &storagev1.GetMailboxRequest{AccountId: acc.GetAccountId(), Key: &storagev1.GetMailboxRequest_Name{Name: mailbox}})
	if err != nil {
		w.t.Fatal(err)
	}
	all := []*storagev1.UidRange{{Start: 1, Stop: resp.GetMailbox().GetUidNext()}}
	_, err = w.storage.StoreFlags(w.t.Context(), &storagev1.StoreFlagsRequest{
		AccountId: acc.GetAccountId(), MailboxId: resp.GetMailbox().GetMailboxId(), Uids: all,
		Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(storagev1.Flag_FLAG_DELETED),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.storage.Expunge(w.t.Context(), &storagev1.ExpungeRequest{AccountId: acc.GetAccountId(), MailboxId: resp.GetMailbox().GetMailboxId(), Uids: all}); err != nil {
		w.t.Fatal(err)
	}
}
