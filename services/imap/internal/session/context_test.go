package session

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

const flaggedDeleted = storagev1.Flag_FLAG_DELETED

// says sends a command with a tag of its own, and compares everything that comes; the tagged line by its beginning.
func (k *talk) says(tag, command string, want ...string) {
	k.t.Helper()
	k.send("%s %s\r\n", tag, command)
	for _, w := range want {
		if line := k.line(); line != w && (!strings.HasPrefix(w, tag+" ") || !strings.HasPrefix(line, w)) {
			k.t.Fatalf("%s: got %q, want %q", command, line, w)
		}
	}
}

// TestContextOfSearch: the examples of RFC 5267 section 4.
func TestContextOfSearch(t *testing.T) {
	g := newGateway(t)
	for i := range 6 {
		g.storage.deliver("INBOX", fmt.Sprintf("Subject: %d\r\n\r\n", i))
	}
	g.storage.remove("INBOX", 1)
	k := g.login()
	if names := strings.Fields(k.ok("CAPABILITY")[0]); !slices.Contains(names, "CONTEXT=SEARCH") || !slices.Contains(names, "CONTEXT=SORT") {
		t.Errorf("CAPABILITY: %q", names)
	}
	k.ok("SELECT INBOX")
	k.says("A01", "SEARCH RETURN (CONTEXT COUNT) UNDELETED", `* ESEARCH (TAG "A01") COUNT 5`, "A01 OK")
	k.says("B01", "UID SEARCH RETURN (UPDATE COUNT) DELETED", `* ESEARCH (TAG "B01") UID COUNT 0`, "B01 OK")
	k.says("B01", "SORT RETURN (UPDATE) (DATE) UTF-8 FLAGGED", "B01 BAD tag reuse")

	// Flags, set by others and by itself.
	g.storage.flag("INBOX", 3, flaggedDeleted)
	g.storage.flag("INBOX", 4, flaggedDeleted)
	k.expect("NOOP", `* 2 FETCH (FLAGS (\Deleted))`, `* 3 FETCH (FLAGS (\Deleted))`, `* ESEARCH (TAG "B01") UID ADDTO (0 3:4)`, "OK")
	k.expect(`STORE 5 +FLAGS.SILENT (\Deleted)`, `* ESEARCH (TAG "B01") UID ADDTO (0 6)`, "OK")
	k.expect(`STORE 2,5 -FLAGS.SILENT (\Deleted)`, `* ESEARCH (TAG "B01") UID REMOVEFROM (0 3,6)`, "OK")

	// What is expunged leaves the results before it leaves the mailbox; also before an EXPUNGE may come.
	k.says("B02", "SEARCH RETURN (UPDATE ALL) ALL", `* ESEARCH (TAG "B02") ALL 1:5`, "B02 OK")
	g.storage.remove("INBOX", 4)
	g.known()
	k.expect("FETCH 1 UID", `* ESEARCH (TAG "B01") UID REMOVEFROM (0 4)`, `* ESEARCH (TAG "B02") REMOVEFROM (0 3)`, "* 1 FETCH (UID 2)", "OK")
	k.expect("NOOP", "* 3 EXPUNGE", "OK")

	// New messages: after EXISTS.
	k.send("i IDLE\r\n")
	k.until("+ ")
	g.storage.deliver("INBOX", "Subject: new\r\n\r\n")
	k.told("* 5 EXISTS", `* ESEARCH (TAG "B02") ADDTO (0 5)`)
	k.send("DONE\r\n")
	k.until("i OK")

	k.expect(`CANCELUPDATE "B01" "B03"`, "BAD")
	k.says("B04", `CANCELUPDATE "B01"`, "B04 OK no further updates")
	k.expect(`STORE 1 +FLAGS.SILENT (\Deleted)`, "OK")
	k.says("B01", "UID SEARCH RETURN (UPDATE COUNT) DELETED", `* ESEARCH (TAG "B01") UID COUNT 1`, "B01 OK") // the tag is free again
	k.ok("SELECT INBOX")
	k.expect(`STORE 1 -FLAGS.SILENT (\Deleted)`, "OK")
	k.says("B01", "UID SEARCH RETURN (UPDATE COUNT) DELETED", `* ESEARCH (TAG "B01") UID COUNT 0`, "B01 OK")
}

