package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// dump writes a search key as a test can read it.
func dump(k SearchKey) string {
	kids := make([]string, 0, len(k.Keys))
	for _, c := range k.Keys {
		kids = append(kids, dump(c))
	}
	list := strings.Join(kids, " ")
	set := string(AppendRanges(nil, k.Set.Ranges))
	if k.Set.SearchRes {
		set = "$"
	}
	switch k.Op {
	case SearchAll:
		return "all"
	case SearchAnd:
		return "(and " + list + ")"
	case SearchOr:
		return "(or " + list + ")"
	case SearchNot:
		return "(not " + list + ")"
	case SearchSeq:
		return "seq:" + set
	case SearchUID:
		return "uid:" + set
	case SearchFlag:
		return k.Value
	case SearchHeader:
		return fmt.Sprintf("%s:%q", k.Name, k.Value)
	case SearchBody, SearchText:
		return fmt.Sprintf("%d:%q", k.Op, k.Value)
	case SearchLarger, SearchSmaller:
		return fmt.Sprintf("%d:%d", k.Op, k.Num)
	case SearchExtension:
		return fmt.Sprintf("%s:%v", k.Name, k.Arg)
	}
	return fmt.Sprintf("%d:%s", k.Op, k.Date.Format("2006-01-02"))
}

func TestSearchArgs(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"ALL", "all"},
		// RFC 9051 section 6.4.4.4
		{`FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"`, `(and \Flagged ` + fmt.Sprint(int(SearchSince)) + `:1994-02-01 (not From:"Smith"))`},
		{`TEXT "string not in mailbox"`, fmt.Sprint(int(SearchText)) + `:"string not in mailbox"`},
		{"UNSEEN", `(not \Seen)`},
		{"new", `(and \Recent (not \Seen))`},
		{"OLD RECENT", `(and (not \Recent) \Recent)`},
		{"KEYWORD $Junk UNKEYWORD work", `(and $Junk (not work))`},
		{"1:3,5", "seq:1:3,5"},
		{"UID 1:3", "uid:1:3"},
		{"$", "seq:$"},
		{"UID $ 2", "(and uid:$ seq:2)"},
		{"OR SEEN (DELETED 5)", `(or \Seen (and \Deleted seq:5))`},
		{"OR OR 1 2 NOT 3", "(or (or seq:1 seq:2) (not seq:3))"},
		{"((SEEN))", `\Seen`},
		{`HEADER X-Foo ""`, `X-Foo:""`},
		{"HEADER {5+}\r\nX-Foo {3}\r\nbar", `X-Foo:"bar"`},
		{`SUBJECT a TO b CC c BCC d`, `(and Subject:"a" To:"b" Cc:"c" Bcc:"d")`},
		{"LARGER 10 SMALLER 9223372036854775807", fmt.Sprintf("(and %d:10 %d:9223372036854775807)", SearchLarger, SearchSmaller)},
		{`BEFORE "1-Jan-2020" ON 2-Jan-2020`, fmt.Sprintf("(and %d:2020-01-01 %d:2020-01-02)", SearchBefore, SearchOn)},
		{
			"SENTBEFORE 1-Jan-2020 SENTON 2-Jan-2020 SENTSINCE 3-Jan-2020",
			fmt.Sprintf("(and %d:2020-01-01 %d:2020-01-02 %d:2020-01-03)", SearchSentBefore, SearchSentOn, SearchSentSince),
		},
		{"BODY 日本", fmt.Sprint(int(SearchBody)) + `:"日本"`},
		{"CHARSET UTF-8 SUBJECT {6+}\r\n日本", `Subject:"日本"`},
		{"CHARSET iso-2022-jp SUBJECT {10+}\r\n\x1b$BF|K\\\x1b(B", `Subject:"日本"`},
		{"CHARSET ISO-8859-1 SUBJECT \"caf\xe9\"", `Subject:"café"`},
		{"CHARSET \"US-ASCII\" ALL", "all"},
	} {
		got, err := args(t, " "+tt.in+"\r\n").SearchArgs()
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		} else if s := dump(got.Key); s != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, s, tt.want)
		}
	}
}

func TestSearchReturn(t *testing.T) {
	got, err := args(t, " RETURN (MIN count SAVE) CHARSET utf-8 UNDELETED\r\n").SearchArgs()
	if err != nil || !got.Extended || got.Charset != "UTF-8" || len(got.Return) != 3 || !Has(got.Return, "COUNT") {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = args(t, " RETURN () ALL\r\n").SearchArgs(); err != nil || !got.Extended || len(got.Return) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = args(t, " ALL\r\n").SearchArgs(); err != nil || got.Extended {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSearchErrors(t *testing.T) {
	for _, in := range []string{
		"", "FOO", "()", "(SEEN", "SEEN)", "NOT", "OR SEEN", "OR SEEN ", "KEYWORD", "FROM", "HEADER a", "UID", "UID a", "LARGER x",
		"SINCE", "SINCE 1-1-2020", "RETURN ALL", "RETURN (FOO) ALL", "RETURN (MIN)", "CHARSET", "CHARSET UTF-8", "ALL  SEEN", "0", "1,",
		"SUBJECT \"\xff\"", "CHARSET UTF-8 SUBJECT \"\xff\"",
		strings.Repeat("NOT ", 100) + "SEEN",
		strings.Repeat("(", 100) + "SEEN" + strings.Repeat(")", 100),
		strings.Repeat("OR 1 ", 100) + "2",
		strings.Repeat("1 ", maxSearchKeys) + "1",
	} {
		_, err := args(t, " "+in+"\r\n").SearchArgs()
		wantSyntax(t, in, err)
	}
}

func TestSearchCharsetRefused(t *testing.T) {
	d := args(t, " CHARSET X-UNKNOWN SUBJECT {3+}\r\nabc\r\nb NOOP\r\n")
	_, err := d.SearchArgs()
	if e, ok := errors.AsType[*RefusedError](err); !ok || !strings.HasPrefix(e.Code, "BADCHARSET") {
		t.Errorf("error %v, want [BADCHARSET]", err)
	}
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	if tag, _, err := d.Command(); tag != "b" || err != nil {
		t.Errorf("next command %q, %v", tag, err)
	}
}
