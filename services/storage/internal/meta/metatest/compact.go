package metatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// pack stores messages in one object, each to the accounts of a word such as "ab", in frames of 100 octets.
func (f *fixture) pack(object string, to ...string) {
	f.Helper()
	u := &meta.Unit{}
	for i, accounts := range to {
		c := f.content(300)
		c.Location.Object, c.Location.Offset, c.Location.Stored = object, int64(16+100*i), 100
		for _, account := range strings.Split(accounts, "") {
			u.Rows = append(u.Rows, f.row(account, "INBOX", c))
		}
	}
	f.ok(f.store.Insert(f.ctx, []*meta.Unit{u}))
	f.ok(u.Err)
}

// drop expunges messages of an account's INBOX, for good.
func (f *fixture) drop(account string, uids ...uint32) {
	f.Helper()
	box, err := f.store.MailboxNamed(f.ctx, account, "INBOX")
	f.ok(err)
	_, err = f.store.StoreFlags(f.ctx, account, box.GetMailboxId(), uidset.Of(uids...), addDeleted)
	f.ok(err)
	_, _, err = f.store.Expunge(f.ctx, account, box.GetMailboxId(), uidset.Of(uids...))
	f.ok(err)
	f.now = f.now.Add(2 * time.Hour)
	_, _, err = f.store.PurgeExpired(f.ctx)
	f.ok(err)
}

var addDeleted = meta.FlagChange{Operation: storagev1.StoreFlagsRequest_OPERATION_ADD, Flags: uint32(flagDeleted)}

func (f *fixture) claim(holder string) []string {
	f.Helper()
	packs, err := f.store.ClaimPacks(f.ctx, meta.PackClaim{
		Holder: holder, Lease: time.Minute, Bytes: 1000, Packs: 5, SmallAge: time.Minute, SmallCount: 3,
	})
	f.ok(err)
	var keys []string
	for _, p := range packs {
		keys = append(keys, p.Object)
	}
	return keys
}

// move makes a copy of all frames of packs in a new object.
func (f *fixture) move(to string, packs ...string) *meta.Rewritten {
	f.Helper()
	f.ok(f.store.AnnouncePack(f.ctx, to, "me", time.Minute))
	r := &meta.Rewritten{Object: to, Holder: "me", Lease: time.Minute, Moves: map[string][]meta.Move{}}
	for _, p := range packs {
		frames, err := f.store.Frames(f.ctx, p)
		f.ok(err)
		for _, frame := range frames {
			r.Moves[p] = append(r.Moves[p], meta.Move{Frame: frame, To: 16 + r.Total})
			r.Total += frame.Stored
		}
	}
	return r
}

func (f *fixture) packRow(object string) meta.PackCheck {
	f.Helper()
	p, err := f.store.CheckPack(f.ctx, object)
	f.ok(err)
	return p
}

func testClaimPacks(f *fixture) {
	f.pack("packs/x", "a", "a", "a")
	f.pack("packs/y", "a", "a", "a")
	f.pack("packs/z", "b", "b", "b")
	f.equal("nothing is dead", f.claim("one"), []string(nil))
	f.drop("a", 1, 4)
	f.equal("a third is dead", f.claim("one"), []string{"packs/x", "packs/y"})
	f.equal("claimed already", f.claim("two"), []string(nil))
	f.ok(f.store.ReleasePacks(f.ctx, "two", []string{"packs/x"}, nil)) // not its claim
	f.equal("still claimed", f.claim("two"), []string(nil))
	f.ok(f.store.ReleasePacks(f.ctx, "one", []string{"packs/x", "packs/y"}, []string{"packs/y"}))
	f.equal("one is paused", f.claim("two"), []string{"packs/x"})
	f.now = f.now.Add(time.Minute)
	f.equal("a claim ends", f.claim("three"), []string{"packs/x"})
	f.now = f.now.Add(24 * time.Hour)
	f.equal("a pause ends", f.claim("four"), []string{"packs/x", "packs/y"})
	all, err := f.store.ClaimPacks(f.ctx, meta.PackClaim{Holder: "five", Lease: time.Minute, Bytes: 1, Packs: 5})
	f.ok(err)
	f.equal("claimed", len(all), 0)
}

