package session

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

func TestForeignNames(t *testing.T) {
	for _, c := range []struct{ name, owner, mailbox, canonical string }{
		{"Other Users/bob@example.test/INBOX", "bob@example.test", "INBOX", ""},
		{"Other Users/BOB@Example.TEST/inbox/a", "bob@example.test", "inbox/a", "Other Users/bob@example.test/INBOX/a"},
		{"Other Users/bob@bücher.test/a", "bob@xn--bcher-kva.test", "a", "Other Users/bob@xn--bcher-kva.test/a"},
		{"Other Users/bob=2Fa=3D=25=2A@example.test/a", "bob/a=%*@example.test", "a", ""},
		{"Other Users/bob@example.test//a", "bob@example.test", "/a", ""},
		{"Other Users/bob@example.test/../a", "bob@example.test", "../a", ""},
		{"Other Users/bob@example.test/Other Users/bob@example.test/a", "bob@example.test", "Other Users/bob@example.test/a", ""},
		// What is no address is nobody's.
		{"Other Users/bob@/a", "", "a", ""},
		{"Other Users/@/a", "", "a", ""},
		{"Other Users/bob%@example.test/a", "", "a", ""},
		{"Other Users/bob=2f@example.test/a", "", "a", ""},
		{"Other Users/bob=41@example.test/a", "", "a", ""},
		{"Other Users/a b@example.test/a", "", "a", ""},
	} {
		owner, mailbox, ok := cutForeign(c.name)
		if !ok || owner != c.owner || mailbox != c.mailbox {
			t.Errorf("%q is %q and %q, %v", c.name, owner, mailbox, ok)
		}
		if c.canonical == "" {
			c.canonical = c.name
		}
		if got := canonical(c.name); got != c.canonical {
			t.Errorf("%q is canonically %q", c.name, got)
		}
	}
	for _, name := range []string{
		"", "INBOX", "Other Users", "Other Users/", "Other Users//", "Other Users//INBOX", "Other Users/../INBOX", "Other Users/bob/INBOX", "Other Users/bob@example.test",
		"Other Users/bob@example.test/", "other users/bob@example.test/INBOX", "/Other Users/bob@example.test/INBOX", "Other Users2/bob@example.test/INBOX",
	} {
		if owner, _, ok := cutForeign(name); ok {
			t.Errorf("%q is of %q", name, owner)
		}
	}
	for _, local := range []string{"bob", "a/b", "=", "=3D", "a=2Fb", "%*", "ü"} {
		if level := escapeLevel(local + "@example.test"); strings.ContainsAny(level, "/%*") {
			t.Errorf("%q becomes %q", local, level)
		} else if back, ok := unescapeLevel(level); !ok || back != local+"@example.test" {
			t.Errorf("%q becomes %q and %q", local, level, back)
		}
	}
}

func FuzzForeignName(f *testing.F) {
	f.Add("Other Users/bob=2Fa@example.test/INBOX/x")
	f.Add("Other Users/\"a b\"@example.test/inbox")
	f.Fuzz(func(t *testing.T, name string) {
		once := canonical(name)
		if twice := canonical(once); twice != once {
			t.Errorf("%q becomes %q and then %q", name, once, twice)
		}
		owner, mailbox, ok := cutForeign(name)
		if again, below, still := cutForeign(once); ok && owner != "" && (!still || again != owner || canonicalInbox(mailbox) != below) {
			t.Errorf("%q is of %q, and %q of %q", name, owner, once, again)
		}
	})
}