// Sequence numbers of a search are those of when it was made; "*" of UIDs is the last one at any time.
func TestContextOfNumbers(t *testing.T) {
	g := newGateway(t)
	for range 4 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.says("S1", "SEARCH RETURN (UPDATE ALL) 2:3 UNFLAGGED", `* ESEARCH (TAG "S1") ALL 2:3`, "S1 OK")
	k.says("S2", "UID SEARCH RETURN (UPDATE ALL) UID 4:*", `* ESEARCH (TAG "S2") UID ALL 4`, "S2 OK")
	g.storage.remove("INBOX", 1)
	k.expect("NOOP", "* 1 EXPUNGE", "OK")
	k.expect(`STORE 2 +FLAGS.SILENT (\Flagged)`, `* ESEARCH (TAG "S1") REMOVEFROM (0 2)`, "OK") // UID 3
	k.expect(`STORE 3 +FLAGS.SILENT (\Flagged)`, "OK")                                          // UID 4, which was number 4
	k.expect(`STORE 2 -FLAGS.SILENT (\Flagged)`, `* ESEARCH (TAG "S1") ADDTO (0 2)`, "OK")
	g.storage.deliver("INBOX", mail1)
	k.expect("NOOP", "* 4 EXISTS", `* ESEARCH (TAG "S2") UID ADDTO (0 5)`, "OK")
}

// TestContextOfSort: positions, as RFC 5267 sections 4.3.3 and 4.3.4 have them.
func TestContextOfSort(t *testing.T) {
	g := newGateway(t)
	for _, subject := range []string{"d", "b", "f"} {
		g.storage.deliver("INBOX", "Subject: "+subject+"\r\n\r\n")
	}
	k := g.selected("INBOX")
	k.says("C01", "UID SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 UNDELETED", `* ESEARCH (TAG "C01") UID ALL 2,1,3`, "C01 OK")
	k.says("C02", "SORT RETURN (UPDATE COUNT) (REVERSE SUBJECT) UTF-8 UNDELETED", `* ESEARCH (TAG "C02") COUNT 3`, "C02 OK")
	for _, subject := range []string{"c", "a"} {
		g.storage.deliver("INBOX", "Subject: "+subject+"\r\n\r\n")
	}
	k.expect("NOOP", "* 5 EXISTS", `* ESEARCH (TAG "C01") UID ADDTO (2 4 1 5)`, `* ESEARCH (TAG "C02") ADDTO (3 4 5 5)`, "OK")
	k.expect(`STORE 1,5 +FLAGS.SILENT (\Deleted)`, `* ESEARCH (TAG "C01") UID REMOVEFROM (4 1 1 5)`, `* ESEARCH (TAG "C02") REMOVEFROM (5 5 2 1)`, "OK")
	k.expect("EXPUNGE", "* 5 EXPUNGE", "* 1 EXPUNGE", "OK")
	g.storage.remove("INBOX", 2)
	k.expect("NOOP", `* ESEARCH (TAG "C01") UID REMOVEFROM (1 2)`, `* ESEARCH (TAG "C02") REMOVEFROM (3 1)`, "* 1 EXPUNGE", "OK")
}

// TestTooManyContexts: RFC 5267 section 4.3.1.
func TestTooManyContexts(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	for i := range maxContexts {
		k.says(fmt.Sprint("F", i), "SEARCH RETURN (UPDATE COUNT) ALL", fmt.Sprintf(`* ESEARCH (TAG "F%d") COUNT 1`, i), fmt.Sprintf("F%d OK", i))
	}
	k.says("B02", "UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL", `* NO [NOUPDATE "B02"] too many contexts, or results`, `* ESEARCH (TAG "B02") UID COUNT 1`, "B02 OK")
	k.says("B03", "CANCELUPDATE F0 F3", "B03 OK")
	k.says("B04", "UID SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL", `* ESEARCH (TAG "B04") UID COUNT 1`, "B04 OK")
	inbox := g.uidValidity("INBOX")
	k.says("B05", "ESEARCH IN (mailboxes INBOX) RETURN (UPDATE COUNT) ALL", fmt.Sprintf(`* ESEARCH (TAG "B05" MAILBOX INBOX UIDVALIDITY %d) UID COUNT 1`, inbox), "B05 OK")
	k.says("B06", "ESEARCH RETURN (UPDATE COUNT) ALL", `* NO [NOUPDATE "B06"] too many contexts, or results`,
		fmt.Sprintf(`* ESEARCH (TAG "B06" MAILBOX INBOX UIDVALIDITY %d) UID COUNT 1`, inbox), "B06 OK")
}

