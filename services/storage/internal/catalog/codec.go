// Package catalog keeps in the object store what the packs do not say of mail: mailboxes, flags, moves and deletions. Once in an interval it
// writes snapshots of the accounts that have changed, many in one object, in the format of packs: so mailboxes come back after the loss of
// the database.
package catalog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// KeyPrefix begins the keys of the catalog's objects; a day, "yyyymmdd" in UTC, and a UUIDv7 (RFC 9562 section 5.7) follow.
const KeyPrefix = "catalog/"

// ErrCorrupt says that a snapshot is not what was written.
var ErrCorrupt = errors.New("corrupt catalog")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

// Bounds of what is read, far above what is written.
const (
	maxRecord    = 64 << 20
	maxPrefix    = 64 << 10
	maxAccountID = 256
	maxText      = 4 << 10
	idSize       = 16
)

// WriteRecord appends a record to the body of a snapshot.
func WriteRecord(w io.Writer, r *storagev1.CatalogRecord) error {
	_, err := protodelim.MarshalTo(w, r)
	return err
}

// ParseEntry reads the meta of a snapshot's frame. Errors: ErrCorrupt.
func ParseEntry(meta []byte) (*storagev1.CatalogEntry, error) {
	e := &storagev1.CatalogEntry{}
	if err := proto.Unmarshal(meta, e); err != nil {
		return nil, corrupt("entry: %v", err)
	}
	previous := len(e.GetPreviousId())
	switch {
	case e.GetAccountId() == "" || len(e.GetAccountId()) > maxAccountID:
		return nil, corrupt("account id of %d octets", len(e.GetAccountId()))
	case len(e.GetSnapshotId()) != idSize || previous != 0 && previous != idSize:
		return nil, corrupt("snapshot id of %d octets", len(e.GetSnapshotId()))
	case e.GetTakenUnixMs() < 0:
		return nil, corrupt("taken before 1970")
	}
	return e, nil
}

// ReadRecords calls fn for each record of a snapshot that was checked; the CatalogEnd, without which nothing counts, is not given.
// Errors: ErrCorrupt, those of r and fn.
func ReadRecords(r io.Reader, fn func(*storagev1.CatalogRecord) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var messages uint64
	for first := true; ; first = false {
		record := &storagev1.CatalogRecord{}
		err := protodelim.UnmarshalOptions{MaxSize: maxRecord}.UnmarshalFrom(in, record)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return corrupt("snapshot is cut")
		case isBadRecord(err):
			return corrupt("record: %v", err)
		case err != nil:
			return fmt.Errorf("read snapshot: %w", err)
		}
		switch v := record.GetRecord().(type) {
		case *storagev1.CatalogRecord_Account:
			if !first {
				return corrupt("a second account")
			}
			err = checkAccount(v.Account)
		case *storagev1.CatalogRecord_Messages:
			if first {
				return corrupt("messages without an account")
			}
			messages += uint64(len(v.Messages.GetMessages()))
			err = checkMessages(v.Messages)
		case *storagev1.CatalogRecord_End:
			if first || v.End.GetMessages() != messages {
				return corrupt("%d messages where %d were written", messages, v.End.GetMessages())
			}
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				return corrupt("more after the end")
			}
			return nil
		default:
			return corrupt("unknown record")
		}
		if err != nil {
			return err
		}
		if err := fn(record); err != nil {
			return err
		}
	}
}

// isBadRecord tells what the octets did wrong from what their reader did.
func isBadRecord(err error) bool {
	tooLarge := (*protodelim.SizeTooLargeError)(nil)
	return errors.Is(err, proto.Error) || errors.As(err, &tooLarge)
}

func checkAccount(a *storagev1.CatalogAccount) error {
	if !isID(a.GetNextMailboxId()) {
		return corrupt("next mailbox %d", a.GetNextMailboxId())
	}
	ids, taken := map[uint64]bool{}, map[string]bool{}
	for _, m := range a.GetMailboxes() {
		name, err := names.Normalise(m.GetName())
		if err != nil || name != m.GetName() || taken[name] {
			return corrupt("mailbox name %q", m.GetName())
		}
		if !isID(m.GetMailboxId()) || m.GetMailboxId() >= a.GetNextMailboxId() || ids[m.GetMailboxId()] {
			return corrupt("mailbox id %d", m.GetMailboxId())
		}
		if m.GetUidValidity() == 0 || m.GetUidNext() == 0 || m.GetHighestModseq() > math.MaxInt64/2 {
			return corrupt("mailbox %d has UIDVALIDITY %d, UIDNEXT %d, HIGHESTMODSEQ %d", m.GetMailboxId(), m.GetUidValidity(), m.GetUidNext(), m.GetHighestModseq())
		}
		ids[m.GetMailboxId()], taken[name] = true, true
	}
	if !taken[names.Inbox] {
		return corrupt("an account without INBOX")
	}
	for _, m := range a.GetMetadata() {
		if _, err := names.ParseEntry(m.GetName()); err != nil || m.GetMailboxId() != 0 && !ids[m.GetMailboxId()] || len(m.GetViewer()) > maxAccountID {
			return corrupt("annotation %q", m.GetName())
		}
	}
	for _, list := range [][]string{a.GetSubscriptions(), a.GetKeywords()} {
		for _, s := range list {
			if s == "" || len(s) > maxText {
				return corrupt("name of %d octets", len(s))
			}
		}
	}
	return nil
}

func isID(n uint64) bool { return n > 0 && n <= math.MaxInt64/2 }

func checkMessages(c *storagev1.CatalogMessages) error {
	if !isID(c.GetMailboxId()) || len(c.GetMailboxName()) > maxText {
		return corrupt("messages of mailbox %d", c.GetMailboxId())
	}
	for _, r := range c.GetVanished() {
		if r.GetStart() == 0 || r.GetStop() < r.GetStart() {
			return corrupt("UID range %d:%d", r.GetStart(), r.GetStop())
		}
	}
	for _, m := range c.GetMessages() {
		n := len(m.GetContentId())
		switch {
		case m.GetUid() == 0:
			return corrupt("a message without a UID")
		case n == 0 || n > maxAccountID || len(m.GetThreadId()) > maxAccountID || len(m.GetObjectKey()) > maxText || len(m.GetKeywords()) > maxRecord/16:
			return corrupt("text of message %d is too long", m.GetUid())
		case len(m.GetPrefix()) > maxPrefix || m.GetSize() < uint64(len(m.GetPrefix())) || m.GetSize() > math.MaxInt64/2 || m.GetObjectOffset() > math.MaxInt64:
			return corrupt("message %d of %d octets with a prefix of %d", m.GetUid(), m.GetSize(), len(m.GetPrefix()))
		case c.GetDeleted() && m.GetExpiresUnix() < m.GetDeletedUnix():
			return corrupt("message %d expired before it was deleted", m.GetUid())
		}
	}
	return nil
}
