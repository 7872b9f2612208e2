package meta

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// Row is one new message row.
type Row struct {
	AccountID string
	// Mailbox is a normalised name.
	Mailbox string
	// Fallback puts the message into INBOX if the mailbox does not exist; without it that is an error of the unit.
	Fallback     bool
	Content      *Content
	Prefix       []byte
	Flags        uint32
	Keywords     []string
	InternalUnix int64
	// ReservationID is settled by the commit.
	ReservationID string
	// DeliveryID makes the row idempotent together with the account and the mailbox asked for; empty: it is not.
	DeliveryID string
}

// Size is what the row counts, in octets.
func (r *Row) Size() int64 { return int64(len(r.Prefix)) + r.Content.Location.Size }

// Key names the row for idempotence.
func (r *Row) Key() DeliveryKey { return DeliveryKey{r.AccountID, r.DeliveryID, r.Mailbox} }

// DeliveryKey names a row for idempotence.
type DeliveryKey struct{ AccountID, DeliveryID, Mailbox string }

// Placed is where a row is.
type Placed struct {
	MailboxID        uint64
	UIDValidity, UID uint32
	// Duplicate says that an earlier delivery had stored it, so the row's reservation is not settled.
	Duplicate bool
	// NoAccount says that it was not stored, as the account was purged.
	NoAccount bool
}

// Stored tells whether the row is in a mailbox.
func (p Placed) Stored() bool { return p.UID != 0 }

// Unit is rows that are stored all or none, but for those of a purged account.
type Unit struct {
	Rows []*Row
	// AllOrNone leaves out all rows if one is of a purged account.
	AllOrNone bool
	// Placed and Err are set by Insert.
	Placed []Placed
	Err    error
}

// Deliveries finds what earlier deliveries have stored.
func (s *Store) Deliveries(ctx context.Context, keys []DeliveryKey) (map[DeliveryKey]Placed, error) {
	found := map[DeliveryKey]Placed{}
	err := s.read(ctx, "find_deliveries", func(t *tx) error {
		for _, key := range keys {
			placed, ok, err := t.delivered(key)
			if err != nil {
				return err
			}
			if ok {
				found[key] = placed
			}
		}
		return nil
	})
	return found, err
}

func (t *tx) delivered(key DeliveryKey) (Placed, bool, error) {
	placed := Placed{Duplicate: true}
	err := t.row(`SELECT mailbox_id, uid_validity, uid FROM deliveries WHERE account_id = ? AND delivery_id = ? AND target = ?`,
		key.AccountID, key.DeliveryID, key.Mailbox).Scan(&placed.MailboxID, &placed.UIDValidity, &placed.UID)
	if errors.Is(err, sql.ErrNoRows) {
		return Placed{}, false, nil
	}
	return placed, err == nil, err
}

// Insert stores a group of units in one transaction. It fails as a whole, and then nothing is stored; or each unit tells
// in Placed where its rows are, or in Err why it was left out.
func (s *Store) Insert(ctx context.Context, units []*Unit) error {
	return s.write(ctx, "deliver", func(t *tx) error {
		in := &insertion{tx: t, boxes: map[boxName]*storagev1.Mailbox{}, queued: map[mailboxKey]int{}, fresh: map[DeliveryKey]*entry{}}
		for _, u := range units {
			u.Placed, u.Err = make([]Placed, len(u.Rows)), nil
			if err := in.admit(u); err != nil {
				return err
			}
		}
		if err := in.store(); err != nil {
			return err
		}
		return in.addPacks(units)
	})
}

// insertion is the work of Insert in one attempt of its transaction.
type insertion struct {
	*tx
	boxes   map[boxName]*storagev1.Mailbox // nil: does not exist
	queued  map[mailboxKey]int             // entries
	entries []*entry
	fresh   map[DeliveryKey]*entry
	repeats []repeat
	packs   map[string]objectUse
}

type boxName struct{ account, name string }

// entry is a row that will be written.
type entry struct {
	*Row
	placed   *Placed
	mailbox  mailboxKey
	keywords string
	modseq   uint64
}

// repeat is a row that another one of the group already stores.
type repeat struct {
	placed *Placed
	of     *entry
}

