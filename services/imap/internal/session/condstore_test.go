package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// flag changes a message as another gateway's session would.
func (s *memory) flag(name string, uid uint32, flags storagev1.Flag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.named(name)
	if err != nil {
		panic(err)
	}
	for _, m := range b.pick([]*storagev1.UidRange{{Start: uid, Stop: uid}}) {
		old := m.state
		m.state = &storagev1.MessageState{
			Uid: uid, Modseq: b.change(), Flags: uint32(flags), Keywords: old.Keywords, Size: old.Size, InternalUnix: old.InternalUnix, SavedUnix: old.SavedUnix,
		}
	}
	s.notify(b, false)
}

// condstoreGateway has four messages with the modification sequences 2 to 5.
func condstoreGateway(t *testing.T) *gateway {
	g := newGateway(t)
	for range 4 {
		g.storage.deliver("INBOX", mail1)
	}
	return g
}

// TestCondstoreEnabling: RFC 7162 section 3.1, each of the commands that enable CONDSTORE.
func TestCondstoreEnabling(t *testing.T) {
	const code = "* OK [HIGHESTMODSEQ 5] modification sequence"
	for _, c := range []struct {
		command string
		want    []string
	}{
		{"ENABLE CONDSTORE", []string{"* ENABLED CONDSTORE", code}},
		{"STATUS INBOX (HIGHESTMODSEQ)", []string{code, "* STATUS INBOX (HIGHESTMODSEQ 5)"}},
		{"FETCH 1 MODSEQ", []string{code, "* 1 FETCH (MODSEQ (2))"}},
		{"FETCH 3:4 (FLAGS) (CHANGEDSINCE 4)", []string{code, "* 4 FETCH (FLAGS () MODSEQ (5))"}},
		{"SEARCH MODSEQ 4", []string{code, "* SEARCH 3 4 (MODSEQ 5)"}},
		{"STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", []string{code}},
	} {
		g := condstoreGateway(t)
		k := g.selected("INBOX")
		k.expect("STORE 4 FLAGS.SILENT ()", "OK")
		k.expect(c.command, append(c.want, "OK")...)
		k.expect(`STORE 1 +FLAGS (\Flagged)`, `* 1 FETCH (UID 1 FLAGS (\Flagged) MODSEQ (6))`, "OK")
	}
	g := condstoreGateway(t)
	k := g.login()
	k.ok("SELECT INBOX (CONDSTORE)")
	g.storage.flag("INBOX", 2, storagev1.Flag_FLAG_SEEN)
	k.expect("NOOP", `* 2 FETCH (UID 2 FLAGS (\Seen) MODSEQ (6))`, "OK")
	k.expect("FETCH 1 BODY[TEXT]", "* 1 FETCH (BODY[TEXT] {13}", "First body.", ` FLAGS (\Seen) UID 1 MODSEQ (7))`, "OK")
	k.expect("FETCH 3 (UID MODSEQ BODY[TEXT])", "* 3 FETCH (UID 3 MODSEQ (8) BODY[TEXT] {13}", "First body.", ` FLAGS (\Seen))`, "OK") // nothing twice
	k.expect("FETCH 1 FLAGS", `* 1 FETCH (FLAGS (\Seen))`, "OK")                                                                       // what was asked for, and no more
	k.expect("SELECT INBOX (FROBNICATE)", "BAD")
}

