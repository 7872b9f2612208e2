package metatest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// RunReplicas holds several stores on one database to what one alone promises. open gives two handles on an empty database.
func RunReplicas(t *testing.T, open func(*testing.T) [2]*sqldb.DB) {
	for name, test := range map[string]func(*replicas){
		"Changes":    testReplicasChange,
		"Accounts":   testReplicasMakeAccounts,
		"Duplicates": testReplicasDeliverOnce,
		"Expiry":     testReplicasExpire,
		"Purge":      testReplicasPurge,
		"Leases":     testReplicasLease,
		"Deletes":    testReplicasDelete,
	} {
		t.Run(name, func(t *testing.T) {
			r := &replicas{T: t, ctx: t.Context(), now: time.Unix(1_800_000_000, 0)}
			for i, db := range open(t) {
				store, err := meta.New(t.Context(), db, meta.Options{Retention: time.Hour, Now: func() time.Time { return r.now }})
				if err != nil {
					t.Fatal(err)
				}
				r.db, r.stores[i] = db, store
			}
			test(r)
			for account, u := range Check(t, r.db) {
				if u.PendingBytes(0) != u.Bytes || u.PendingMessages(0) != u.Messages {
					t.Errorf("account %s: the events add up to %d octets in %d messages, the rows to %d in %d",
						account, u.PendingBytes(0), u.PendingMessages(0), u.Bytes, u.Messages)
				}
			}
		})
	}
}

// replicas are two stores on one database.
type replicas struct {
	*testing.T
	ctx    context.Context
	db     *sqldb.DB
	stores [2]*meta.Store
	now    time.Time
	mu     sync.Mutex
	bodies int
}

func (r *replicas) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// content makes a content of 100 octets.
func (r *replicas) content() *meta.Content {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies++
	c, err := meta.NewContent(fmt.Sprint("E", r.bodies), &mailv1.Structure{
		Root: &mailv1.Part{Type: "text", Subtype: "plain"}, MessageId: fmt.Sprint(r.bodies, "@x"), References: []string{fmt.Sprint(r.bodies/5, "@x")},
	}, nil)
	if err != nil {
		r.Error(err)
	}
	c.Location = body.Location{Object: fmt.Sprint("packs/", r.bodies), Stored: 50, Size: 100}
	return c
}

// deliver stores a message in the INBOX of some accounts.
func (r *replicas) deliver(store *meta.Store, id string, accounts ...string) (*meta.Unit, error) {
	c := r.content()
	u := &meta.Unit{}
	for _, account := range accounts {
		u.Rows = append(u.Rows, &meta.Row{AccountID: account, Mailbox: "INBOX", Content: c, DeliveryID: id, Keywords: []string{"K" + account}})
	}
	err := store.Insert(r.ctx, []*meta.Unit{u})
	return u, errors.Join(err, u.Err)
}