// TestSharedMailbox goes through the commands in a mailbox of somebody else.
func TestSharedMailbox(t *testing.T) {
	g, alice, bob := neighbours(t)
	alice.ok("CREATE Team")
	g.storage.deliver("Team", mail1)
	g.storage.deliver("Team", mail2)
	alice.ok("SETACL Team bob lrswitek")
	const team = `"Other Users/alice@example.test/Team"`
	bob.expect("NAMESPACE", `* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL`, "OK")
	lines := bob.ok(`SELECT "Other Users/ALICE@example.TEST/Team"`)
	id := ""
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "* OK [MAILBOXID ("); ok {
			id, _, _ = strings.Cut(rest, ")")
		}
	}
	if got := strings.Join(lines, "\n"); !strings.Contains(got, "* 2 EXISTS") || !strings.Contains(got, `PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)`) {
		t.Errorf("SELECT: %s", got)
	}
	bob.expect("STATUS "+team+" (MESSAGES MAILBOXID)", "* STATUS "+team+" (MESSAGES 2 MAILBOXID ("+id+"))", "OK")
	if own := strings.Join(bob.ok("STATUS INBOX (MAILBOXID)"), ""); strings.Contains(own, "("+id+")") || !strings.HasPrefix(id, "F") {
		t.Errorf("the id is %s, and of INBOX %s", id, own)
	}
	bob.expect("FETCH 1 BODY[TEXT]<0.5>", "* 1 FETCH (BODY[TEXT]<0> {5}", "First FLAGS (\\Seen))", "OK")
	alice.expect("SELECT Team", "* 2 EXISTS", "* 0 RECENT", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] flags that are kept`,
		"* OK [UNSEEN 2] first unseen message", fmt.Sprintf("* OK [UIDVALIDITY %d] UIDs are valid", g.uidValidity("Team")), "* OK [UIDNEXT 3] next UID", "* OK [HIGHESTMODSEQ 5] modification sequence",
		"* OK [MAILBOXID (F4)] mailbox's own", "OK [READ-WRITE]")
	// What one does the other sees.
	alice.expect(`STORE 2 +FLAGS (\Flagged work)`, `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft work)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft work \*)] flags that are kept`, `* 2 FETCH (FLAGS (\Flagged work))`, "OK")
	bob.expect("NOOP", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft work)`, `* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft work \*)] flags that are kept`, `* 2 FETCH (FLAGS (\Flagged work))`, "OK")
	bob.expect("SEARCH TEXT odd", "* SEARCH 2", "OK")
	bob.expect("SORT (SUBJECT) UTF-8 ALL", "* SORT 1 2", "OK")
	g.storage.deliver("Team", mail1)
	bob.expect("NOOP", "* 3 EXISTS", "OK")
	alice.expect("NOOP", "* 3 EXISTS", "OK")
	// Between one's own and the other's.
	bob.ok("COPY 1:2 INBOX")
	bob.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 2)", "OK")
	alice.expect("STATUS INBOX (MESSAGES)", "* STATUS INBOX (MESSAGES 0)", "OK")
	bob.ok("COPY 3 %s", team)
	bob.expect("NOOP", "OK")
	bob.ok("MOVE 4 Sent")
	alice.expect("NOOP", "OK") // it came and went
	bob.ok("APPEND %s (\\Seen) {%d+}\r\n%s", team, len(mail1), mail1)
	alice.expect("NOOP", "* 4 EXISTS", "OK")
	bob.ok("APPEND INBOX CATENATE (URL \"/Other%%20Users/alice@example.test/Team/;UID=1\")")
	bob.ok("REPLACE 4 %s {%d+}\r\n%s", team, len(mail2), mail2)
	alice.expect("NOOP", "* 4 EXPUNGE", "* 4 EXISTS", "OK")
	bob.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
	bob.expect("EXPUNGE", "* 1 EXPUNGE", "OK")
	bob.ok("CLOSE")
	// Names.
	bob.expect(`CREATE `+team[:len(team)-1]+`/sub"`, "OK [MAILBOXID (F")
	bob.expect(`CREATE `+team[:len(team)-1]+`/sub2" (USE (\Archive))`, "NO [USEATTR]")
	bob.expect(`CREATE "Other Users/alice@example.test/new"`, "NO [NOPERM]")
	bob.expect(`CREATE "Other Users/nobody@example.test/new"`, "NO [NOPERM]")
	bob.expect(`CREATE "Other Users"`, "NO [CANNOT]")
	bob.expect(`CREATE "Other Users/alice@example.test/"`, "NO [CANNOT]")
	bob.expect(`CREATE "Other Users/mine/too"`, "NO [CANNOT]")
	bob.expect(`CREATE "Other Users/bob@example.test/x"`, "NO [NOPERM]")
	bob.expect(`SELECT "Other Users/bob@example.test/INBOX"`, "NO [NONEXISTENT]")
	bob.expect(`RENAME INBOX "Other Users/mine"`, "NO [CANNOT]")
	bob.expect(`RENAME INBOX `+team, "NO [CANNOT]")
	bob.expect(`RENAME `+team+` mine`, "NO [CANNOT]")
	bob.expect(`RENAME "Other Users/nobody@example.test/x" mine`, "NO [CANNOT]")
	bob.expect(`RENAME `+team+` "Other Users/alice@example.test/Team2"`, "NO [NOPERM]")
	bob.expect(`DELETE `+team, "NO [NOPERM]")
	bob.expect(`DELETE "Other Users/alice@example.test/Team/sub"`, "NO [NOPERM]")
	alice.ok("SETACL Team/sub bob +x")
	bob.expect(`RENAME "Other Users/alice@example.test/Team/sub" "Other Users/alice@example.test/Team/below"`, "OK")
	bob.ok(`SELECT "Other Users/alice@example.test/Team/below"`)
	bob.expect(`DELETE "Other Users/alice@example.test/Team/below"`, "* OK [CLOSED] the selected mailbox was deleted", "OK")
	bob.expect("APPEND \"Other Users/alice@example.test/Sent\" {1}", "NO [TRYCREATE]")
	bob.expect("APPEND \"Other Users/nobody@example.test/Sent\" {1}", "NO [TRYCREATE]")
	bob.expect(`STATUS "Other Users/&-/INBOX" (MESSAGES)`, "NO [NONEXISTENT]")
	bob.expect(`STATUS "Other Users/&AGE-lice@example.test/Team" (MESSAGES)`, "NO [NONEXISTENT]") // not the shortest form of UTF-7
}