func testSmallPacks(f *fixture) {
	for i := range 4 {
		f.pack(fmt.Sprint("packs/", i), "a")
	}
	f.pack("packs/large", strings.Split(strings.Repeat("b", 200), "")...) // of another size
	f.equal("too young", f.claim("one"), []string(nil))
	f.now = f.now.Add(time.Minute)
	f.equal("merged", f.claim("one"), []string{"packs/0", "packs/1", "packs/2", "packs/3"})
	f.now = f.now.Add(time.Minute)
	f.drop("a", 1, 2)
	f.equal("too few", f.claim("two"), []string(nil))
	f.now = f.now.Add(24 * time.Hour)
	f.equal("patience ends", f.claim("two"), []string{"packs/2", "packs/3"})
	f.now = f.now.Add(time.Minute)
	some, err := f.store.ClaimPacks(f.ctx, meta.PackClaim{Holder: "three", Lease: time.Minute, Bytes: 1000, Packs: 1, SmallCount: 2})
	f.ok(err)
	f.equal("one alone is not merged", len(some), 0)
}

func testMoveFrames(f *fixture) {
	f.pack("packs/x", "ab", "a", "c", "abc")
	f.pack("packs/y", "b", "a")
	r := f.move("packs/new", "packs/x", "packs/y")
	f.drop("a", 2)       // the second frame of x, which was copied
	f.drop("b", 1, 2, 3) // a share of the first frame and of the last; the first of y
	known, err := f.store.KnownObjects(f.ctx, []string{"packs/new", "packs/x", "packs/none"})
	f.ok(err)
	f.equal("announced", known, map[string]bool{"packs/new": true, "packs/x": true})
	moved, err := f.store.MoveFrames(f.ctx, r)
	f.ok(err)
	f.equal("moved", moved, 4)
	f.equal("old", []any{f.packRow("packs/x").Refs, f.packRow("packs/x").Live, f.packRow("packs/y").Refs}, []any{0, 0, 0})
	p := f.packRow("packs/new")
	f.equal("new", []int64{p.Total, p.Live, p.Refs, p.HeldBytes, p.HeldRefs}, []int64{600, 400, 5, 400, 5})
	frames, err := f.store.Frames(f.ctx, "packs/new")
	f.ok(err)
	var got []string
	for _, frame := range frames {
		got = append(got, fmt.Sprint(frame.Offset, frame.AccountID, frame.Refs, frame.Share))
	}
	f.equal("frames", got, []string{"16a1 100", "216c1 100", "316a2 100", "516a1 100"})
	_, err = f.store.RetireDead(f.ctx, 0)
	f.ok(err)
	loose, err := f.store.TakeLoose(f.ctx, "", 9)
	f.ok(err)
	f.equal("loose", loose, []string{"packs/x", "packs/y"})
	// The rows' own locations.
	page, err := f.store.AccountFrames(f.ctx, "c", "", 10)
	f.ok(err)
	now, ok, err := f.store.Location(f.ctx, "c", page[0].ContentID)
	f.ok(err)
	f.equal("location", []any{ok, now.Object, now.Offset, now.Stored, now.Size, now.Sum}, []any{true, "packs/new", 216, 100, 300, uint64(1 << 63)})
}

// Many frames of many accounts move while their messages are expunged and their accounts purged.
func testMoveManyFrames(f *fixture) {
	var to []string
	for i := range 1300 {
		to = append(to, []string{"a", "b", "c", "abcdefgh", "d", "ha"}[i%6])
	}
	f.pack("packs/x", to...)
	f.pack("packs/y", to[:500]...)
	r := f.move("packs/new", "packs/x", "packs/y")
	box, err := f.store.MailboxNamed(f.ctx, "b", "INBOX")
	f.ok(err)
	var wg sync.WaitGroup
	do := func(fn func() error) {
		wg.Go(func() {
			if err := fn(); err != nil {
				f.Error(err)
			}
		})
	}
	do(func() error {
		_, err := f.store.MoveFrames(f.ctx, r)
		return err
	})
	for _, account := range []string{"a", "d"} {
		do(func() error {
			_, err := f.store.PurgeAccount(f.ctx, account)
			return err
		})
	}
	do(func() error {
		_, err := f.store.StoreFlags(f.ctx, "b", box.GetMailboxId(), uidset.All, addDeleted)
		if err == nil {
			_, _, err = f.store.Expunge(f.ctx, "b", box.GetMailboxId(), uidset.All)
		}
		return err
	})
	do(func() error {
		_, err := f.store.Copy(f.ctx, "c", 1, uidset.All, "Archive", meta.Reserved{Bytes: 1 << 40, Messages: 1 << 20})
		return err
	})
	wg.Wait()
	frames, err := f.store.Frames(f.ctx, "packs/x")
	f.ok(err)
	f.equal("frames left", len(frames), 0)
	p := f.packRow("packs/new")
	f.equal("live octets add up", []int64{p.Live, p.Refs}, []int64{p.HeldBytes, p.HeldRefs})
}

