package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const every = "lrswipkxtea" // right

// carol asks about bob's mailboxes.
var carol = &storagev1.Actor{AccountId: "carol", Domain: "example.test", OwnerAccountId: "bob"}

// asked is the account that a request about bob names: none, with an actor.
func asked(actor *storagev1.Actor) string {
	if actor != nil {
		return ""
	}
	return "bob"
}

// share sets what a grantee may do with a mailbox of bob.
func (h *harness) share(mailbox, grantee, rights string) {
	h.t.Helper()
	_, err := h.imap.SetAcl(h.t.Context(), &storagev1.SetAclRequest{
		AccountId: "bob", Mailbox: mailbox, Operation: storagev1.SetAclRequest_OPERATION_SET, Entry: &storagev1.AclEntry{Grantee: grantee, Rights: rights},
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// drain reads a stream for its error.
func drain[M any](stream interface{ Recv() (M, error) }, err error) error {
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// mustCreate makes a mailbox of bob and gives its id.
func (h *harness) mustCreate(name string) uint64 {
	h.t.Helper()
	r, err := h.imap.CreateMailbox(h.t.Context(), &storagev1.CreateMailboxRequest{AccountId: "bob", Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return r.GetMailbox().GetMailboxId()
}

// fill appends messages with \Deleted to a mailbox of bob.
func (h *harness) fill(mailbox string, n int) {
	h.t.Helper()
	var messages []string
	for range n {
		messages = append(messages, mail("shared", "text"))
	}
	if _, err := h.appendTo("bob", mailbox, "", deleted, messages...); err != nil {
		h.t.Fatal(err)
	}
}

// operation is something that carol does to bob's mailbox "Work", of that id, which has messages and may have a mailbox above and one below.
type operation struct {
	name  string
	needs string // rights, one of each word
	do    func(h *harness, work uint64) error
}

var operations = []operation{
	{"fetch", "r", func(h *harness, work uint64) error {
		return drain(h.imap.Fetch(h.t.Context(), &storagev1.FetchRequest{MailboxId: work, Uids: []*storagev1.UidRange{span(1, 9)}, Actor: carol}))
	}},
	{"read", "r", func(h *harness, work uint64) error {
		return drain(h.imap.Read(h.t.Context(), &storagev1.ReadRequest{MailboxId: work, Uid: 1, Actor: carol}))
	}},
	{"search", "r", func(h *harness, work uint64) error {
		_, err := h.imap.Search(h.t.Context(), sharedSearch(work))
		return err
	}},
	{"search in what nothing can match", "r", func(h *harness, work uint64) error {
		r := sharedSearch(work)
		r.Criteria = &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{}}}
		_, err := h.imap.Search(h.t.Context(), r)
		return err
	}},
	{"search with progress", "r", func(h *harness, work uint64) error {
		return drain(h.imap.SearchStream(h.t.Context(), &storagev1.SearchStreamRequest{Search: sharedSearch(work)}))
	}},
	{"set seen", "r s", storing(seen)},
	{"set deleted", "r t", storing(deleted)},
	{"set flagged", "r w", storing(flagged)},
	{"set a keyword", "r w", storing(0, "$x")},
	{"set one of several", "r sw", storing(seen | flagged)},
	{"expunge", "e", func(h *harness, work uint64) error {
		_, err := h.imap.Expunge(h.t.Context(), &storagev1.ExpungeRequest{MailboxId: work, Uids: []*storagev1.UidRange{span(1, 1)}, Actor: carol})
		return err
	}},
	{"append", "i", func(h *harness, _ uint64) error {
		_, err := h.appendAs("Work", carol, mail("new", "text"))
		return err
	}},
	{"copy into it", "i", func(h *harness, _ uint64) error {
		h.share("Open", "carol", "lr")
		_, err := h.imap.Copy(h.t.Context(), &storagev1.CopyRequest{
			MailboxId: h.mailbox("bob", "Open").GetMailboxId(), Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Work", Actor: carol,
		})
		return err
	}},
	{"copy out of it", "r", func(h *harness, work uint64) error {
		h.share("Open", "carol", "li")
		_, err := h.imap.Copy(h.t.Context(), &storagev1.CopyRequest{
			MailboxId: work, Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Open", Actor: carol,
		})
		return err
	}},
	{"move into it", "i", func(h *harness, _ uint64) error {
		h.share("Open", "carol", "lrte")
		_, err := h.imap.Move(h.t.Context(), &storagev1.MoveRequest{
			MailboxId: h.mailbox("bob", "Open").GetMailboxId(), Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Work", Actor: carol,
		})
		return err
	}},
	{"move out of it", "r t e", func(h *harness, work uint64) error {
		h.share("Open", "carol", "li")
		_, err := h.imap.Move(h.t.Context(), &storagev1.MoveRequest{
			MailboxId: work, Uids: []*storagev1.UidRange{span(1, 1)}, ToMailbox: "Open", Actor: carol,
		})
		return err
	}},
	{"replace in it", "t e", func(h *harness, work uint64) error {
		h.share("Open", "carol", "li")
		_, err := h.replaceAs(work, 1, "bob", "Open", carol, mail("new", "text"))
		return err
	}},
	{"replace into it", "i", func(h *harness, _ uint64) error {
		h.share("Open", "carol", "lte")
		_, err := h.replaceAs(h.mailbox("bob", "Open").GetMailboxId(), 1, "bob", "Work", carol, mail("new", "text"))
		return err
	}},
	{"create below", "k", func(h *harness, _ uint64) error {
		_, err := h.imap.CreateMailbox(h.t.Context(), &storagev1.CreateMailboxRequest{Name: "Work/new/newer", Actor: carol})
		return err
	}},
	{"delete", "x", func(h *harness, _ uint64) error {
		_, err := h.imap.DeleteMailbox(h.t.Context(), &storagev1.DeleteMailboxRequest{Name: "Work", Actor: carol})
		return err
	}},
	{"rename", "x", func(h *harness, _ uint64) error {
		h.share("Open", "carol", "lk")
		_, err := h.imap.RenameMailbox(h.t.Context(), &storagev1.RenameMailboxRequest{From: "Work", To: "Open/Work", Actor: carol})
		return err
	}},
	{"rename to below", "k", func(h *harness, _ uint64) error {
		h.share("Open", "carol", "lx")
		_, err := h.imap.RenameMailbox(h.t.Context(), &storagev1.RenameMailboxRequest{From: "Open", To: "Work/Open", Actor: carol})
		return err
	}},
	{"read annotations", "rswip", func(h *harness, _ uint64) error {
		_, err := h.imap.GetMetadata(h.t.Context(), &storagev1.GetMetadataRequest{Mailbox: "Work", Entries: []string{"/shared/comment"}, Actor: carol})
		return err
	}},
	{"set a private annotation", "rswip", func(h *harness, _ uint64) error { return h.annotateAs(carol, "Work", "/private/comment") }},
	{"set a shared annotation", "w", func(h *harness, _ uint64) error { return h.annotateAs(carol, "Work", "/shared/comment") }},
	{"read the list", "a", func(h *harness, _ uint64) error {
		_, err := h.imap.GetAcl(h.t.Context(), &storagev1.GetAclRequest{Mailbox: "Work", Actor: carol})
		return err
	}},
	{"change the list", "a", func(h *harness, _ uint64) error {
		_, err := h.imap.SetAcl(h.t.Context(), &storagev1.SetAclRequest{
			Mailbox: "Work", Actor: carol, Operation: storagev1.SetAclRequest_OPERATION_ADD,
			Entry: &storagev1.AclEntry{Grantee: "dave", Rights: "lr"},
		})
		return err
	}},
}

func sharedSearch(work uint64) *storagev1.SearchRequest {
	return &storagev1.SearchRequest{MailboxId: work, Actor: carol, Criteria: &storagev1.SearchCriteria{
		Key: &storagev1.SearchCriteria_Not{Not: &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: seen}}},
	}}
}

func storing(flags uint32, keywords ...string) func(*harness, uint64) error {
	return func(h *harness, work uint64) error {
		_, err := h.imap.StoreFlags(h.t.Context(), &storagev1.StoreFlagsRequest{
			MailboxId: work, Uids: []*storagev1.UidRange{span(1, 1)}, Operation: opAdd, Flags: flags, Keywords: keywords, Actor: carol,
		})
		return err
	}
}

func (h *harness) annotateAs(actor *storagev1.Actor, mailbox, entry string) error {
	_, err := h.imap.SetMetadata(h.t.Context(), &storagev1.SetMetadataRequest{
		AccountId: asked(actor), Mailbox: mailbox, Changes: []*storagev1.SetMetadataRequest_Change{setting(entry, actor.GetAccountId())}, Actor: actor,
	})
	return err
}

// appendAs appends to a mailbox of bob a message with \Seen, \Flagged and a keyword.
func (h *harness) appendAs(mailbox string, actor *storagev1.Actor, message string) (*storagev1.AppendResponse, error) {
	stream, err := h.imap.Append(h.t.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range []*storagev1.AppendRequest{
		{Message: &storagev1.AppendRequest_Target_{Target: &storagev1.AppendRequest_Target{AccountId: asked(actor), Mailbox: mailbox, Actor: actor}}},
		{Message: &storagev1.AppendRequest_Start{Start: &storagev1.AppendRequest_Message{Flags: seen | flagged, Keywords: []string{"$x"}}}},
		{Message: &storagev1.AppendRequest_Chunk{Chunk: []byte(message)}},
		{Message: &storagev1.AppendRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}},
	} {
		if err := stream.Send(r); err != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

// replaceAs replaces a message of bob.
func (h *harness) replaceAs(id uint64, uid uint32, toAccount, mailbox string, actor *storagev1.Actor, message string) (*storagev1.ReplaceResponse, error) {
	stream, err := h.imap.Replace(h.t.Context())
	if err != nil {
		return nil, err
	}
	for _, r := range []*storagev1.ReplaceRequest{
		{Message: &storagev1.ReplaceRequest_Target_{Target: &storagev1.ReplaceRequest_Target{
			AccountId: asked(actor), MailboxId: id, Uid: uid, ToAccountId: toAccount, Mailbox: mailbox, Actor: actor,
		}}},
		{Message: &storagev1.ReplaceRequest_Start{Start: &storagev1.AppendRequest_Message{}}},
		{Message: &storagev1.ReplaceRequest_Chunk{Chunk: []byte(message)}},
		{Message: &storagev1.ReplaceRequest_Commit{Commit: &storagev1.Commit{Size: uint64(len(message))}}},
	} {
		if err := stream.Send(r); err != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

// Each right opens what RFC 4314 section 4 says, and nothing else; what a mailbox is to who may not know of it, it does not tell.
func TestRightsOpenWhatTheyStandFor(t *testing.T) {
	h := start(t)
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			work := h.mustCreate("Work")
			h.mustCreate("Open")
			h.fill("Work", 2)
			h.fill("Open", 2)
			try := func(rights string) error {
				h.share("Work", "carol", rights)
				return op.do(h, work)
			}
			if err := try(""); !fault.Is(err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND) && op.needs != "k" {
				t.Errorf("without rights: %v", err)
			}
			for _, one := range strings.Fields(op.needs) {
				without := strings.Map(func(r rune) rune {
					if strings.ContainsRune(one, r) {
						return -1
					}
					return r
				}, every)
				wantReason(t, try(without), rpcv1.Reason_REASON_NOT_PERMITTED)
				if one != "k" { // where nothing is found, nothing can be made
					wantReason(t, try(strings.ReplaceAll(without, "l", "")), rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
				}
			}
			words := strings.Fields(op.needs)
			for _, last := range words[len(words)-1] {
				if err := try("l" + strings.Join(words[:len(words)-1], "") + string(last)); err != nil {
					t.Errorf("with %c: %v", last, err)
				}
			}
			for _, name := range []string{"Work/new/newer", "Work/new", "Work/Open", "Work", "Open/Work", "Open"} {
				_, err := h.imap.DeleteMailbox(t.Context(), &storagev1.DeleteMailboxRequest{AccountId: "bob", Name: name})
				if err != nil {
					wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
				}
			}
		})
	}
}

func TestNobodyElseHasAnInbox(t *testing.T) {
	h := start(t)
	h.share("INBOX", "carol", every)
	for what, do := range map[string]func() error{
		"rename INBOX": func() error {
			_, err := h.imap.RenameMailbox(t.Context(), &storagev1.RenameMailboxRequest{From: "INBOX", To: "INBOX/x", Actor: carol})
			return err
		},
		"create beside it": func() error {
			_, err := h.imap.CreateMailbox(t.Context(), &storagev1.CreateMailboxRequest{Name: "Mine", Actor: carol})
			return err
		},
		"create of a special use": func() error {
			_, err := h.imap.CreateMailbox(t.Context(), &storagev1.CreateMailboxRequest{
				Name: "INBOX/Mine", SpecialUse: storagev1.SpecialUse_SPECIAL_USE_ARCHIVE, Actor: carol,
			})
			return err
		},
		"annotate the account": func() error { return h.annotateAs(carol, "", "/private/comment") },
		"read what is the account's own": func() error {
			_, err := h.imap.GetMetadata(t.Context(), &storagev1.GetMetadataRequest{Entries: []string{"/private"}, Actor: carol})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) { wantReason(t, do(), rpcv1.Reason_REASON_NOT_PERMITTED) })
	}
	_, err := h.imap.DeleteMailbox(t.Context(), &storagev1.DeleteMailboxRequest{Name: "INBOX", Actor: carol})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_PROTECTED)
	// Nobody is made by being asked about.
	stranger := &storagev1.Actor{AccountId: "carol", OwnerAccountId: "nobody"}
	_, err = h.imap.GetMailbox(t.Context(), &storagev1.GetMailboxRequest{Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}, Actor: stranger})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	_, err = h.imap.DeleteMailbox(t.Context(), &storagev1.DeleteMailboxRequest{Name: "Sent", Actor: stranger})
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
}

func TestFlagsThatOneMayNotSetStay(t *testing.T) {
	h, inbox := filled(t, 1)
	h.flag("bob", inbox, opSet, flagged|deleted, span(1, 1))
	state := func() string {
		s := h.sync("bob", inbox, 0).changed[0]
		return fmt.Sprint(s.GetFlags(), s.GetKeywords())
	}
	store := func(rights string, op storagev1.StoreFlagsRequest_Operation, flags uint32, keywords ...string) {
		t.Helper()
		h.share("INBOX", "carol", rights)
		_, err := h.imap.StoreFlags(t.Context(), &storagev1.StoreFlagsRequest{
			MailboxId: inbox, Uids: []*storagev1.UidRange{span(1, 1)}, Operation: op, Flags: flags, Keywords: keywords, Actor: carol,
		})
		if err != nil {
			t.Errorf("%s: %v", rights, err)
		}
	}
	want := func(what string) {
		t.Helper()
		if got := state(); got != what {
			t.Errorf("the state is %s, want %s", got, what)
		}
	}
	store("lrs", opSet, seen)
	want(fmt.Sprint(seen|flagged|deleted, " []"))
	store("lrw", opSet, 0, "$x")
	want(fmt.Sprint(seen|deleted, " [$x]"))
	store("lrt", opSet, 0)
	want(fmt.Sprint(seen, " [$x]"))
	store("lrs", opRemove, seen|flagged, "$x")
	want(fmt.Sprint(0, " [$x]"))
	store("lrt", opAdd, seen|deleted|flagged, "$y")
	want(fmt.Sprint(deleted, " [$x]"))
	h.share("INBOX", "carol", "lis")
	r, err := h.appendAs("INBOX", carol, mail("new", "text"))
	if err != nil {
		t.Fatal(err)
	}
	if s := h.sync("bob", inbox, 0).changed[1]; s.GetUid() != r.GetUids()[0] || s.GetFlags() != seen || len(s.GetKeywords()) != 0 {
		t.Errorf("appended %v", s)
	}
}

func TestWhatIsSharedIsListed(t *testing.T) {
	h := start(t)
	h.mustCreate("Team/Plans")
	h.share("Team/Plans", "@example.test", "lr")
	h.share("Team/Plans", "carol", "sw")
	h.share("INBOX", "carol", "lr")
	h.share("Sent", "carol", "r") // not l
	h.share("Drafts", "@example.org", "lr")
	list := func(actor *storagev1.Actor) string {
		r, err := h.imap.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{AccountId: actor.GetAccountId(), SharedWith: actor})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, owner := range r.GetShared() {
			for _, m := range owner.GetMailboxes() {
				out = append(out, fmt.Sprint(owner.GetAccountId(), ":", m.GetName(), "=", m.GetRights(), m.GetSubscribed()))
			}
		}
		return strings.Join(out, " ")
	}
	if got, want := list(carol), "bob:INBOX=lrfalse bob:Team/Plans=lrswfalse"; got != want {
		t.Errorf("carol sees %q, want %q", got, want)
	}
	if got, want := list(&storagev1.Actor{AccountId: "dave", Domain: "example.test"}), "bob:Team/Plans=lrfalse"; got != want {
		t.Errorf("dave sees %q, want %q", got, want)
	}
	if got := list(&storagev1.Actor{AccountId: "bob", Domain: "example.test"}) + list(&storagev1.Actor{AccountId: "erin"}); got != "" {
		t.Errorf("others see %q", got)
	}
	for _, actor := range []*storagev1.Actor{{}, {AccountId: "dave"}} {
		_, err := h.imap.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{AccountId: "carol", SharedWith: actor})
		wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	}
	// By name one finds what one may use, even without l.
	get := func(name string) (*storagev1.Mailbox, error) {
		r, err := h.imap.GetMailbox(t.Context(), &storagev1.GetMailboxRequest{Key: &storagev1.GetMailboxRequest_Name{Name: name}, Actor: carol})
		return r.GetMailbox(), err
	}
	if m, err := get("Sent"); err != nil || m.GetRights() != "r" || m.GetAccessModseq() == 0 {
		t.Errorf("got %v, %v", m, err)
	}
	_, err := get("Drafts")
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	h.share("Sent", "carol", "p")
	_, err = get("Sent")
	wantReason(t, err, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND)
	own, err := h.imap.GetMailbox(t.Context(), &storagev1.GetMailboxRequest{
		Key: &storagev1.GetMailboxRequest_Name{Name: "INBOX"}, Actor: &storagev1.Actor{AccountId: "carol", OwnerAccountId: "carol"},
	})
	if err != nil || own.GetMailbox().GetRights() != "" || !own.GetMailbox().GetSubscribed() {
		t.Errorf("her own is %v, %v", own, err)
	}
}

