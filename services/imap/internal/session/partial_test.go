package session

import "testing"

// TestPartial: RFC 9394, sections 3.1 to 3.4.
func TestPartial(t *testing.T) {
	g := newGateway(t)
	for range 10 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	k.ok(`STORE 4,7 +FLAGS.SILENT (\Deleted)`)
	k.ok("EXPUNGE") // UIDs 1:3, 5:6, 8:10
	for options, want := range map[string]string{
		"PARTIAL 1:4":                " PARTIAL (1:4 1:3,5)",
		"PARTIAL 4:1":                " PARTIAL (4:1 1:3,5)",
		"PARTIAL 5:100":              " PARTIAL (5:100 6,8:10)",
		"PARTIAL -1:-4":              " PARTIAL (-1:-4 6,8:10)",
		"PARTIAL -8:-8":              " PARTIAL (-8:-8 1)",
		"PARTIAL -8:-4294967295":     " PARTIAL (-8:-4294967295 1)",
		"PARTIAL 9:10":               " PARTIAL (9:10 NIL)",
		"PARTIAL -9:-10":             " PARTIAL (-9:-10 NIL)",
		"MIN PARTIAL 2:2 MAX COUNT":  " MIN 1 MAX 10 PARTIAL (2:2 2) COUNT 8",
		"PARTIAL 4294967295:1 COUNT": " PARTIAL (4294967295:1 1:3,5:6,8:10) COUNT 8",
	} {
		k.expect("UID SEARCH RETURN ("+options+") ALL", `* ESEARCH (TAG "`+k.nextTag()+`") UID`+want, "OK")
	}
	k.expect("SEARCH RETURN (PARTIAL 1:4) FLAGGED", `* ESEARCH (TAG "`+k.nextTag()+`") PARTIAL (1:4 NIL)`, "OK")
	k.expect("UID SORT RETURN (PARTIAL -2:-1) (REVERSE SUBJECT) UTF-8 ALL", `* ESEARCH (TAG "`+k.nextTag()+`") UID PARTIAL (-2:-1 9:10)`, "OK")
	k.expect("UID SORT RETURN (PARTIAL 20:30) (SIZE) UTF-8 ALL", `* ESEARCH (TAG "`+k.nextTag()+`") UID PARTIAL (20:30 NIL)`, "OK")
	// What is saved is what was told.
	k.expect("SEARCH RETURN (SAVE PARTIAL -1:-2 MIN) ALL", `* ESEARCH (TAG "`+k.nextTag()+`") MIN 1 PARTIAL (-1:-2 7:8)`, "OK")
	k.expect("FETCH $ UID", "* 1 FETCH (UID 1)", "* 7 FETCH (UID 9)", "* 8 FETCH (UID 10)", "OK")
	k.expect("SORT RETURN (SAVE PARTIAL 1:1) (ARRIVAL) UTF-8 5:6", `* ESEARCH (TAG "`+k.nextTag()+`") PARTIAL (1:1 5)`, "OK")
	k.expect("FETCH $ UID", "* 5 FETCH (UID 6)", "OK")
	// FETCH.
	k.expect("UID FETCH 1:* FLAGS (PARTIAL -1:-2)", "* 7 FETCH (UID 9 FLAGS ())", "* 8 FETCH (UID 10 FLAGS ())", "OK")
	k.expect("UID FETCH 1:5 FLAGS (PARTIAL 3:9)", "* 3 FETCH (UID 3 FLAGS ())", "* 4 FETCH (UID 5 FLAGS ())", "OK")
	k.expect("FETCH 2:6 UID (PARTIAL 1:1)", "* 2 FETCH (UID 2)", "OK")
	k.expect("UID FETCH 1:* UID (PARTIAL 20:30)", "OK")
	k.ok("ENABLE CONDSTORE")
	k.expect("UID FETCH 1:* FLAGS (PARTIAL -1:-1 CHANGEDSINCE 3)", "* 8 FETCH (UID 10 FLAGS () MODSEQ (11))", "OK")
	for _, command := range []string{
		"SEARCH RETURN (PARTIAL 1:4 ALL) ALL", "SEARCH RETURN (PARTIAL 1:4 PARTIAL 2:3) ALL", "SEARCH RETURN (PARTIAL 0:4) ALL",
		"SEARCH RETURN (PARTIAL 1) ALL", "SEARCH RETURN (PARTIAL 1:-4) ALL", "SEARCH RETURN (PARTIAL -1:4) ALL", "SEARCH RETURN (PARTIAL 1:*) ALL",
		"SORT RETURN (PARTIAL 1:4 ALL) (SIZE) UTF-8 ALL",
	} {
		k.expect(command, "BAD ")
	}
	k.expect("FETCH 1 UID (PARTIAL 1:4294967296)", "BAD ")
}