func testLostPack(f *fixture) {
	f.pack("packs/x", "a", "b")
	r := f.move("packs/new", "packs/x")
	f.now = f.now.Add(2 * time.Minute)
	loose, err := f.store.TakeLoose(f.ctx, "", 9)
	f.ok(err)
	f.equal("loose", loose, []string{"packs/new"})
	// Whoever was writing it comes too late.
	if _, err := f.store.MoveFrames(f.ctx, r); !errors.Is(err, meta.ErrObjectLost) {
		f.Errorf("got error %v", err)
	}
	f.equal("still there", f.packRow("packs/x").Refs, 2)
	f.equal("no new pack", f.packRow("packs/new").Known, false)
	f.ok(f.store.ForgetLoose(f.ctx, loose))

	// Between two of its transactions all of what moved died, and the new pack was given up.
	f.pack("packs/z", slices.Repeat([]string{"a"}, 900)...)
	r = f.move("packs/late", "packs/z")
	first := &meta.Rewritten{Object: r.Object, Holder: r.Holder, Lease: time.Minute, Total: r.Total, Moves: map[string][]meta.Move{"packs/z": r.Moves["packs/z"][:1]}}
	moved, err := f.store.MoveFrames(f.ctx, first)
	f.ok(err)
	f.equal("moved", moved, 1)
	f.equal("what is being filled is nobody else's", f.claim("other"), []string(nil))
	f.drop("a", 2)
	_, err = f.store.RetireDead(f.ctx, 0)
	f.ok(err)
	first.Moves["packs/z"] = r.Moves["packs/z"][1:]
	if _, err := f.store.MoveFrames(f.ctx, first); !errors.Is(err, meta.ErrObjectLost) {
		f.Errorf("got error %v", err)
	}
	f.equal("the others stay", f.packRow("packs/z").Refs, 899)
}

func testShareAnew(f *fixture) {
	f.pack("packs/x", "abcdefg", "ab", "a")
	for _, account := range []string{"b", "c", "d", "e", "f"} {
		f.drop(account, 1)
	}
	f.drop("b", 2)
	before := f.packRow("packs/x")
	f.equal("it looks mostly dead", f.claim("me"), []string{"packs/x"})
	frames, err := f.store.Frames(f.ctx, "packs/x")
	f.ok(err)
	more, err := f.store.ShareAnew(f.ctx, "packs/x", frames)
	f.ok(err)
	p := f.packRow("packs/x")
	f.equal("shares", []int64{before.Live + more, p.Live, p.HeldBytes, p.Refs}, []int64{300, 300, 300, 4})
	more, err = f.store.ShareAnew(f.ctx, "packs/x", frames)
	f.ok(err)
	f.equal("again", more, 0)
}

func testLooseObjects(f *fixture) {
	f.pack("packs/x", "a")
	f.pack("packs/y", "a")
	f.drop("a", 1, 2)
	more, err := f.store.RetireDead(f.ctx, time.Minute)
	f.ok(err)
	f.equal("more", more, false)
	take := func(after string) []string {
		keys, err := f.store.TakeLoose(f.ctx, after, 10)
		f.ok(err)
		return keys
	}
	f.equal("within the grace", take(""), []string(nil))
	f.ok(f.store.AnnouncePack(f.ctx, "packs/other", "me", 24*time.Hour))
	f.pack("packs/z", "a")
	f.drop("a", 3)
	_, err = f.store.RetireDead(f.ctx, 3*time.Hour)
	f.ok(err)
	f.equal("after it", take(""), []string{"packs/x", "packs/y"})
	f.equal("the second", take("packs/x"), []string{"packs/y"})
	f.ok(f.store.ForgetLoose(f.ctx, []string{"packs/x"}))
	f.equal("left", take(""), []string{"packs/y"})
	f.ok(f.store.AnnouncePack(f.ctx, "packs/new", "me", time.Minute))
	f.equal("being written", take(""), []string{"packs/y"})
	f.ok(f.store.ForgetLoose(f.ctx, []string{"packs/new"})) // not taken
	f.ok(f.store.DropPack(f.ctx, "packs/new", "other"))
	f.equal("not its pack", take(""), []string{"packs/y"})
	f.ok(f.store.DropPack(f.ctx, "packs/new", "me"))
	f.equal("dropped", take(""), []string{"packs/new", "packs/y"})
	f.ok(f.store.EndGrace(f.ctx))
	f.equal("without grace", take("packs/other"), []string{"packs/y", "packs/z"})
	// As after the restore of a database that is older than the object store.
	f.pack("packs/z", "a")
	f.equal("what is alive", take("packs/other"), []string{"packs/y"})
}