func TestListsAreChecked(t *testing.T) {
	h := start(t)
	set := func(op storagev1.SetAclRequest_Operation, grantee, rights string) error {
		_, err := h.imap.SetAcl(t.Context(), &storagev1.SetAclRequest{
			AccountId: "bob", Mailbox: "inbox", Operation: op, Entry: &storagev1.AclEntry{Grantee: grantee, Rights: rights},
		})
		return err
	}
	const exactly, more, less = storagev1.SetAclRequest_OPERATION_SET, storagev1.SetAclRequest_OPERATION_ADD, storagev1.SetAclRequest_OPERATION_REMOVE
	for _, err := range []error{
		set(exactly, "carol", "lrc"), set(exactly, "carol", "lrz"), set(exactly, "carol", "é"), set(storagev1.SetAclRequest_OPERATION_UNSPECIFIED, "carol", "l"),
		set(exactly, "bob", "l"), set(exactly, "", "l"), set(exactly, "@", "l"), set(exactly, "@Example.test", "l"), set(exactly, "@a@b", "l"),
		set(exactly, strings.Repeat("x", 256), "l"), set(exactly, "a\x00", "l"),
	} {
		wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	}
	for _, err := range []error{
		set(exactly, "carol", "aelrr"), set(more, "carol", "s"), set(less, "carol", "ex"), set(more, "@example.test", "lr"), set(exactly, "dave", "l"), set(less, "dave", "l"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	r, err := h.imap.GetAcl(t.Context(), &storagev1.GetAclRequest{AccountId: "bob", Mailbox: "INBOX"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range r.GetEntries() {
		got = append(got, e.GetGrantee()+"="+e.GetRights())
	}
	if strings.Join(got, " ") != "@example.test=lr carol=lrsa" {
		t.Errorf("the list is %v", got)
	}
	// Sync tells of a change, and of one that changes nothing it does not.
	before := h.mailbox("bob", "INBOX")
	if err := set(more, "carol", "l"); err != nil {
		t.Error(err)
	}
	if m := h.mailbox("bob", "INBOX"); m.GetHighestModseq() != before.GetHighestModseq() {
		t.Errorf("nothing changed, but the mailbox is %v", m)
	}
	if err := set(exactly, "carol", ""); err != nil {
		t.Error(err)
	}
	s := h.sync("bob", before.GetMailboxId(), before.GetHighestModseq())
	if len(s.changed) != 0 || s.mailbox.GetAccessModseq() != before.GetHighestModseq()+1 || s.mailbox.GetHighestModseq() != s.mailbox.GetAccessModseq() {
		t.Errorf("sync gave %v", s)
	}
	for i := range 99 {
		if err := set(exactly, fmt.Sprint("user", i), "lr"); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, set(exactly, "one more", "lr"), rpcv1.Reason_REASON_LIMIT)
	if err := set(more, "user1", "s"); err != nil {
		t.Error(err)
	}
	// Whoever is on whose behalf is somebody.
	for _, actor := range []*storagev1.Actor{
		{}, {OwnerAccountId: "bob", Domain: "example.test"}, {OwnerAccountId: "bob", AccountId: "@example.test"}, {AccountId: "carol"},
	} {
		_, err := h.imap.GetAcl(t.Context(), &storagev1.GetAclRequest{Mailbox: "INBOX", Actor: actor})
		wantReason(t, err, rpcv1.Reason_REASON_INVALID)
	}
	_, err = h.imap.GetAcl(t.Context(), &storagev1.GetAclRequest{AccountId: "bob", Mailbox: "INBOX", Actor: carol})
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
}

// What does not know actors sees requests without them, and refuses all that a guest may ask for.
func TestStorageThatDoesNotKnowGuestsRefusesThem(t *testing.T) {
	h := start(t)
	work := h.mustCreate("Work")
	h.mustCreate("Open")
	h.fill("Work", 2)
	h.fill("Open", 2)
	h.share("Work", "carol", every)
	h.share("Open", "carol", every)
	h.imap = storagev1.NewStorageServiceClient(forgetful{h.conn})
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) { wantReason(t, op.do(h, work), rpcv1.Reason_REASON_INVALID) })
	}
	_, err := h.imap.Move(t.Context(), &storagev1.MoveRequest{
		MailboxId: work, Uids: []*storagev1.UidRange{span(1, 1)}, ToAccountId: "carol", ToMailbox: "INBOX", Actor: carol,
	})
	wantReason(t, err, rpcv1.Reason_REASON_INVALID)
}

// forgetful is a connection to a storage of before there were actors.
type forgetful struct{ grpc.ClientConnInterface }

func (c forgetful) Invoke(ctx context.Context, method string, args, reply any, options ...grpc.CallOption) error {
	forget(args)
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, options...)
}

