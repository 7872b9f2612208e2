package session

import (
	"fmt"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// told reads lines that come without a command.
func (k *talk) told(want ...string) {
	k.t.Helper()
	for _, w := range want {
		if line := k.line(); line != w {
			k.t.Fatalf("got %q, want %q", line, w)
		}
	}
}

// TestNotifySelected: RFC 5465 section 6.1, what happens in the selected mailbox is told at once, new messages with what was asked for.
func TestNotifySelected(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.login()
	if lines := k.ok("CAPABILITY"); !strings.Contains(lines[0], " NOTIFY ") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.expect("NOTIFY SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) MessageExpunge))", "OK NOTIFY completed")
	k.ok("SELECT INBOX")
	g.storage.deliver("INBOX", mail1)
	k.told("* 4 EXISTS", "* 4 FETCH (UID 4 BODY[HEADER.FIELDS (SUBJECT)] {16}", "Subject: one", "", ")")
	g.storage.remove("INBOX", 2)
	k.told("* 2 EXPUNGE")
	g.storage.flag("INBOX", 1, storagev1.Flag_FLAG_SEEN) // nobody wants to know
	k.expect("NOOP", "OK NOOP completed")
	k.expect("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange))", "OK")
	g.storage.flag("INBOX", 3, storagev1.Flag_FLAG_SEEN)
	k.told(`* 2 FETCH (UID 3 FLAGS (\Seen))`)
	g.storage.remove("INBOX", 1)
	g.storage.deliver("INBOX", mail1)
	k.told("* 4 EXISTS") // the expunge waits
	k.expect("FETCH 4 UID", "* 4 FETCH (UID 5)", "OK")
	k.expect("NOOP", "* 1 EXPUNGE", "OK")
	// Messages come in IDLE, too, and with the answers to commands.
	k.expect("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge))", "OK")
	k.send("i IDLE\r\n")
	k.until("+ ")
	g.storage.deliver("INBOX", mail1)
	k.told("* 4 EXISTS", "* 4 FETCH (FLAGS ())")
	k.send("DONE\r\n")
	k.until("i OK")
	k.expect(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(mail1), mail1), "* 5 EXISTS", "OK [APPENDUID") // its own
	k.expect("NOTIFY NONE", "OK")
	g.storage.remove("INBOX", 3)
	k.expect("NOOP", "* 1 EXPUNGE", "OK")
	g.sessions.Drain(t.Context(), 0, "going down")
	k.told("* BYE going down")
}