// TestOwnersAreRemembered: the directory is not asked for each command, but again after a while, so that an address can become somebody else's. What it
// does not say nobody guesses.
func TestOwnersAreRemembered(t *testing.T) {
	now := &clock{now: time.Now()} // by which connections have their deadlines, too
	d := &registry{ids: map[string]string{"alice@example.test": "alice", "bob@example.test": "bob"}}
	g := newGateway(t, func(o *Options) {
		in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
		directoryv1.RegisterDirectoryServiceServer(in, d)
		o.Directory, o.Now = directoryv1.NewDirectoryServiceClient(in.Client("imap")), now.time
	})
	alice, bob := g.connect(), g.connect()
	alice.ok("LOGIN alice x")
	bob.ok("LOGIN bob x")
	alice.ok("SETACL INBOX bob lr")
	d.set(func() { d.asked = 0 })
	for range 3 {
		bob.ok(`STATUS "Other Users/alice@example.test/INBOX" (MESSAGES)`)
		bob.expect(`STATUS "Other Users/carol@example.test/INBOX" (MESSAGES)`, "NO [NONEXISTENT]")
	}
	d.set(func() {
		if d.asked != 2 {
			t.Errorf("the directory was asked %d times", d.asked)
		}
	})
	d.set(func() { d.down = true })
	bob.ok(`STATUS "Other Users/alice@example.test/INBOX" (MESSAGES)`)
	bob.expect(`LIST "" */INBOX`, `* LIST (\HasNoChildren) "/" "Other Users/alice@example.test/INBOX"`, "OK")
	bob.expect(`STATUS "Other Users/dan@example.test/INBOX" (MESSAGES)`, "NO [UNAVAILABLE]")
	alice.expect("SETACL INBOX bob lr", "NO [UNAVAILABLE]")
	d.set(func() { d.down, d.ids["carol@example.test"] = false, "carol" })
	bob.expect(`MYRIGHTS "Other Users/carol@example.test/INBOX"`, "NO [NONEXISTENT]")
	carol := g.connect()
	carol.ok("LOGIN carol x")
	carol.ok("SETACL INBOX bob lr")
	now.add(strangerTime)
	bob.ok(`MYRIGHTS "Other Users/carol@example.test/INBOX"`)
	d.set(func() { d.ids["alice@example.test"] = "another" })
	bob.ok(`MYRIGHTS "Other Users/alice@example.test/INBOX"`)
	now.add(sharerTime)
	d.set(func() { d.down, d.asked = true, 0 })
	for range 3 { // what was known serves on, and not each command waits for the directory
		bob.ok(`MYRIGHTS "Other Users/alice@example.test/INBOX"`)
		bob.expect(`LIST "" */INBOX`, `* LIST (\HasNoChildren) "/" "Other Users/alice@example.test/INBOX"`,
			`* LIST (\HasNoChildren) "/" "Other Users/carol@example.test/INBOX"`, "OK")
	}
	d.set(func() {
		if d.down = false; d.asked != 3 {
			t.Errorf("the directory was asked %d times", d.asked)
		}
	})
	now.add(strangerTime)
	bob.expect(`MYRIGHTS "Other Users/alice@example.test/INBOX"`, "NO [NONEXISTENT]")
}

