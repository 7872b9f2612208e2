package imapcheck

import (
	"strings"
	"testing"
)

// talk gives what is wrong with the responses, the last ones of a connection with a mailbox of three messages.
func talk(responses ...string) (errs []error) {
	c := New(func(err error) { errs = append(errs, err) })
	for _, r := range append([]string{"* OK [CAPABILITY IMAP4rev2 IMAP4rev1] ready", "* 3 EXISTS"}, responses...) {
		for _, octet := range []byte(r + "\r\n") { // they may come in any pieces
			_, _ = c.Write([]byte{octet}) // never fails
		}
	}
	return errs
}

func TestGood(t *testing.T) {
	for _, responses := range []string{
		"+ ", "+ OK", "+ dGVzdA==", "a OK done", "a] NO [TRYCREATE] no", "* BYE [UNAVAILABLE] bye", "* OK [PERMANENTFLAGS (\\Seen a \\*)] x", "* OK [BADCHARSET (UTF-8 \"x\")] x",
		"a OK [COPYUID 1 1:2,5 7:9] x", "a OK [APPENDUID 1 4:5] x", "a NO [BADURL \"/INBOX/;UID=1\"] x", "* OK [INPROGRESS (\"a\" 1 NIL)] x", "* OK [METADATA LONGENTRIES 7] x",
		`* LIST (\HasChildren \NonExistent) "/" {3}` + "\r\na b" + ` ("CHILDINFO" ("SUBSCRIBED") "OLDNAME" (x))`, `* LIST () NIL ""`, `* LSUB () "/" &ZeVnLIqe-`,
		"* STATUS INBOX (MESSAGES 1 UIDNEXT 2)", "* STATUS x ()", `* NAMESPACE (("" "/")("a/" "/")) NIL NIL`, `* ID ("name" NIL)`, "* SEARCH", "* SEARCH 1 2 (MODSEQ 9)", "* THREAD", "* THREAD (1)(2 3 (4)(5 6))((7)(8))",
		`* ESEARCH (TAG "a") UID MIN 1 ALL 1:3,5 COUNT 4`, `* ESEARCH (TAG "a") ADDTO (1 2 3 4) ADDTO (0 9)`, "* ESEARCH", "* VANISHED (EARLIER) 1:99", "* VANISHED 1:3", `* QUOTA "" (STORAGE 1 2)`, "* QUOTAROOT INBOX", `* METADATA "" (/a NIL /b ~{1}` + "\r\n\x00)",
		"* ACL INBOX bob lr", `* LISTRIGHTS INBOX bob "" l r`, "* MYRIGHTS INBOX lr",
		`* 1 FETCH (FLAGS (\Seen \Recent a) UID 1 MODSEQ (1) BODY[1.HEADER.FIELDS ("a b" c])]<0> {3}` + "\r\n\r\n) BINARY[] ~{1}\r\n\x00 BINARY.SIZE[1] 5)",
		`* 1 FETCH (INTERNALDATE " 1-Feb-2024 01:02:03 +0000" SAVEDATE NIL PREVIEW "x" EMAILID (a_-1) THREADID NIL RFC822.SIZE 9)`,
		`* 1 FETCH (ENVELOPE (NIL "" (("a" NIL "b" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL NIL NIL NIL))`,
		`* 1 FETCH (BODY (("text" "plain" NIL NIL NIL "7BIT" 1 1)("a" "b" ("c" "d") NIL NIL "x" 1) "mixed"))`,
		`* 1 FETCH (BODYSTRUCTURE ("message" "rfc822" NIL NIL NIL "7BIT" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" NIL NIL NIL "7BIT" 1 1 NIL ("inline" NIL) ("en" "de") "x") 1 NIL NIL NIL NIL))`,
		"* ENABLED IMAP4rev2\r\n* LIST () \"/\" \"日本\"\r\na NO ü", "* ENABLED UIDONLY\r\n* 9 UIDFETCH (FLAGS ())", "* 3 EXPUNGE\r\n* 2 EXISTS\r\n* 5 EXISTS", "* OK [CLOSED] x\r\n* 0 EXISTS",
		"* ENABLED IMAP4rev2\r\na OK UNAUTHENTICATE completed\r\n* SEARCH 1",
	} {
		if errs := talk(responses); len(errs) > 0 {
			t.Errorf("%q: %v", responses, errs)
		}
	}
}

