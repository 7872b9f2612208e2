package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/testserver/minio"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/audit"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/compact"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// replica starts a second service on the same stores, where there can be one.
func (h *harness) replica(args ...string) *harness {
	h.t.Helper()
	r := &harness{t: h.t, dir: h.t.TempDir(), url: h.url, quota: h.quota, clock: h.clock}
	r.run(args...)
	h.t.Cleanup(r.stop)
	return r
}

// crowd is accounts whose mail is delivered, deleted, restored and read by many at a time, and what is to be expected of it.
type crowd struct {
	t        *testing.T
	seed     uint64
	services []*harness
	accounts []string

	mu      sync.Mutex
	sent    map[string]bool            // every message that was ever delivered
	live    map[string]map[string]bool // by account
	deleted map[string]map[string]bool
}

func newCrowd(t *testing.T, services ...*harness) *crowd {
	c := &crowd{
		t: t, seed: rand.Uint64(), services: services, accounts: []string{"ann", "bob", "cyd", "dan", "eve"},
		sent: map[string]bool{}, live: map[string]map[string]bool{}, deleted: map[string]map[string]bool{},
	}
	for _, account := range c.accounts {
		c.live[account], c.deleted[account] = map[string]bool{}, map[string]bool{}
	}
	t.Logf("seed %d", c.seed)
	return c
}

// text is a message of its own, of which some compress well and some hardly do.
func (c *crowd) text(r *rand.Rand) string {
	var b strings.Builder
	for n := 50 + r.IntN([]int{300, 3000, 20000}[r.IntN(3)]); b.Len() < n; {
		if r.IntN(2) == 0 {
			b.WriteString("all work and no play makes a dull boy\r\n")
		} else {
			fmt.Fprintf(&b, "%x\r\n", r.Uint64())
		}
	}
	if r.IntN(60) == 0 { // an object of its own
		b.WriteString(strings.Repeat("a large one\r\n", 100_000))
	}
	return mail("crowd", b.String())
}

func (c *crowd) deliver(ctx context.Context, h *harness, r *rand.Rand) {
	message := c.text(r)
	o := deliverOptions{id: unique()}
	for _, i := range r.Perm(len(c.accounts))[:1+r.IntN(len(c.accounts))*r.IntN(2)] {
		o.recipients = append(o.recipients, to(c.accounts[i]))
	}
	c.mu.Lock()
	c.sent[message] = true // before, as a reader may see it at once
	c.mu.Unlock()
	response, err := h.deliver(ctx, o, message)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, result := range response.GetResults() {
		if result.GetStatus() != storagev1.DeliveryStatus_DELIVERY_STATUS_STORED {
			c.t.Errorf("delivery was answered with %v", result.GetStatus())
		}
		c.live[o.recipients[i].GetAccountId()][message] = true
	}
}

// readOne gives a message, and false if it is gone.
func (c *crowd) readOne(ctx context.Context, h *harness, account string, mailbox uint64, uid uint32) (string, bool) {
	stream, err := h.imap.Read(ctx, &storagev1.ReadRequest{AccountId: account, MailboxId: mailbox, Uid: uid})
	var out strings.Builder
	for err == nil {
		var part *storagev1.ReadResponse
		part, err = stream.Recv()
		out.Write(part.GetChunk())
	}
	if fault.Is(err, rpcv1.Reason_REASON_NOT_FOUND) {
		return "", false
	}
	if !errors.Is(err, io.EOF) {
		c.t.Errorf("read message %d of %s: %v", uid, account, err)
		return "", false
	}
	return out.String(), true
}

// inbox gives the UIDs of an account's INBOX.
func (c *crowd) inbox(ctx context.Context, h *harness, account string) (mailbox uint64, uids []uint32) {
	box, err := h.imap.GetMailbox(ctx, &storagev1.GetMailboxRequest{AccountId: account, Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}})
	if err != nil {
		c.t.Error(err)
		return 0, nil
	}
	mailbox = box.GetMailbox().GetMailboxId()
	stream, err := h.imap.Sync(ctx, &storagev1.SyncRequest{AccountId: account, MailboxId: mailbox})
	for err == nil {
		var part *storagev1.SyncResponse
		part, err = stream.Recv()
		for _, m := range part.GetChanged() {
			uids = append(uids, m.GetUid())
		}
	}
	if !errors.Is(err, io.EOF) {
		c.t.Error(err)
	}
	return mailbox, uids
}

// deleteSome expunges about half of what an account has. Only one does this for an account at a time.
func (c *crowd) deleteSome(ctx context.Context, h *harness, r *rand.Rand, account string) {
	mailbox, uids := c.inbox(ctx, h, account)
	var ranges []*storagev1.UidRange
	var gone []string
	for _, uid := range uids {
		if r.IntN(2) == 0 {
			continue
		}
		if message, ok := c.readOne(ctx, h, account, mailbox, uid); ok {
			gone = append(gone, message)
			ranges = append(ranges, span(uid, uid))
		}
	}
	if len(ranges) == 0 {
		return
	}
	_, err := h.imap.StoreFlags(ctx, &storagev1.StoreFlagsRequest{
		AccountId: account, MailboxId: mailbox, Uids: ranges, Operation: opAdd, Flags: uint32(storagev1.Flag_FLAG_DELETED),
	})
	if err == nil {
		_, err = h.imap.Expunge(ctx, &storagev1.ExpungeRequest{AccountId: account, MailboxId: mailbox, Uids: ranges})
	}
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, message := range gone {
		delete(c.live[account], message)
		c.deleted[account][message] = true
	}
}