// TestListWithoutTheDirectory: one's own mailboxes are told, but not as if there were no others: a client would forget these.
func TestListWithoutTheDirectory(t *testing.T) {
	d := &registry{ids: map[string]string{"alice@example.test": "alice", "bob@example.test": "bob"}}
	g := newGateway(t, func(o *Options) {
		in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
		directoryv1.RegisterDirectoryServiceServer(in, d)
		o.Directory = directoryv1.NewDirectoryServiceClient(in.Client("imap"))
	})
	alice, bob := g.connect(), g.connect()
	alice.ok("LOGIN alice x")
	bob.ok("LOGIN bob x")
	alice.ok("SETACL INBOX bob lr")
	bob.ok(`SUBSCRIBE "Other Users/alice@example.test/INBOX"`)
	d.set(func() { d.down = true })
	g.engine.owners.Purge() // as after a restart
	own := []string{`* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST (\HasNoChildren \Trash) "/" Trash`}
	bob.expect(`LIST "" *`, append(own, "NO [UNAVAILABLE]")...)
	bob.expect(`LSUB "" *`, `* LSUB () "/" INBOX`, `* LSUB () "/" Sent`, `* LSUB () "/" Trash`, "NO [UNAVAILABLE]")
	bob.expect(`LIST (SUBSCRIBED) "" ("*")`, `* LIST (\Subscribed \HasNoChildren) "/" INBOX`, `* LIST (\Subscribed \HasNoChildren \Sent) "/" Sent`,
		`* LIST (\Subscribed \HasNoChildren \Trash) "/" Trash`, "NO [UNAVAILABLE]")
	bob.expect(`LIST "" INBOX`, own[0], "OK")
}

// registry is a directory of accounts by address.
type registry struct {
	people
	mu    sync.Mutex
	ids   map[string]string
	asked int
	down  bool
}

func (d *registry) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *registry) GetAccount(_ context.Context, r *directoryv1.GetAccountRequest) (*directoryv1.GetAccountResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.down {
		return nil, fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "the directory is down")
	}
	for address, id := range d.ids {
		if address == r.GetAddress() || id == r.GetAccountId() {
			return &directoryv1.GetAccountResponse{Account: &directoryv1.Account{AccountId: id, Address: address}}, nil
		}
	}
	return nil, fault.New(codes.NotFound, rpcv1.Reason_REASON_ACCOUNT_NOT_FOUND, "no such account")
}