func testCheckPacks(f *fixture) {
	f.pack("packs/x", "a", "b")
	f.pack("packs/y", "a")
	f.pack("packs/z", "a")
	f.ok(f.db.Write(f.ctx, "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(f.ctx, `DELETE FROM packs WHERE object_key = 'packs/y'`)
		return err
	}))
	page, err := f.store.CheckPacks(f.ctx, "", 1)
	f.ok(err)
	f.equal("first page", len(page), 1)
	p := page[0]
	f.equal("first", []any{p.Object, p.Known, p.Total, p.Live, p.HeldBytes, p.Refs, p.HeldRefs, p.Begins, p.Ends, p.AccountID},
		[]any{"packs/x", true, 200, 200, 200, 2, 2, 16, 216, "a"})
	page, err = f.store.CheckPacks(f.ctx, "packs/x", 10)
	f.ok(err)
	f.equal("rest", []any{len(page), page[0].Object}, []any{1, "packs/z"})
	packs, total, live, err := f.store.PackTotals(f.ctx, "packs/x")
	f.ok(err)
	f.equal("totals", []int64{packs, total, live}, []int64{1, 100, 100})
	unknown, next, err := f.store.UnknownPacks(f.ctx, "", 2)
	f.ok(err)
	f.equal("unknown", []any{unknown, next}, []any{[]string{"packs/y"}, "packs/y"})
	unknown, next, err = f.store.UnknownPacks(f.ctx, next, 2)
	f.ok(err)
	f.equal("no more", []any{unknown, next}, []any{[]string{}, ""})
	y := f.packRow("packs/y")
	f.equal("its contents", []any{y.Known, y.HeldRefs, y.Ends}, []any{false, 1, 116})
	f.ok(f.db.Write(f.ctx, "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(f.ctx, `INSERT INTO packs (object_key, total_bytes, live_bytes, live_refs, created_unix) VALUES ('packs/y', 100, 100, 1, 0)`)
		return err
	}))
}

func testJobs(f *fixture) {
	one, two := meta.Job{Name: "sweep", Holder: "1", Lease: time.Minute}, meta.Job{Name: "sweep", Holder: "2", Lease: time.Minute}
	take := func(j meta.Job, now bool) string {
		position, ok, err := f.store.TakeJob(f.ctx, j, now)
		f.ok(err)
		return fmt.Sprint(position, ok)
	}
	keep := func(j meta.Job, position string) bool {
		ok, err := f.store.KeepJob(f.ctx, j, position)
		f.ok(err)
		return ok
	}
	f.equal("free", take(one, false), "true")
	f.equal("held", take(two, true), "false")
	f.now = f.now.Add(30 * time.Second)
	f.equal("kept", keep(one, "there"), true)
	f.now = f.now.Add(59 * time.Second)
	f.equal("still held", take(two, false), "false")
	f.now = f.now.Add(time.Second)
	f.equal("taken over", take(two, false), "theretrue")
	f.equal("lost", keep(one, "elsewhere"), false)
	f.ok(f.store.EndJob(f.ctx, one, "elsewhere", 0)) // not its job
	f.ok(f.store.EndJob(f.ctx, two, "", time.Hour))
	f.equal("not due", take(one, false), "false")
	f.equal("at once", take(one, true), "true")
	f.ok(f.store.EndJob(f.ctx, one, "", time.Hour))
	f.now = f.now.Add(time.Hour)
	// Of many who try at the same time one gets it.
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := 0
	for i := range 20 {
		wg.Go(func() {
			_, ok, err := f.store.TakeJob(context.WithoutCancel(f.ctx), meta.Job{Name: "sweep", Holder: fmt.Sprint("x", i), Lease: time.Minute}, false)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.Error(err)
			}
			if ok {
				got++
			}
		})
	}
	wg.Wait()
	f.equal("holders", got, 1)
}
