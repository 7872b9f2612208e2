// Package crashtest kills a storage process at every step of its work and looks at what is left.
package crashtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/pkg/rpc"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta/metatest"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/quotatest"
	"github.com/yubin-mail/yubin/services/storage/server"
)

// victimArg is the first argument of this binary as the process that is killed: then come directory, quota's address, step and work.
const victimArg = "crash-victim"

func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == victimArg {
		at, err := strconv.ParseInt(os.Args[4], 10, 64)
		if err == nil {
			err = victim(os.Args[2], os.Args[3], at, os.Args[5])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// storage is a running service.
type storage struct {
	client storagev1.StorageServiceClient
	admin  storagev1.StorageAdminServiceClient
	stop   func() error
}

// open starts the service on the stores in dir.
func open(dir string, quota quotav1.QuotaServiceClient, k *killer) (*storage, error) {
	var cfg server.Config
	cfg.Flags(pflag.NewFlagSet("storage", pflag.ContinueOnError))
	cfg.Dir = dir
	log := slog.New(slog.DiscardHandler)
	bodies, err := object.OpenDir(filepath.Join(dir, "bodies"))
	if err != nil {
		return nil, err
	}
	srv, err := server.New(context.Background(), cfg, server.Deps{
		Log: log, Quota: quota, Now: k.now, Objects: &objects{bodies, k},
	})
	if err != nil {
		return nil, errors.Join(err, bodies.Close())
	}
	in := rpc.NewInproc(log, nil)
	srv.Register(in)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- lifecycle.Run(ctx, log, srv.Components()...) }()
	return &storage{
		client: &bothCallers{
			StorageServiceClient: storagev1.NewStorageServiceClient(in.Client("imap")),
			smtp:                 storagev1.NewStorageServiceClient(in.Client("smtp")),
		},
		admin: storagev1.NewStorageAdminServiceClient(in.Client("admin")),
		stop: func() error {
			cancel()
			return errors.Join(<-done, bodies.Close())
		},
	}, nil
}

// bothCallers delivers as smtp and does the rest as imap.
type bothCallers struct {
	storagev1.StorageServiceClient
	smtp storagev1.StorageServiceClient
}

func (b *bothCallers) Deliver(ctx context.Context, opts ...grpc.CallOption) (grpc.ClientStreamingClient[storagev1.DeliverRequest, storagev1.DeliverResponse], error) {
	return b.smtp.Deliver(ctx, opts...)
}

// scene is a directory and a quota service that outlive the victims.
type scene struct {
	t      *testing.T
	dir    string
	ledger *quotatest.Ledger
	addr   string
	work   string // what victims do
	before []job  // were delivered before, and stay
	first  string // carol's first message, which the work expunges
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir(), ledger: quotatest.New(), work: deliverWork, first: "two"}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	quotav1.RegisterQuotaServiceServer(srv, s.ledger)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	s.addr = l.Addr().String()
	return s
}

// start runs a victim. acknowledged may be called when wait has returned.
func (s *scene) start(step int64) (cmd *exec.Cmd, acknowledged func() []string) {
	s.t.Helper()
	cmd = exec.CommandContext(s.t.Context(), os.Args[0], victimArg, s.dir, s.addr, strconv.FormatInt(step, 10), s.work)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd, func() []string { return strings.Fields(out.String()) }
}

