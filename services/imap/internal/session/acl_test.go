package session

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
)

// neighbours gives a gateway for everybody at example.test, and connections of two of them.
func neighbours(t *testing.T) (g *gateway, alice, bob *talk) {
	g = newGateway(t, withPeople)
	alice, bob = g.connect(), g.connect()
	alice.ok("LOGIN alice x")
	bob.ok("LOGIN bob x")
	return g, alice, bob
}

// withPeople has the directory know people.
func withPeople(o *Options) {
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	directoryv1.RegisterDirectoryServiceServer(in, people{})
	o.Directory = directoryv1.NewDirectoryServiceClient(in.Client("imap"))
}

const ofAlice = "Other Users/alice@example.test/"

// TestACL has the examples of RFC 4314 sections 2.1.1 and 3, in which Fred is alice.
func TestACL(t *testing.T) {
	_, alice, _ := neighbours(t)
	if line := alice.ok("CAPABILITY")[0]; !strings.Contains(line, " ACL ") || !strings.Contains(line, " RIGHTS=texk ") || !strings.Contains(line, " LIST-MYRIGHTS ") {
		t.Errorf("CAPABILITY: %q", line)
	}
	alice.ok("CREATE INBOX/Drafts")
	const owner = "* ACL INBOX/Drafts alice@example.test lrswipkxteacd"
	alice.expect("GETACL INBOX/Drafts", owner, "OK GETACL completed")
	// 2.1.1
	alice.expect("SeTacl INBOX/Drafts David lrswida", "OK SETACL completed")
	alice.expect("getacl INBOX/Drafts", owner+" david@example.test lrswitead", "OK")
	alice.expect("Setacl INBOX/Drafts Byron lrswikda", "OK")
	alice.expect("getAcl inbox/Drafts", owner+" byron@example.test lrswikteacd david@example.test lrswitead", "OK")
	alice.expect("SETACL INBOX/Drafts Byron cx", "OK")
	alice.expect("DELETEACL INBOX/Drafts David@EXAMPLE.test", "OK DELETEACL completed")
	alice.expect("GETACL INBOX/Drafts", owner+" byron@example.test kxc", "OK")
	alice.expect("DELETEACL INBOX/Drafts David", "OK DELETEACL completed")
	alice.expect(`SETACL INBOX/Drafts byron ""`, "OK")
	// 3.1
	alice.expect("SETACL INBOX/Drafts Chris lrswi", "OK")
	alice.expect("SETACL INBOX/Drafts Chris +cda", "OK")
	alice.expect("GETACL INBOX/Drafts", owner+" chris@example.test lrswikxteacd", "OK")
	alice.expect("SETACL INBOX/Drafts Chris -cdaa", "OK")
	alice.expect("SETACL INBOX/Drafts Chris -", "OK")
	alice.expect("SETACL INBOX/Drafts Chris +", "OK")
	alice.expect("SETACL INBOX/Drafts anyone lr", "OK")
	alice.expect("GETACL INBOX/Drafts", owner+" anyone lr chris@example.test lrswi", "OK")
	alice.expect("SETACL INBOX/Drafts John lrQswicda", "BAD rights are lower-case letters")
	alice.expect("SETACL INBOX/Drafts John lrqswicda", "BAD the right 'q' is not known")
	alice.ok("NOOP")
	alice.expect("SETACL INBOX/Drafts John lr1", "BAD ")
	alice.expect("SETACL INBOX/Drafts John lr+s", "BAD ")
	alice.ok("NOOP")
	// 3.2: there are no negative rights, and the owner has his always.
	alice.expect("SETACL INBOX/Drafts -Fred wetd", "NO [CANNOT] negative rights")
	alice.expect("DELETEACL INBOX/Drafts -Fred", "NO [CANNOT] negative rights")
	alice.expect("SETACL INBOX/Drafts alice lr", "NO [CANNOT] the owner has all rights")
	alice.expect("DELETEACL INBOX/Drafts alice@example.test", "NO [CANNOT]")
	// 3.4: the identifier is as it was given.
	alice.expect("LISTRIGHTS INBOX/Drafts smith", `* LISTRIGHTS INBOX/Drafts smith "" l r s w i p k x t e a c d`, "OK LISTRIGHTS completed")
	alice.expect(`listrights INBOX/Drafts "Anyone"`, `* LISTRIGHTS INBOX/Drafts Anyone "" l r s w i p k x t e a c d`, "OK")
	alice.expect("LISTRIGHTS INBOX/Drafts ALICE", "* LISTRIGHTS INBOX/Drafts ALICE lrswipkxteacd", "OK")
	// 5.1.1: a change takes place before what is asked behind it.
	alice.send("p1 SETACL INBOX/Drafts smith lr\r\np2 GETACL INBOX/Drafts\r\np3 SETACL INBOX/Drafts smith -r\r\np4 GETACL INBOX/Drafts\r\np5 MYRIGHTS INBOX\r\n")
	got := strings.Join(alice.until("p5 "), "\n")
	for _, line := range []string{"p1 OK SETACL completed\n" + owner + " anyone lr chris@example.test lrswi smith@example.test lr\np2 OK", "p3 OK SETACL completed\n" + owner + " anyone lr chris@example.test lrswi smith@example.test l\np4 OK"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in %s", line, got)
		}
	}
	// 3.5
	alice.expect("MYRIGHTS INBOX", "* MYRIGHTS INBOX lrswipkxteacd", "OK MYRIGHTS completed")
}

