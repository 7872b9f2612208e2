package imap

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// shared gives the name under which others know a mailbox of alice, quoted.
func shared(mailbox string) string {
	return `"Other Users/` + harness.Address("alice") + "/" + mailbox + `"`
}

// TestATeamWorksInOneMailbox: RFC 4314 from end to end. What the owner does on one gateway the guest sees on another, and the other way round.
func TestATeamWorksInOneMailbox(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice", "bob", "carol"}, Args: cheapPasswords})
	alice, bob := connect(t, s, 0), connectAs(t, s, 1, "bob")
	alice.ok("CREATE Team")
	require.Empty(t, bob.ok(`LIST "" "Other*"`))
	alice.ok("SETACL Team bob lrswite")
	alice.ok("CREATE Team/Plans") // begins with the list of the one above
	contains(t, alice.ok("GETACL Team/Plans"), "* ACL Team/Plans alice@example.test lrswipkxteacd bob@example.test lrswited")
	contains(t, bob.ok(`LIST "" * RETURN (MYRIGHTS SPECIAL-USE)`), "* MYRIGHTS INBOX lrswipkxteacd",
		`* LIST (\NonExistent \HasChildren) "/" "Other Users"`,
		`* LIST (\NonExistent \HasChildren) "/" "Other Users/alice@example.test"`,
		`* LIST (\HasChildren) "/" `+shared("Team"), "* MYRIGHTS "+shared("Team")+" lrswited",
		`* LIST (\HasNoChildren) "/" `+shared("Team/Plans"), "* MYRIGHTS "+shared("Team/Plans")+" lrswited")

	message := harness.Compose("first", "words that are looked for")
	alice.ok("SELECT Team")
	bob.ok("SELECT %s", shared("Team"))
	bob.Do("b IDLE", `^\+ `)
	alice.ok("APPEND Team {%d+}\r\n%s", len(message), message)
	bob.Expect(`^\* 1 EXISTS`)
	alice.ok(`STORE 1 +FLAGS ($Todo)`)
	bob.Expect(`^\* 1 FETCH \(FLAGS \(\$Todo\)\)`)
	bob.Do("DONE", "^b OK")
	bob.uids, bob.flags = []uint32{1}, []string{"$Todo"} // as it has heard
	contains(t, bob.ok("SEARCH TEXT looked"), "* SEARCH 1")
	require.Contains(t, strings.Join(bob.ok("FETCH 1 BODY[]"), "\n"), "words that are looked for")
	contains(t, alice.ok("NOOP"), `* 1 FETCH (FLAGS (\Seen $Todo))`)
	// Mail for the owner arrives for both.
	alice.ok("SETACL INBOX bob lr")
	reader := connectAs(t, s, 1, "bob")
	reader.ok("SELECT %s", shared("INBOX"))
	reader.Do("i IDLE", `^\+ `)
	s.Deliver(t, "alice", harness.Compose("news", "text"))
	reader.Expect(`^\* 1 EXISTS`)
	reader.Do("DONE", "^i OK")
	reader.uids, reader.flags = []uint32{0}, []string{unknown}
	require.NotContains(t, strings.Join(reader.ok("FETCH 1 BODY[]"), "\n"), `\Seen`)
	reader.no(`NO \[NOPERM\]`, `STORE 1 +FLAGS (\Seen)`)
	reader.no(`NO \[NOPERM\]`, "EXPUNGE")
	reader.ok("CLOSE")
	reader.no(`NO \[NOPERM\]`, "APPEND %s {%d}", shared("INBOX"), len(message))
	reader.no(`NO \[NOPERM\]`, "GETACL %s", shared("INBOX"))

	// Messages go from one account to the other, with what may go.
	bob.ok("COPY 1 INBOX")
	contains(t, bob.ok("STATUS INBOX (MESSAGES)"), "* STATUS INBOX (MESSAGES 1)")
	require.Contains(t, bob.ok("STATUS INBOX (MESSAGES SIZE)")[0], fmt.Sprintf("(MESSAGES 1 SIZE %d)", len(message)))
	bob.ok("APPEND INBOX (\\Seen \\Flagged) {%d+}\r\n%s", len(message), message)
	alice.ok("SETACL Team/Plans bob lris")
	bob.ok("SELECT INBOX")
	contains(t, bob.ok("MOVE 2 %s", shared("Team/Plans")), "* 2 EXPUNGE")
	alice.ok("SELECT Team/Plans")
	require.Contains(t, strings.Join(alice.ok("FETCH 1 (FLAGS)"), ""), `FLAGS (\Seen)`)
	bob.ok("SELECT %s", shared("Team"))
	bob.ok("REPLACE 1 INBOX {%d+}\r\n%s", len(message), message)
	contains(t, alice.ok("STATUS Team (MESSAGES)"), "* STATUS Team (MESSAGES 0)")
	contains(t, bob.ok("STATUS INBOX (MESSAGES)"), "* STATUS INBOX (MESSAGES 2)")

	// Some annotations are one's own, others are shared.
	bob.ok(`SETMETADATA %s (/private/comment "mine" /shared/comment "ours")`, shared("Team"))
	contains(t, alice.ok("GETMETADATA Team (/private/comment /shared/comment)"), `* METADATA Team (/private/comment NIL /shared/comment "ours")`)
	contains(t, bob.ok(`LIST "" "Other Users/*/Team" RETURN (METADATA (/private/comment))`), "* METADATA "+shared("Team")+` (/private/comment "mine")`)
	bob.ok("APPEND %s {%d+}\r\n%s", shared("Team"), len(message), message)
	found := strings.Join(bob.ok(`ESEARCH IN (personal subtree "Other Users") RETURN (COUNT) TEXT looked`), "\n")
	require.Regexp(t, `MAILBOX INBOX UIDVALIDITY \d+\) UID COUNT 2\n.* MAILBOX `+regexp.QuoteMeta(shared("Team"))+` UIDVALIDITY \d+\) UID COUNT 1\n`, found)
	bob.ok(`APPEND INBOX CATENATE (URL "/Other%%20Users/%s/Team/;UID=2")`, harness.Address("alice"))
	require.Contains(t, bob.ok("STATUS INBOX (MESSAGES SIZE)")[0], fmt.Sprintf("(MESSAGES 3 SIZE %d)", 3*len(message)))

	// The owner's quota is what counts, and is taken back with the message.
	alice.ok("SETACL Team anyone lri")
	s.CLI(t, "quota", "set", harness.Address("alice"), fmt.Sprint(8*len(message)))
	carol := connectAs(t, s, 0, "carol")
	contains(t, carol.ok("MYRIGHTS %s", shared("Team")), "* MYRIGHTS "+shared("Team")+" lri")
	carol.no(`NO \[OVERQUOTA\]`, "APPEND %s {%d}", shared("Team"), 9*len(message))
	require.Contains(t, strings.Join(carol.ok("GETQUOTAROOT %s", shared("Team")), "\n"), `* QUOTA "alice@example.test" (STORAGE `)

	// Subscriptions are one's own.
	carol.ok("SUBSCRIBE %s", shared("Team"))
	contains(t, carol.ok(`LSUB "" "Other*"`), `* LSUB () "/" `+shared("Team"))
	require.Empty(t, bob.ok(`LSUB "" "Other*"`))

	// Who may not read any more leaves; the others stay.
	carol.ok("SELECT %s", shared("Team"))
	alice.ok("DELETEACL Team anyone")
	carol.Send("c NOOP\r\n")
	carol.Expect(`^\* BYE the selected mailbox is not shared any more`)
	bob.ok("SELECT %s", shared("Team"))
	alice.ok("SETACL Team bob -swite")
	contains(t, bob.ok("NOOP"), "* OK [PERMANENTFLAGS ()] rights have changed", "* OK [READ-ONLY] rights have changed")
	bob.Do("b IDLE", `^\+ `)
	alice.ok("DELETE Team/Plans")
	alice.ok("DELETE Team")
	bob.Expect(`^\* BYE selected mailbox was deleted`)
	require.Empty(t, connectAs(t, s, 0, "carol").ok(`LIST "" "Other*"`))
}

