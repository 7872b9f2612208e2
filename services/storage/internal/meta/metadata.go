package meta

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/sqldb"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// Limits of annotations (RFC 5464 section 4.1 wants at least 1,024 octets and 10 of a mailbox).
const (
	MaxMetadataValue      = 64 << 10
	maxMailboxMetadata    = 100 // of one mailbox, or of the account itself
	maxAccountMetadata    = 1000
	maxAccountMetadataLen = 1 << 20 // octets of names and values
)

// Annotation is an entry of METADATA.
type Annotation struct {
	MailboxID uint64 // 0: of the account itself
	Name      string // as it was spelt last
	Value     []byte

	entry names.Entry
}

// AnnotationScope says where annotations are looked for.
type AnnotationScope struct {
	// Mailbox is a normalised name; empty: the account itself.
	Mailbox string
	// All is all mailboxes, without the account itself.
	All bool
}

// AnnotationChange sets an annotation.
type AnnotationChange struct {
	Entry names.Entry
	Name  string // as it is spelt
	// Value is nil for one that is removed.
	Value []byte
}

var errTooManyAnnotations = fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "there are too many annotations")

// annotationRights are those of which one is enough, with RightLookup, to read the annotations of a mailbox and to set private ones (RFC 5464
// section 3.3).
const annotationRights = RightRead | RightSeen | RightWrite | RightInsert | RightPost

func (r Rights) readsAnnotations() bool { return r&RightLookup != 0 && r&annotationRights != 0 }

// viewer gives the account whose private annotations of an account's mailboxes are read and set.
func (t *tx) viewer(account string) string { return cmp.Or(t.actor.AccountID, account) }

// viewerOf tells whose an entry is that a viewer sets: its own, or of all, which is empty.
func viewerOf(viewer string, e names.Entry) string {
	if e.Private() {
		return viewer
	}
	return ""
}

// Annotations gives those wanted, in order of mailbox and name. All together they are bounded by the limit of an account.
func (s *Store) Annotations(ctx context.Context, account string, scope AnnotationScope, wanted func(names.Entry) bool) ([]Annotation, error) {
	if err := s.ensure(ctx, account); err != nil {
		return nil, err
	}
	var out []Annotation
	err := s.read(ctx, "get_metadata", func(t *tx) error {
		out = nil
		where, args := `mailbox_id <> 0`, []any{account, t.viewer(account)}
		var seen map[uint64]bool // nil: all
		if !scope.All {
			id, err := t.annotated(account, scope.Mailbox)
			if err != nil {
				return err
			}
			where, args = `mailbox_id = ?`, append(args, id)
		} else if t.actor.foreign(account) {
			var err error
			if seen, err = t.annotatedFor(account); err != nil {
				return err
			}
		}
		return t.rows(func(rows *sqldb.Rows) error {
			var a Annotation
			err := rows.Scan(&a.MailboxID, &a.entry, &a.Name, &a.Value)
			if wanted(a.entry) && (seen == nil || seen[a.MailboxID]) {
				out = append(out, a)
			}
			return err
		}, `SELECT mailbox_id, folded, name, value FROM metadata_entries WHERE account_id = ? AND viewer IN ('', ?) AND `+where, args...)
	})
	slices.SortFunc(out, func(a, b Annotation) int {
		return cmp.Or(cmp.Compare(a.MailboxID, b.MailboxID), cmp.Compare(a.entry, b.entry))
	})
	return out, err
}

// annotated gives the id under which the annotations of a mailbox are that the actor may read; 0 for those of the account itself, which are
// nobody else's.
func (t *tx) annotated(account, mailbox string) (uint64, error) {
	if mailbox == "" {
		if t.actor.foreign(account) {
			return 0, ErrNotPermitted
		}
		return 0, nil
	}
	m, err := t.mailboxNamed(account, mailbox)
	if err != nil {
		return 0, err
	}
	has, err := t.rights(account, m.GetMailboxId())
	if err == nil && !has.readsAnnotations() {
		err = has.refusal()
	}
	return m.GetMailboxId(), err
}

// annotatedFor gives the mailboxes of somebody else of which the actor may read annotations.
func (t *tx) annotatedFor(account string) (map[uint64]bool, error) {
	has := map[uint64]Rights{}
	self, domain := t.actor.grantees()
	err := t.rows(func(rows *sqldb.Rows) error {
		var id uint64
		var more Rights
		err := rows.Scan(&id, &more)
		has[id] |= more
		return err
	}, `SELECT mailbox_id, rights FROM mailbox_access WHERE account_id = ? AND grantee IN (?, ?)`, account, self, domain)
	seen := map[uint64]bool{}
	for id, r := range has {
		seen[id] = r.readsAnnotations()
	}
	return seen, err
}

