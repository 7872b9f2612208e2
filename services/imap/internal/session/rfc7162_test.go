package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// letter is a message of an arranged mailbox.
type letter struct {
	uid      uint32
	modseq   uint64
	flags    storagev1.Flag
	keywords []string
}

// letters gives messages with consecutive UIDs and the same modification sequence.
func letters(first, last uint32, modseq uint64) (out []letter) {
	for uid := first; uid <= last; uid++ {
		out = append(out, letter{uid: uid, modseq: modseq})
	}
	return out
}

// arrange makes INBOX what an RFC's example begins with. Only before it is selected. gone are the modification
// sequences of expunges by UID. The answer is what SELECT says of its id.
func (s *memory) arrange(validity, next uint32, highest uint64, gone map[uint32]uint64, there ...letter) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.named("INBOX")
	if err != nil {
		panic(err)
	}
	b.info.UidValidity, b.info.UidNext, b.info.HighestModseq = validity, next, highest
	for _, l := range there {
		b.messages = append(b.messages, &memoryMessage{body: []byte(mail1), state: &storagev1.MessageState{
			Uid: l.uid, Modseq: l.modseq, Flags: uint32(l.flags), Keywords: l.keywords, Size: uint64(len(mail1)), InternalUnix: 1_700_000_000, SavedUnix: 1_700_000_000,
		}})
	}
	for uid, modseq := range gone {
		b.vanished[uid] = modseq
	}
	return fmt.Sprintf("* OK [MAILBOXID (F%d)] mailbox's own", b.info.MailboxId)
}

const (
	flagSeen     = storagev1.Flag_FLAG_SEEN
	flagDeleted  = storagev1.Flag_FLAG_DELETED
	flagAnswered = storagev1.Flag_FLAG_ANSWERED
	flagDraft    = storagev1.Flag_FLAG_DRAFT
)