// both runs fn on each store some times at once.
func (r *replicas) both(times int, fn func(store *meta.Store, i int) error) {
	var wg sync.WaitGroup
	for i := range len(r.stores) * times {
		wg.Go(func() {
			if err := fn(r.stores[i%len(r.stores)], i); err != nil {
				r.Errorf("worker %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// Whoever follows a mailbox by its modseq, as gateways do, has at the end what is there: no change became visible below a modseq that
// was seen before, no UID came late or again.
func testReplicasChange(r *replicas) {
	_, err := r.deliver(r.stores[0], "", "a", "b")
	r.ok(err)
	boxes := map[string]uint64{}
	for _, name := range []string{"INBOX", "Archive"} {
		m, err := r.stores[0].MailboxNamed(r.ctx, "a", name)
		r.ok(err)
		boxes[name] = m.GetMailboxId()
	}
	done := make(chan struct{})
	var followers sync.WaitGroup
	for _, id := range boxes {
		for _, store := range r.stores {
			followers.Go(func() { r.follow(store, id, done) })
		}
	}
	r.both(3, func(store *meta.Store, i int) error {
		random := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // G404: a test
		for range 40 {
			if err := r.changeSome(store, boxes, random); err != nil {
				return err
			}
		}
		return nil
	})
	close(done)
	followers.Wait()
}

// changeSome does one of the things that change account "a".
func (r *replicas) changeSome(store *meta.Store, boxes map[string]uint64, random *rand.Rand) error {
	from, to := "INBOX", "Archive"
	if random.IntN(3) == 0 {
		from, to = to, from
	}
	box, err := store.Mailbox(r.ctx, "a", boxes[from])
	if err != nil {
		return err
	}
	first := max(box.GetUidNext(), 8) - uint32(random.IntN(7)) - 1
	some := uidset.Set{{Start: first, Stop: first + uint32(random.IntN(5))}}
	switch random.IntN(7) {
	case 0:
		_, err = r.deliver(store, "", "a", "b")
	case 1:
		_, err = r.deliver(store, "", "b", "a")
	case 2:
		_, err = store.Move(r.ctx, "a", boxes[from], some, to)
	case 3:
		_, err = store.Copy(r.ctx, "a", boxes[from], some, to, meta.Reserved{ID: "r", Bytes: 1 << 30, Messages: 1000})
	case 4:
		_, _, err = store.Expunge(r.ctx, "a", boxes[from], some)
	default:
		_, err = store.StoreFlags(r.ctx, "a", boxes[from], some, meta.FlagChange{
			Operation: storagev1.StoreFlagsRequest_Operation(1 + random.IntN(3)), Flags: random.Uint32N(32),
			Keywords: []string{"one", "two", "three"}[:random.IntN(3)],
		})
	}
	return err
}

// follow keeps a copy of a mailbox up to date until done is closed and nothing more comes, and compares.
func (r *replicas) follow(store *meta.Store, box uint64, done <-chan struct{}) {
	copied := map[uint32]string{}
	var at, next uint64 = 1, 1 // an empty mailbox
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		d, err := store.Sync(r.ctx, "a", box, at, 0)
		if err != nil {
			r.Error(err)
			return
		}
		for uid := range d.Vanished.All() {
			delete(copied, uid)
		}
		for _, m := range d.Changed {
			if _, known := copied[m.GetUid()]; !known && uint64(m.GetUid()) < next {
				r.Errorf("mailbox %d: UID %d came after UIDNEXT had been %d", box, m.GetUid(), next)
			}
			if m.GetModseq() <= at || m.GetModseq() > d.Mailbox.GetHighestModseq() {
				r.Errorf("mailbox %d: UID %d has modseq %d between %d and %d", box, m.GetUid(), m.GetModseq(), at, d.Mailbox.GetHighestModseq())
			}
			copied[m.GetUid()] = m.String()
		}
		at, next = d.Mailbox.GetHighestModseq(), uint64(d.Mailbox.GetUidNext())
		if len(copied) != int(d.Mailbox.GetMessages()) {
			r.Errorf("mailbox %d at modseq %d: %d messages are known, %d are there", box, at, len(copied), d.Mailbox.GetMessages())
		}
		if last {
			break
		}
	}
	whole, err := store.Sync(r.ctx, "a", box, 0, 0)
	if err != nil {
		r.Error(err)
		return
	}
	for _, m := range whole.Changed {
		if copied[m.GetUid()] != m.String() {
			r.Errorf("mailbox %d: known is %s, there is %s", box, copied[m.GetUid()], m)
		}
	}
}

// New accounts in groups that overlap are made once.
func testReplicasMakeAccounts(r *replicas) {
	r.both(6, func(store *meta.Store, i int) error {
		accounts := []string{"a", "b", "c", "d", fmt.Sprint("only", i)}
		if i%3 == 0 {
			slices.Reverse(accounts)
		}
		if _, err := r.deliver(store, "", accounts...); err != nil {
			return err
		}
		list, _, err := store.ListMailboxes(r.ctx, accounts[0])
		if err == nil && len(list) != 6 {
			err = fmt.Errorf("%d mailboxes", len(list))
		}
		return err
	})
}

func testReplicasDeliverOnce(r *replicas) {
	const deliveries = 4
	var mu sync.Mutex
	stored := map[uint32]int{}
	fresh := 0
	r.both(8, func(store *meta.Store, i int) error {
		u, err := r.deliver(store, fmt.Sprint("d", i%deliveries), "a", "b")
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		stored[u.Placed[0].UID]++
		if !u.Placed[0].Duplicate {
			fresh++
		}
		return nil
	})
	if len(stored) != deliveries || fresh != deliveries {
		r.Errorf("%d deliveries are %d messages, of which %d were new", deliveries, len(stored), fresh)
	}
}

// Two replicas that remove expired messages and forget deliveries do it once.
func testReplicasExpire(r *replicas) {
	const n = 40
	for i := range n {
		_, err := r.deliver(r.stores[0], fmt.Sprint("d", i), "a", "b")
		r.ok(err)
	}
	for _, account := range []string{"a", "b"} {
		inbox, err := r.stores[0].MailboxNamed(r.ctx, account, "INBOX")
		r.ok(err)
		_, err = r.stores[0].Copy(r.ctx, account, inbox.GetMailboxId(), uidset.Of(1, 2), "Archive", meta.Reserved{Bytes: 200, Messages: 2})
		r.ok(err)
		_, err = r.stores[0].StoreFlags(r.ctx, account, inbox.GetMailboxId(), uidset.All, meta.FlagChange{Flags: uint32(flagDeleted)})
		r.ok(err)
		_, _, err = r.stores[0].Expunge(r.ctx, account, inbox.GetMailboxId(), uidset.All)
		r.ok(err)
	}
	r.now = r.now.Add(26 * time.Hour)
	var mu sync.Mutex
	purged := 0
	for {
		some := 0
		r.both(3, func(store *meta.Store, _ int) error {
			n, _, err := store.PurgeExpired(r.ctx)
			mu.Lock()
			defer mu.Unlock()
			some += n
			if err == nil {
				_, err = store.ForgetDeliveries(r.ctx)
			}
			return err
		})
		if purged += some; some == 0 {
			break
		}
	}
	if purged != 2*n {
		r.Errorf("%d messages were removed, want %d", purged, 2*n)
	}
	found, err := r.stores[0].Deliveries(r.ctx, []meta.DeliveryKey{{AccountID: "a", DeliveryID: "d1", Mailbox: "INBOX"}})
	if err != nil || len(found) > 0 {
		r.Errorf("an old delivery is remembered: %v, %v", found, err)
	}
}

// Nothing of an account is left whose purge meets deliveries, and other purges of it.
func testReplicasPurge(r *replicas) {
	r.both(6, func(store *meta.Store, i int) error {
		if i >= 8 {
			_, err := store.PurgeAccount(r.ctx, "a")
			return err
		}
		for range 5 {
			if _, err := r.deliver(store, "", "a", "b"); err != nil {
				return err
			}
		}
		_, err := store.MailboxNamed(r.ctx, "a", "INBOX")
		if fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) {
			err = nil
		}
		return err
	})
	if inbox, err := r.stores[0].MailboxNamed(r.ctx, "b", "INBOX"); err != nil || inbox.GetMessages() != 40 {
		r.Errorf("the other account has %v, %v", inbox, err)
	}
	if _, err := r.stores[0].MailboxNamed(r.ctx, "a", "INBOX"); !fault.Is(err, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND) {
		r.Errorf("the purged account gives %v", err)
	}
}

func testReplicasLease(r *replicas) {
	var mu sync.Mutex
	var holders []meta.Lease
	r.both(4, func(store *meta.Store, i int) error {
		lease := meta.Lease{AccountID: "a", ID: fmt.Sprint(i)}
		err := store.AcquireLease(r.ctx, lease, time.Minute)
		if fault.Is(err, rpcv1.Reason_REASON_MAILDROP_IN_USE) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		holders = append(holders, lease)
		return err
	})
	if len(holders) != 1 {
		r.Fatalf("the maildrop has the holders %v", holders)
	}
	lost, err := r.stores[1].RenewLeases(r.ctx, append(holders, meta.Lease{AccountID: "a", ID: "other"}), time.Minute)
	if err != nil || len(lost) != 1 || lost[0].ID != "other" {
		r.Errorf("lost %v, %v", lost, err)
	}
}

// A mailbox that is deleted while mail comes in and is moved there is deleted with all of it.
func testReplicasDelete(r *replicas) {
	_, err := r.deliver(r.stores[0], "", "a")
	r.ok(err)
	inbox, err := r.stores[0].MailboxNamed(r.ctx, "a", "INBOX")
	r.ok(err)
	none := storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED
	gone := func(err error) error {
		if fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_MAILBOX_EXISTS) {
			return nil
		}
		return err
	}
	r.both(4, func(store *meta.Store, i int) error {
		for range 6 {
			if _, err := store.CreateMailbox(r.ctx, "a", "work", none); gone(err) != nil {
				return err
			}
			if _, err := r.deliver(store, "", "a"); err != nil {
				return err
			}
			if _, err := store.Move(r.ctx, "a", inbox.GetMailboxId(), uidset.All, "work"); gone(err) != nil {
				return err
			}
			if i%2 == 0 {
				if err := gone(store.DeleteMailbox(r.ctx, "a", "work")); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
