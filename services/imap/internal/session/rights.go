package session

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// The rights of RFC 4314 section 2.1, as they are checked here; storage checks them all.
const (
	rightLookup = 'l'
	rightRead   = 'r'
	rightSeen   = 's'
	rightWrite  = 'w'
	rightInsert = 'i'
	rightDelete = 't'
	rightErase  = 'e'

	rightAdminister = 'a'
)

var errNotPermitted = fault.New(codes.PermissionDenied, rpcv1.Reason_REASON_NOT_PERMITTED, "that is not permitted")

// has tells whether somebody who asks about a mailbox has a right; its owner has all.
func (h holder) has(rights string, right byte) bool {
	return h.actor == nil || strings.IndexByte(rights, right) >= 0
}

func (m held) may(right byte) bool { return m.has(m.GetRights(), right) }

// need refuses what needs a right. Who may not even know of a mailbox does not learn of it (RFC 4314 section 6).
func (m held) need(right byte) error {
	switch {
	case m.may(right):
		return nil
	case m.may(rightLookup):
		return errNotPermitted
	}
	return errUnknownOwner
}

// may tells whether the session may do something with the selected mailbox.
func (b *mailbox) may(right byte) bool { return b.has(b.rights, right) }

// writable tells whether SELECT is READ-WRITE (RFC 4314 section 5.2). All flags are shared.
func (b *mailbox) writable() bool {
	return slices.ContainsFunc([]byte{rightInsert, rightErase, rightSeen, rightWrite, rightDelete}, b.may)
}

// permanentFlags are those that the session may change (RFC 4314 section 5.1.1).
func (b *mailbox) permanentFlags() string {
	var out []string
	if b.readOnly {
		return "()"
	}
	for _, f := range b.flags {
		if b.may(flagRight(f)) {
			out = append(out, f)
		}
	}
	if b.may(rightWrite) && !b.full {
		out = append(out, `\*`)
	}
	return "(" + strings.Join(out, " ") + ")"
}

// flagRight is what it takes to change a flag.
func flagRight(flag string) byte {
	switch bit, _ := flagBit(flag); bit {
	case storagev1.Flag_FLAG_SEEN:
		return rightSeen
	case storagev1.Flag_FLAG_DELETED:
		return rightDelete
	}
	return rightWrite
}

// checkAccess asks for the rights of somebody else's mailbox again if they may have changed. Without the right to read the session ends
// (RFC 4314 section 5.1.1), as when the mailbox is deleted. Other errors mean that it cannot be known now: nothing may be told.
func (s *session) checkAccess(ctx context.Context) error {
	b := s.box
	if b == nil || b.actor == nil || b.view.Dead() {
		return nil
	}
	known := b.view.Snapshot().AccessModSeq
	if known <= b.access {
		return nil
	}
	ctx, cancel := s.rpc(ctx)
	defer cancel()
	answer, err := s.Storage.GetMailbox(ctx, &storagev1.GetMailboxRequest{
		AccountId: b.asked(), Key: &storagev1.GetMailboxRequest_MailboxId{MailboxId: b.id}, Actor: b.actor,
	})
	gone := fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) || fault.Is(err, rpcv1.Reason_REASON_NOT_PERMITTED)
	if err != nil && !gone {
		return err
	}
	if gone || !b.has(answer.GetMailbox().GetRights(), rightRead) {
		return &byeError{"", "the selected mailbox is not shared any more"}
	}
	flags, writable := b.permanentFlags(), b.writable()
	b.rights, b.access = answer.GetMailbox().GetRights(), max(known, answer.GetMailbox().GetAccessModseq())
	if now := b.permanentFlags(); now != flags {
		s.enc.Untagged(wire.StatusOK, "PERMANENTFLAGS "+now, "rights have changed")
	}
	if now := b.writable(); now != writable && !b.readOnly {
		code := "READ-ONLY"
		if now {
			code = "READ-WRITE"
		}
		s.enc.Untagged(wire.StatusOK, code, "rights have changed")
	}
	return nil
}