// What only storage can tell is asked of it, for the messages that have changed; when it is out of reach, later. New results come with what is
// asked for (RFC 5465 section 7).
func TestContextOfText(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", "Subject: one\r\n\r\nneedle\r\n")
	k := g.selected("INBOX")
	k.says("T1", "UID SEARCH RETURN (UPDATE (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) ALL) TEXT needle UNDELETED", `* ESEARCH (TAG "T1") UID ALL 1`, "T1 OK")
	k.says("T2", "UID SEARCH RETURN (COUNT UPDATE) ALL", `* ESEARCH (TAG "T2") UID COUNT 1`, "T2 OK")
	g.storage.deliver("INBOX", "Subject: two\r\n\r\nhay\r\n")
	g.storage.deliver("INBOX", "Subject: three\r\n\r\na needle\r\n")
	k.expect("NOOP", "* 3 EXISTS", "* 3 FETCH (UID 3 BODY[HEADER.FIELDS (SUBJECT)] {18}", "Subject: three", "", ")",
		`* ESEARCH (TAG "T1") UID ADDTO (0 3)`, `* ESEARCH (TAG "T2") UID ADDTO (0 2:3)`, "OK")
	// Nothing is fetched of what only its flags have made a result (section 7).
	k.expect(`STORE 3 +FLAGS.SILENT (\Deleted)`, `* ESEARCH (TAG "T1") UID REMOVEFROM (0 3)`, "OK")
	k.expect(`STORE 3 -FLAGS.SILENT (\Deleted)`, `* ESEARCH (TAG "T1") UID ADDTO (0 3)`, "OK")
	g.storage.flag("INBOX", 1, flaggedDeleted)
	g.known()
	g.storage.setDown(true)
	k.expect("FETCH 2 UID", `* 1 FETCH (FLAGS (\Deleted))`, "* 2 FETCH (UID 2)", "OK")
	g.storage.setDown(false)
	k.expect("NOOP", `* ESEARCH (TAG "T1") UID REMOVEFROM (0 1)`, "OK")
}