// admit checks a unit and queues its rows, or sets its error.
func (in *insertion) admit(u *Unit) error {
	var entries []*entry
	missing := false
	for i, row := range u.Rows {
		box, err := in.find(row)
		if errors.Is(err, ErrAccountNotFound) {
			u.Placed[i].NoAccount, missing = true, true
			continue
		}
		if err != nil {
			return err
		}
		if box == nil {
			u.Err = ErrMailboxNotFound
			return nil
		}
		key := mailboxKey{row.AccountID, box.GetMailboxId()}
		if int64(box.GetUidNext())+int64(in.queued[key]+len(u.Rows)) > math.MaxUint32 {
			u.Err = errUIDsUsedUp
			return nil
		}
		keywords, err := in.canonicalKeywords(row.AccountID, row.Keywords, true)
		if isFault(err) {
			u.Err = err
			return nil
		}
		if err != nil {
			return err
		}
		entries = append(entries, &entry{
			Row: row, placed: &u.Placed[i], keywords: strings.Join(keywords, " "),
			mailbox: key,
		})
	}
	if missing && u.AllOrNone {
		return nil
	}
	for _, e := range entries {
		if e.DeliveryID != "" {
			if first, ok := in.fresh[e.Key()]; ok {
				in.repeats = append(in.repeats, repeat{e.placed, first})
				continue
			}
			earlier, ok, err := in.delivered(e.Key())
			if err != nil {
				return err
			}
			if ok {
				*e.placed = earlier
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
func (in *insertion) find(row *Row) (*storagev1.Mailbox, error) {
	box, err := in.named(row.AccountID, row.Mailbox)
	if err != nil || box != nil || !row.Fallback {
		return box, err
	}
	return in.named(row.AccountID, names.Inbox)
}

// named finds a mailbox, and makes the account at its first use.
func (in *insertion) named(account, name string) (*storagev1.Mailbox, error) {
	key := boxName{account, name}
	if box, known := in.boxes[key]; known {
		return box, nil
	}
	box, err := in.mailboxNamed(account, name)
	if errors.Is(err, ErrMailboxNotFound) {
		if err := in.ensureAccount(account); err != nil {
			return nil, err
		}
		box, err = in.mailboxNamed(account, name)
	}
	if errors.Is(err, ErrMailboxNotFound) {
		box, err = nil, nil
	}
	if err == nil {
		in.boxes[key] = box
	}
	return box, err
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
		_, err := in.exec(`INSERT INTO messages (account_id, mailbox_id, uid, modseq, flags, keywords, size, internal_unix, saved_unix, popped, content_id, prefix)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`,
			e.AccountID, e.mailbox.id, e.placed.UID, e.modseq, e.Flags&AllFlags, e.keywords, e.Size(), e.InternalUnix, in.now, e.Content.ID, nonNil(e.Prefix))
		if err != nil {
			return err
		}
		in.used(e.AccountID, e.Size(), 1, e.ReservationID)
		if e.DeliveryID == "" {
			continue
		}
		_, err = in.exec(`INSERT INTO deliveries (account_id, delivery_id, target, mailbox_id, uid_validity, uid, created_unix) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			e.AccountID, e.DeliveryID, e.Mailbox, e.mailbox.id, e.placed.UIDValidity, e.placed.UID, in.now)
		if err != nil {
			return err
		}
	}
	for _, r := range in.repeats {
		*r.placed = *r.of.placed
		r.placed.Duplicate = true
	}
	return nil
}

// allot takes UIDs and a modseq for the entries, with one statement a mailbox.
func (in *insertion) allot() error {
	byMailbox := map[mailboxKey][]*entry{}
	for _, e := range in.entries {
		byMailbox[e.mailbox] = append(byMailbox[e.mailbox], e)
	}
	// In order, so that transactions of several replicas lock mailboxes in the same one.
	keys := slices.SortedFunc(maps.Keys(byMailbox), func(a, b mailboxKey) int {
		return cmp.Or(strings.Compare(a.account, b.account), cmp.Compare(a.id, b.id))
	})
	for _, key := range keys {
		entries := byMailbox[key]
		var c counters
		for _, e := range entries {
			c.add(1, e.Flags, e.Size())
		}
		c.uids = c.messages
		m, err := in.bump(key.account, key.id, c)
		if err != nil {
			return err
		}
		first := m.GetUidNext() - uint32(len(entries))
		for i, e := range entries {
			e.modseq = m.GetHighestModseq()
			*e.placed = Placed{MailboxID: key.id, UIDValidity: m.GetUidValidity(), UID: first + uint32(i)}
		}
	}
	return nil
}

// writeContents writes one content row for each account that a message went to.
func (in *insertion) writeContents() error {
	type use struct {
		account string
		content *Content
	}
	refs := map[use]int{}
	accounts := map[*Content]int64{}
	var order []use
	for _, e := range in.entries {
		u := use{e.AccountID, e.Content}
		if refs[u]++; refs[u] == 1 {
			order = append(order, u)
			accounts[e.Content]++
		}
	}
	in.packs = map[string]objectUse{}
	shared := map[*Content]bool{}
	for _, u := range order {
		share := u.content.Location.Stored / accounts[u.content]
		if !shared[u.content] {
			shared[u.content] = true
			share += u.content.Location.Stored % accounts[u.content] // so that the shares add up
		}
		thread, err := in.thread(u.account, u.content.parsed, "T"+u.content.ID)
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
func (in *insertion) addPacks(units []*Unit) error {
	total := map[string]int64{}
	counted := map[*Content]bool{}
	for _, u := range units {
		for _, row := range u.Rows {
			if !counted[row.Content] {
				counted[row.Content] = true
				total[row.Content.Location.Object] += row.Content.Location.Stored
			}
		}
	}
	for _, object := range slices.Sorted(maps.Keys(in.packs)) {
		_, err := in.exec(`INSERT INTO packs (object_key, total_bytes, live_bytes, live_refs, created_unix) VALUES (?, ?, ?, ?, ?)`,
			object, total[object], in.packs[object].bytes, in.packs[object].refs, in.now)
		if err != nil {
			return err
		}
	}
	return nil
}
