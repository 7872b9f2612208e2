package session

import (
	"fmt"
	"strings"
	"testing"
)

// TestNotifyLeavesOutOneself: RFC 5465 section 5, what a client does itself it is not told, and section 5.2, nothing is fetched of what it adds.
func TestNotifyLeavesOutOneself(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k, other := g.selected("INBOX"), g.selected("INBOX")
	k.expect("NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MailboxName SubscriptionChange))", "OK")
	for _, command := range []string{"CREATE Mine/One", "RENAME Mine Yours", "SUBSCRIBE Yours", "UNSUBSCRIBE INBOX", "DELETE Yours/One", "DELETE Yours"} {
		k.ok("%s", command)
	}
	inbox := g.uidValidity("INBOX")
	k.expect("COPY 1 INBOX", "* 2 EXISTS", fmt.Sprintf("OK [COPYUID %d 1 2]", inbox))
	k.expect(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(mail1), mail1), "* 3 EXISTS", "OK [APPENDUID")
	k.expect(fmt.Sprintf("UID REPLACE 3 INBOX {%d+}\r\n%s", len(mail1), mail1), fmt.Sprintf("* OK [APPENDUID %d 4] replacement is stored", inbox), "* 4 EXISTS", "* 3 EXPUNGE", "OK")
	other.ok("COPY 1 INBOX")
	k.told("* 4 EXISTS", "* 4 FETCH (UID 5)")
	other.ok("CREATE Work")
	k.told(`* LIST (\HasNoChildren) "/" Work`)
	other.ok("RENAME Work Play")
	k.told(`* LIST (\HasNoChildren) "/" Play ("OLDNAME" (Work))`)
}

// TestNotifyFetchesWhatCommandsTell: a new message may be told of before a command does its work, and what was asked for of it comes with the answer.
func TestNotifyFetchesWhatCommandsTell(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	k.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
	const rounds = 200
	fetched := map[string]bool{}
	take := func(lines []string) {
		for _, line := range lines {
			if strings.Contains(line, " FETCH (UID ") {
				fetched[line] = true
			}
		}
	}
	for range rounds {
		done := make(chan struct{})
		go func() {
			g.storage.deliver("INBOX", mail1)
			close(done)
		}()
		take(k.ok("SEARCH ALL"))
		<-done
	}
	for len(fetched) < rounds {
		line := k.line()
		if !strings.Contains(line, " EXISTS") && !strings.Contains(line, " FETCH (UID ") {
			t.Fatalf("got %q with %d of %d messages", line, len(fetched), rounds)
		}
		take([]string{line})
	}
}

// TestNotifyAccess: RFC 5465 sections 3.1 and 5.9. What may be listed and not read is said to be so, when it is asked for and when that changes.
func TestNotifyAccess(t *testing.T) {
	g, alice, bob := neighbours(t)
	alice.ok("CREATE Team")
	alice.ok("SETACL Team bob l")
	const team = `"` + ofAlice + `Team"`
	bob.expect(`NOTIFY SET STATUS (subtree "Other Users" (MessageNew MessageExpunge))`, `* LIST (\Noselect \HasNoChildren \NoAccess) "/" `+team, "OK")
	bob.expect(`NOTIFY SET (subtree "Other Users" NONE)`, "OK")
	bob.expect(`NOTIFY SET (mailboxes `+team+` (MessageNew MessageExpunge))`, `* LIST (\Noselect \HasNoChildren \NoAccess) "/" `+team, "OK")
	g.storage.deliver("Team", mail1)
	alice.ok("SETACL Team bob +r")
	bob.told(`* LIST (\HasNoChildren) "/" `+team, fmt.Sprintf("* STATUS %s (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)", team, g.uidValidity("Team")))
	g.storage.deliver("Team", mail1)
	bob.told(fmt.Sprintf("* STATUS %s (MESSAGES 2 UIDNEXT 3 UIDVALIDITY %d UNSEEN 2)", team, g.uidValidity("Team")))
	alice.ok("SETACL Team bob -r")
	bob.told(`* LIST (\Noselect \HasNoChildren \NoAccess) "/" ` + team)
}

// TestNotifyOfAnotherMailbox: RFC 5465 section 5.1, who hears of flags hears that a name has another UIDVALIDITY, and section 6.4, what comes to be in a
// group is watched.
func TestNotifyOfAnotherMailbox(t *testing.T) {
	g := newGateway(t)
	k, other := g.login(), g.login()
	other.ok("CREATE One")
	other.ok("CREATE Two")
	k.expect("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange))", "OK")
	status := func(name string, messages int) string {
		return fmt.Sprintf("* STATUS %s (MESSAGES %d UIDNEXT %d UIDVALIDITY %d UNSEEN %d)", name, messages, messages+1, g.uidValidity(name), messages)
	}
	other.ok("DELETE One")
	other.ok("CREATE One")
	k.told(status("One", 0))
	other.ok("DELETE One")
	other.ok("RENAME Two One") // which is as old as it was
	k.told(status("One", 0))
	k.expect("NOTIFY SET (subscribed (MessageNew MessageExpunge))", "OK")
	other.ok("SUBSCRIBE One")
	k.ok("STATUS INBOX (MESSAGES)")
	g.storage.deliver("One", mail1)
	k.told(status("One", 1))
}

// TestNotifyWithQresync: RFC 5465 section 5.3, VANISHED comes in the place of EXPUNGE, and what is held back is as in RFC 7162 section 3.2.
func TestNotifyWithQresync(t *testing.T) {
	g := newGateway(t)
	g.storage.arrange(1, 5, 9, nil, letters(1, 4, 9)...)
	k := g.login()
	k.ok("ENABLE QRESYNC")
	k.ok("NOTIFY SET (selected (MessageNew (UID MODSEQ) MessageExpunge FlagChange))")
	k.ok("SELECT INBOX")
	g.storage.remove("INBOX", 1)
	k.told("* VANISHED 1")
	g.storage.deliver("INBOX", mail1)
	k.told("* 4 EXISTS", "* 4 FETCH (UID 5 MODSEQ (11))")
	k.ok("NOTIFY SET (selected-delayed (MessageNew MessageExpunge FlagChange)) (mailboxes Sent (MessageNew MessageExpunge))")
	g.storage.remove("INBOX", 2)
	g.storage.flag("INBOX", 3, flagSeen)
	k.told(`* 2 FETCH (UID 3 FLAGS (\Seen) MODSEQ (13))`)
	k.expect("FETCH 2 UID", "* 2 FETCH (UID 3)", "* OK [HIGHESTMODSEQ 11] modification sequence", "OK")
	k.expect("NOOP", "* VANISHED 2", "* OK [HIGHESTMODSEQ 13] modification sequence", "OK")
	g.storage.deliver("Sent", mail1)
	k.told(fmt.Sprintf("* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 2)", g.uidValidity("Sent")))
}