// restore brings back what an account has deleted in this phase.
func (c *crowd) restore(ctx context.Context, h *harness, account string) {
	if _, err := h.admin.Restore(ctx, &storagev1.RestoreRequest{AccountId: account}); err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.Copy(c.live[account], c.deleted[account])
	clear(c.deleted[account])
}

// readSome reads messages, each of which must be one that was sent.
func (c *crowd) readSome(ctx context.Context, h *harness, r *rand.Rand, account string) {
	mailbox, uids := c.inbox(ctx, h, account)
	for _, i := range r.Perm(len(uids))[:min(len(uids), 10)] {
		message, ok := c.readOne(ctx, h, account, mailbox, uids[i])
		if !ok {
			continue
		}
		c.mu.Lock()
		if !c.sent[message] {
			c.t.Errorf("message %d of %s reads %d octets that nobody sent", uids[i], account, len(message))
		}
		c.mu.Unlock()
	}
}

// phase lets all of them work at the same time as compactors and reclaimers. What was deleted before it is past its retention.
func (c *crowd) phase(n int, compactors []*compact.Compactor) {
	ctx := c.t.Context()
	for _, deleted := range c.deleted {
		clear(deleted)
	}
	c.services[0].clock.Forward(30 * 24 * time.Hour)
	var workers, upkeep sync.WaitGroup
	done := make(chan struct{})
	worked := make(chan struct{}) // lets one of the others go on, so that they do not take all the time
	for i, account := range c.accounts {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(c.seed, uint64(n*100+i)))
			for range 4 {
				h := c.services[r.IntN(len(c.services))]
				for range 4 {
					c.deliver(ctx, h, r)
				}
				switch r.IntN(4) {
				case 0, 1:
					c.deleteSome(ctx, h, r, account)
				case 2:
					c.restore(ctx, h, account)
				case 3:
					c.readSome(ctx, h, r, account)
				}
				for range len(compactors) {
					select {
					case worked <- struct{}{}:
					default: // all are busy
					}
				}
			}
		})
	}
	loop := func(what string, fn func() error) {
		upkeep.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true
				case <-worked:
				}
				if err := fn(); err != nil {
					c.t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	for _, compactor := range compactors {
		loop("compact", func() error {
			_, err := compactor.Pass(ctx, compact.Options{Now: true}, nil)
			return err
		})
	}
	for _, h := range c.services {
		loop("purge", func() error { return h.reclaimer.Purge(ctx) })
		loop("sweep", func() error { return h.reclaimer.Sweep(ctx) })
	}
	workers.Wait()
	close(done)
	upkeep.Wait()
}