// A client that applies what it is told has what a new search finds.
func TestContextsAgreeWithSearches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	g := newGateway(t)
	deliver := func() uint32 {
		return g.storage.deliver("INBOX", fmt.Sprintf("Subject: %c\r\nDate: Wed, %d Jan 2024 10:00:00 +0000\r\n\r\n%d\r\n", 'a'+rune(r.IntN(6)), 1+r.IntN(20), r.IntN(3)))
	}
	var alive []uint32
	for range 20 {
		alive = append(alive, deliver())
	}
	k := g.selected("INBOX")
	searches := map[string]string{
		"U1": "UID SEARCH RETURN (%s) UNFLAGGED", "U2": "UID SEARCH RETURN (%s) OR TEXT 1 FLAGGED", "U3": "UID SORT RETURN (%s) (SUBJECT REVERSE DATE) UTF-8 UNDELETED",
		"U4": "UID SORT RETURN (%s) (REVERSE ARRIVAL) UTF-8 BODY 2", "U5": "UID SORT RETURN (%s) (DATE) UTF-8 NOT (FLAGGED UNDELETED)",
	}
	results := map[string][]uint32{}
	updates := 0
	take := func(line string) {
		m := regexp.MustCompile(`^\* ESEARCH \(TAG "(\w+)"\) UID(.*)$`).FindStringSubmatch(line)
		if m == nil {
			return
		}
		for _, item := range regexp.MustCompile(` (ALL|ADDTO|REMOVEFROM) (\([^)]*\)|\S+)`).FindAllStringSubmatch(m[2], -1) {
			if item[1] == "ALL" {
				results[m[1]] = expand(t, item[2])
				continue
			}
			updates++
			pairs := strings.Fields(strings.Trim(item[2], "()"))
			for i := 0; i < len(pairs); i += 2 {
				position, _ := strconv.Atoi(pairs[i])
				list := results[m[1]]
				switch uids := expand(t, pairs[i+1]); {
				case item[1] == "ADDTO" && position > 0:
					list = slices.Insert(list, position-1, uids...)
				case item[1] == "ADDTO":
					list = append(list, uids...)
					slices.Sort(list)
				case position > 0:
					if !slices.Equal(list[position-1:position-1+len(uids)], uids) {
						t.Fatalf("%q, but the results are %v", line, list)
					}
					list = slices.Delete(list, position-1, position-1+len(uids))
				default:
					list = slices.DeleteFunc(list, func(uid uint32) bool { return slices.Contains(uids, uid) })
				}
				results[m[1]] = list
			}
		}
	}
	for _, tag := range []string{"U1", "U2", "U3", "U4", "U5"} {
		k.send("%s "+searches[tag]+"\r\n", tag, "UPDATE ALL")
		for _, line := range k.until(tag + " OK") {
			take(line)
		}
	}
	run := func(command string, args ...any) (lines []string) {
		lines = k.ok(command, args...)
		for _, line := range lines {
			take(line)
		}
		return lines
	}
	for step := range 150 {
		uid := alive[r.IntN(len(alive))]
		switch r.IntN(7) {
		case 0:
			alive = append(alive, deliver())
		case 1:
			if len(alive) > 5 {
				g.storage.remove("INBOX", uid)
				alive = slices.DeleteFunc(alive, func(u uint32) bool { return u == uid })
			}
		case 2:
			g.storage.flag("INBOX", uid, storagev1.Flag(r.IntN(16)))
		case 3:
			run(`UID STORE %d %cFLAGS (\%s)`, uid, "+-"[r.IntN(2)], []string{"Flagged", "Deleted", "Seen"}[r.IntN(3)])
		case 4:
			run("FETCH 1 UID")
		case 5:
			run("UID SEARCH SUBJECT a")
		}
		if r.IntN(3) > 0 {
			continue
		}
		run("NOOP")
		for tag, search := range searches {
			var fresh []uint32
			for _, line := range run(search, "ALL") {
				if _, all, ok := strings.Cut(line, " ALL "); ok && strings.Contains(line, fmt.Sprintf(`(TAG "a%d")`, k.n)) {
					fresh = expand(t, all)
				}
			}
			if !slices.Equal(results[tag], fresh) {
				t.Fatalf("step %d: %s: by updates %v, by a new search %v", step, search, results[tag], fresh)
			}
		}
	}
	if updates < 50 {
		t.Errorf("only %d updates: the test says little", updates)
	}
}

// expand gives the numbers of a sequence set.
func expand(t *testing.T, set string) (out []uint32) {
	t.Helper()
	for part := range strings.SplitSeq(set, ",") {
		low, high, ok := strings.Cut(part, ":")
		if !ok {
			high = low
		}
		a, errA := strconv.Atoi(low)
		b, errB := strconv.Atoi(high)
		if errA != nil || errB != nil || a > b {
			t.Fatalf("no set: %q", set)
		}
		for ; a <= b; a++ {
			out = append(out, uint32(a))
		}
	}
	return out
}

func TestWithout(t *testing.T) {
	all := rangesOf([]uint32{1, 2, 3, 5, 7, 8, 9, 10})
	for _, c := range []struct {
		numbers []uint32
		want    string
	}{
		{nil, "[{1 3} {5 5} {7 10}]"},
		{[]uint32{1, 3, 4, 5, 8, 9, 20}, "[{2 2} {7 7} {10 10}]"},
		{[]uint32{2, 7, 10}, "[{1 1} {3 3} {5 5} {8 9}]"},
		{[]uint32{1, 2, 3, 5, 7, 8, 9, 10}, "[]"},
	} {
		if got := fmt.Sprint(without(all, c.numbers)); got != c.want {
			t.Errorf("without %v: %s, want %s", c.numbers, got, c.want)
		}
	}
}
