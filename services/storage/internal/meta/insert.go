package meta

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/yubin-mail/yubin/pkg/sqldb"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// Insert stores a group of units in one transaction. It fails as a whole, and then nothing is stored; or each unit tells
// in Placed where its rows are, or in Err why it was left out. However large the group is, it reads once and writes once.
func (s *Store) Insert(ctx context.Context, units []*Unit) error {
	purged := map[string]bool{}
	units = soundUnits(units)
	for {
		var strangers []string
		err := s.write(ctx, "deliver", func(t *tx) error {
			in := newInsertion(t, units, purged)
			if err := in.read(); err != nil {
				return err
			}
			if strangers = in.strangers(); len(strangers) > 0 {
				return nil
			}
			for _, u := range units {
				u.Placed, u.Err = make([]Placed, len(u.Rows)), nil
				if err := in.admit(u); err != nil {
					return err
				}
			}
			return in.store()
		})
		if err != nil || len(strangers) == 0 {
			return err
		}
		if err := s.makeAccounts(ctx, strangers, purged); err != nil {
			return err
		}
	}
}

// soundUnits sets the error of units with an id or a name that is none, so that they do not spoil the others, and gives those.
func soundUnits(units []*Unit) []*Unit {
	return slices.DeleteFunc(slices.Clone(units), func(u *Unit) bool {
		bad := slices.ContainsFunc(u.Rows, func(r *Row) bool {
			return !validText(r.AccountID) || !validText(r.Mailbox) || !validText(r.DeliveryID) || !validText(r.Actor.AccountID) || !validText(r.Actor.Domain) || !validText(r.ReservationID)
		})
		if bad {
			u.Placed, u.Err = make([]Placed, len(u.Rows)), errText
		}
		return bad
	})
}

// insertion is the work of Insert in one attempt of its transaction.
type insertion struct {
	*tx
	units  []*Unit
	purged map[string]bool // accounts
	// What was read.
	known   map[string]bool // accounts that there are
	granted map[boxGrant]*Rights
	boxes   map[boxName]*storagev1.Mailbox
	words   map[string]vocabulary
	earlier map[DeliveryKey]Placed
	threads threads
	hashes  map[*Content][]threadSum
	// What will be written.
	queued  map[*storagev1.Mailbox]int // entries
	entries []*entry
	fresh   map[DeliveryKey]*entry
	repeats []repeat
	packs   map[string]objectUse
	replacements
}

func newInsertion(t *tx, units []*Unit, purged map[string]bool) *insertion {
	return &insertion{
		tx: t, units: units, purged: purged,
		known: map[string]bool{}, granted: map[boxGrant]*Rights{}, boxes: map[boxName]*storagev1.Mailbox{}, words: map[string]vocabulary{},
		earlier: map[DeliveryKey]Placed{}, threads: threads{}, hashes: map[*Content][]threadSum{},
		queued: map[*storagev1.Mailbox]int{}, fresh: map[DeliveryKey]*entry{}, packs: map[string]objectUse{},
		replacements: replacements{found: map[*Unit]*replaced{}, taken: map[messageKey]bool{}},
	}
}

type boxName struct{ account, name string }

// boxGrant is what an actor may do with a mailbox of somebody else.
type boxGrant struct {
	boxName
	actor Actor
}

// entry is a row that will be written.
type entry struct {
	*Row
	placed   *Placed
	mailbox  *storagev1.Mailbox
	keywords string
	modseq   uint64
}

// repeat is a row that another one of the group already stores.
type repeat struct {
	placed *Placed
	of     *entry
}

// contentUse is a content in one account.
type contentUse struct {
	account string
	content *Content
}

// read locks the accounts and reads all that the rows may need, in one round trip.
func (in *insertion) read() error {
	b := &in.queue
	accounts := map[string]bool{}
	for _, u := range in.units {
		for _, row := range u.Rows {
			accounts[row.AccountID] = true
		}
	}
	for _, u := range in.units {
		if u.Replaces != nil {
			accounts[u.Replaces.AccountID] = true
		}
	}
	for _, account := range slices.Sorted(maps.Keys(accounts)) {
		in.findAccount(b, account, func() { in.known[account] = true })
	}
	seen := map[contentUse]bool{}
	for _, u := range in.units {
		in.readReplaced(b, u)
		for _, row := range u.Rows {
			in.readBox(b, boxName{row.AccountID, row.Mailbox})
			in.readGrant(b, row)
			if row.Fallback {
				in.readBox(b, boxName{row.AccountID, names.Inbox})
			}
			if len(row.Keywords) > 0 && in.words[row.AccountID] == nil {
				in.words[row.AccountID] = vocabulary{}
				in.words[row.AccountID].learn(b, row.AccountID)
			}
			if row.DeliveryID != "" {
				in.findDelivery(b, row.Key(), in.earlier)
			}
			hashes, known := in.hashes[row.Content]
			if !known {
				hashes = threadSums(row.Content.parsed)
				in.hashes[row.Content] = hashes
			}
			if use := (contentUse{row.AccountID, row.Content}); !seen[use] {
				seen[use] = true
				in.threads.find(b, row.AccountID, hashes)
			}
			if err := in.overflow(); err != nil {
				return err
			}
		}
	}
	return in.flush()
}