// SetAnnotations sets and removes annotations of a mailbox of a normalised name, or of the account itself if it is empty, all or none.
// The mailbox, or INBOX, takes a modseq: by that the catalog sees the change.
func (s *Store) SetAnnotations(ctx context.Context, account, mailbox string, changes []AnnotationChange) error {
	return s.write(ctx, "set_metadata", func(t *tx) error {
		if err := t.openAccount(account); err != nil {
			return err
		}
		m, err := t.mailboxNamed(account, cmp.Or(mailbox, names.Inbox))
		if err != nil {
			return err
		}
		if err := t.permitAnnotations(account, m, mailbox, changes); err != nil {
			return err
		}
		id := m.GetMailboxId()
		if mailbox == "" {
			id = 0
		}
		sizes, err := t.annotationSizes(account)
		if err != nil {
			return err
		}
		if !sizes.apply(t.viewer(account), id, changes) {
			return errTooManyAnnotations
		}
		for _, c := range changes {
			if err := t.setAnnotation(account, id, c); err != nil {
				return err
			}
		}
		return t.bump(account, m, counters{})
	})
}

// permitAnnotations checks that the actor may make changes. RFC 5464 section 3.3 leaves it open whether who may read a mailbox may also change
// what all see of it: here that needs RightWrite, as it does for flags.
func (t *tx) permitAnnotations(account string, m *storagev1.Mailbox, mailbox string, changes []AnnotationChange) error {
	if !t.actor.foreign(account) {
		return nil
	}
	if _, err := t.annotated(account, mailbox); err != nil {
		return err
	}
	if slices.ContainsFunc(changes, func(c AnnotationChange) bool { return !c.Entry.Private() }) {
		return t.permit(account, m.GetMailboxId(), RightWrite)
	}
	return nil
}

func (t *tx) setAnnotation(account string, mailbox uint64, c AnnotationChange) error {
	viewer := viewerOf(t.viewer(account), c.Entry)
	if c.Value == nil {
		return t.later(`DELETE FROM metadata_entries WHERE account_id = ? AND mailbox_id = ? AND viewer = ? AND folded = ?`,
			account, mailbox, viewer, string(c.Entry))
	}
	return t.later(`INSERT INTO metadata_entries (account_id, mailbox_id, viewer, folded, name, value) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (account_id, mailbox_id, viewer, folded) DO UPDATE SET name = excluded.name, value = excluded.value`,
		account, mailbox, viewer, string(c.Entry), c.Name, c.Value)
}

type annotationKey struct {
	mailbox uint64
	viewer  string
	entry   names.Entry
}

// annotationSizes are the octets of all annotations of an account.
type annotationSizes map[annotationKey]int

func (t *tx) annotationSizes(account string) (annotationSizes, error) {
	sizes := annotationSizes{}
	return sizes, t.rows(func(rows *sqldb.Rows) error {
		var key annotationKey
		var size int
		err := rows.Scan(&key.mailbox, &key.viewer, &key.entry, &size)
		sizes[key] = size
		return err
	}, `SELECT mailbox_id, viewer, folded, LENGTH(name) + LENGTH(value) FROM metadata_entries WHERE account_id = ?`, account)
}

// apply makes changes and tells whether they may be: what only removes or shrinks always may.
func (s annotationSizes) apply(viewer string, mailbox uint64, changes []AnnotationChange) bool {
	before, bytesBefore := s.count(mailbox)
	all := len(s)
	for _, c := range changes {
		key := annotationKey{mailbox, viewerOf(viewer, c.Entry), c.Entry}
		if c.Value == nil {
			delete(s, key)
			continue
		}
		s[key] = len(c.Name) + len(c.Value)
	}
	after, bytesAfter := s.count(mailbox)
	return after <= max(before, maxMailboxMetadata) && len(s) <= max(all, maxAccountMetadata) && bytesAfter <= max(bytesBefore, maxAccountMetadataLen)
}

// count gives how many annotations a mailbox has, and the octets of all of the account.
func (s annotationSizes) count(mailbox uint64) (n, bytes int) {
	for key, size := range s {
		if bytes += size; key.mailbox == mailbox {
			n++
		}
	}
	return n, bytes
}

// copyAnnotations gives a new mailbox those of another one, unless the account would have too many.
func (t *tx) copyAnnotations(account string, from, to uint64) error {
	sizes, err := t.annotationSizes(account)
	if err != nil {
		return err
	}
	more := 0
	_, bytes := sizes.count(from)
	for key, size := range sizes {
		if key.mailbox == from {
			more++
			bytes += size
		}
	}
	if more == 0 || len(sizes)+more > maxAccountMetadata || bytes > maxAccountMetadataLen {
		return nil
	}
	return t.later(`INSERT INTO metadata_entries (account_id, mailbox_id, viewer, folded, name, value)
		SELECT account_id, CAST(? AS BIGINT), viewer, folded, name, value FROM metadata_entries WHERE account_id = ? AND mailbox_id = ?`, to, account, from)
}

// dropAnnotations removes those of a mailbox.
func (t *tx) dropAnnotations(account string, mailbox uint64) error {
	return t.later(`DELETE FROM metadata_entries WHERE account_id = ? AND mailbox_id = ?`, account, mailbox)
}
