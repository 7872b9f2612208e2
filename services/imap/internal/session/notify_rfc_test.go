package session

import (
	"fmt"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// TestNotifySetSaysWhatHasHappened: RFC 5465 section 3.1, NOTIFY SET is a NOOP, too.
func TestNotifySetSaysWhatHasHappened(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	box := g.selected("INBOX") // by which the view is up to date
	box.ok(`STORE 1 +FLAGS.SILENT (\Seen)`)
	k.expect("NOTIFY SET (personal NONE)", `* 1 FETCH (FLAGS (\Seen))`, "OK NOTIFY completed")
	// Without SELECTED there is nothing of the selected mailbox (section 3.1), not in IDLE either (section 4).
	box.ok(`STORE 1 +FLAGS.SILENT (\Flagged)`)
	k.expect("NOOP", "OK")
	k.send("i IDLE\r\n")
	k.until("+ ")
	box.ok("COPY 1 INBOX")
	k.send("DONE\r\n")
	k.told("* 3 EXISTS", "i OK IDLE completed")
	// The same with SELECTED NONE.
	k.expect("NOTIFY SET (selected NONE)", "OK")
	box.ok(`STORE 1 -FLAGS.SILENT (\Flagged)`)
	k.expect("NOOP", "OK")
	k.expect("NOTIFY NONE", "OK")
	box.ok(`STORE 1 +FLAGS.SILENT (\Flagged)`)
	k.expect("NOOP", `* 1 FETCH (FLAGS (\Flagged \Seen))`, "OK")
}

// TestNotifyStatus: RFC 5465 section 3.1, with FlagChange the first STATUS has HIGHESTMODSEQ also where CONDSTORE is not enabled.
func TestNotifyStatus(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("Sent", mail1)
	k := g.login()
	status := fmt.Sprintf("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1", g.uidValidity("Sent"))
	k.expect("NOTIFY SET STATUS (mailboxes Sent (MessageNew MessageExpunge FlagChange))", status+" HIGHESTMODSEQ 2)", "OK")
	k.expect("NOTIFY SET STATUS (mailboxes Sent (MessageNew MessageExpunge))", status+")", "OK")
	k.expect("NOTIFY SET STATUS (mailboxes nowhere (MessageNew MessageExpunge))", "OK")
	k.expect("NOTIFY SET STATUS (mailboxes Sent (MailboxName))", "OK")
	k.expect("NOTIFY SET STATUS (mailboxes \"S*\" (MessageNew MessageExpunge))", "OK") // section 6.6: no wildcards
}

// TestNotifyGroups: RFC 5465 section 6 with its example, more than one group may be about a mailbox.
func TestNotifyGroups(t *testing.T) {
	g := newGateway(t)
	k, other := g.login(), g.login()
	k.expect("notify set (mailboxes INBOX (Messagenew messageExpunge)) (personal (SubscriptionChange))", "OK")
	inbox := g.uidValidity("INBOX")
	g.storage.deliver("INBOX", mail1)
	k.told(fmt.Sprintf("* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)", inbox))
	other.ok("UNSUBSCRIBE INBOX")
	k.told(`* LIST (\HasNoChildren) "/" INBOX`)
	other.ok("SUBSCRIBE INBOX")
	k.told(`* LIST (\Subscribed \HasNoChildren) "/" INBOX`)
	// The selected mailbox has its own group only.
	k.ok("SELECT INBOX")
	k.expect("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge)) (personal (MessageNew FlagChange MessageExpunge))", "OK")
	g.storage.deliver("INBOX", mail1)
	k.told("* 2 EXISTS", "* 2 FETCH (UID 2 FLAGS ())")
	g.storage.flag("INBOX", 1, storagev1.Flag_FLAG_SEEN) // which is not wanted
	g.storage.deliver("Sent", mail1)
	k.told(fmt.Sprintf("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)", g.uidValidity("Sent")))
	// A group that wants nothing keeps later ones away.
	k.expect("NOTIFY SET STATUS (mailboxes (Sent Trash) NONE) (personal (MessageNew MessageExpunge))", "OK")
}

// TestNotifyNames: RFC 5465 section 5.4.
func TestNotifyNames(t *testing.T) {
	g := newGateway(t)
	k, other := g.login(), g.login()
	other.ok("CREATE Work")
	k.ok("NOTIFY SET (personal (MailboxName))")
	// The parent of what comes or goes is affected, too.
	other.ok("CREATE Work/Mine")
	k.told(`* LIST (\HasChildren) "/" Work`, `* LIST (\HasNoChildren) "/" Work/Mine`)
	// With a mailbox its children are renamed, of which nothing more is told.
	other.ok("RENAME Work Play")
	k.told(`* LIST (\HasChildren) "/" Play ("OLDNAME" (Work))`)
	other.ok("RENAME Play/Mine Yours")
	k.told(`* LIST (\HasNoChildren) "/" Yours ("OLDNAME" (Play/Mine))`)
	other.ok("CREATE Play/More")
	k.told(`* LIST (\HasChildren) "/" Play`, `* LIST (\HasNoChildren) "/" Play/More`)
	other.ok("DELETE Play/More")
	k.told(`* LIST (\HasNoChildren) "/" Play`, `* LIST (\NonExistent) "/" Play/More`)
	// Names alone do not make the messages known.
	g.storage.deliver("Yours", mail1)
	k.expect("NOOP", "OK NOOP completed")
}

// TestNotifyMetadata: RFC 5465 sections 5.6 and 5.7, which a server with METADATA must know.
func TestNotifyMetadata(t *testing.T) {
	g := newGateway(t)
	k, other := g.login(), g.login()
	other.ok(`SETMETADATA INBOX (/shared/comment "old")`)
	k.ok("NOTIFY SET (mailboxes INBOX (MailboxMetadataChange ServerMetadataChange))")
	other.ok(`SETMETADATA INBOX (/shared/comment "new" /private/comment "mine")`)
	k.told("* METADATA INBOX /private/comment /shared/comment")
	other.ok(`SETMETADATA INBOX (/private/comment NIL /shared/comment "new")`)
	k.told("* METADATA INBOX /private/comment")
	other.ok(`SETMETADATA Sent (/private/comment "elsewhere")`)
	other.ok(`SETMETADATA "" (/private/comment "server")`)
	k.told(`* METADATA "" /private/comment`)
	// What the client itself changes it knows.
	k.expect(`SETMETADATA INBOX (/private/comment "again")`, "OK")
	k.expect(`SETMETADATA "" (/private/comment NIL)`, "OK")
	other.ok(`SETMETADATA INBOX (/shared/comment NIL)`)
	k.told("* METADATA INBOX /shared/comment")
	k.expect("NOOP", "OK")
}
