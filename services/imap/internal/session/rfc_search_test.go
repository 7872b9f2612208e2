package session

import (
	"slices"
	"strings"
	"testing"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// flagged gives messages 1 to last, of which some have \Flagged.
func flagged(last uint32, some ...uint32) []letter {
	out := letters(1, last, 9)
	for i := range out {
		if slices.Contains(some, out[i].uid) {
			out[i].flags = storagev1.Flag_FLAG_FLAGGED
		}
	}
	return out
}

// TestSavedResults has example 10 of RFC 5182 section 2.4, and table 1 of RFC 9394 section 3.2.
func TestSavedResults(t *testing.T) {
	g := newGateway(t)
	g.storage.arrange(1, 22, 9, nil, flagged(21, 2, 10, 11, 12, 13, 14, 15, 21)...)
	k := g.selected("INBOX")
	const all = "2,10:15,21"
	for _, c := range []struct{ options, result, saved string }{
		{"ALL", " ALL " + all, ""},
		{"ALL SAVE", " ALL " + all, all},
		{"COUNT", " COUNT 8", all},
		{"SAVE MIN", " MIN 2", "2"},
		{"SAVE MAX", " MAX 21", "21"},
		{"MAX SAVE MIN", " MIN 2 MAX 21", "2,21"},
		{"MAX SAVE MIN COUNT", " MIN 2 MAX 21 COUNT 8", all},
		{"ALL SAVE MIN", " MIN 2 ALL " + all, all},
		{"SAVE PARTIAL 2:3", " PARTIAL (2:3 10:11)", "10:11"},
		{"MIN SAVE PARTIAL 2:3", " MIN 2 PARTIAL (2:3 10:11)", "2,10:11"},
		{"PARTIAL -2:-3 MAX SAVE", " MAX 21 PARTIAL (-2:-3 14:15)", "14:15,21"},
		{"SAVE PARTIAL 4:4 MIN MAX", " MIN 2 MAX 21 PARTIAL (4:4 12)", "2,12,21"},
		{"SAVE PARTIAL 4:4 COUNT MAX", " MAX 21 PARTIAL (4:4 12) COUNT 8", all},
		{"SAVE PARTIAL 9:10", " PARTIAL (9:10 NIL)", ""},
		{"SAVE MIN PARTIAL 9:10", " MIN 2 PARTIAL (9:10 NIL)", "2"},
	} {
		for _, command := range []string{"SEARCH RETURN (" + c.options + ") FLAGGED", "SORT RETURN (" + c.options + ") (ARRIVAL) UTF-8 FLAGGED", "ESEARCH RETURN (" + c.options + ") FLAGGED"} {
			lines, tag := k.ok("%s", command), k.nextTag()
			if len(lines) != 1 || !strings.HasSuffix(lines[0], ")"+c.result) && !strings.HasSuffix(lines[0], ") UID"+c.result) {
				t.Errorf("%s: got %q, want …%s", command, lines, c.result)
			}
			want := `* ESEARCH (TAG "` + tag + `")`
			if c.saved != "" {
				want += " ALL " + c.saved
			}
			k.expect("SEARCH RETURN () $", want, "OK")
		}
	}
}

// TestModSeqOfResults has the examples of RFC 4731 section 3.2, and example 20 of RFC 7162.
func TestModSeqOfResults(t *testing.T) {
	g := newGateway(t)
	there := letters(1, 24, 610000000)
	for uid, modseq := range map[uint32]uint64{2: 917162488, 5: 917162500, 23: 907162321} {
		there[uid-1].modseq = modseq
	}
	g.storage.arrange(1, 25, 917162500, nil, there...)
	k := g.login()
	k.ok("SELECT INBOX (CONDSTORE)")
	for command, want := range map[string]string{
		`SEARCH RETURN (MIN) MODSEQ "/flags/\\draft" all 620162338`:       " MIN 2 MODSEQ 917162488",
		`SEARCH RETURN (MAX) MODSEQ "/flags/\\draft" all 620162338`:       " MAX 23 MODSEQ 907162321",
		`SEARCH RETURN (MIN MAX) MODSEQ "/flags/\\draft" all 620162338`:   " MIN 2 MAX 23 MODSEQ 917162488",
		`SEARCH RETURN (MIN COUNT) MODSEQ "/flags/\\draft" all 620162338`: " MIN 2 COUNT 3 MODSEQ 917162500",
		`SEARCH RETURN (PARTIAL -1:-1) MODSEQ 620162338`:                  " PARTIAL (-1:-1 23) MODSEQ 907162321",
		`SORT RETURN (ALL) (REVERSE SIZE) UTF-8 MODSEQ 620162338`:         " ALL 2,5,23 MODSEQ 917162500",
		`SORT RETURN (MIN) (SIZE) UTF-8 MODSEQ 620162338`:                 " MIN 2 MODSEQ 917162488",
		`SORT RETURN (COUNT) (SIZE) UTF-8 MODSEQ 917162501`:               " COUNT 0",
	} {
		k.expect(command, `* ESEARCH (TAG "`+k.nextTag()+`")`+want, "OK")
	}
	k.expect("SORT (SIZE) UTF-8 MODSEQ 620162338", "* SORT 2 5 23 (MODSEQ 917162500)", "OK")
	k.expect("SORT (SIZE) UTF-8 MODSEQ 917162501", "* SORT", "OK")
	k.expect("THREAD ORDEREDSUBJECT UTF-8 MODSEQ 910000000", "* THREAD (2 5)", "OK") // as without
	// CHANGEDSINCE of what was found.
	k.ok("SEARCH RETURN (SAVE) 1:5")
	k.expect("UID FETCH $ UID (CHANGEDSINCE 917162488)", "* 5 FETCH (UID 5 MODSEQ (917162500))", "OK")
	k.expect("FETCH $ UID (CHANGEDSINCE 610000000)", "* 2 FETCH (UID 2 MODSEQ (917162488))", "* 5 FETCH (UID 5 MODSEQ (917162500))", "OK")
	k.expect(`STORE $ (UNCHANGEDSINCE 917162499) +FLAGS.SILENT (\Seen)`,
		"* 1 FETCH (UID 1 MODSEQ (917162501))", "* 2 FETCH (UID 2 MODSEQ (917162501))", "* 3 FETCH (UID 3 MODSEQ (917162501))", "* 4 FETCH (UID 4 MODSEQ (917162501))", "OK [MODIFIED 5] ")
	// SORT and THREAD with MODSEQ enable CONDSTORE, too.
	for _, command := range []string{"SORT (SIZE) UTF-8 MODSEQ 917162502", "THREAD ORDEREDSUBJECT UTF-8 MODSEQ 917162502", "ESEARCH MODSEQ 917162502"} {
		if lines := g.selected("INBOX").ok("%s", command); len(lines) == 0 || lines[0] != "* OK [HIGHESTMODSEQ 917162501] modification sequence" {
			t.Errorf("%s: got %q", command, lines)
		}
	}
}