func TestACLRefused(t *testing.T) {
	g, alice, bob := neighbours(t)
	g.connect().expect("GETACL INBOX", "BAD [CLIENTBUG] log in first")
	for _, command := range []string{"GETACL", "GETACL INBOX bob", "SETACL INBOX bob", "SETACL INBOX", "DELETEACL INBOX", "LISTRIGHTS INBOX", "MYRIGHTS", "MYRIGHTS INBOX x", `SETACL INBOX "" lr`} {
		alice.expect(command, "BAD ")
		alice.ok("NOOP")
	}
	for identifier, want := range map[string]string{
		"nobody": "NO [CANNOT]", "bob@elsewhere.test": "NO [CANNOT]", `"bob smith"`: "NO [CANNOT]", "@example.test": "NO [CANNOT]", "{4+}\r\nbo\x7fb": "BAD ", "{2+}\r\n\xff\xfe": "BAD ",
	} {
		alice.expect("SETACL INBOX "+identifier+" lr", want)
		alice.expect("LISTRIGHTS INBOX "+identifier, want)
		alice.ok("NOOP")
	}
	for _, command := range []string{`GETACL "%s"`, `SETACL "%s" bob lr`, `SETACL "%s" nobody lr`, `DELETEACL "%s" bob`, `LISTRIGHTS "%s" bob`, `MYRIGHTS "%s"`, `STATUS "%s" (MESSAGES)`, `SELECT "%s"`, `DELETE "%s"`} {
		// What one may not know of is as what there is not (RFC 4314 section 6).
		alice.ok("SETACL Sent bob p")
		for _, name := range []string{ofAlice + "Nowhere", ofAlice + "Sent", ofAlice + "Trash", "Other Users/nobody@example.test/INBOX", "Nowhere"} {
			bob.expect(strings.Replace(command, "%s", name, 1), "NO [NONEXISTENT] mailbox does not exist")
		}
		if strings.HasPrefix(command, "MYRIGHTS") {
			continue
		}
		alice.ok("SETACL Sent bob lkp")
		bob.expect(strings.Replace(command, "%s", ofAlice+"Sent", 1), "NO [NOPERM]")
	}
	alice.ok("SETACL Sent bob a")
	bob.expect(`GETACL "`+ofAlice+`Sent"`, `* ACL "`+ofAlice+`Sent" alice@example.test lrswipkxteacd bob@example.test a`, "OK")
	bob.expect(`SETACL "`+ofAlice+`Sent" carol lr`, "OK")
	bob.expect(`SETACL "`+ofAlice+`Sent" alice lr`, "NO [CANNOT]")
	alice.expect("GETACL Sent", "* ACL Sent alice@example.test lrswipkxteacd bob@example.test a carol@example.test lr", "OK")
	g.storage.setDown(true)
	alice.expect("GETACL INBOX", "NO [UNAVAILABLE]")
	alice.expect("SETACL INBOX bob lr", "NO [UNAVAILABLE]")
	alice.expect("MYRIGHTS INBOX", "NO [UNAVAILABLE]")
}