// TestRFC7162Store has the examples of section 3.1.3. There each message gets a modification sequence of its own; here all that one
// command changes get the same.
func TestRFC7162Store(t *testing.T) {
	t.Run("all messages pass", func(t *testing.T) {
		g := newGateway(t)
		g.storage.arrange(1, 9, 12121230045, nil, letter{4, 12121230040, 0, nil}, letter{6, 12121230045, 0, nil}, letter{7, 12121230001, 0, nil}, letter{8, 12121230044, 0, nil})
		k := g.login()
		k.ok("SELECT INBOX (CONDSTORE)")
		k.expect(`UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\Deleted)`,
			"* 1 FETCH (UID 4 MODSEQ (12121230046))", "* 2 FETCH (UID 6 MODSEQ (12121230046))", "* 4 FETCH (UID 8 MODSEQ (12121230046))", "OK UID STORE")
	})
	t.Run("the last message gets a new keyword, and the command enables CONDSTORE", func(t *testing.T) {
		g := newGateway(t)
		g.storage.arrange(1, 51, 12111230047, nil, letters(1, 50, 12111230047)...)
		k := g.selected("INBOX")
		k.expect(`STORE * (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\Deleted $Processed)`,
			"* OK [HIGHESTMODSEQ 12111230047] modification sequence",
			"* 50 FETCH (UID 50 MODSEQ (12111230048))", "OK STORE")
		k.expect(`STORE 50 (UNCHANGEDSINCE 12121230045) -FLAGS.SILENT (\Deleted)`, "* 50 FETCH (UID 50 MODSEQ (12111230049))", "OK STORE")
	})
	t.Run("two of three fail, and the client tries again", func(t *testing.T) {
		g := newGateway(t)
		there := letters(11, 19, 320162330) // UIDs that are no sequence numbers
		there[6] = letter{17, 320162342, flagSeen | flagDeleted, nil}
		there[8] = letter{19, 320162349, flagSeen | flagDeleted | flagAnswered, nil}
		g.storage.arrange(1, 20, 320162349, nil, there...)
		k := g.login()
		k.ok("SELECT INBOX (CONDSTORE)")
		k.expect(`STORE 7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\Deleted)`, "* 5 FETCH (UID 15 MODSEQ (320162350))", "OK [MODIFIED 7,9] ")
		k.expect(`UID STORE 17,15,19 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\Deleted)`, "OK [MODIFIED 15,17,19] ")
		k.expect("FETCH 7,9 (FLAGS MODSEQ)",
			`* 7 FETCH (FLAGS (\Deleted \Seen) MODSEQ (320162342))`, `* 9 FETCH (FLAGS (\Answered \Deleted \Seen) MODSEQ (320162349))`, "OK")
		k.expect(`STORE 7,9 (UNCHANGEDSINCE 320162349) -FLAGS (\Deleted)`,
			`* 7 FETCH (UID 17 FLAGS (\Seen) MODSEQ (320162351))`, `* 9 FETCH (UID 19 FLAGS (\Answered \Seen) MODSEQ (320162351))`, "OK STORE")
		// Again in the same command, which is too late for what it did itself.
		k.expect(`UID STORE 17,19 (UNCHANGEDSINCE 320162350) +FLAGS (\Deleted)`, "OK [MODIFIED 17,19] ")
	})
	t.Run("others change some of a long set while it is on its way", func(t *testing.T) {
		g := newGateway(t)
		g.storage.arrange(1, 1161, 230045, nil, letters(1, 1160, 212020000)...)
		k := g.login()
		k.ok("SELECT INBOX (CONDSTORE)")
		changed := []uint32{5, 6, 100, 101, 102, 1150}
		g.storage.mu.Lock()
		box, err := g.storage.named("INBOX")
		if err != nil {
			t.Fatal(err)
		}
		box.info.HighestModseq = 212030000
		g.storage.mu.Unlock()
		for _, uid := range changed {
			g.storage.flag("INBOX", uid, flagSeen)
		}
		lines, tagged := k.do(`STORE 1:1160 (UNCHANGEDSINCE 212030000) +FLAGS.SILENT ($Processed)`)
		if !strings.HasPrefix(tagged, "OK [MODIFIED 5:6,100:102,1150] ") {
			t.Errorf("got %q", tagged)
		}
		// What changed is told with its flags, all others with their new modification sequence alone.
		told := map[string]int{}
		for _, line := range lines {
			switch {
			case strings.Contains(line, `FLAGS (\Seen) MODSEQ (21203000`):
				told["changed"]++
			case strings.HasSuffix(line, " MODSEQ (212030007))"):
				told["stored"]++
			}
		}
		if told["stored"] != 1160-len(changed) || told["changed"] != len(changed) {
			t.Errorf("told %v", told)
		}
	})
}

