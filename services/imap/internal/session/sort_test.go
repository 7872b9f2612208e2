package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// sortGateway has mails that differ in what SORT compares.
func sortGateway(t *testing.T) *gateway {
	g := newGateway(t)
	for _, header := range []string{
		"Subject: Re: pears\r\nFrom: Zoe <anna@example.test>\r\nDate: Wed, 3 Jan 2024 10:00:00 +0000\r\nCc: a@example.test",
		"Subject: apples\r\nFrom: zed@example.test\r\nDate: Wed, 3 Jan 2024 10:00:00 +0900\r\nTo: b@example.test",
		"Subject: =?utf-8?q?=C3=84pfel?=\r\nFrom: =?utf-8?q?=C3=89mile?= <m@example.test>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\nTo: a@example.test, z@example.test",
		"Subject: [list] fwd: PEARS (fwd)\r\nFrom: adam@example.test\r\nCc: Team: c@example.test;",
		"From: Bob <Anna@example.test>\r\nDate: Tue, 2 Jan 2024 10:00:00 +0000\r\nSubject: RE: Pears",
	} {
		g.storage.deliver("INBOX", header+"\r\n\r\nbody "+strings.Repeat("x", len(header)%7)+"\r\n")
	}
	return g
}

// TestSort: RFC 5256 section 3 and RFC 5957.
func TestSort(t *testing.T) {
	g := sortGateway(t)
	k := g.selected("INBOX")
	for keys, want := range map[string]string{
		"ARRIVAL":              "1 2 3 4 5",
		"REVERSE ARRIVAL":      "1 2 3 4 5", // all arrived in one second: equals keep their order
		"DATE":                 "4 3 5 2 1", // 4 has no date but the internal one, of 2023
		"REVERSE DATE":         "1 2 5 3 4",
		"SUBJECT":              "2 3 1 4 5", // A with dots is A, a combining mark, p: after "apples"
		"SUBJECT DATE":         "2 3 4 5 1",
		"SUBJECT REVERSE DATE": "2 3 1 5 4",
		"FROM":                 "4 1 5 3 2",
		"FROM SUBJECT DATE":    "4 5 1 3 2",
		"DISPLAYFROM":          "4 5 3 2 1",
		"TO":                   "1 4 5 3 2",
		"DISPLAYTO":            "1 4 5 3 2",
		"CC":                   "2 3 5 1 4",
	} {
		k.expect("SORT ("+keys+") UTF-8 ALL", "* SORT "+want, "OK SORT completed")
	}
	k.expect("SORT (SUBJECT) US-ASCII TO a@", "* SORT 3", "OK")
	k.expect("SORT (SUBJECT) UTF-8 FLAGGED", "* SORT", "OK")
	k.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	k.ok("EXPUNGE")
	k.expect("UID SORT (DATE) UTF-8 UID 3:5 NOT DELETED", "* SORT 4 3 5", "OK UID SORT")
	k.expect("SORT (SIZE DATE) UTF-8 MODSEQ 4", "* OK [HIGHESTMODSEQ 8] modification sequence", "* SORT 3 4 2 (MODSEQ 6)", "OK")
	k.expect("SORT (SUBJECT) X-NONE ALL", "NO [BADCHARSET")
	for _, command := range []string{"SORT () UTF-8 ALL", "SORT (FROB) UTF-8 ALL", "SORT (REVERSE) UTF-8 ALL", "SORT (DATE) UTF-8", "SORT DATE UTF-8 ALL", "SORT (DATE REVERSE REVERSE DATE) UTF-8 ALL"} {
		k.expect(command, "BAD ")
	}
	k.expect("SORT ("+strings.TrimSpace(strings.Repeat("DATE ", 33))+") UTF-8 ALL", "BAD ")
	g.storage.setDown(true)
	k.expect("SORT (SUBJECT) UTF-8 ALL", "NO [UNAVAILABLE]")
	k.expect("SORT (SIZE) UTF-8 1", "* SORT 1", "OK") // the view knows
}