func (c forgetful) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := c.ClientConnInterface.NewStream(ctx, d, method, options...)
	return forgetfulStream{stream}, err
}

type forgetfulStream struct{ grpc.ClientStream }

func (s forgetfulStream) SendMsg(m any) error {
	forget(m)
	return s.ClientStream.SendMsg(m)
}

// forget takes the actors out of a request, at whatever depth.
func forget(request any) {
	var within func(m protoreflect.Message)
	within = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.Message() == nil || f.IsList() || f.IsMap():
			case f.Message().FullName() == "yubin.storage.v1.Actor":
				m.Clear(f)
			default:
				within(v.Message())
			}
			return true
		})
	}
	within(request.(proto.Message).ProtoReflect())
}

func TestListsFollowTheirMailboxes(t *testing.T) {
	h := start(t)
	acl := func(name string) string {
		r, err := h.imap.GetAcl(t.Context(), &storagev1.GetAclRequest{AccountId: "bob", Mailbox: name})
		if err != nil {
			return fmt.Sprint(err)
		}
		var out []string
		for _, e := range r.GetEntries() {
			out = append(out, e.GetGrantee()+"="+e.GetRights())
		}
		return strings.Join(out, " ")
	}
	rename := func(from, to string) {
		t.Helper()
		if _, err := h.imap.RenameMailbox(t.Context(), &storagev1.RenameMailboxRequest{AccountId: "bob", From: from, To: to}); err != nil {
			t.Fatal(err)
		}
	}
	h.mustCreate("Team")
	h.share("Team", "carol", "lrk")
	r, err := h.imap.CreateMailbox(t.Context(), &storagev1.CreateMailboxRequest{Name: "Team/a/b", Actor: carol})
	if err != nil || r.GetMailbox().GetRights() != "lrk" || r.GetMailbox().GetAccessModseq() == 0 {
		t.Errorf("created %v, %v", r, err)
	}
	h.share("Team/a/b", "dave", "lr")
	rename("Team/a", "Other")
	rename("Team", "Team2")
	h.share("INBOX", "carol", "lr")
	rename("INBOX", "Old")
	rename("INBOX", "Team2/Old")
	for name, want := range map[string]string{
		"Team2": "carol=lrk", "Other": "carol=lrk", "Other/b": "carol=lrk dave=lr", "INBOX": "carol=lr", "Old": "", "Team2/Old": "carol=lrk",
	} {
		if got := acl(name); got != want {
			t.Errorf("the list of %s is %q, want %q", name, got, want)
		}
	}
	if _, err := h.imap.DeleteMailbox(t.Context(), &storagev1.DeleteMailboxRequest{AccountId: "bob", Name: "Team2/Old"}); err != nil {
		t.Error(err)
	}
	h.mustCreate("Team2/Old2")
	if got := acl("Team2/Old2"); got != "carol=lrk" {
		t.Errorf("the list is %q", got)
	}
}