// settle lets what is dead go.
func (c *crowd) settle() {
	c.t.Helper()
	h := c.services[0]
	c.services[0].clock.Forward(30 * 24 * time.Hour)
	for range 2 {
		if err := h.reclaimer.Purge(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		if _, err := h.compactor.Pass(c.t.Context(), compact.Options{Now: true}, nil); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := h.reclaimer.Purge(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// check compares what is there with what is to be expected.
func (c *crowd) check() {
	t, h := c.t, c.services[0]
	t.Helper()
	for _, account := range c.accounts {
		mailbox, uids := c.inbox(t.Context(), h, account)
		found := map[string]bool{}
		for _, uid := range uids {
			message, ok := c.readOne(t.Context(), h, account, mailbox, uid)
			if !ok || found[message] || !c.live[account][message] {
				t.Errorf("message %d of %s: there %v, twice %v, expected %v", uid, account, ok, found[message], c.live[account][message])
			}
			found[message] = true
		}
		if len(found) != len(c.live[account]) {
			t.Errorf("%s has %d messages, want %d", account, len(found), len(c.live[account]))
		}
	}
	summary := h.verified()
	if summary.Orphans != 0 || summary.Waiting != 0 || summary.Packs != summary.Objects {
		t.Errorf("the stores hold more than they should: %+v", summary)
	}
	if ratio := float64(summary.ObjectBytes) / float64(summary.LiveBytes); ratio > 1.5 {
		t.Errorf("the object store holds %.2f times what is alive: %+v", ratio, summary)
	} else {
		t.Logf("the object store holds %.3f times what is alive, in %d objects: %+v", ratio, summary.Objects, summary)
	}
	scrubbed, err := h.auditor.Scrub(t.Context(), audit.ScrubOptions{Restart: true}, audit.Report{Finding: func(f audit.Finding) error {
		t.Errorf("scrub: %+v", f)
		return nil
	}})
	if err != nil || scrubbed.Troubles != 0 || scrubbed.Contents != summary.Contents {
		t.Errorf("scrub: %v, %+v", err, scrubbed)
	}
}

// verified verifies the stores, in which there must be no trouble.
func (h *harness) verified() audit.Summary {
	h.t.Helper()
	summary, err := h.auditor.Verify(h.t.Context(), audit.Report{Finding: func(f audit.Finding) error {
		if f.Kind.Trouble() {
			h.t.Errorf("verify: %+v", f)
		}
		return nil
	}})
	if err != nil || summary.Troubles != 0 {
		h.t.Errorf("verify: %v, %+v", err, summary)
	}
	return summary
}

func TestMailOutlivesCompactionsByTwoReplicasAtOnce(t *testing.T) {
	var flags []string
	if overPostgres {
		flags = bucketFlags(t, minio.Start(t))
	}
	h := start(t, flags...)
	services, compactors := []*harness{h}, []*compact.Compactor{h.compactor, compact.New(h.compactor.Config)}
	if overPostgres {
		other := h.replica(flags...)
		services, compactors[1] = append(services, other), other.compactor
	}
	c := newCrowd(t, services...)
	for n := range 3 {
		c.phase(n, compactors)
	}
	c.settle()
	c.check()
}

// A sender who is alone makes one object a mail.
func TestSmallObjectsBecomeFewLargeOnesByAccount(t *testing.T) {
	h := start(t)
	accounts := []string{"cyd", "ann", "bob"}
	want := map[string][]string{}
	for i := range 60 {
		account, message := accounts[i%3], mail(fmt.Sprint(i), strings.Repeat("text ", i))
		h.mustDeliver(account, message)
		want[account] = append(want[account], message)
	}
	if n := h.stored(); n != 60 {
		t.Fatalf("there are %d objects", n)
	}
	pass := func() compact.Totals {
		done, err := h.compactor.Pass(t.Context(), compact.Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	if done := pass(); done.Packs != 0 {
		t.Errorf("young objects were merged: %+v", done)
	}
	h.clock.Forward(10 * time.Minute)
	if done := pass(); done.Packs != 60 || done.New != 1 || done.Frames != 60 {
		t.Errorf("merged %+v", done)
	}
	if err := h.reclaimer.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := h.stored(); n != 1 {
		t.Errorf("%d objects are left", n)
	}
	var key string
	for info := range h.objects.List(t.Context(), body.KeyPrefix, "") {
		key = info.Key
	}
	frames, err := h.compactor.Meta.Frames(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range frames {
		order = append(order, f.AccountID)
	}
	if !slices.IsSorted(order) || len(order) != 60 {
		t.Errorf("the bodies lie in the order %q", order)
	}
	for account, messages := range want {
		inbox := h.mailbox(account, "INBOX").GetMailboxId()
		for i, message := range messages {
			if got := h.read(account, inbox, uint32(i+1), 0, 0); got != message {
				t.Errorf("message %d of %s reads %q", i+1, account, got)
			}
		}
	}
	h.verified()
}

// mover is an object store in which objects go while they are read.
type mover struct {
	object.Store
	reads  int
	before func(reads int)
}

func (s *mover) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if s.before != nil {
		s.reads++
		s.before(s.reads)
	}
	return s.Store.GetRange(ctx, key, off, n)
}

func TestReaderFollowsABodyThatMoves(t *testing.T) {
	store := &mover{}
	h := startOn(t, func(s object.Store) object.Store { store.Store = s; return store }, "--storage-retention=0s", "--storage-read-cache=1MiB", "--storage-large-body=8MiB")
	large := mail("large", strings.Repeat("all work and no play\r\n", 100_000))
	longHeader := strings.Repeat("X-Long: "+strings.Repeat("x", 100)+"\r\n", 1000) + mail("header", "x")
	h.mustDeliver("bob", large)
	h.mustDeliver("bob", longHeader)
	inbox := h.mailbox("bob", "INBOX").GetMailboxId()
	for i := range 4 { // so that there is something to merge with each time
		h.mustDeliver("bob", mail(fmt.Sprint("other ", i), "x"))
	}
	move := func() {
		h.mustDeliver("bob", longHeader) // another one of about the same size
		h.mustDeliver("bob", large)
		if done, err := h.compactor.Pass(t.Context(), compact.Options{Now: true}, nil); err != nil || done.New == 0 {
			t.Errorf("nothing moved: %+v, %v", done, err)
		}
		if err := h.reclaimer.DeleteDead(t.Context(), 0); err != nil {
			t.Error(err)
		}
	}
	// The first read is of the table, the second of the chunks: both meet an object that is gone.
	store.before = func(reads int) {
		if reads <= 2 {
			before := store.before
			store.before = nil
			move()
			store.before = before
		}
	}
	if got := h.read("bob", inbox, 1, 0, 0); got != large {
		t.Errorf("the message reads %d octets, want %d", len(got), len(large))
	}
	store.reads = 0
	if list := h.fetch("bob", inbox, span(2, 2)); len(list) != 1 || !strings.HasPrefix(longHeader, string(list[0].GetHeader())) {
		t.Errorf("fetched %d messages", len(list))
	}
	if store.reads < 2 {
		t.Errorf("only %d reads", store.reads)
	}
	store.before = nil
	h.verified()
}