// TestNobodyLearnsWhatIsNotShared: RFC 4314 section 6. What there is not, and what one may not know of, is the same to a guest.
func TestNobodyLearnsWhatIsNotShared(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: cheapPasswords})
	s.CLI(t, "domain", "add", "elsewhere.test")
	s.CLIInput(t, harness.Password+"\n", "account", "add", "eve@elsewhere.test", "--password-stdin")
	alice, bob := connect(t, s, 0), connectAs(t, s, 0, "bob")
	alice.ok("CREATE Secret")
	alice.ok("CREATE Secret/Below")
	alice.ok("SETACL Secret/Below bob p") // which opens nothing
	names := []string{
		shared("Secret"), shared("Secret/Below"), shared("Nowhere"), shared("INBOX"), `"Other Users/nobody@example.test/INBOX"`, `"Other Users/eve@elsewhere.test/INBOX"`,
		`"Other Users/eve@nowhere.test/INBOX"`, `"Other Users/not an address@/INBOX"`, `"Other Users/` + harness.Address("bob") + `/INBOX"`,
	}
	for _, command := range []string{
		"SELECT %s", "EXAMINE %s", "STATUS %s (MESSAGES)", "DELETE %s", "GETACL %s", "SETACL %s bob lr", "DELETEACL %s bob", "LISTRIGHTS %s bob", "MYRIGHTS %s", "GETQUOTAROOT %s",
		"GETMETADATA %s /shared/comment", "SETMETADATA %s (/private/comment \"x\")", "APPEND %s {5}", "CREATE %s", `RENAME %s "Other Users/alice@example.test/New"`,
	} {
		_, want := bob.do(command, shared("Nowhere"))
		for _, name := range names {
			if strings.HasPrefix(command, "RENAME") && !strings.Contains(name, "alice") {
				continue // not from one account to another
			}
			_, got := bob.do(command, name)
			require.Equal(t, want, got, command, name)
		}
	}
	bob.append("one")
	bob.ok("SELECT INBOX")
	for _, command := range []string{"COPY 1 %s", "MOVE 1 %s", "REPLACE 1 %s {5}"} {
		for _, name := range names {
			bob.no(`NO \[TRYCREATE\]`, command, name)
		}
	}
	require.Empty(t, bob.ok(`LIST "" "Other*"`))
	require.Empty(t, bob.ok(`ESEARCH IN (mailboxes (%s)) ALL`, strings.Join(names, " ")))
	// What is nobody's cannot be given anything.
	for _, identifier := range []string{"nobody", "eve@elsewhere.test", "-bob", "$team", "alice", `"a b"`, "bob@nowhere.test"} {
		alice.no(`NO \[CANNOT\]`, "SETACL Secret %s lr", identifier)
	}
	contains(t, alice.ok("GETACL Secret"), "* ACL Secret alice@example.test lrswipkxteacd")
	// "anyone" is the domain.
	alice.ok("SETACL Secret anyone lr")
	bob.ok("SELECT %s", shared("Secret"))
	eve := connect(t, s, 0)
	eve.ok("UNAUTHENTICATE")
	eve.ok("LOGIN eve@elsewhere.test \"%s\"", harness.Password)
	eve.no(`NO \[NONEXISTENT\]`, "SELECT %s", shared("Secret"))
	require.Empty(t, eve.ok(`LIST "" "Other*"`))
}

