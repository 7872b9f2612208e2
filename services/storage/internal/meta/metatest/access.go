package metatest

import (
	"fmt"
	"strings"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/uidset"
)

// acl gives the list of a mailbox as text.
func (f *fixture) acl(account, mailbox string) string {
	f.Helper()
	list, err := f.store.Acl(f.ctx, account, mailbox)
	f.ok(err)
	var out []string
	for _, g := range list {
		out = append(out, g.Grantee+"="+g.Rights.String())
	}
	return strings.Join(out, " ")
}

// shared gives what others share with an account as text.
func (f *fixture) shared(a meta.Actor) string {
	f.Helper()
	list, err := f.store.As(a).SharedMailboxes(f.ctx)
	f.ok(err)
	var out []string
	for _, owner := range list {
		for _, m := range owner.GetMailboxes() {
			out = append(out, fmt.Sprint(owner.GetAccountId(), "/", m.GetName(), "=", m.GetRights()))
		}
	}
	return strings.Join(out, " ")
}

func testAccess(f *fixture) {
	carol := meta.Actor{AccountID: "c", Domain: "example.test"}
	f.insert("a", "INBOX", 1)
	box := f.mailbox("INBOX")
	f.commits = nil
	f.grant("a", "INBOX", "c", "lr")
	f.grant("a", "INBOX", "c", "rl") // the same
	f.grant("a", "INBOX", "@example.test", "si")
	f.grant("b", "Sent", "@example.test", "l")
	f.equal("notice", []any{len(f.commits), f.commits[0]},
		[]any{3, meta.Commit{Changes: []meta.Change{{AccountID: "a", MailboxID: box.GetMailboxId(), Modseq: box.GetHighestModseq() + 1}}}})
	f.equal("list", f.acl("a", "INBOX"), "@example.test=si c=lr")
	f.equal("shared", f.shared(carol), "a/INBOX=lrsi b/Sent=l")
	f.equal("shared with somebody else", f.shared(meta.Actor{AccountID: "d"}), "")
	now := f.mailbox("INBOX")
	f.equal("modseqs", []any{now.GetHighestModseq() - box.GetHighestModseq(), now.GetAccessModseq() - box.GetHighestModseq()}, []any{2, 2})
	f.setFlags(box.GetMailboxId(), uidset.All, storagev1.Flag_FLAG_SEEN)
	f.equal("after a change of flags", f.mailbox("INBOX").GetAccessModseq(), now.GetAccessModseq())

	// A message of somebody else is stored with what may be, as the list is at the commit.
	row := f.row("a", "INBOX", f.content(10))
	row.Actor, row.Flags, row.Keywords = carol, meta.AllFlags, []string{"x"}
	refused := f.row("a", "INBOX", f.content(10))
	refused.Actor = meta.Actor{AccountID: "d", Domain: "example.org"}
	units := []*meta.Unit{{Rows: []*meta.Row{row}}, {Rows: []*meta.Row{refused}}}
	f.ok(f.store.Insert(f.ctx, units))
	f.ok(units[0].Err)
	f.wantReason(units[1].Err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.equal("stored", f.states("a", "INBOX"), "1=E1,1 2=E2,1")

	// What somebody else replaces is held to both lists.
	replace := func(to string) error {
		row := f.row(to, "INBOX", f.content(10))
		row.Actor = carol
		unit := &meta.Unit{Rows: []*meta.Row{row}, Replaces: &meta.Replaced{AccountID: "a", MailboxID: box.GetMailboxId(), UID: 2, Actor: carol}}
		f.ok(f.store.Insert(f.ctx, []*meta.Unit{unit}))
		return unit.Err
	}
	f.wantReason(replace("a"), rpcv1.Reason_REASON_NOT_PERMITTED)
	f.grant("a", "INBOX", "c", "lrte")
	f.wantReason(replace("b"), rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	f.grant("b", "INBOX", "c", "li")
	f.ok(replace("b"))
	f.equal("replaced", []any{f.states("a", "INBOX"), f.states("b", "INBOX")}, []any{"1=E1,1", "1=E6,0"})

	// Who is purged has no rights any more, and gives none.
	f.commits = nil
	_, err := f.store.PurgeAccount(f.ctx, "c")
	f.ok(err)
	f.equal("lists", []any{f.acl("a", "INBOX"), f.acl("b", "INBOX")}, []any{"@example.test=si", ""})
	_, err = f.store.PurgeAccount(f.ctx, "b")
	f.ok(err)
	f.equal("shared", f.shared(meta.Actor{AccountID: "d", Domain: "example.test"}), "")
}