// TestUnchangedSince: RFC 7162 section 3.1.3.
func TestUnchangedSince(t *testing.T) {
	g := condstoreGateway(t)
	k := g.selected("INBOX")
	k.ok("ENABLE CONDSTORE")
	// Even a silent one tells the modification sequence.
	k.expect(`UID STORE 1:2 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\Deleted)`,
		"* 1 FETCH (UID 1 MODSEQ (6))", "* 2 FETCH (UID 2 MODSEQ (6))", "OK UID STORE completed")
	// Nothing is older than 0.
	k.expect(`STORE 1:3 (UNCHANGEDSINCE 0) +FLAGS (\Seen)`, "OK [MODIFIED 1:3] ")
	// What another session did shows why it failed.
	g.storage.flag("INBOX", 3, storagev1.Flag_FLAG_ANSWERED)
	k.expect(`STORE 3:4 (UNCHANGEDSINCE 5) +FLAGS (\Seen)`, `* 4 FETCH (UID 4 FLAGS (\Seen) MODSEQ (8))`, `* 3 FETCH (UID 3 FLAGS (\Answered) MODSEQ (7))`, "OK [MODIFIED 3] ")
	// What does not change keeps its sequence, and passes.
	k.expect(`STORE 4 (UNCHANGEDSINCE 8) +FLAGS.SILENT (\Seen)`, "* 4 FETCH (UID 4 MODSEQ (8))", "OK STORE")
	// Example 11: some are gone, one has changed.
	other := g.selected("INBOX")
	other.ok("UID EXPUNGE 2")
	k.expect(`STORE 1:4 (UNCHANGEDSINCE 7) +FLAGS (\Flagged)`,
		`* 1 FETCH (UID 1 FLAGS (\Flagged \Deleted) MODSEQ (10))`, `* 3 FETCH (UID 3 FLAGS (\Answered \Flagged) MODSEQ (10))`,
		"* OK [HIGHESTMODSEQ 8] modification sequence", "NO [MODIFIED 4] some of the messages no longer exist")
	k.expect("STORE 2 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", "* OK [HIGHESTMODSEQ 8] modification sequence", "NO [EXPUNGEISSUED]")
	k.expect("NOOP", "* 2 EXPUNGE", "* OK [HIGHESTMODSEQ 10] modification sequence", "OK")
	k.expect("STORE 1 (UNCHANGEDSINCE x) FLAGS ()", "BAD")
	k.expect("STORE 1 (UNCHANGEDSINCE 9223372036854775808) FLAGS ()", "BAD") // 63 bits
	k.expect("STORE 1 (FROBNICATE) FLAGS ()", "BAD")
	k.expect(`STORE 1 +FLAGS.SILENT (\Draft)`, "* 1 FETCH (UID 1 MODSEQ (11))", "OK")
}

// TestSearchModSeq: RFC 7162 section 3.1.5, section 3.1.6 and section 3.1.10.
func TestSearchModSeq(t *testing.T) {
	g := condstoreGateway(t)
	k := g.selected("INBOX")
	k.ok("ENABLE CONDSTORE")
	g.storage.flag("INBOX", 2, storagev1.Flag_FLAG_DRAFT)
	k.expect("NOOP", `* 2 FETCH (UID 2 FLAGS (\Draft) MODSEQ (6))`, "OK")
	k.expect(`SEARCH MODSEQ "/flags/\\draft" all 4`, "* SEARCH 2 3 4 (MODSEQ 6)", "OK")
	k.expect("SEARCH OR NOT MODSEQ 3 LARGER 50000", "* SEARCH 1 (MODSEQ 2)", "OK")
	k.expect("SEARCH MODSEQ 5 SUBJECT one", "* SEARCH 2 4 (MODSEQ 6)", "OK") // by storage
	k.expect("SEARCH MODSEQ 100", "* SEARCH", "OK")
	k.expect("SEARCH RETURN (ALL) MODSEQ 5", `* ESEARCH (TAG "`+k.nextTag()+`") ALL 2,4 MODSEQ 6`, "OK")
	k.expect("SEARCH RETURN (MAX) MODSEQ 5", `* ESEARCH (TAG "`+k.nextTag()+`") MAX 4 MODSEQ 5`, "OK")
	k.expect("SEARCH RETURN (MIN MAX) MODSEQ 5", `* ESEARCH (TAG "`+k.nextTag()+`") MIN 2 MAX 4 MODSEQ 6`, "OK")
	k.expect("SEARCH RETURN (COUNT) MODSEQ 100", `* ESEARCH (TAG "`+k.nextTag()+`") COUNT 0`, "OK")
	k.expect(`SEARCH MODSEQ "/flags/\\draft" some 4`, "BAD")
	k.expect("SEARCH MODSEQ -1", "BAD")
}