// TestListMyRights: RFC 8440 section 4.
func TestListMyRights(t *testing.T) {
	_, alice, bob := neighbours(t)
	alice.ok("CREATE foo")
	alice.ok("CREATE foo/bar")
	alice.ok("SETACL foo/bar bob lrs")
	alice.ok("SETACL Sent anyone l")
	for _, name := range []string{"Sent", "Trash"} {
		bob.ok("DELETE %s", name)
		bob.ok("UNSUBSCRIBE %s", name)
	}
	own := []string{`* LIST (\HasNoChildren) "/" INBOX`, `* MYRIGHTS INBOX lrswipkxteacd`}
	bob.expect(`LIST "" INBOX RETURN (MYRIGHTS)`, own[0], own[1], "OK LIST completed")
	bob.expect(`LIST "" * RETURN (MYRIGHTS STATUS (MESSAGES))`,
		own[0], "* STATUS INBOX (MESSAGES 0)", own[1],
		`* LIST (\NonExistent \HasChildren) "/" "Other Users"`,
		`* LIST (\NonExistent \HasChildren) "/" "Other Users/alice@example.test"`,
		`* LIST (\Noselect \HasNoChildren) "/" "Other Users/alice@example.test/Sent"`,
		`* MYRIGHTS "Other Users/alice@example.test/Sent" l`,
		`* LIST (\NonExistent \HasChildren) "/" "Other Users/alice@example.test/foo"`,
		`* LIST (\HasNoChildren) "/" "Other Users/alice@example.test/foo/bar"`,
		`* STATUS "Other Users/alice@example.test/foo/bar" (MESSAGES 0)`,
		`* MYRIGHTS "Other Users/alice@example.test/foo/bar" lrs`, "OK LIST completed")
	bob.expect(`LIST "" % RETURN (MYRIGHTS)`, own[0], own[1], `* LIST (\NonExistent \HasChildren) "/" "Other Users"`, "OK")
	bob.ok(`SUBSCRIBE "` + ofAlice + `foo/bar"`)
	bob.ok(`SUBSCRIBE "Other Users/carol@example.test/INBOX"`)
	bob.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "Other Users/" % RETURN (MYRIGHTS)`,
		`* LIST (\NonExistent \HasChildren) "/" "Other Users/alice@example.test" ("CHILDINFO" ("SUBSCRIBED"))`,
		`* LIST (\NonExistent \HasNoChildren) "/" "Other Users/carol@example.test" ("CHILDINFO" ("SUBSCRIBED"))`, "OK")
	bob.expect(`LIST (SUBSCRIBED) "" "Other Users/*" RETURN (MYRIGHTS)`,
		`* LIST (\Subscribed \HasNoChildren) "/" "Other Users/alice@example.test/foo/bar"`, `* MYRIGHTS "Other Users/alice@example.test/foo/bar" lrs`,
		`* LIST (\NonExistent \Subscribed \HasNoChildren) "/" "Other Users/carol@example.test/INBOX"`, "OK")
	bob.expect(`LSUB "Other Users/" *`, `* LSUB () "/" "Other Users/alice@example.test/foo/bar"`, `* LSUB () "/" "Other Users/carol@example.test/INBOX"`, "OK")
	bob.expect(`LSUB "" %`, `* LSUB () "/" INBOX`, `* LSUB (\Noselect) "/" "Other Users"`, "OK")
	alice.expect(`LIST "" Oth* RETURN (MYRIGHTS)`, "OK")
}