// clock stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestSharedQuota: what is over quota is the owner's quota.
func TestSharedQuota(t *testing.T) {
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	l := &limits{set: map[string]*quotav1.Limit{}}
	quotav1.RegisterQuotaServiceServer(in, l)
	directoryv1.RegisterDirectoryServiceServer(in, people{})
	g := newGateway(t, func(o *Options) {
		o.Directory, o.Quota = directoryv1.NewDirectoryServiceClient(in.Client("imap")), quotav1.NewQuotaServiceClient(in.Client("imap"))
	})
	bytes := int64(20 << 10)
	l.set["alice"] = &quotav1.Limit{Bytes: &bytes}
	alice, bob := g.connect(), g.connect()
	alice.ok("LOGIN alice x")
	bob.ok("LOGIN bob x")
	alice.ok("SETACL INBOX bob lr")
	bob.expect("GETQUOTAROOT INBOX", "* QUOTAROOT INBOX", "OK")
	bob.expect(`GETQUOTAROOT "Other Users/alice@example.test/INBOX"`, `* QUOTAROOT "Other Users/alice@example.test/INBOX" "alice@example.test"`, `* QUOTA "alice@example.test" (STORAGE 10 20)`, "OK")
	alice.expect("GETQUOTAROOT INBOX", `* QUOTAROOT INBOX "User quota"`, `* QUOTA "User quota" (STORAGE 10 20)`, "OK")
	// RFC 9208 section 6: how much is in a mailbox is for those who may read it.
	alice.ok("SETACL INBOX bob l")
	bob.expect(`GETQUOTAROOT "Other Users/alice@example.test/INBOX"`, "NO [NOPERM]")
	bob.expect(`GETQUOTAROOT "Other Users/alice@example.test/Nothing"`, "NO [NONEXISTENT]")
}

// TestRightsOfTheSelected: RFC 4314 sections 4, 5.1.1 and 5.2.
func TestRightsOfTheSelected(t *testing.T) {
	g, alice, bob := neighbours(t)
	g.storage.deliver("INBOX", mail1)
	const inbox = `"Other Users/alice@example.test/INBOX"`
	for _, c := range []struct{ rights, permanent, tagged string }{
		{"lr", "()", "OK [READ-ONLY]"},
		{"lrs", `(\Seen)`, "OK [READ-WRITE]"},
		{"lrt", `(\Deleted)`, "OK [READ-WRITE]"},
		{"lrw", `(\Answered \Flagged \Draft \*)`, "OK [READ-WRITE]"},
		{"lri", "()", "OK [READ-WRITE]"},
		{"lre", "()", "OK [READ-WRITE]"},
		{"rkxap", "()", "OK [READ-ONLY]"},
	} {
		alice.ok("SETACL INBOX bob %s", c.rights)
		untagged, tagged := bob.do("SELECT %s", inbox)
		if !strings.HasPrefix(tagged, c.tagged) || !strings.Contains(strings.Join(untagged, "\n"), "[PERMANENTFLAGS "+c.permanent+"]") {
			t.Errorf("with %s: %q %s", c.rights, untagged, tagged)
		}
	}
	alice.ok("SETACL INBOX bob lrw")
	bob.ok("SELECT %s", inbox)
	bob.expect("FETCH 1 BODY[TEXT]<0.5>", "* 1 FETCH (BODY[TEXT]<0> {5}", "First)", "OK") // and not \Seen
	bob.expect(`STORE 1 +FLAGS (\Seen)`, "NO [NOPERM]")
	bob.expect(`STORE 1 +FLAGS (\Seen \Flagged)`, `* 1 FETCH (FLAGS (\Flagged))`, "OK")
	bob.expect(`STORE 1 +FLAGS.SILENT (\Seen \Answered)`, `* 1 FETCH (FLAGS (\Answered \Flagged))`, "OK")
	bob.expect("EXPUNGE", "NO [NOPERM]")
	alice.ok("SELECT INBOX")
	alice.ok(`STORE 1 +FLAGS (\Deleted)`)
	bob.expect("CLOSE", "OK CLOSE completed")
	alice.expect("NOOP", "OK")
	bob.ok("EXAMINE %s", inbox)
	bob.expect(`STORE 1 +FLAGS (\Flagged)`, "NO [CANNOT]")
}

