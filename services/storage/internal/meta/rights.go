package meta

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Rights are what an account may do with a mailbox of another one (RFC 4314 section 2.1), a bit each.
type Rights uint16

// The rights, in the order of their letters.
const (
	RightLookup  Rights = 1 << iota // l: know of the mailbox
	RightRead                       // r: see its messages
	RightSeen                       // s: change \Seen
	RightWrite                      // w: change the other flags and keywords, apart from \Deleted
	RightInsert                     // i: add messages
	RightPost                       // p: send mail to it, which nothing here does by the mailbox
	RightCreate                     // k: make mailboxes below
	RightDelete                     // x: delete or rename it
	RightDeleted                    // t: change \Deleted
	RightExpunge                    // e: expunge
	RightAdmin                      // a: change the access control list

	allRights = RightAdmin<<1 - 1
)

// rightLetters stand for the bits, the lowest first.
const rightLetters = "lrswipkxtea"

// visibleRights are those of which one is enough to learn of a mailbox whose name is known (RFC 4314 section 4, MYRIGHTS).
const visibleRights = RightLookup | RightRead | RightInsert | RightCreate | RightDelete | RightAdmin

// ErrNotPermitted is the fault of what an access control list does not allow.
var ErrNotPermitted = fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_NOT_PERMITTED, "the mailbox's access control list does not permit that")

// ParseRights reads letters, in any order; others than those of RFC 4314 section 2.1 are REASON_INVALID.
func ParseRights(letters string) (Rights, error) {
	var r Rights
	for _, letter := range letters {
		bit := strings.IndexRune(rightLetters, letter)
		if bit < 0 {
			return 0, fault.Newf(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "%q is no right", letter)
		}
		r |= 1 << bit
	}
	return r, nil
}

// Scan implements sql.Scanner: the database has letters.
func (r *Rights) Scan(value any) (err error) {
	letters, ok := value.(string)
	if !ok {
		return fmt.Errorf("scan rights: %T is no text", value)
	}
	*r, err = ParseRights(letters)
	return err
}

// String gives the letters in their order.
func (r Rights) String() string {
	var b strings.Builder
	for bit := range len(rightLetters) {
		if r&(1<<bit) != 0 {
			b.WriteByte(rightLetters[bit])
		}
	}
	return b.String()
}

// permit answers whether all the rights that are wanted are there.
func (r Rights) permit(wanted Rights) error {
	if r&wanted == wanted {
		return nil
	}
	return r.refusal()
}

// refusal is the error of what the rights do not allow. Who may not know of the mailbox hears that there is none (RFC 4314 section 6).
func (r Rights) refusal() error {
	if r&RightLookup == 0 {
		return ErrMailboxNotFound
	}
	return ErrNotPermitted
}

// flags gives the flags that the rights let change, and whether keywords are among them (RFC 4314 section 4, STORE).
func (r Rights) flags() (mask uint32, keywords bool) {
	if r&RightSeen != 0 {
		mask |= uint32(storagev1.Flag_FLAG_SEEN)
	}
	if r&RightDeleted != 0 {
		mask |= uint32(storagev1.Flag_FLAG_DELETED)
	}
	if r&RightWrite != 0 {
		mask |= AllFlags &^ uint32(storagev1.Flag_FLAG_SEEN|storagev1.Flag_FLAG_DELETED)
	}
	return mask, r&RightWrite != 0
}

// Admit gives those of the flags and keywords of a new message that it may have: others are left out, and the message is not refused for
// them (RFC 4314 section 4, APPEND and COPY).
func (r Rights) Admit(flags uint32, keywords []string) (uint32, []string) {
	mask, words := r.flags()
	if !words {
		keywords = nil
	}
	return flags & mask, keywords
}