func TestBad(t *testing.T) {
	for _, responses := range []string{
		"", "a", "a OK", "a OK ", "a  OK x", "a BYE x", "a+ OK x", "* OK", "* OK [ALERT]", "* OK [ALERT]x", "* OK [NONSENSE] x", "* OK [UIDNEXT 0] x", "* OK [UIDNEXT 01] x", "* OK [UIDNEXT x] x", "* NONSENSE", "* OK ü", "a ok x",
		"a OK [COPYUID 1 1:2 7] x", "a OK [COPYUID 1 * 1] x", "a OK [APPENDUID 1 4:4] x", "a NO [BADURL \"a]\"] x", "* OK [PERMANENTFLAGS (\\Nonsense)] x", "* CAPABILITY IMAP4rev1", "* CAPABILITY IMAP4rev2 IMAP4rev1 A A",
		`* LIST (\NonExistent \Noselect) "/" x`, `* LIST (\HasChildren \HasNoChildren) "/" x`, `* LIST (\Seen) "/" x`, `* LIST () "//" x`, `* LIST () / x`, `* LIST () "/" inbox`, `* LIST () "/" "日本"`, `* LIST () "/" x ("X" (a))`, "* LIST () \"/\" {2}\r\n\xff\xff", "* LIST ( ) \"/\" x",
		"* FLAGS (\\Recent)", "* FLAGS (\\*)", "* STATUS INBOX (MESSAGES 1 MESSAGES 1)", "* STATUS INBOX (MESSAGES)", "* STATUS INBOX (UIDNEXT 0)", "* NAMESPACE () NIL NIL", "* NAMESPACE NIL NIL", "* SEARCH 0", "* SEARCH 1  2", "* SEARCH 1 ", "* THREAD (1)((2))", "* THREAD 1",
		`* ESEARCH (TAG a) COUNT 1`, `* ESEARCH COUNT 1 COUNT 1`, "* ESEARCH ALL *", "* ESEARCH MIN 0", "* ESEARCH PARTIAL (1:2)", "* VANISHED 1:4", "* VANISHED", `* QUOTA "" ()`, `* METADATA "" ()`, "* ACL INBOX bob LR", "* MYRIGHTS INBOX",
		"* 4 FETCH (UID 1)", "* 0 FETCH (UID 1)", "* 1 FETCH ()", "* 1 FETCH (UID 1 UID 1)", "* 1 FETCH (UID 0)", "* 1 FETCH (FLAGS (\\*))", "* 1 FETCH (FLAGS (a]))", "* 1 FETCH UID 1", "* 1 FETCH (UID 1 )", "* 1 FETCH (BODY[MIME] NIL)", "* 1 FETCH (BODY[0] NIL)", "* 1 FETCH (BODY[1.] NIL)", "* 1 FETCH (BODY[TEXT] nil)", "* 1 FETCH (BODY[TEXT] x)",
		"* 1 FETCH (BODY[] \"a\x00\")", "* 1 FETCH (BODY[] \"\xc3\xbc\")", "* 1 FETCH (BODY[] \"a\\b\")", "* 1 FETCH (ENVELOPE {1}\r\n\x00)", `* 1 FETCH (INTERNALDATE "1-Feb-2024 01:02:03 +0000")`, `* 1 FETCH (ENVELOPE (NIL NIL () NIL NIL NIL NIL NIL NIL NIL))`, `* 1 FETCH (ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL))`,
		`* 1 FETCH (BODY ("text" "plain" NIL NIL NIL "7BIT" 1))`, `* 1 FETCH (BODY ("a" "b" () NIL NIL "7BIT" 1))`, `* 1 FETCH (BODY ("a" "b" NIL NIL NIL NIL 1))`, `* 1 FETCH (BODY ("a" "b" NIL NIL NIL "7BIT" 1 NIL))`, `* 1 FETCH (BODY ("message" "rfc822" NIL NIL NIL "7BIT" 1))`,
		"* 1 FETCH (UID 1)x", "* 9 EXPUNGE", "* 2 EXISTS", "* 9 UIDFETCH (FLAGS ())", "* ENABLED UIDONLY\r\n* 1 FETCH (FLAGS ())", "* ENABLED IMAP4rev2\r\n* SEARCH 1", "* ENABLED IMAP4rev2\r\n* 0 RECENT", "* ENABLED IMAP4rev2\r\n* OK [UNSEEN 1] x", "* ENABLED IMAP4rev2\r\n* LIST () \"/\" \"\xff\"",
		"a OK CLOSE completed\r\n* 1 FETCH (FLAGS ())", "* OK [CLOSED] x\r\n* 1 EXPUNGE",
	} {
		if errs := talk(responses); len(errs) != 1 {
			t.Errorf("%q: %d errors, %v", responses, len(errs), errs)
		}
	}
}

func TestParts(t *testing.T) {
	if err := Body(`("text" "plain" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL)`, true, false); err != nil {
		t.Error(err)
	}
	if err := Body(`("text" "plain" NIL NIL NIL "7BIT" 1 1 NIL NIL NIL NIL)`, false, false); err == nil {
		t.Error("extension data in BODY")
	}
	if err := Envelope("("+strings.TrimSpace(strings.Repeat("NIL ", 10))+")", false); err != nil {
		t.Error(err)
	}
	if err := Envelope(`("é"`+strings.Repeat(" NIL", 9)+")", false); err == nil {
		t.Error("8-bit octets without UTF-8")
	}
}