// readBox adds a query for a mailbox to a batch, once.
func (in *insertion) readBox(b *queue, name boxName) {
	if _, asked := in.boxes[name]; asked {
		return
	}
	in.boxes[name] = nil
	b.Query(func(rows *sqldb.Rows) error {
		m, err := scanMailbox(rows)
		in.boxes[name] = m
		return err
	}, mailboxByName, name.account, name.name)
}

// readGrant adds a query for what the actor of a row may do to a batch, once.
func (in *insertion) readGrant(b *queue, row *Row) {
	key := boxGrant{boxName{row.AccountID, row.Mailbox}, row.Actor}
	if !row.Actor.foreign(row.AccountID) || in.granted[key] != nil {
		return
	}
	in.granted[key] = new(Rights)
	self, domain := row.Actor.grantees()
	b.Query(in.granted[key].include, `SELECT a.rights FROM mailboxes m JOIN mailbox_access a ON a.account_id = m.account_id AND a.mailbox_id = m.mailbox_id
		WHERE m.account_id = ? AND m.name = ? AND a.grantee IN (?, ?)`, row.AccountID, row.Mailbox, self, domain)
}

// permitRow gives a row as its actor may store it. nil: the actor may not, which becomes the unit's error.
func (in *insertion) permitRow(u *Unit, row *Row) *Row {
	if !row.Actor.foreign(row.AccountID) {
		return row
	}
	has := *in.granted[boxGrant{boxName{row.AccountID, row.Mailbox}, row.Actor}]
	if u.Err = has.permit(RightInsert); u.Err != nil {
		return nil
	}
	permitted := *row
	permitted.Flags, permitted.Keywords = has.Admit(row.Flags, row.Keywords)
	return &permitted
}