func TestAnnotationsOfOthersAreTheirOwn(t *testing.T) {
	h := start(t)
	h.share("INBOX", "carol", "lrw")
	h.share("Sent", "carol", "lt")
	bob := &storagev1.Actor{AccountId: "bob", OwnerAccountId: "bob"}
	for _, actor := range []*storagev1.Actor{bob, carol} {
		if err := h.annotateAs(actor, "INBOX", "/private/comment"); err != nil {
			t.Fatal(err)
		}
	}
	for _, mailbox := range []string{"INBOX", "Sent", "Drafts"} {
		if err := h.annotateAs(bob, mailbox, "/shared/comment"); err != nil {
			t.Fatal(err)
		}
	}
	for actor, want := range map[*storagev1.Actor]string{
		bob: "1/private/comment=bob 1/shared/comment=bob 2/shared/comment=bob 3/shared/comment=bob", carol: "1/private/comment=carol 1/shared/comment=bob",
	} {
		got, err := h.metadata(&storagev1.GetMetadataRequest{
			AllMailboxes: true, Entries: []string{"/private", "/shared"}, Depth: storagev1.GetMetadataRequest_DEPTH_INFINITY, Actor: actor,
		})
		if err != nil || got != want {
			t.Errorf("%s reads %q, %v; want %q", actor.GetAccountId(), got, err, want)
		}
	}
}