// verify looks at what a dead victim has left, and then finishes its work: what was acknowledged is there once; after the unacknowledged was
// tried again, everything is there once; and quota has the sum of the sizes.
func (s *scene) verify(acknowledged []string) {
	t := s.t
	t.Helper()
	st, err := open(s.dir, s.ledger.Client(), &killer{})
	if err != nil {
		t.Fatal(err)
	}
	s.compare(st.client, acknowledged, false)
	for _, j := range jobs() {
		if err := deliver(t.Context(), st.client, j); err != nil {
			t.Error(err)
		}
	}
	s.compare(st.client, acknowledged, true)
	if err := st.stop(); err != nil {
		t.Error(err)
	}
	db, err := sqldb.OpenSQLite(filepath.Join(s.dir, "storage.db"), sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for account, usage := range metatest.Check(t, db) {
		q := s.ledger.Account(account)
		if q.UsedBytes+usage.PendingBytes(q.Sequence) != usage.Bytes || q.UsedMessages+usage.PendingMessages(q.Sequence) != usage.Messages {
			t.Errorf("account %s: quota has %+v, the rows are %d octets in %d messages", account, q, usage.Bytes, usage.Messages)
		}
	}
}

// compare reads all messages. Each that was acknowledged is there once, and each other at most once, or also once if all is set.
func (s *scene) compare(client storagev1.StorageServiceClient, acknowledged []string, all bool) {
	t := s.t
	t.Helper()
	found := map[string]int{}
	for _, account := range []string{"bob", "carol"} {
		for _, content := range readAll(t, client, account) {
			found[account+": "+content]++
		}
	}
	for _, j := range slices.Concat(s.before, jobs()) {
		if slices.ContainsFunc(s.before, func(b job) bool { return b.id == j.id }) {
			acknowledged = append(acknowledged, j.id)
		}
		for _, account := range j.accounts {
			if account == purged {
				continue
			}
			key := account + ": Delivered-To: " + account + "\r\n" + j.message
			n := found[key]
			delete(found, key)
			// The expunge of carol's first message began when all deliveries were acknowledged.
			expunging := account == "carol" && j.id == s.first && slices.Contains(acknowledged, "four") && slices.Contains(acknowledged, "five")
			switch {
			case n > 1:
				t.Errorf("message %s is %d times in the mailbox of %s", j.id, n, account)
			case expunging && n == 1 && slices.Contains(acknowledged, expunged):
				t.Errorf("message %s was expunged and is there", j.id)
			case !expunging && n == 0 && (all || slices.Contains(acknowledged, j.id)):
				t.Errorf("message %s is not in the mailbox of %s; acknowledged were %q", j.id, account, acknowledged)
			}
		}
	}
	for key := range found {
		t.Errorf("an unknown message is there: %.80q", key)
	}
}

// readAll gives the content of all messages in an account's INBOX.
func readAll(t *testing.T, client storagev1.StorageServiceClient, account string) []string {
	t.Helper()
	box, err := client.GetMailbox(t.Context(), &storagev1.GetMailboxRequest{AccountId: account, Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for uid := uint32(1); uid < box.GetMailbox().GetUidNext(); uid++ {
		stream, err := client.Read(t.Context(), &storagev1.ReadRequest{AccountId: account, MailboxId: box.GetMailbox().GetMailboxId(), Uid: uid})
		if err != nil {
			t.Fatal(err)
		}
		var content []byte
		for {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				out = append(out, string(content))
				break
			}
			if fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
				break // expunged
			}
			if err != nil {
				t.Fatal(err)
			}
			content = append(content, r.GetChunk()...)
		}
	}
	return out
}

// killed tells whether a process ended by SIGKILL, and fails the test if it failed otherwise.
func killed(t *testing.T, cmd *exec.Cmd) bool {
	t.Helper()
	err := cmd.Wait()
	if err == nil {
		return false
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if ok {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	t.Fatalf("the victim failed: %v", err)
	return false
}

func TestKilledAtEachStepNothingAcknowledgedIsLostOrDoubled(t *testing.T) {
	steps := 0
	for survived := false; !survived; steps++ {
		t.Run(fmt.Sprint("step ", steps+1), func(t *testing.T) {
			s := newScene(t)
			cmd, acknowledged := s.start(int64(steps + 1))
			survived = !killed(t, cmd)
			s.verify(acknowledged())
		})
		if t.Failed() {
			return
		}
	}
	// Each of the five deliveries alone has a reservation, an object and a transaction.
	if steps < 20 {
		t.Errorf("the victim has only %d steps", steps)
	}
	t.Logf("killed at %d steps", steps-1)
}

func TestKilledAtAnyMomentNothingAcknowledgedIsLostOrDoubled(t *testing.T) {
	for round := range 15 {
		t.Run(fmt.Sprint("round ", round), func(t *testing.T) {
			s := newScene(t)
			cmd, acknowledged := s.start(0)
			timer := time.AfterFunc(time.Duration(rand.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			killed(t, cmd)
			s.verify(acknowledged())
		})
	}
}