// TestAnOwnerGoes: with the account goes what it shared.
func TestAnOwnerGoes(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: cheapPasswords})
	alice, bob, other := connect(t, s, 0), connectAs(t, s, 0, "bob"), connectAs(t, s, 0, "bob")
	alice.append("one")
	alice.ok("SETACL INBOX bob lrs")
	bob.ok("SELECT %s", shared("INBOX"))
	bob.ok("FETCH 1 (FLAGS)")
	s.CLI(t, "account", "remove", harness.Address("alice"), "--yes")
	bob.Send("b NOOP\r\n")
	bob.Expect(`^\* BYE selected mailbox was deleted`)
	other.no(`NO \[NONEXISTENT\] mailbox does not exist`, "SELECT %s", shared("INBOX"))
	other.no(`NO \[NONEXISTENT\] mailbox does not exist`, "STATUS %s (MESSAGES)", shared("INBOX"))
	require.Empty(t, other.ok(`LIST "" "Other*"`))
}

// TestOwnerAndGuestsAgree lets an owner and guests change one mailbox at random, at the same time, on two gateways. Each checks all that it is told; at
// the end all believe the same.
func TestOwnerAndGuestsAgree(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := harness.Start(t, harness.Options{Shape: harness.Split, IMAPGateways: 2, Accounts: []string{"alice", "bob", "carol"}, Args: cheapPasswords})
	alice := connect(t, s, 0)
	for i := range 20 {
		alice.append(fmt.Sprintf("message %d", i))
	}
	alice.ok("SETACL INBOX bob lrswite")
	alice.ok("SETACL INBOX anyone lrswite")
	agents := []*told{alice, connectAs(t, s, 1, "bob"), connectAs(t, s, 0, "carol")}
	for _, c := range agents[1:] {
		c.inbox = shared("INBOX")
	}
	var group sync.WaitGroup
	for i, c := range agents {
		c.ok("SELECT %s", c.inbox)
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		group.Go(func() {
			for n := 0; n < 150 && !t.Failed(); n++ {
				c.act(r)
			}
		})
	}
	group.Wait()
	require.False(t, t.Failed(), "somebody was told what cannot be")
	truth := alice.settle()
	for _, c := range agents[1:] {
		require.Equal(t, truth, c.settle())
	}
}

