package session

import (
	"slices"
	"strings"
	"testing"
)

// TestCapabilitiesByState: what is announced is what can be done now, and no login when there is nobody to log in.
func TestCapabilitiesByState(t *testing.T) {
	g := newGateway(t, withTLS(t))
	k := g.connect()
	check := func(state string, want, never []string) {
		t.Helper()
		names := strings.Fields(k.ok("CAPABILITY")[0])
		for _, name := range want {
			if !slices.Contains(names, name) {
				t.Errorf("%s: no %s in %q", state, name, names)
			}
		}
		for _, name := range never {
			if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, name) }) {
				t.Errorf("%s: %s in %q", state, name, names)
			}
		}
		if sorted := slices.Compact(slices.Sorted(slices.Values(names))); len(sorted) != len(names) {
			t.Errorf("%s: something comes twice in %q", state, names)
		}
	}
	check("without TLS", []string{"IMAP4rev1", "IMAP4rev2", "STARTTLS", "LOGINDISABLED", "LITERAL+", "ENABLE", "IDLE"}, []string{"AUTH=PLAIN", "COMPRESS", "NOTIFY"})
	k.startTLS()
	check("with TLS", []string{"AUTH=PLAIN", "SASL-IR"}, []string{"STARTTLS", "LOGINDISABLED", "COMPRESS"})
	k.ok("LOGIN alice secret")
	check("logged in", []string{"COMPRESS=DEFLATE", "NOTIFY", "UNAUTHENTICATE"}, []string{"AUTH=", "SASL-IR", "LOGINDISABLED", "STARTTLS"})
	k.ok("SELECT INBOX")
	check("selected", []string{"COMPRESS=DEFLATE", "NOTIFY"}, []string{"AUTH=", "SASL-IR", "LOGINDISABLED", "STARTTLS"})
	k.compress()
	check("compressed", []string{"NOTIFY"}, []string{"AUTH=", "COMPRESS"})
	k.ok("UNAUTHENTICATE")
	k.uncompressed()
	check("logged out", []string{"AUTH=PLAIN", "SASL-IR"}, []string{"STARTTLS", "LOGINDISABLED", "COMPRESS", "NOTIFY"})
}

// TestPartsThatAreNotThere: RFC 9051 section 6.4.5, and where it is silent, what most servers do.
func TestPartsThatAreNotThere(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	for item, want := range map[string]string{
		"BODY.PEEK[]<99999.10>":                    "BODY[]<99999> {0}|)",
		"BODY.PEEK[TEXT]<4.9223372036854775807>":   "BODY[TEXT]<4> {9}|t body.|)",
		"BODY.PEEK[2]":                             "BODY[2] NIL)",
		"BODY.PEEK[1.1]":                           "BODY[1.1] NIL)",
		"BODY.PEEK[1.HEADER]":                      "BODY[1.HEADER] NIL)",
		"BODY.PEEK[9.MIME]":                        "BODY[9.MIME] NIL)",
		"BODY.PEEK[HEADER.FIELDS (X-NONE)]":        "BODY[HEADER.FIELDS (X-NONE)] {2}||)",
		"BODY.PEEK[HEADER.FIELDS (X-NONE)]<5.100>": "BODY[HEADER.FIELDS (X-NONE)]<5> {0}|)",
		"BINARY.PEEK[2]":                           "BINARY[2] NIL)",
		"BINARY.SIZE[2]":                           "BINARY.SIZE[2] 0)",
	} {
		if got := strings.Join(k.ok("FETCH 1 %s", item), "|"); got != "* 1 FETCH ("+want {
			t.Errorf("%s: %q", item, got)
		}
	}
	for _, item := range []string{"BODY[0]", "BODY[1.]", "BODY[]<5.0>", "BODY[MIME]", "BODY[HEADER.FIELDS ()]", "BODY[]<9223372036854775808.1>"} {
		k.expect("FETCH 1 "+item, "BAD ")
		k.ok("NOOP")
	}
}

// TestSearchOfNothing: RFC 9051 section 7.3.4 and section 6.4.4.
func TestSearchOfNothing(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	tag := func() string { return `* ESEARCH (TAG "` + k.nextTag() + `")` }
	k.expect("SEARCH ALL", "* SEARCH", "OK")
	k.expect("SEARCH RETURN (MIN MAX ALL) ALL", tag(), "OK")
	k.expect("SEARCH RETURN (COUNT MIN) UID 1:*", tag()+" COUNT 0", "OK")
	k.expect("UID SEARCH RETURN (PARTIAL 1:5) *", tag()+" UID PARTIAL (1:5 NIL)", "OK")
	k.expect("SEARCH RETURN (SAVE PARTIAL 1:5) ALL", tag()+" PARTIAL (1:5 NIL)", "OK")
	k.expect("UID FETCH $ FLAGS", "OK")
	for range 4 {
		g.storage.deliver("INBOX", mail1)
	}
	k.expect("NOOP", "* 4 EXISTS", "OK")
	// RFC 9394 section 3.2: what is saved is the part, with the ends if they are asked for, too; COUNT asks for all.
	k.expect("SEARCH RETURN (SAVE PARTIAL 2:2 MAX) ALL", tag()+" MAX 4 PARTIAL (2:2 2)", "OK")
	k.expect("SEARCH $", "* SEARCH 2 4", "OK")
	k.expect("SEARCH RETURN (SAVE PARTIAL -1:-2) ALL", tag()+" PARTIAL (-1:-2 3:4)", "OK")
	k.expect("SEARCH $", "* SEARCH 3 4", "OK")
	k.expect("SEARCH RETURN (SAVE PARTIAL 1:1 COUNT) ALL", tag()+" PARTIAL (1:1 1) COUNT 4", "OK")
	k.expect("SEARCH $", "* SEARCH 1 2 3 4", "OK")
	g.storage.remove("INBOX", 2)
	k.expect("NOOP", "* 2 EXPUNGE", "OK")
	k.expect("SEARCH $", "* SEARCH 1 2 3", "OK") // what is expunged leaves the variable
}

// TestFailedSelect: RFC 9051 section 6.3.2, a SELECT that fails leaves no mailbox selected.
func TestFailedSelect(t *testing.T) {
	k := newGateway(t).selected("INBOX")
	k.expect("SELECT Nowhere", "* OK [CLOSED] previous mailbox is closed", "NO [NONEXISTENT]")
	k.expect("FETCH 1 FLAGS", "BAD [CLIENTBUG] no mailbox is selected")
	k.expect("CLOSE", "BAD [CLIENTBUG] no mailbox is selected")
	k.expect("SELECT", "BAD ")
	k.ok("EXAMINE INBOX")
	k.expect("SELECT", "BAD ") // which was none, so that the mailbox stays
	k.expect("UID FETCH 1:* FLAGS", "OK")
	k.expect("EXPUNGE", "NO [CANNOT]")
	k.expect("CLOSE", "OK CLOSE completed")
}