// TestResync: RFC 7162 section 3.2.5, a client comes back.
func TestResync(t *testing.T) {
	g := condstoreGateway(t)
	validity := g.uidValidity("INBOX")
	k := g.login()
	k.expect(fmt.Sprintf("SELECT INBOX (QRESYNC (%d 5))", validity), "BAD ")
	k.expect("ENABLE QRESYNC", "* ENABLED QRESYNC", "OK")
	g.storage.flag("INBOX", 4, storagev1.Flag_FLAG_SEEN) // 6
	g.storage.remove("INBOX", 1)                         // 7
	g.storage.remove("INBOX", 3)
	g.storage.deliver("INBOX", mail2) // UID 5
	g.storage.deliver("INBOX", mail2)
	g.storage.remove("INBOX", 6)
	resync := func(param string) []string {
		t.Helper()
		var out []string
		for _, line := range k.ok("SELECT INBOX (QRESYNC (%s))", param) {
			if strings.Contains(line, "VANISHED") || strings.Contains(line, "FETCH") {
				out = append(out, line)
			}
		}
		return out
	}
	vanished, fetch4, fetch5 := "* VANISHED (EARLIER) 1,3,6", `* 2 FETCH (UID 4 FLAGS (\Seen) MODSEQ (6))`, "* 3 FETCH (UID 5 FLAGS () MODSEQ (9))"
	for _, c := range []struct {
		param string
		want  []string
	}{
		{fmt.Sprint(validity, " 5"), []string{vanished, fetch4, fetch5}},
		{fmt.Sprint(validity, " 7"), []string{"* VANISHED (EARLIER) 3,6", fetch5}},
		{fmt.Sprint(validity, " 11"), nil},
		{fmt.Sprint(validity, " 99"), nil},
		{fmt.Sprint(validity+1, " 5"), nil}, // everything is new to the client
		{fmt.Sprint(validity, " 5 3:4"), []string{"* VANISHED (EARLIER) 3", fetch4}},
		{fmt.Sprint(validity, " 5 1,3 (1:2 1:2)"), []string{"* VANISHED (EARLIER) 1,3"}},
		{fmt.Sprint(validity, " 5 (1:2 1:2)"), []string{vanished, fetch4, fetch5}},
	} {
		if got := resync(c.param); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("QRESYNC (%s):\n got %q\nwant %q", c.param, got, c.want)
		}
	}
	for _, param := range []string{"", "1", "0 1", "1 2 1:*", "1 2 $", "1 2 1 (1)", "1 2 1 (1 1", "x 1"} {
		k.expect("SELECT INBOX (QRESYNC ("+param+"))", "BAD ")
	}
	k.expect("EXAMINE Nowhere (QRESYNC (1 2))", "* OK [CLOSED] previous mailbox is closed", "NO [NONEXISTENT]")
}

