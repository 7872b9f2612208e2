package metatest

import (
	"fmt"
	"slices"
	"strings"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/names"
)

// annotate sets annotations of a mailbox of account "a"; the value "-" removes one.
func (f *fixture) annotate(mailbox string, pairs ...string) error {
	f.Helper()
	var changes []meta.AnnotationChange
	for pair := range slices.Chunk(pairs, 2) {
		name, value := pair[0], pair[len(pair)-1]
		e, err := names.ParseEntry(name)
		f.ok(err)
		c := meta.AnnotationChange{Entry: e, Name: name, Value: []byte(value)}
		if value == "-" {
			c.Value = nil
		}
		changes = append(changes, c)
	}
	return f.store.SetAnnotations(f.ctx, "a", mailbox, changes)
}

// annotations gives those of an account as text.
func (f *fixture) annotations(account string, scope meta.AnnotationScope) string {
	f.Helper()
	list, err := f.store.Annotations(f.ctx, account, scope, func(names.Entry) bool { return true })
	f.ok(err)
	out := []string{}
	for _, a := range list {
		out = append(out, fmt.Sprintf("%d%s=%s", a.MailboxID, a.Name, a.Value))
	}
	return strings.Join(out, " ")
}

func testMetadata(f *fixture) {
	inbox, sent := f.mailbox("INBOX"), f.mailbox("Sent")
	f.ok(f.annotate("INBOX", "/private/Comment", "mine", "/shared/comment", "a\x00\xff"))
	f.ok(f.annotate("Sent", "/private/comment", ""))
	f.ok(f.annotate("", "/private/vendor/x/y", "account"))
	f.equal("modseqs", []any{f.mailbox("INBOX").GetHighestModseq() - inbox.GetHighestModseq(), f.mailbox("Sent").GetHighestModseq() - sent.GetHighestModseq()}, []any{2, 1})
	f.equal("of INBOX", f.annotations("a", meta.AnnotationScope{Mailbox: "INBOX"}), "1/private/Comment=mine 1/shared/comment=a\x00\xff")
	f.equal("of the account", f.annotations("a", meta.AnnotationScope{}), "0/private/vendor/x/y=account")
	f.equal("of all", f.annotations("a", meta.AnnotationScope{All: true}),
		fmt.Sprintf("1/private/Comment=mine 1/shared/comment=a\x00\xff %d/private/comment=", sent.GetMailboxId()))
	f.equal("of another account", f.annotations("b", meta.AnnotationScope{All: true}), "")
	// Names compare without case; the last spelling is shown.
	f.ok(f.annotate("INBOX", "/PRIVATE/comment", "new", "/shared/comment", "-", "/shared/none", "-"))
	f.equal("changed", f.annotations("a", meta.AnnotationScope{Mailbox: "INBOX"}), "1/PRIVATE/comment=new")
	_, err := f.store.Annotations(f.ctx, "a", meta.AnnotationScope{Mailbox: "None"}, func(names.Entry) bool { return true })
	f.wantReason(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.wantReason(f.annotate("None", "/private/comment", "x"), rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)

	// They follow a mailbox that is renamed, are copied from INBOX, and go with the mailbox.
	f.ok(f.store.RenameMailbox(f.ctx, "a", "Sent", "Gone"))
	f.equal("renamed", f.annotations("a", meta.AnnotationScope{Mailbox: "Gone"}), fmt.Sprintf("%d/private/comment=", sent.GetMailboxId()))
	f.ok(f.store.RenameMailbox(f.ctx, "a", "INBOX", "Old"))
	f.equal("INBOX", f.annotations("a", meta.AnnotationScope{Mailbox: "INBOX"}), "1/PRIVATE/comment=new")
	f.equal("its copy", f.annotations("a", meta.AnnotationScope{Mailbox: "Old"}), fmt.Sprintf("%d/PRIVATE/comment=new", f.mailbox("Old").GetMailboxId()))
	f.ok(f.store.DeleteMailbox(f.ctx, "a", "Gone"))
	f.ok(f.store.DeleteMailbox(f.ctx, "a", "Old"))
	_, err = f.store.CreateMailbox(f.ctx, "a", "Gone", 0)
	f.ok(err)
	f.equal("made anew", f.annotations("a", meta.AnnotationScope{Mailbox: "Gone"}), "")
	f.equal("left", f.annotations("a", meta.AnnotationScope{All: true}), "1/PRIVATE/comment=new")

	_, err = f.store.PurgeAccount(f.ctx, "a")
	f.ok(err)
	f.wantReason(f.annotate("INBOX", "/private/comment", "x"), rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND)
}

func testMetadataLimits(f *fixture) {
	for i := range 100 {
		f.ok(f.annotate("INBOX", fmt.Sprint("/private/", i), "x"))
	}
	before := f.mailbox("INBOX").GetHighestModseq()
	// All or none.
	f.wantReason(f.annotate("INBOX", "/private/1", "changed", "/private/more", "x"), rpcv1.Reason_REASON_LIMIT)
	f.equal("modseq", f.mailbox("INBOX").GetHighestModseq(), before)
	f.equal("unchanged", strings.Contains(f.annotations("a", meta.AnnotationScope{Mailbox: "INBOX"}), "changed"), false)
	f.ok(f.annotate("INBOX", "/private/1", "-", "/private/more", "x"))
	f.ok(f.annotate("INBOX", "/private/2", "changed"))

	// The octets of all, and their number.
	large := strings.Repeat("x", meta.MaxMetadataValue)
	for i := range 15 {
		f.ok(f.annotate("Sent", fmt.Sprint("/shared/", i), large))
	}
	f.wantReason(f.annotate("Sent", "/shared/more", large), rpcv1.Reason_REASON_LIMIT)
	f.ok(f.annotate("Sent", "/shared/14", large[1:]))
	// What would be too much is not copied by a rename of INBOX, which is done.
	for i := range 15 {
		f.ok(f.annotate("Sent", fmt.Sprint("/shared/", i), "-"))
	}
	for i := range 9 {
		f.ok(f.store.RenameMailbox(f.ctx, "a", "INBOX", fmt.Sprint("Old", i)))
	}
	f.ok(f.store.RenameMailbox(f.ctx, "a", "INBOX", "Older"))
	f.equal("copied", []any{f.annotations("a", meta.AnnotationScope{Mailbox: "Older"}), strings.Count(f.annotations("a", meta.AnnotationScope{All: true}), "=")}, []any{"", 1000})
	f.wantReason(f.annotate("Sent", "/shared/more", "x"), rpcv1.Reason_REASON_LIMIT)
	f.wantReason(f.annotate("", "/private/more", "x"), rpcv1.Reason_REASON_LIMIT)
}