// strangers gives the accounts that are yet to be made.
func (in *insertion) strangers() []string {
	var out []string
	for name := range in.boxes {
		if !in.known[name.account] && !in.purged[name.account] {
			out = append(out, name.account)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// admit checks a unit and queues its rows, or sets its error.
func (in *insertion) admit(u *Unit) error {
	var entries []*entry
	missing := false
	for i, row := range u.Rows {
		if !in.known[row.AccountID] {
			u.Placed[i].NoAccount, missing = true, true
			continue
		}
		if earlier, ok := in.earlier[row.Key()]; ok && row.DeliveryID != "" {
			u.Placed[i] = earlier // wherever its mailbox is by now
			continue
		}
		box := in.find(row)
		if box == nil {
			u.Err = ErrMailboxNotFound
			return nil
		}
		if row = in.permitRow(u, row); row == nil {
			return nil
		}
		if int64(box.GetUidNext())+int64(in.queued[box]+len(u.Rows)) > math.MaxUint32 {
			u.Err = errUIDsUsedUp
			return nil
		}
		keywords, err := in.canonicalKeywords(row.AccountID, in.words[row.AccountID], row.Keywords, true)
		if isFault(err) {
			u.Err = err
			return nil
		}
		if err != nil {
			return err
		}
		entries = append(entries, &entry{Row: row, placed: &u.Placed[i], keywords: strings.Join(keywords, " "), mailbox: box})
	}
	if missing && u.AllOrNone || len(entries) == 0 {
		return nil
	}
	if !in.takeReplaced(u, entries) {
		return nil
	}
	for _, e := range entries {
		if e.DeliveryID != "" {
			if first, ok := in.fresh[e.Key()]; ok {
				in.repeats = append(in.repeats, repeat{e.placed, first})
				continue
			}
			in.fresh[e.Key()] = e
		}
		in.entries = append(in.entries, e)
		in.queued[e.mailbox]++
	}
	return nil
}

// find gives the mailbox of a row, or nil.
func (in *insertion) find(row *Row) *storagev1.Mailbox {
	box := in.boxes[boxName{row.AccountID, row.Mailbox}]
	if box == nil && row.Fallback {
		box = in.boxes[boxName{row.AccountID, names.Inbox}]
	}
	return box
}

// store writes all entries.
func (in *insertion) store() error {
	if err := in.allot(); err != nil {
		return err
	}
	if err := in.writeContents(); err != nil {
		return err
	}
	for _, e := range in.entries {
		err := in.later(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`,
			e.AccountID, e.mailbox.GetMailboxId(), e.placed.UID, e.modseq, e.Flags&AllFlags, e.keywords, e.Size(), e.InternalUnix, in.now, e.Content.ID, nonNil(e.Prefix))
		if err != nil {
			return err
		}
		in.used(e.AccountID, e.Size(), 1, e.ReservationID)
		if e.DeliveryID == "" {
			continue
		}
		err = in.later(`INSERT INTO deliveries (account_id, delivery_id, target, mailbox_id, uid_validity, uid, created_unix) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			e.AccountID, e.DeliveryID, e.Mailbox, e.mailbox.GetMailboxId(), e.placed.UIDValidity, e.placed.UID, in.now)
		if err != nil {
			return err
		}
	}
	for _, r := range in.repeats {
		*r.placed = *r.of.placed
		r.placed.Duplicate = true
	}
	if err := in.expungeReplaced(); err != nil {
		return err
	}
	return in.addPacks()
}

// allot takes UIDs and a modseq for the entries, with one statement a mailbox.
func (in *insertion) allot() error {
	type place struct {
		account string
		box     *storagev1.Mailbox
	}
	entries := map[place][]*entry{}
	for _, e := range in.entries {
		p := place{e.AccountID, e.mailbox}
		entries[p] = append(entries[p], e)
	}
	places := slices.SortedFunc(maps.Keys(entries), func(a, b place) int {
		return cmp.Or(strings.Compare(a.account, b.account), cmp.Compare(a.box.GetMailboxId(), b.box.GetMailboxId()))
	})
	for _, p := range places {
		var c counters
		for _, e := range entries[p] {
			c.add(1, e.Flags, e.Size())
		}
		c.uids = c.messages
		first := p.box.GetUidNext()
		if err := in.bump(p.account, p.box, c); err != nil {
			return err
		}
		for i, e := range entries[p] {
			e.modseq = p.box.GetHighestModseq()
			*e.placed = Placed{MailboxID: p.box.GetMailboxId(), UIDValidity: p.box.GetUidValidity(), UID: first + uint32(i)}
		}
	}
	return nil
}

// writeContents writes one content row for each account that a message went to.
func (in *insertion) writeContents() error {
	refs := map[contentUse]int{}
	accounts := map[*Content]int64{}
	var order []contentUse
	for _, e := range in.entries {
		u := contentUse{e.AccountID, e.Content}
		if refs[u]++; refs[u] == 1 {
			order = append(order, u)
			accounts[e.Content]++
		}
	}
	shared := map[*Content]bool{}
	for _, u := range order {
		share := u.content.Location.Stored / accounts[u.content]
		if !shared[u.content] {
			shared[u.content] = true
			share += u.content.Location.Stored % accounts[u.content] // so that the shares add up
		}
		thread, err := in.thread(in.threads, u.account, in.hashes[u.content], "T"+u.content.ID)
		if err != nil {
			return err
		}
		if err := in.insertContent(u.account, thread, u.content, refs[u], share); err != nil {
			return err
		}
		pack := in.packs[u.content.Location.Object]
		in.packs[u.content.Location.Object] = objectUse{pack.bytes + share, pack.refs + 1}
	}
	return nil
}

// addPacks writes the rows of the objects that got a reference. What the group wrote into them and nothing refers to is dead from the start.
func (in *insertion) addPacks() error {
	total := map[string]int64{}
	counted := map[*Content]bool{}
	for _, u := range in.units {
		for _, row := range u.Rows {
			if !counted[row.Content] {
				counted[row.Content] = true
				total[row.Content.Location.Object] += row.Content.Location.Stored
			}
		}
	}
	for _, object := range slices.Sorted(maps.Keys(in.packs)) {
		// It is there if a part of the group was refused, so that the rest came in several transactions.
		err := in.later(`INSERT INTO packs (object_key, total_bytes, live_bytes, live_refs, created_unix) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (object_key) DO UPDATE SET total_bytes = packs.total_bytes + excluded.total_bytes,
				live_bytes = packs.live_bytes + excluded.live_bytes, live_refs = packs.live_refs + excluded.live_refs`,
			object, total[object], in.packs[object].bytes, in.packs[object].refs, in.now)
		if err != nil {
			return err
		}
	}
	return nil
}