// TestRFC7162Read has the examples of sections 3.1.2 and 3.1.4 to 3.1.6.
func TestRFC7162Read(t *testing.T) {
	g := newGateway(t)
	id := g.storage.arrange(3857529045, 4392, 715194045007, nil,
		letter{4, 65402, flagSeen, nil}, letter{6, 75403, flagDeleted, nil}, letter{7, 12345, 0, nil}, letter{8, 29738, 0, []string{"$AutoJunk", "$MDNSent", "$NoJunk"}},
		letter{9, 12344, flagDraft, nil})
	k := g.login()
	k.expect("STATUS INBOX (UIDNEXT MESSAGES HIGHESTMODSEQ)", "* STATUS INBOX (UIDNEXT 4392 MESSAGES 5 HIGHESTMODSEQ 715194045007)", "OK")
	k.expect("SELECT INBOX", "* 5 EXISTS", "* 0 RECENT",
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $AutoJunk $MDNSent $NoJunk)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $AutoJunk $MDNSent $NoJunk \*)] flags that are kept`,
		"* OK [UNSEEN 2] first unseen message", "* OK [UIDVALIDITY 3857529045] UIDs are valid", "* OK [UIDNEXT 4392] next UID",
		"* OK [HIGHESTMODSEQ 715194045007] modification sequence", id, "OK [READ-WRITE]")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)",
		`* 1 FETCH (UID 4 FLAGS (\Seen) MODSEQ (65402))`, `* 2 FETCH (UID 6 FLAGS (\Deleted) MODSEQ (75403))`,
		"* 4 FETCH (UID 8 FLAGS ($AutoJunk $MDNSent $NoJunk) MODSEQ (29738))", "OK")
	k.expect("FETCH 1:3 (MODSEQ)", "* 1 FETCH (MODSEQ (65402))", "* 2 FETCH (MODSEQ (75403))", "* 3 FETCH (MODSEQ (12345))", "OK")
	k.expect("FETCH 1,3 (FLAGS MODSEQ) (CHANGEDSINCE 12345)", `* 1 FETCH (FLAGS (\Seen) MODSEQ (65402))`, "OK") // MODSEQ once
	k.expect("SEARCH MODSEQ 20000", "* SEARCH 1 2 4 (MODSEQ 75403)", "OK")
	k.expect(`SEARCH MODSEQ "/flags/\\draft" all 20000`, "* SEARCH 1 2 4 (MODSEQ 75403)", "OK")
	k.expect("SEARCH OR NOT MODSEQ 20000 LARGER 50000", "* SEARCH 3 5 (MODSEQ 12345)", "OK")
	k.expect("SEARCH MODSEQ 715194045008", "* SEARCH", "OK")
	k.expect("UID SEARCH MODSEQ 12345 UNDELETED", "* SEARCH 4 7 8 (MODSEQ 65402)", "OK")
	k.expect("UID SEARCH RETURN (MIN MAX ALL) MODSEQ 20000", `* ESEARCH (TAG "`+k.nextTag()+`") UID MIN 4 MAX 8 ALL 4,6,8 MODSEQ 75403`, "OK")
}

// expunged gives UIDs that are gone since a modification sequence.
func expunged(at uint64, ranges ...[2]uint32) map[uint32]uint64 {
	gone := map[uint32]uint64{}
	for _, r := range ranges {
		for uid := r[0]; uid <= r[1]; uid++ {
			gone[uid] = at
		}
	}
	return gone
}

// resynced gives what a SELECT with QRESYNC tells of changes, and checks that it comes behind what SELECT says otherwise.
func (k *talk) resynced(param string) []string {
	k.t.Helper()
	lines := k.ok("SELECT INBOX (QRESYNC (%s))", param)
	first := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "VANISHED") || strings.Contains(l, "FETCH") })
	if first < 0 {
		return nil
	}
	for _, line := range lines[first:] {
		if !strings.Contains(line, "VANISHED (EARLIER)") && !strings.Contains(line, "FETCH") {
			k.t.Errorf("%q comes behind the changes", line)
		}
	}
	return lines[first:]
}

// TestRFC7162Resync has the examples of section 3.2.5, with sequence numbers that are possible.
func TestRFC7162Resync(t *testing.T) {
	const old, now = 20050715194045000, 20060115205545359
	g := newGateway(t)
	gone := expunged(now-5, [2]uint32{41, 41}, [2]uint32{43, 116}, [2]uint32{118, 118}, [2]uint32{120, 211}, [2]uint32{214, 540}, [2]uint32{598, 598})
	gone[212] = old // the client knows of it
	there := append(letters(1, 40, old), letter{42, old, 0, nil},
		letter{117, now - 3, flagSeen | flagAnswered, nil}, letter{119, now - 2, flagDraft, []string{"$MDNSent"}}, letter{541, now - 1, flagSeen, []string{"$Forwarded"}})
	there = append(there, letters(542, 597, now)...) // of which the client does not ask
	id := g.storage.arrange(67890007, 600, now, gone, there...)
	k := g.login()
	k.expect("ENABLE QRESYNC", "* ENABLED QRESYNC", "OK")
	k.ok("SELECT Sent")
	k.expect(fmt.Sprintf("SELECT INBOX (QRESYNC (67890007 %d 41,43:211,214:541))", uint64(old)),
		"* OK [CLOSED] previous mailbox is closed", "* 100 EXISTS", "* 0 RECENT",
		`* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MDNSent)`,
		`* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Forwarded $MDNSent \*)] flags that are kept`,
		"* OK [UNSEEN 1] first unseen message", "* OK [UIDVALIDITY 67890007] UIDs are valid", "* OK [UIDNEXT 600] next UID",
		"* OK [HIGHESTMODSEQ 20060115205545359] modification sequence", id,
		"* VANISHED (EARLIER) 41,43:116,118,120:211,214:540",
		`* 42 FETCH (UID 117 FLAGS (\Answered \Seen) MODSEQ (20060115205545356))`,
		`* 43 FETCH (UID 119 FLAGS (\Draft $MDNSent) MODSEQ (20060115205545357))`,
		`* 44 FETCH (UID 541 FLAGS (\Seen $Forwarded) MODSEQ (20060115205545358))`,
		"OK [READ-WRITE]")
	const vanished, all = "* VANISHED (EARLIER) ", "41,43:116,118,120:211,214:540,598"
	for _, c := range []struct {
		about, param string
		first        string
		more         int // FETCH responses
	}{
		{"UIDs that are there and not changed", "67890007 20050715194045000 41:211,214:541", vanished + "41,43:116,118,120:211,214:540", 3},
		{"without known UIDs", "67890007 20050715194045000", vanished + all, 59},
		{"UIDs beyond UIDNEXT", "67890007 20050715194045000 540:4294967295", vanished + "540,598", 57},
		{"only UIDs beyond UIDNEXT", "67890007 20050715194045000 600:700", "", 0},
		{"UIDs in any order, and twice", "67890007 20050715194045000 541:500,43,43:44,2:1", vanished + "43:44,500:540", 1},
		{"another UIDVALIDITY", "67890008 20050715194045000 41,43:211,214:541", "", 0},
		{"another UIDVALIDITY, with pairs", "1 1 41 (1:3 1:3)", "", 0},
		{"from the present", "67890007 20060115205545359", "", 0},
		{"from the future", "67890007 90060115194045000", "", 0},
		{"from the largest there is", "67890007 9223372036854775807", "", 0},
		{"expunges only", "67890007 20060115205545353 200:300", vanished + "200:211,214:300", 0},
		{"changes only", "67890007 20060115205545354 117:541", "", 3},
		{"pairs", "67890007 20050715194045000 1:541 (1:40,41 1:40,42)", vanished + "41,43:116,118,120:211,214:540", 3},
		{"pairs that are wrong", "67890007 20050715194045000 1:541 (41 541)", vanished + "41,43:116,118,120:211,214:540", 3},
		{"pairs that are of different lengths", "67890007 20050715194045000 1:541 (1:99 1,5)", vanished + "41,43:116,118,120:211,214:540", 3},
		{"with all that there ever was", "67890007 0", vanished + "41,43:116,118,120:212,214:540,598", 100},
		{"from the first", "67890007 1", vanished + "41,43:116,118,120:212,214:540,598", 100},
	} {
		got := k.resynced(c.param)
		if c.first != "" && (len(got) == 0 || got[0] != c.first) {
			t.Errorf("%s: begins with %q", c.about, got[:min(1, len(got))])
		}
		n := 0
		for _, line := range got {
			if strings.Contains(line, " FETCH (UID ") && strings.Contains(line, " MODSEQ (") {
				n++
			}
		}
		if c.first != "" {
			n++
			c.more++
		}
		if len(got) != n || n != c.more {
			t.Errorf("%s: %d lines, %d of them as expected; %d are right", c.about, len(got), n, c.more)
		}
	}
	for _, param := range []string{"67890007 9223372036854775808", "67890007 -1", "67890007 1 1:5 ()", "67890007 1 1:5 (1:2 *)", "67890007 1 ()", "4294967296 1", "67890007 1 0:5", "67890007 1 1:5 (1 1) 7"} {
		k.expect("SELECT INBOX (QRESYNC ("+param+"))", "BAD ")
	}
	k.ok("EXAMINE INBOX (CONDSTORE QRESYNC (67890007 %d 117))", uint64(old))
}

// TestResyncOfAnEmptyMailbox: there is nothing to tell, and no empty VANISHED.
func TestResyncOfAnEmptyMailbox(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("ENABLE QRESYNC")
	for _, param := range []string{"1", "1 1:100", "0", "1 5 (1 5)"} {
		if got := k.resynced(fmt.Sprint(g.uidValidity("INBOX"), " ", param)); got != nil {
			t.Errorf("%s: got %q", param, got)
		}
	}
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)", "OK")
	k.expect("UID FETCH * (FLAGS) (CHANGEDSINCE 1 VANISHED)", "OK")
}

// TestRFC7162FetchVanished has the example of section 3.2.6, and what lies at the ends of the UIDs.
func TestRFC7162FetchVanished(t *testing.T) {
	g := newGateway(t)
	gone := expunged(12346, [2]uint32{200, 310}, [2]uint32{405, 405}, [2]uint32{411, 411}, [2]uint32{599, 599})
	g.storage.arrange(1, 600, 80000, gone, letter{404, 65402, flagSeen, nil}, letter{406, 75403, flagDeleted, nil}, letter{407, 12345, 0, nil},
		letter{408, 29738, 0, []string{"$AutoJunk", "$MDNSent", "$NoJunk"}}, letter{590, 80000, 0, nil})
	k := g.login()
	k.ok("ENABLE QRESYNC")
	k.ok("SELECT INBOX")
	k.expect("UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "* VANISHED (EARLIER) 300:310,405,411",
		`* 1 FETCH (UID 404 FLAGS (\Seen) MODSEQ (65402))`, `* 2 FETCH (UID 406 FLAGS (\Deleted) MODSEQ (75403))`,
		"* 4 FETCH (UID 408 FLAGS ($AutoJunk $MDNSent $NoJunk) MODSEQ (29738))", "OK")
	const last = "* 5 FETCH (UID 590 FLAGS () MODSEQ (80000))"
	// The modifiers in any order.
	k.expect("UID FETCH 409:500 (FLAGS) (VANISHED CHANGEDSINCE 12345)", "* VANISHED (EARLIER) 411", "OK")
	// No UID from UIDNEXT on is said to be gone: a message may still get it.
	k.expect("UID FETCH 591:4294967295 (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "* VANISHED (EARLIER) 599", "OK")
	k.expect("UID FETCH 600:700 (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "OK")
	k.expect("UID FETCH 500:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "* VANISHED (EARLIER) 599", last, "OK")
	k.expect("UID FETCH 700:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "* VANISHED (EARLIER) 599", last, "OK")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 80000 VANISHED)", "OK")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 9223372036854775807 VANISHED)", "OK")
	k.expect("UID FETCH 590:* (FLAGS) (CHANGEDSINCE 0 VANISHED)", "* VANISHED (EARLIER) 599", last, "OK")
	k.expect("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 9223372036854775808 VANISHED)", "BAD ")
	// What is gone in the meantime is told once, as what it is to this client.
	g.storage.remove("INBOX", 590)
	k.expect("NOOP", "* VANISHED 590", "OK")
	k.expect("UID FETCH 500:* (FLAGS) (CHANGEDSINCE 80000 VANISHED)", "* VANISHED (EARLIER) 590", "OK")
}

// TestRFC7162Expunge has the examples of sections 3.2.7 to 3.2.10: with QRESYNC, VANISHED takes the place of EXPUNGE everywhere.
func TestRFC7162Expunge(t *testing.T) {
	g := newGateway(t)
	there := letters(400, 430, 100)
	for _, uid := range []uint32{405, 407, 410, 425} {
		there[uid-400].flags = flagDeleted
	}
	g.storage.arrange(1, 3003, 20010715194045318, nil, append(there, letters(3000, 3002, 101)...)...)
	k := g.login()
	k.ok("ENABLE QRESYNC")
	k.ok("SELECT INBOX")
	idle := g.login()
	idle.ok("ENABLE QRESYNC")
	idle.ok("SELECT INBOX")
	idle.send("i IDLE\r\n")
	_ = idle.line()
	plain := g.selected("INBOX") // does not know QRESYNC
	k.expect("EXPUNGE", "* VANISHED 405,407,410,425", "OK [HIGHESTMODSEQ 20010715194045319] EXPUNGE")
	idle.told("* VANISHED 405,407,410,425")
	plain.expect("NOOP", "* 26 EXPUNGE", "* 11 EXPUNGE", "* 8 EXPUNGE", "* 6 EXPUNGE", "OK")
	k.expect("EXPUNGE", "OK EXPUNGE") // and no code

	k.ok(`UID STORE 3000:3002,400 +FLAGS.SILENT (\Deleted)`)                                                                // …320
	k.expect("UID EXPUNGE 3000:4000", "* VANISHED 3000:3002", "OK [HIGHESTMODSEQ 20010715194045321] UID EXPUNGE completed") // not 400
	k.expect("UID EXPUNGE 3000:4000", "OK UID EXPUNGE")
	k.expect("UID EXPUNGE 401", "OK UID EXPUNGE") // without \Deleted

	sent := g.uidValidity("Sent")
	k.expect("MOVE 2:3 Sent", fmt.Sprintf("* OK [COPYUID %d 401:402 1:2] moved", sent), "* VANISHED 401:402", "OK [HIGHESTMODSEQ 20010715194045322] MOVE completed")
	k.expect("UID MOVE 403 Sent", fmt.Sprintf("* OK [COPYUID %d 403 3] moved", sent), "* VANISHED 403", "OK [HIGHESTMODSEQ 20010715194045323] UID MOVE completed")
	k.expect("COPY 2 Sent", fmt.Sprintf("OK [COPYUID %d 404 4]", sent))
	g.storage.remove("INBOX", 430)
	k.expect("NOOP", "* VANISHED 430", "OK NOOP")
	g.storage.remove("INBOX", 429)
	k.expect("CHECK", "* VANISHED 429", "OK CHECK")
	plain.ok(`UID STORE 427:428 +FLAGS.SILENT (\Deleted)`)
	k.ok("NOOP")
	plain.ok("UID EXPUNGE 428")
	k.expect("UID SEARCH UID 420:*", "* SEARCH 420 421 422 423 424 426 427 428", "* VANISHED 428", "OK")
	plain.ok("UID EXPUNGE 427")
	k.expect("FETCH 1 UID", "* 1 FETCH (UID 400)", "* OK [HIGHESTMODSEQ 20010715194045327] modification sequence", "OK") // numbers are in use
	k.expect("STATUS Sent (MESSAGES)", "* STATUS Sent (MESSAGES 4)", "* VANISHED 427", "* OK [HIGHESTMODSEQ 20010715194045328] modification sequence", "OK")

	// A UID SEARCH with sequence numbers (section 3.2.10.2) tells of none.
	plain.ok(`UID STORE 424 +FLAGS.SILENT (\Deleted)`)
	k.ok("NOOP")
	plain.ok("UID EXPUNGE 424")
	k.expect("UID SEARCH OR 1 NOT 1:400", "* SEARCH 400", "* OK [HIGHESTMODSEQ 20010715194045329] modification sequence", "OK")
	k.expect("UID SORT (ARRIVAL) UTF-8 1", "* SORT 400", "* OK [HIGHESTMODSEQ 20010715194045329] modification sequence", "OK")
	k.expect("UID SEARCH UID 400", "* SEARCH 400", "* VANISHED 424", "* OK [HIGHESTMODSEQ 20010715194045330] modification sequence", "OK")

	// CLOSE tells of nothing, so that nothing in its answer may be taken for the point from which to go on: from the old one the client hears all.
	k.expect("CLOSE", "OK CLOSE completed")
	if got := k.resynced("1 20010715194045323"); len(got) != 1 || got[0] != "* VANISHED (EARLIER) 400,424,427:430" {
		t.Errorf("after CLOSE: %q", got)
	}
	// EXPUNGE of a client's own that others did before is told once, too.
	k.ok(`UID STORE 426 +FLAGS.SILENT (\Deleted)`)
	plain.ok("UID EXPUNGE 426")
	k.expect("EXPUNGE", "* VANISHED 426", "OK")
	idle.send("DONE\r\n")
	lines := idle.until("i ")
	for _, line := range lines {
		if strings.Contains(line, "EARLIER") || strings.Contains(line, "EXPUNGE") {
			t.Errorf("the idle client got %q", line)
		}
	}
}

// TestEnableTwice: RFC 5161 section 3.1, RFC 7162 section 3.2.3. The second time nothing changes, and QRESYNC has CONDSTORE in it.
func TestEnableTwice(t *testing.T) {
	g := newGateway(t)
	g.storage.arrange(1, 3, 9, nil, letters(1, 2, 9)...)
	k := g.selected("INBOX")
	k.expect("ENABLE QRESYNC", "* ENABLED QRESYNC", "* OK [HIGHESTMODSEQ 9] modification sequence", "OK")
	for _, command := range []string{"ENABLE QRESYNC", "ENABLE CONDSTORE QRESYNC", "ENABLE CONDSTORE", "ENABLE X-NONE"} {
		untagged, tagged := k.do("%s", command)
		if len(untagged) != 1 || !strings.HasPrefix(untagged[0], "* ENABLED") || !strings.HasPrefix(tagged, "OK") {
			t.Errorf("%s: %q, %q", command, untagged, tagged)
		}
	}
	g.storage.remove("INBOX", 1)
	k.expect("NOOP", "* VANISHED 1", "OK")
	k.expect(`STORE 1 +FLAGS (\Seen)`, `* 1 FETCH (UID 2 FLAGS (\Seen) MODSEQ (11))`, "OK")
	// Only after UNAUTHENTICATE it is gone (RFC 8437 section 3).
	k.ok("UNAUTHENTICATE")
	k.ok("LOGIN alice secret")
	k.expect("SELECT INBOX (QRESYNC (1 9))", "BAD ")
	k.ok("SELECT INBOX")
	k.expect(`STORE 1 -FLAGS (\Seen)`, "* 1 FETCH (FLAGS ())", "OK")
	g.storage.remove("INBOX", 2)
	k.expect("NOOP", "* 1 EXPUNGE", "OK")
}

// TestRFC7162Lag has the example of section 6: while an expunge is held back, a client hears from where it must go on, whatever it has seen.
func TestRFC7162Lag(t *testing.T) {
	g := newGateway(t)
	g.storage.arrange(1, 9, 99, nil, letters(6, 8, 90)...)
	k := g.login()
	k.ok("ENABLE QRESYNC")
	k.ok("SELECT INBOX")
	g.storage.remove("INBOX", 8) // 100
	const lag = "* OK [HIGHESTMODSEQ 99] modification sequence"
	k.expect(`STORE 1:2 (UNCHANGEDSINCE 96) +FLAGS.SILENT \Seen`, "* 1 FETCH (UID 6 MODSEQ (101))", "* 2 FETCH (UID 7 MODSEQ (101))", lag, "OK STORE")
	k.expect(`STORE 3 +FLAGS.SILENT \Seen`, lag, "NO [EXPUNGEISSUED]")
	k.expect("SEARCH SEEN", "* SEARCH 1 2", lag, "OK")
	k.expect("NOOP", "* VANISHED 8", "* OK [HIGHESTMODSEQ 101] modification sequence", "OK")
	k.expect(`STORE 1 -FLAGS.SILENT \Seen`, "* 1 FETCH (UID 6 MODSEQ (102))", "OK STORE") // nothing lags
	// What others change is no lag by itself.
	g.storage.flag("INBOX", 7, flagDraft) // 103
	g.known()
	k.expect("FETCH 1 UID", `* 2 FETCH (UID 7 FLAGS (\Draft) MODSEQ (103))`, "* 1 FETCH (UID 6)", "OK")
	// EXPUNGE says it once.
	g.storage.remove("INBOX", 6) // 104
	k.expect(`STORE 2 +FLAGS (\Deleted)`, `* 2 FETCH (UID 7 FLAGS (\Deleted \Draft) MODSEQ (105))`, "* OK [HIGHESTMODSEQ 103] modification sequence", "OK")
	k.expect("EXPUNGE", "* VANISHED 6:7", "OK [HIGHESTMODSEQ 106] EXPUNGE")
}