// TestAMailProgramSharesAMailbox speaks through go-imap, which has its own idea of ACL.
func TestAMailProgramSharesAMailbox(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: cheapPasswords})
	login := func(name string) *imapclient.Client {
		c, err := imapclient.DialTLS(s.IMAPS[0], &imapclient.Options{TLSConfig: s.TLS(t)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.Login(harness.Address(name), harness.Password).Wait())
		return c
	}
	alice, bob := login("alice"), login("bob")
	require.True(t, alice.Caps().Has(imap.CapACL))
	space, err := bob.Namespace().Wait()
	require.NoError(t, err)
	require.Equal(t, []imap.NamespaceDescriptor{{Prefix: "Other Users/", Delim: '/'}}, space.Other)

	require.NoError(t, alice.Create("Projekte für später", nil).Wait())
	require.NoError(t, alice.SetACL("Projekte für später", imap.RightsIdentifier(harness.Address("bob")), imap.RightModificationReplace, imap.RightSet("lrs")).Wait())
	require.NoError(t, alice.SetACL("Projekte für später", imap.RightsIdentifier(harness.Address("bob")), imap.RightModificationAdd, imap.RightSet("wi")).Wait())
	require.NoError(t, alice.SetACL("Projekte für später", "anyone", imap.RightModificationReplace, imap.RightSet("l")).Wait())
	list, err := alice.GetACL("Projekte für später").Wait()
	require.NoError(t, err)
	require.Equal(t, map[imap.RightsIdentifier]imap.RightSet{
		imap.RightsIdentifier(harness.Address("alice")): imap.RightSet("lrswipkxteacd"), imap.RightsIdentifier(harness.Address("bob")): imap.RightSet("lrswi"), "anyone": imap.RightSet("l"),
	}, list.Rights)
	name := "Other Users/" + harness.Address("alice") + "/Projekte für später"
	rights, err := bob.MyRights(name).Wait()
	require.NoError(t, err)
	require.Equal(t, name, rights.Mailbox)
	require.Equal(t, imap.RightSet("lrswi"), rights.Rights)
	box, err := bob.Select(name, nil).Wait()
	require.NoError(t, err)
	require.NotContains(t, box.PermanentFlags, imap.FlagDeleted)
	require.NoError(t, alice.SetACL("Projekte für später", imap.RightsIdentifier(harness.Address("bob")), imap.RightModificationRemove, imap.RightSet("lrswi")).Wait())
	require.Error(t, bob.Noop().Wait())
}
