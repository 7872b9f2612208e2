package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	"github.com/yubin-mail/yubin/pkg/testserver/postgres"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
)

// clock is a clock that a test can set forward.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) Forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// harness is a running storage service with its clients.
type harness struct {
	t     testing.TB
	dir   string
	url   string // of the PostgreSQL database; empty: the embedded one
	quota *quotatest.Ledger
	clock *clock
	log   *slog.Logger
	deps  Deps // what a test sets of them
	*Server

	smtp, imap, pop3 storagev1.StorageServiceClient
	admin            storagev1.StorageAdminServiceClient
	conn             grpc.ClientConnInterface // of imap
	stop             func()
}

// start runs the service until the test ends, and then checks that its database is in order.
func start(t testing.TB, args ...string) *harness {
	t.Helper()
	h := &harness{t: t, dir: t.TempDir(), quota: quotatest.New(), clock: &clock{}}
	if overPostgres {
		h.url = postgres.Start(t).Database(t)
		if _, test := t.(*testing.T); test {
			h.url += "&options=-c%20synchronous_commit%3Doff" // the server does not die here
		}
	}
	h.run(args...)
	t.Cleanup(func() {
		h.stop()
		h.check()
	})
	return h
}

// run starts the service on the harness's directory.
func (h *harness) run(args ...string) {
	h.t.Helper()
	var cfg Config
	fs := pflag.NewFlagSet("storage", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse(append([]string{"--storage-delete-grace=0s", "--storage-database-url=" + h.url}, args...)); err != nil {
		h.t.Fatal(err)
	}
	for _, err := range cfg.Validate() {
		h.t.Fatal(err)
	}
	cfg.Dir = h.dir
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	in := rpc.NewInproc(log, nil)
	h.log = log
	h.deps.Log, h.deps.Registerer, h.deps.Now = log, prometheus.NewRegistry(), h.clock.Now
	h.deps.Quota = quotav1.NewQuotaServiceClient(in.Client("storage"))
	srv, err := New(h.t.Context(), cfg, h.deps)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Server = srv
	srv.Register(in)
	quotav1.RegisterQuotaServiceServer(in, h.quota)
	h.smtp = storagev1.NewStorageServiceClient(in.Client("smtp"))
	h.conn = in.Client("imap")
	h.imap = storagev1.NewStorageServiceClient(h.conn)
	h.pop3 = storagev1.NewStorageServiceClient(in.Client("pop3"))
	h.admin = storagev1.NewStorageAdminServiceClient(in.Client("admin"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, log, srv.Components()...) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("stop: %v", err)
		}
	})
}

// database opens the service's database.
func (h *harness) database() *sqldb.DB {
	h.t.Helper()
	var cfg sqldb.Config
	fs := pflag.NewFlagSet("storage", pflag.ContinueOnError)
	cfg.Flags(fs, "storage")
	if err := fs.Parse([]string{"--storage-database-url=" + h.url}); err != nil {
		h.t.Fatal(err)
	}
	db, err := cfg.Open(context.Background(), filepath.Join(h.dir, "storage.db"), sqldb.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	return db
}

// check looks at the stopped service's database, and at what quota knows.
func (h *harness) check() {
	h.t.Helper()
	db := h.database()
	defer db.Close()
	for account, usage := range metatest.Check(h.t, db) {
		q := h.quota.Account(account)
		if q.UsedBytes+usage.PendingBytes(q.Sequence) != usage.Bytes || q.UsedMessages+usage.PendingMessages(q.Sequence) != usage.Messages {
			h.t.Errorf("account %s: quota has %d octets in %d messages and %d pending, the rows are %d in %d",
				account, q.UsedBytes, q.UsedMessages, usage.PendingBytes(q.Sequence), usage.Bytes, usage.Messages)
		}
		if q.ReservedBytes != 0 || q.ReservedMessages != 0 {
			h.t.Errorf("account %s: %d octets in %d messages are still reserved", account, q.ReservedBytes, q.ReservedMessages)
		}
	}
}

// delivery is one message to deliver.
type deliverOptions struct {
	id         string
	recipients []*storagev1.DeliverRequest_Recipient
	allOrNone  bool
}

func to(account string) *storagev1.DeliverRequest_Recipient {
	return &storagev1.DeliverRequest_Recipient{AccountId: account}
}

// deliver sends a message and gives the answer.
func (h *harness) deliver(ctx context.Context, o deliverOptions, message string) (*storagev1.DeliverResponse, error) {
	stream, err := h.smtp.Deliver(ctx)
	if err != nil {
		return nil, err
	}
	requests := []*storagev1.DeliverRequest{{Message: &storagev1.DeliverRequest_Header_{Header: &storagev1.DeliverRequest_Header{
		DeliveryId: o.id, Recipients: o.recipients, AllOrNone: o.allOrNone,
	}}}}
	for chunk := range chunks(message) {
		requests = append(requests, &storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Chunk{Chunk: chunk}})
	}
	requests = append(requests, &storagev1.DeliverRequest{Message: &storagev1.DeliverRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}})
	for _, r := range requests {
		if err := stream.Send(r); err != nil {
			break // the answer says why
		}
	}
	return stream.CloseAndRecv()
}