// TestNotifyOthers: RFC 5465 section 5 and its examples, of mailboxes that are not selected.
func TestNotifyOthers(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("CREATE Lists/Lemonade")
	k.ok("CREATE misc")
	g.storage.deliver("misc", mail1)
	lemonade, misc := g.uidValidity("Lists/Lemonade"), g.uidValidity("misc")
	k.ok("SELECT INBOX")
	k.expect("NOTIFY SET STATUS (selected (MessageNew MessageExpunge)) (mailboxes misc NONE) (subtree Lists (MessageNew MessageExpunge))",
		"* STATUS Lists (MESSAGES 0 UIDNEXT 1 UIDVALIDITY "+fmt.Sprint(g.uidValidity("Lists"))+" UNSEEN 0)",
		fmt.Sprintf("* STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 1 UIDVALIDITY %d UNSEEN 0)", lemonade), "OK NOTIFY completed")
	g.storage.deliver("misc", mail1) // NONE
	g.storage.deliver("Lists/Lemonade", mail1)
	k.told(fmt.Sprintf("* STATUS Lists/Lemonade (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)", lemonade))
	g.storage.flag("Lists/Lemonade", 1, storagev1.Flag_FLAG_SEEN) // flags were not asked for
	g.storage.deliver("INBOX", mail1)
	k.told("* 1 EXISTS")
	g.storage.remove("Lists/Lemonade", 1)
	k.told(fmt.Sprintf("* STATUS Lists/Lemonade (MESSAGES 0 UIDNEXT 2 UIDVALIDITY %d UNSEEN 0)", lemonade))
	// Flags and names. What this client does, and others do.
	k.ok("ENABLE CONDSTORE")
	k.expect("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))", "OK")
	g.storage.flag("misc", 1, storagev1.Flag_FLAG_SEEN)
	k.told(fmt.Sprintf("* STATUS misc (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 4)", misc))
	other := g.login()
	other.ok("CREATE NewMailbox")
	k.told(`* LIST (\HasNoChildren) "/" NewMailbox`, fmt.Sprintf("* STATUS NewMailbox (MESSAGES 0 UIDNEXT 1 UIDVALIDITY %d UNSEEN 0 HIGHESTMODSEQ 1)", g.uidValidity("NewMailbox")))
	other.ok("RENAME NewMailbox Renamed")
	k.told(`* LIST (\HasNoChildren) "/" Renamed ("OLDNAME" (NewMailbox))`)
	other.ok("SUBSCRIBE Renamed")
	k.told(`* LIST (\Subscribed \HasNoChildren) "/" Renamed`)
	g.storage.deliver("Renamed", mail1)
	k.told(fmt.Sprintf("* STATUS Renamed (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 2)", g.uidValidity("Renamed")))
	other.ok("UNSUBSCRIBE Renamed")
	k.told(`* LIST (\HasNoChildren) "/" Renamed`)
	other.ok("DELETE Renamed")
	k.told(`* LIST (\NonExistent) "/" Renamed`)
	// In IDLE the same is told.
	k.send("i IDLE\r\n")
	k.until("+ ")
	g.storage.deliver("misc", mail1)
	k.told(fmt.Sprintf("* STATUS misc (MESSAGES 3 UIDNEXT 4 UIDVALIDITY %d UNSEEN 2 HIGHESTMODSEQ 5)", misc))
	k.send("DONE\r\n")
	k.until("i OK")
	k.ok("UNAUTHENTICATE")
	k.ok("LOGIN alice secret")
}

// TestNotifyRefused: RFC 5465 section 5 and section 8.
func TestNotifyRefused(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	for _, c := range []struct{ arguments, want string }{
		{"SET (personal (MessageNew MessageExpunge AnnotationChange))", "NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange)] "},
		{"SET (selected (ServerMetadataChange))", "BAD "},
		{"SET (personal (MessageNew))", "BAD "},
		{"SET (personal (MessageExpunge))", "BAD "},
		{"SET (personal (FlagChange))", "BAD "},
		{"SET (personal (MessageNew (UID) MessageExpunge))", "BAD "},
		{"SET (selected (MailboxName))", "BAD "},
		{"SET (selected (MessageNew MessageExpunge)) (selected-delayed (MessageNew MessageExpunge))", "BAD "},
		{"SET (selected (MessageNew (FROB) MessageExpunge))", "BAD "},
		{"SET (personal ())", "BAD "},
		{"SET (nobody (MailboxName))", "BAD "},
		{"SET", "BAD "},
		{"SET STATUS", "BAD "},
		{"NEVER", "BAD "},
		{"NONE now", "BAD "},
	} {
		k.expect("NOTIFY "+c.arguments, c.want)
		k.ok("NOOP")
	}
	for i := range maxNotified {
		g.storage.mu.Lock()
		g.storage.create("alice", fmt.Sprint("many/", i), 0)
		g.storage.mu.Unlock()
	}
	k.expect("NOTIFY SET (personal (MessageNew MessageExpunge))", "NO [NOTIFICATIONOVERFLOW]")
	k.expect("NOTIFY SET (subtree many (MessageNew MessageExpunge MailboxName))", "OK")
	k.expect("CREATE many/more", "OK [MAILBOXID")
	k.told("* OK [NOTIFICATIONOVERFLOW] these are too many mailboxes")
	k.expect("CREATE many/evenmore", "OK")
}

// TestNotifyWhenStorageIsBack: what could not be told is told later.
func TestNotifyWhenStorageIsBack(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("NOTIFY SET (subscribed (MessageNew MessageExpunge))")
	g.storage.setDown(true)
	g.storage.deliver("Sent", mail1)
	<-g.storage.refused
	g.storage.setDown(false)
	k.told(fmt.Sprintf("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)", g.uidValidity("Sent")))
}
