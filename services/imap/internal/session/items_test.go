package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// TestObjectID: RFC 8474, sections 4 and 5.
func TestObjectID(t *testing.T) {
	g := newGateway(t)
	for range 2 {
		g.storage.deliver("INBOX", mail1)
	}
	g.storage.deliver("INBOX", mail2)
	k := g.login()
	_, tagged := k.do("CREATE foo")
	id, ok := strings.CutPrefix(tagged, "OK [MAILBOXID (")
	id, _, closed := strings.Cut(id, ")]")
	if !ok || !closed || id == "" {
		t.Fatalf("CREATE: %s", tagged)
	}
	k.expect("STATUS foo (MAILBOXID MESSAGES)", "* STATUS foo (MAILBOXID ("+id+") MESSAGES 0)", "OK")
	k.ok("RENAME foo renamed")
	k.expect(`LIST "" renamed RETURN (STATUS (MAILBOXID))`, `* LIST (\HasNoChildren) "/" renamed`, "* STATUS renamed (MAILBOXID ("+id+"))", "OK")
	if lines := strings.Join(k.ok("SELECT renamed"), "\n"); !strings.Contains(lines, "* OK [MAILBOXID ("+id+")] ") {
		t.Errorf("SELECT says:\n%s", lines)
	}
	k.ok("SELECT INBOX")
	lines := k.ok("FETCH 1:* (EMAILID THREADID)")
	var email, thread string
	if n, err := fmt.Sscanf(lines[0], "* 1 FETCH (EMAILID (%16s) THREADID (%17s))", &email, &thread); n != 2 || err != nil {
		t.Fatalf("FETCH: %q: %v", lines[0], err)
	}
	k.expect("SEARCH EMAILID "+email, "* SEARCH 1 2", "OK")
	k.expect("SEARCH NOT THREADID "+thread, "* SEARCH 3", "OK")
	k.ok("MOVE 1 renamed")
	k.ok("SELECT renamed")
	k.expect("FETCH 1 EMAILID", "* 1 FETCH (EMAILID ("+email+"))", "OK")
	k.expect("SEARCH EMAILID a/b", "BAD")
	k.expect("SEARCH EMAILID "+strings.Repeat("a", 256), "BAD")
	k.expect(`SEARCH THREADID ""`, "BAD")
}

// TestSaveDate: RFC 8514, sections 4.1 and 4.3.
func TestSaveDate(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1) // 1,710,000,001: 9 March 2024, 16:00:01
	k := g.selected("INBOX")
	k.expect("FETCH 1 (SAVEDATE UID)", `* 1 FETCH (SAVEDATE " 9-Mar-2024 16:00:01 +0000" UID 1)`, "OK")
	for command, want := range map[string]string{
		"SAVEDATESUPPORTED": " 1", "SAVEDON 9-Mar-2024": " 1", "SAVEDON 10-Mar-2024": "", "SAVEDBEFORE 10-Mar-2024": " 1",
		"SAVEDBEFORE 9-Mar-2024": "", "SAVEDSINCE 9-Mar-2024": " 1", "NOT SAVEDSINCE 10-Mar-2024": " 1", `SAVEDSINCE "10-Mar-2024"`: "",
	} {
		k.expect("SEARCH "+command, "* SEARCH"+want, "OK")
	}
	k.expect("SEARCH SAVEDON yesterday", "BAD")
}

// TestPreview: RFC 8970, sections 3 and 4.
func TestPreview(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", "Subject: empty\r\n\r\n")
	g.storage.deliver("INBOX", "Content-Type: text/plain; charset=utf-8\r\n\r\nこんにちは\r\n")
	k := g.selected("INBOX")
	k.expect("FETCH 1 (PREVIEW)", `* 1 FETCH (PREVIEW "First body.")`, "OK")
	k.expect("FETCH 1 PREVIEW", `* 1 FETCH (PREVIEW "First body.")`, "OK")
	k.expect("FETCH 1 PREVIEW (lazy)", `* 1 FETCH (PREVIEW "First body.")`, "OK")
	k.expect("FETCH 1:2 (UID PREVIEW (LAZY) FLAGS)", `* 1 FETCH (UID 1 PREVIEW "First body." FLAGS ())`, `* 2 FETCH (UID 2 PREVIEW "" FLAGS ())`, "OK")
	k.expect("FETCH 2:3 PREVIEW (CHANGEDSINCE 3)", "* OK [HIGHESTMODSEQ 4] modification sequence", "* 3 FETCH (PREVIEW {15}", "こんにちは MODSEQ (4))", "OK")
	k.expect("FETCH 3 PREVIEW (LAZY) (CHANGEDSINCE 9)", "OK")
	k.expect("FETCH 1 (PREVIEW (EAGER))", "BAD")
	k.expect("FETCH 1 (PREVIEW (LAZY EAGER))", "BAD")
	k.expect("FETCH 1 (PREVIEW (LAZY Lazy) UID)", `* 1 FETCH (PREVIEW "First body." UID 1)`, "OK")
	k.expect("FETCH 1 (PREVIEW (LAZYISH))", "BAD")
	k.expect("FETCH 1 (PREVIEW ())", "BAD")
	k.expect("FETCH 1 FLAGS", "* 1 FETCH (FLAGS ())", "OK") // \Seen is not set
	k.ok("ENABLE IMAP4rev2")
	k.expect("FETCH 3 PREVIEW", `* 3 FETCH (PREVIEW "こんにちは")`, "OK")
}

// TestWithin: RFC 5032 section 3.
func TestWithin(t *testing.T) {
	g := newGateway(t)
	k := g.selected("INBOX")
	for _, age := range []time.Duration{0, 48 * time.Hour} {
		k.ok("APPEND INBOX %q {5+}\r\nhello", time.Now().Add(-age).Format("_2-Jan-2006 15:04:05 -0700"))
	}
	k.expect("SEARCH OLDER 86400", "* SEARCH 2", "OK")
	k.expect("SEARCH YOUNGER 86400", "* SEARCH 1", "OK")
	k.expect("UID SEARCH RETURN (COUNT) YOUNGER 259200 NOT BODY x", `* ESEARCH (TAG "`+k.nextTag()+`") UID COUNT 2`, "OK")
	k.expect("SEARCH OLDER 0", "BAD")
	k.expect("SEARCH YOUNGER 4294967296", "BAD")
}

// TestWithinTheSecond: a message that is exactly as old is both (RFC 5032 section 3).
func TestWithinTheSecond(t *testing.T) {
	for _, now := range []int64{1_700_000_000, 4_294_967_295, 4_294_967_294} {
		s := &session{Engine: &Engine{Options: Options{Now: func() time.Time { return time.Unix(now, 0) }}}}
		for _, c := range []struct {
			key     string
			seconds uint32
			age     int64
			want    bool
		}{
			{"OLDER", 100, 99, false}, {"OLDER", 100, 100, true}, {"OLDER", 100, 101, true}, {"OLDER", 4_294_967_295, 1000, false},
			{"YOUNGER", 100, 99, true}, {"YOUNGER", 100, 100, true}, {"YOUNGER", 100, 101, false}, {"YOUNGER", 4_294_967_295, 1000, true},
		} {
			match := stateMatcher(registered.searchKeys[c.key].criteria(s, c.seconds))
			if got := match(view.Message{Internal: now - c.age}); got != c.want {
				t.Errorf("%s %d of a message of %d s: %v", c.key, c.seconds, c.age, got)
			}
		}
	}
}