// TestRightsChangeMeanwhile: a session hears of it, and ends when it may not read any more.
func TestRightsChangeMeanwhile(t *testing.T) {
	g, alice, bob := neighbours(t)
	g.storage.deliver("INBOX", mail1)
	const inbox = `"Other Users/alice@example.test/INBOX"`
	alice.ok("SETACL INBOX bob lrswite")
	alice.ok("SELECT INBOX")
	bob.ok("SELECT %s", inbox)
	alice.ok("SETACL INBOX bob lrs")
	bob.expect("NOOP", `* OK [PERMANENTFLAGS (\Seen)] rights have changed`, "OK")
	alice.ok("SETACL INBOX anyone lrw")
	bob.expect("NOOP", `* OK [PERMANENTFLAGS (\Answered \Flagged \Seen \Draft \*)] rights have changed`, "OK")
	alice.ok("DELETEACL INBOX anyone")
	alice.ok("SETACL INBOX bob lr")
	bob.expect("NOOP", `* OK [PERMANENTFLAGS ()] rights have changed`, "* OK [READ-ONLY] rights have changed", "OK")
	bob.expect(`STORE 1 +FLAGS (\Seen)`, "NO [NOPERM]")
	alice.ok("SETACL INBOX bob +i")
	bob.send("b IDLE\r\n")
	bob.until("* OK [READ-WRITE] rights have changed")
	alice.ok("SETACL INBOX carol lr") // which is not bob's business
	g.storage.deliver("INBOX", mail2)
	bob.until("* 2 EXISTS")
	alice.ok("DELETEACL INBOX bob")
	g.storage.deliver("INBOX", mail2)
	if lines := bob.until("* BYE"); len(lines) != 1 || lines[0] != "* BYE the selected mailbox is not shared any more" {
		t.Errorf("bob heard %q", lines)
	}
	carol := g.connect()
	carol.ok("LOGIN carol x")
	carol.ok("SELECT %s", inbox)
	alice.ok("DELETEACL INBOX carol")
	carol.send("c NOOP\r\n")
	carol.until("* BYE the selected mailbox is not shared any more")
}