// TestVanished: RFC 7162 section 3.2.6, 3.2.7 and 3.2.10.
func TestVanished(t *testing.T) {
	g := newGateway(t)
	for range 9 {
		g.storage.deliver("INBOX", mail1) // modification sequences 2 to 10
	}
	k := g.selected("INBOX")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5 VANISHED)", "BAD ")
	k.expect("ENABLE QRESYNC CONDSTORE", "* ENABLED QRESYNC CONDSTORE", "* OK [HIGHESTMODSEQ 10] modification sequence", "OK")
	k.expect("FETCH 1:* (FLAGS) (CHANGEDSINCE 5 VANISHED)", "BAD ")
	k.expect("UID FETCH 1:* (FLAGS) (VANISHED)", "BAD ")
	k.expect(`STORE 3:5 +FLAGS.SILENT (\Deleted)`, "* 3 FETCH (UID 3 MODSEQ (11))", "* 4 FETCH (UID 4 MODSEQ (11))", "* 5 FETCH (UID 5 MODSEQ (11))", "OK")
	k.expect("EXPUNGE", "* VANISHED 3:5", "OK [HIGHESTMODSEQ 12] EXPUNGE")
	k.expect("EXPUNGE", "OK EXPUNGE")
	k.expect("UID MOVE 7 Sent", fmt.Sprintf("* OK [COPYUID %d 7 1] moved", g.uidValidity("Sent")), "* VANISHED 7", "OK [HIGHESTMODSEQ 13] UID MOVE")
	// Held back while sequence numbers are in use, like EXPUNGE; the code does not run ahead of it.
	g.storage.remove("INBOX", 1) // 14
	k.expect(`STORE 2 +FLAGS (\Seen)`, `* 2 FETCH (UID 2 FLAGS (\Seen) MODSEQ (15))`, "* OK [HIGHESTMODSEQ 13] modification sequence", "OK")
	k.expect("FETCH 2 MODSEQ", "* 2 FETCH (MODSEQ (15))", "* OK [HIGHESTMODSEQ 13] modification sequence", "OK")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 14 VANISHED)", "* VANISHED 1", `* 1 FETCH (UID 2 FLAGS (\Seen) MODSEQ (15))`,
		"* OK [HIGHESTMODSEQ 15] modification sequence", "OK")
	g.storage.remove("INBOX", 9) // 16
	k.expect("NOOP", "* VANISHED 9", "OK")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 11 VANISHED)", "* VANISHED (EARLIER) 1,3:5,7,9", `* 1 FETCH (UID 2 FLAGS (\Seen) MODSEQ (15))`, "OK")
	k.expect("UID FETCH 4:7 (FLAGS) (CHANGEDSINCE 1 VANISHED)", "* VANISHED (EARLIER) 4:5,7", "* 2 FETCH (UID 6 FLAGS () MODSEQ (7))", "OK")
	k.expect("UID FETCH 8 UID (CHANGEDSINCE 100 VANISHED)", "OK")
	// What has vanished has left the search result variable.
	k.expect("UID SEARCH RETURN (SAVE) UID 6", "OK")
	g.storage.remove("INBOX", 6) // 17
	k.expect("NOOP", "* VANISHED 6", "OK")
	k.expect("UID FETCH $ UID (CHANGEDSINCE 1 VANISHED)", "OK")
}

// TestCondstoreImapclient has another implementation speak CONDSTORE.
func TestCondstoreImapclient(t *testing.T) {
	g := condstoreGateway(t)
	c := g.client(nil)
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	selected, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	if err != nil || selected.HighestModSeq != 5 {
		t.Fatalf("SELECT: %+v, %v", selected, err)
	}
	stored, err := c.Store(imap.SeqSetNum(1, 2, 3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, &imap.StoreOptions{UnchangedSince: 3}).Collect()
	if err != nil || len(stored) != 2 || stored[0].ModSeq != 6 {
		t.Errorf("STORE: %+v, %v", stored, err)
	}
	fetched, err := c.Fetch(imap.SeqSetNum(1, 2, 3, 4), &imap.FetchOptions{ModSeq: true, ChangedSince: 4}).Collect()
	if err != nil || len(fetched) != 3 || fetched[2].ModSeq != 5 {
		t.Errorf("FETCH: %+v, %v", fetched, err)
	}
	found, err := c.Search(&imap.SearchCriteria{ModSeq: &imap.SearchCriteriaModSeq{ModSeq: 5}}, nil).Wait()
	if err != nil || found.ModSeq != 6 || len(found.AllSeqNums()) != 3 {
		t.Errorf("SEARCH: %+v, %v", found, err)
	}
	status, err := c.Status("INBOX", &imap.StatusOptions{HighestModSeq: true}).Wait()
	if err != nil || status.HighestModSeq != 6 {
		t.Errorf("STATUS: %+v, %v", status, err)
	}
}