func chunks(message string) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for rest := []byte(message); len(rest) > 0; {
			n := min(len(rest), 64<<10)
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// mustDeliver delivers to one account's INBOX and gives the UID.
func (h *harness) mustDeliver(account, message string) uint32 {
	h.t.Helper()
	r, err := h.deliver(h.t.Context(), deliverOptions{id: unique(), recipients: []*storagev1.DeliverRequest_Recipient{to(account)}}, message)
	if err != nil {
		h.t.Fatal(err)
	}
	if got := r.GetResults()[0].GetStatus(); got != storagev1.DeliveryStatus_DELIVERY_STATUS_STORED {
		h.t.Fatalf("delivery was answered with %v", got)
	}
	return r.GetResults()[0].GetUid()
}

var uniqueID struct {
	sync.Mutex
	n int
}

func unique() string {
	uniqueID.Lock()
	defer uniqueID.Unlock()
	uniqueID.n++
	return fmt.Sprintf("id-%d", uniqueID.n)
}

// mail makes a small message.
func mail(subject, text string) string {
	return "From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: " + subject +
		"\r\nMessage-ID: <" + unique() + "@example.test>\r\nDate: Mon, 2 Feb 2026 10:00:00 +0900\r\n\r\n" + text + "\r\n"
}

// appendTo appends messages to a mailbox.
func (h *harness) appendTo(account, mailbox, id string, flags uint32, messages ...string) (*storagev1.AppendResponse, error) {
	stream, err := h.imap.Append(h.t.Context())
	if err != nil {
		return nil, err
	}
	requests := []*storagev1.AppendRequest{{Message: &storagev1.AppendRequest_Target_{Target: &storagev1.AppendRequest_Target{
		AccountId: account, Mailbox: mailbox, AppendId: id,
	}}}}
	for _, message := range messages {
		requests = append(requests,
			&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Start{Start: &storagev1.AppendRequest_Message{Flags: flags, InternalUnix: 1_000_000}}},
			&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: []byte(message)}},
			&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}})
	}
	for _, r := range requests {
		if err := stream.Send(r); err != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

func (h *harness) mailbox(account, name string) *storagev1.Mailbox {
	h.t.Helper()
	r, err := h.imap.GetMailbox(h.t.Context(), &storagev1.GetMailboxRequest{AccountId: account, Key: &storagev1.GetMailboxRequest_Name{Name: name}})
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetMailbox()
}

// synced is a whole answer of Sync.
type synced struct {
	changed  []*storagev1.MessageState
	vanished []*storagev1.UidRange
	mailbox  *storagev1.Mailbox
}

func (h *harness) sync(account string, mailbox, since uint64) synced {
	h.t.Helper()
	stream, err := h.imap.Sync(h.t.Context(), &storagev1.SyncRequest{AccountId: account, MailboxId: mailbox, SinceModseq: since})
	if err != nil {
		h.t.Fatal(err)
	}
	var out synced
	for r := range received(h.t, stream.Recv) {
		out.changed = append(out.changed, r.GetChanged()...)
		out.vanished = append(out.vanished, r.GetVanished()...)
		out.mailbox = r.GetMailbox()
	}
	return out
}

// received yields the messages of a stream.
func received[M any](t testing.TB, recv func() (M, error)) func(func(M) bool) {
	t.Helper()
	return func(yield func(M) bool) {
		for {
			m, err := recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !yield(m) {
				return
			}
		}
	}
}

// read gives octets of a message; length 0 is to the end.
func (h *harness) read(account string, mailbox uint64, uid uint32, offset, length uint64) string {
	h.t.Helper()
	stream, err := h.imap.Read(h.t.Context(), &storagev1.ReadRequest{AccountId: account, MailboxId: mailbox, Uid: uid, Offset: offset, Length: length})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []byte
	for r := range received(h.t, stream.Recv) {
		out = append(out, r.GetChunk()...)
	}
	return string(out)
}

// fetch gives all parsed parts of messages.
func (h *harness) fetch(account string, mailbox uint64, uids ...*storagev1.UidRange) []*storagev1.Message {
	h.t.Helper()
	stream, err := h.imap.Fetch(h.t.Context(), &storagev1.FetchRequest{
		AccountId: account, MailboxId: mailbox, Uids: uids, Structure: true, Envelope: true, Preview: true, Header: true,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var out []*storagev1.Message
	for r := range received(h.t, stream.Recv) {
		out = append(out, r.GetMessages()...)
	}
	return out
}

func span(start, stop uint32) *storagev1.UidRange {
	return &storagev1.UidRange{Start: start, Stop: stop}
}

// flag changes flags of messages.
func (h *harness) flag(account string, mailbox uint64, op storagev1.StoreFlagsRequest_Operation, flags uint32, uids ...*storagev1.UidRange) *storagev1.StoreFlagsResponse {
	h.t.Helper()
	r, err := h.imap.StoreFlags(h.t.Context(), &storagev1.StoreFlagsRequest{
		AccountId: account, MailboxId: mailbox, Uids: uids, Operation: op, Flags: flags,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// expunge marks messages and expunges them.
func (h *harness) expunge(account string, mailbox uint64, uids ...*storagev1.UidRange) *storagev1.ExpungeResponse {
	h.t.Helper()
	h.flag(account, mailbox, storagev1.StoreFlagsRequest_OPERATION_ADD, uint32(storagev1.Flag_FLAG_DELETED), uids...)
	r, err := h.imap.Expunge(h.t.Context(), &storagev1.ExpungeRequest{AccountId: account, MailboxId: mailbox, Uids: uids})
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// wantReason fails the test unless err has the reason.
func wantReason(t *testing.T, err error, want rpcv1.Reason) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("got error %v (%v), want %v", err, fault.Reason(err), want)
	}
}

// eventually waits until a condition holds that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s never: %s", what)
		}
	}
}