// TestNotifyAndSearchShared: RFC 5465 and RFC 7377 name what others share, too.
func TestNotifyAndSearchShared(t *testing.T) {
	g, alice, bob := neighbours(t)
	alice.ok("CREATE Team")
	alice.ok("SETACL Team bob lr")
	alice.ok("SETACL INBOX bob l")
	g.storage.deliver("Team", mail1)
	g.storage.deliver("INBOX", mail1)
	const team = `"Other Users/alice@example.test/Team"`
	found := fmt.Sprintf(`(TAG "%%s" MAILBOX %s UIDVALIDITY %d) UID ALL 1`, team, g.uidValidity("Team"))
	for _, filter := range []string{`mailboxes ` + team, `subtree "Other Users"`, `subtree "Other Users/alice@example.test"`, `subtree-one "Other Users/alice@example.test"`} {
		bob.expect("ESEARCH IN ("+filter+") TEXT First", "* ESEARCH "+fmt.Sprintf(found, bob.nextTag()), "OK")
	}
	bob.expect("ESEARCH IN (personal) TEXT First", "OK")
	bob.expect("ESEARCH IN (subscribed) TEXT First", "OK")
	// What may be read and not listed is found by its name only (RFC 7377 section 2.2).
	alice.ok("CREATE Hidden")
	alice.ok("SETACL Hidden bob r")
	g.storage.deliver("Hidden", mail1)
	const hidden = `"Other Users/alice@example.test/Hidden"`
	for _, filter := range []string{"mailboxes (nowhere " + hidden + ")", "mailboxes " + hidden + " subtree-one " + hidden} {
		bob.expect("ESEARCH IN ("+filter+") TEXT First",
			fmt.Sprintf(`* ESEARCH (TAG "%s" MAILBOX %s UIDVALIDITY %d) UID ALL 1`, bob.nextTag(), hidden, g.uidValidity("Hidden")), "OK")
	}
	bob.expect(`ESEARCH IN (mailboxes "Other Users/alice@example.test/Sent" mailboxes "Other Users/nobody@example.test/INBOX") ALL`, "OK")
	bob.ok("SUBSCRIBE %s", team)
	bob.expect("ESEARCH IN (subscribed) 1:*", "* ESEARCH "+fmt.Sprintf(found, bob.nextTag()), "OK")
	bob.expect("ESEARCH IN (subscribed) UID *", "* ESEARCH "+fmt.Sprintf(found, bob.nextTag()), "OK")
	bob.ok("SELECT %s", team)
	bob.expect("ESEARCH IN (selected) 1", "* ESEARCH "+fmt.Sprintf(found, bob.nextTag()), "OK")
	bob.ok("UNSELECT")
	bob.expect(`NOTIFY SET STATUS (subtree "Other Users" (MessageNew MessageExpunge FlagChange MailboxName))`,
		`* LIST (\Noselect \HasNoChildren \NoAccess) "/" "Other Users/alice@example.test/INBOX"`,
		fmt.Sprintf("* STATUS %s (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 3)", team, g.uidValidity("Team")), "OK")
	g.storage.deliver("INBOX", mail2)
	g.storage.deliver("Team", mail2)
	bob.told(fmt.Sprintf("* STATUS %s (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d UNSEEN 2)", team, g.uidValidity("Team")))
	alice.ok("DELETEACL Team bob")
	bob.told(`* LIST (\NonExistent \HasChildren) "/" "Other Users/alice@example.test"`, `* LIST (\NonExistent \HasNoChildren) "/" `+team)
	bob.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
	alice.ok("SETACL Sent bob lr")
	other := g.connect()
	other.ok("LOGIN bob x")
	other.expect("CREATE mine", "OK ")
	bob.told(`* LIST (\HasNoChildren) "/" mine`)
}

// TestSharedMetadata: private annotations are of who sets them, which storage holds; here it is that the right account is asked.
func TestSharedMetadata(t *testing.T) {
	_, alice, bob := neighbours(t)
	alice.ok("CREATE Team")
	alice.ok("SETACL Team bob lrw")
	alice.ok(`SETMETADATA Team (/shared/comment "ours")`)
	bob.ok("SETMETADATA INBOX (/shared/comment \"mine\")")
	const team = `"Other Users/alice@example.test/Team"`
	bob.expect("GETMETADATA "+team+" /shared/comment", "* METADATA "+team+` (/shared/comment "ours")`, "OK")
	bob.ok("SETMETADATA " + team + ` (/shared/comment "all of us")`)
	alice.expect("GETMETADATA Team /shared/comment", `* METADATA Team (/shared/comment "all of us")`, "OK")
	bob.expect(`LIST "" (INBOX "Other Users/*/Team") RETURN (METADATA (/shared/comment))`,
		`* LIST (\HasNoChildren) "/" INBOX`, `* METADATA INBOX (/shared/comment "mine")`,
		`* LIST (\HasNoChildren) "/" `+team, "* METADATA "+team+` (/shared/comment "all of us")`, "OK")
	bob.expect(`GETMETADATA "Other Users/nobody@example.test/Team" /shared/comment`, "NO [NONEXISTENT]")
	bob.expect(`SETMETADATA "Other Users/nobody@example.test/Team" (/shared/comment NIL)`, "NO [NONEXISTENT]")
}