// TestESort: RFC 5267 section 3; MIN and MAX are the ends of the order.
func TestESort(t *testing.T) {
	g := sortGateway(t)
	k := g.selected("INBOX")
	k.expect("SORT RETURN () (REVERSE DATE) UTF-8 ALL", `* ESEARCH (TAG "`+k.nextTag()+`") ALL 1:2,5,3:4`, "OK")
	k.expect("UID SORT RETURN (MIN MAX COUNT) (DATE) UTF-8 2:5", `* ESEARCH (TAG "`+k.nextTag()+`") UID MIN 4 MAX 2 COUNT 4`, "OK")
	k.expect("SORT RETURN (COUNT) (DATE) UTF-8 FLAGGED", `* ESEARCH (TAG "`+k.nextTag()+`") COUNT 0`, "OK")
	k.expect("SORT RETURN (SAVE) (DATE) UTF-8 3:5", "OK")
	k.expect("FETCH $ UID", "* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)", "* 5 FETCH (UID 5)", "OK")
	k.expect("SORT RETURN (SAVE MIN) (DATE) UTF-8 ALL", `* ESEARCH (TAG "`+k.nextTag()+`") MIN 4`, "OK")
	k.expect("FETCH $ UID", "* 4 FETCH (UID 4)", "OK")
	k.expect("SORT RETURN (SAVE) (DATE) X-NONE ALL", "NO [BADCHARSET")
	k.expect("FETCH $ UID", "OK")
	k.expect("SORT RETURN (ALL) (DATE) UTF-8 MODSEQ 5", "* OK [HIGHESTMODSEQ 6] modification sequence",
		`* ESEARCH (TAG "`+k.nextTag()+`") ALL 4:5 MODSEQ 6`, "OK")
	k.expect("SORT RETURN (FROB) (DATE) UTF-8 ALL", "BAD ")
}

// TestThreadOrderedSubject: RFC 5256 section 3 and its response in section 4.
func TestThreadOrderedSubject(t *testing.T) {
	g := sortGateway(t)
	k := g.selected("INBOX")
	k.expect("THREAD ORDEREDSUBJECT UTF-8 ALL", "* THREAD (4 (5)(1))(3)(2)", "OK THREAD completed")
	k.expect("UID THREAD ORDEREDSUBJECT UTF-8 2:5", "* THREAD (4 5)(3)(2)", "OK UID THREAD")
	k.expect("THREAD ORDEREDSUBJECT US-ASCII FLAGGED", "* THREAD", "OK")
	k.expect("THREAD FROB UTF-8 ALL", "BAD ")
	k.expect("THREAD ORDEREDSUBJECT X-NONE ALL", "NO [BADCHARSET")
}

// TestSortImapclient has another implementation read the answers.
func TestSortImapclient(t *testing.T) {
	g := sortGateway(t)
	c := g.client(nil)
	if err := c.Login("alice", "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	sorted, err := c.Sort(&imapclient.SortOptions{
		SearchCriteria: &imap.SearchCriteria{}, SortCriteria: []imapclient.SortCriterion{{Key: imapclient.SortKeyDate, Reverse: true}},
	}).Wait()
	if err != nil || fmt.Sprint(sorted) != "[1 2 5 3 4]" {
		t.Errorf("SORT: %v, %v", sorted, err)
	}
	threads, err := c.Thread(&imapclient.ThreadOptions{Algorithm: imap.ThreadOrderedSubject, SearchCriteria: &imap.SearchCriteria{}}).Wait()
	if err != nil || len(threads) != 3 || len(threads[0].SubThreads) != 2 {
		t.Errorf("THREAD: %+v, %v", threads, err)
	}
}

// TestSortOfMessagesThatAreGone: another session expunges what is being sorted.
func TestSortOfMessagesThatAreGone(t *testing.T) {
	list := []*sortable{{index: 0, text: &[textFacts]string{}}, {index: 1}}
	for name, order := range sortOrders {
		if c := order.compare(list[0], list[1]); c != 0 {
			t.Errorf("%s: %d", name, c)
		}
	}
	if n := len(collate(strings.Repeat("ﷺ", 1000))); n > maxCollated {
		t.Errorf("a text of %d octets is compared", n)
	}
	if got := factSubject.of(nil); got != "" {
		t.Errorf("no envelope has the subject %q", got)
	}
}
