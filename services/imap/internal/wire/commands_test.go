package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestAuthenticateArgs(t *testing.T) {
	for in, want := range map[string]AuthenticateArgs{
		" plain":           {Mechanism: "PLAIN"},
		" SCRAM-SHA-256 =": {Mechanism: "SCRAM-SHA-256", HasInitial: true},
		" PLAIN AGEAYg==":  {Mechanism: "PLAIN", HasInitial: true, Initial: []byte("\x00a\x00b")},
	} {
		got, err := args(t, in+"\r\n").AuthenticateArgs()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", " ", " PLAIN AGEA*", " PLAIN AGEAYg=", " PLAIN A B", " \"PLAIN\""} {
		_, err := args(t, in+"\r\n").AuthenticateArgs()
		wantSyntax(t, in, err)
	}
}

func TestEnableArgs(t *testing.T) {
	got, err := args(t, " imap4rev2 UTF8=ACCEPT\r\n").EnableArgs()
	if want := []string{"IMAP4REV2", "UTF8=ACCEPT"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	_, err = args(t, "\r\n").EnableArgs()
	wantSyntax(t, "", err)
}

func TestIDArgs(t *testing.T) {
	// RFC 2971 section 3.1
	got, err := args(t, ` ("name" "sodr" "version" NIL "empty" "")`+"\r\n").IDArgs()
	if want := []IDField{{"name", "sodr"}, {"version", ""}, {"empty", ""}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := args(t, " nil\r\n").IDArgs(); err != nil || got != nil {
		t.Errorf("NIL: %q, %v", got, err)
	}
	if _, err := args(t, " ()\r\n").IDArgs(); err != nil {
		t.Errorf("(): %v", err)
	}
	for _, in := range []string{
		"", ` ("a")`, ` ("a" "b" "c")`, ` ("a" b)`, ` "a"`,
		` ("` + strings.Repeat("a", 31) + `" "b")`,
		` ("a" "` + strings.Repeat("b", 1025) + `")`,
		` (` + strings.Repeat(`"a" "b" `, 30) + `"a" "b")`,
	} {
		_, err := args(t, in+"\r\n").IDArgs()
		wantSyntax(t, in, err)
	}
}

func TestCreateArgs(t *testing.T) {
	// RFC 6154 section 5.3
	got, err := args(t, ` MyDrafts (USE (\Drafts \Sent))`+"\r\n").CreateArgs()
	if err != nil || got.Mailbox != "MyDrafts" {
		t.Fatalf("%+v, %v", got, err)
	}
	use, ok := Arg[[]string](got.Params, "USE")
	if want := []string{`\Drafts`, `\Sent`}; !ok || !reflect.DeepEqual(use, want) {
		t.Errorf("USE %q, %v", use, ok)
	}
	if got, err := args(t, " a\r\n").CreateArgs(); err != nil || Has(got.Params, "USE") {
		t.Errorf("%+v, %v", got, err)
	}
	for _, in := range []string{"", " a (USE)", " a (USE Drafts)", " a (USE (Drafts))", " a (FOO)", " a b", " a (USE (\\Drafts)"} {
		_, err := args(t, in+"\r\n").CreateArgs()
		wantSyntax(t, in, err)
	}
}

func TestOtherArgs(t *testing.T) {
	if from, to, err := args(t, " inbox {3+}\r\na b\r\n").RenameArgs(); from != "INBOX" || to != "a b" || err != nil {
		t.Errorf("RENAME: %q, %q, %v", from, to, err)
	}
	copied, err := args(t, " 2:4 MEETING\r\n").CopyArgs()
	if want := (CopyArgs{Set: NumSet{Ranges: []Range{{2, 4}}}, Mailbox: "MEETING"}); err != nil || !reflect.DeepEqual(copied, want) {
		t.Errorf("COPY: %+v, %v", copied, err)
	}
	// RFC 9208 section 4.1.3
	quota, err := args(t, ` "" (storage 512 MESSAGE 1000)`+"\r\n").SetQuotaArgs()
	if want := (SetQuotaArgs{Limits: []QuotaLimit{{"STORAGE", 512}, {"MESSAGE", 1000}}}); err != nil || !reflect.DeepEqual(quota, want) {
		t.Errorf("SETQUOTA: %+v, %v", quota, err)
	}
	selected, err := args(t, " INBOX\r\n").SelectArgs()
	if err != nil || selected.Mailbox != "INBOX" || selected.Params != nil {
		t.Errorf("SELECT: %+v, %v", selected, err)
	}
	_, err = args(t, " INBOX (CONDSTORE)\r\n").SelectArgs()
	wantSyntax(t, "CONDSTORE is not registered", err)
	_, err = args(t, " \"\" (STORAGE 9223372036854775808)\r\n").SetQuotaArgs()
	wantSyntax(t, "64 bits", err)
}

func TestListArgs(t *testing.T) {
	items := func(names ...string) (out []Item) {
		for _, n := range names {
			out = append(out, Item{Name: n})
		}
		return out
	}
	for _, tt := range []struct {
		in   string
		want ListArgs
	}{
		{` "" *`, ListArgs{Patterns: []string{"*"}}},
		{` ~/Mail/ %`, ListArgs{Reference: "~/Mail/", Patterns: []string{"%"}}},
		{` "" ""`, ListArgs{Patterns: []string{""}}},
		{` "" "&ZeVnLIqe-/%"`, ListArgs{Patterns: []string{"日本語/%"}}},
		// RFC 9051 section 6.3.9.7
		{` (SUBSCRIBED) "" "*"`, ListArgs{Patterns: []string{"*"}, Select: items("SUBSCRIBED"), Extended: true}},
		{` () "" "%" RETURN (CHILDREN)`, ListArgs{Patterns: []string{"%"}, Return: items("CHILDREN"), Extended: true}},
		{
			` (SUBSCRIBED RECURSIVEMATCH) "" "%" RETURN (SUBSCRIBED)`,
			ListArgs{Patterns: []string{"%"}, Select: items("SUBSCRIBED", "RECURSIVEMATCH"), Return: items("SUBSCRIBED"), Extended: true},
		},
		// RFC 9051 section 6.3.9: what cannot match is ignored, and what is empty in the extended syntax.
		{` "" ` + strings.Repeat("*a", maxPattern), ListArgs{}},
		{` "" ({1+}` + "\r\n\xff" + ` a)`, ListArgs{Patterns: []string{"a"}, Extended: true}},
		{` a ("" %)`, ListArgs{Reference: "a", Patterns: []string{"%"}, Extended: true}},
		{` a "" RETURN ()`, ListArgs{Reference: "a", Extended: true, Patterns: []string{}}},
		{` "" ("INBOX" "Drafts" "Sent/%")`, ListArgs{Patterns: []string{"INBOX", "Drafts", "Sent/%"}, Extended: true}},
		{
			` "" % RETURN (STATUS (MESSAGES UNSEEN) special-use)`,
			ListArgs{
				Patterns: []string{"%"},
				Return:   []Item{{Name: "STATUS", Arg: items("MESSAGES", "UNSEEN")}, {Name: "SPECIAL-USE"}}, Extended: true,
			},
		},
	} {
		got, err := args(t, tt.in+"\r\n").ListArgs()
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", ` ""`, ` "" `, ` "" ()`, ` "" * RETURN`, ` "" * RETURN (FOO)`, ` (FOO) "" *`, ` "" * (CHILDREN)`,
		` (RECURSIVEMATCH) "" *`, ` (RECURSIVEMATCH REMOTE) "" *`, ` "" * RETURN (STATUS)`, ` "" * RETURN (STATUS ())`,
		` "" (a`, ` "" (a (b))`,
	} {
		_, err := args(t, in+"\r\n").ListArgs()
		wantSyntax(t, in, err)
	}
	_, err := args(t, ` "" (`+strings.Repeat("a ", maxPatterns)+"a)\r\n").ListArgs()
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Code != "LIMIT" {
		t.Errorf("too many patterns: %v", err)
	}
}

func TestStatusArgs(t *testing.T) {
	got, err := args(t, " blurdybloop (UIDNEXT messages)\r\n").StatusArgs()
	want := StatusArgs{Mailbox: "blurdybloop", Items: []Item{{Name: "UIDNEXT"}, {Name: "MESSAGES"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, in := range []string{" a", " a ()", " a (FOO)", " a MESSAGES", " a (MESSAGES UIDNEXT"} {
		_, err := args(t, in+"\r\n").StatusArgs()
		wantSyntax(t, in, err)
	}
}

func TestFetchArgs(t *testing.T) {
	one := NumSet{Ranges: []Range{{1, 1}}}
	item := func(name string, s *Section) []Item {
		if s == nil {
			return []Item{{Name: name}}
		}
		return []Item{{Name: name, Arg: s}}
	}
	for _, tt := range []struct {
		in   string
		want []Item
	}{
		{"FAST", []Item{{Name: "FLAGS"}, {Name: "INTERNALDATE"}, {Name: "RFC822.SIZE"}}},
		{"all", []Item{{Name: "FLAGS"}, {Name: "INTERNALDATE"}, {Name: "RFC822.SIZE"}, {Name: "ENVELOPE"}}},
		{"FULL", []Item{{Name: "FLAGS"}, {Name: "INTERNALDATE"}, {Name: "RFC822.SIZE"}, {Name: "ENVELOPE"}, {Name: "BODY"}}},
		{"(flags UID)", []Item{{Name: "FLAGS"}, {Name: "UID"}}},
		{"BODY", item("BODY", nil)},
		{"BODYSTRUCTURE", item("BODYSTRUCTURE", nil)},
		{"BODY[]", item("BODY", &Section{})},
		{"BODY.PEEK[]<0.2048>", item("BODY", &Section{Peek: true, Partial: &Partial{0, 2048}})},
		{"BODY[HEADER]", item("BODY", &Section{Specifier: "HEADER"})},
		{
			"BODY[HEADER.FIELDS (DATE FROM)]",
			item("BODY", &Section{Specifier: "HEADER.FIELDS", Fields: []string{"DATE", "FROM"}}),
		},
		{
			"body.peek[4.2.header.fields.not (\"x\")]<1.2>",
			item("BODY", &Section{Path: []int{4, 2}, Specifier: "HEADER.FIELDS.NOT", Fields: []string{"x"}, Peek: true, Partial: &Partial{1, 2}}),
		},
		{"BODY[4.2.2.1]", item("BODY", &Section{Path: []int{4, 2, 2, 1}})},
		{"BODY[3.TEXT]", item("BODY", &Section{Path: []int{3}, Specifier: "TEXT"})},
		{"BODY[1.MIME]", item("BODY", &Section{Path: []int{1}, Specifier: "MIME"})},
		{"BINARY[1]<0.9>", item("BINARY", &Section{Path: []int{1}, Partial: &Partial{0, 9}})},
		{"BINARY.PEEK[]", item("BINARY", &Section{Peek: true})},
		{"BINARY.SIZE[1.2]", item("BINARY.SIZE", &Section{Path: []int{1, 2}, Peek: true})},
		{"RFC822.HEADER", item("RFC822.HEADER", nil)},
	} {
		got, err := args(t, " 1 "+tt.in+"\r\n").FetchArgs()
		if err != nil || !reflect.DeepEqual(got, FetchArgs{Set: one, Items: tt.want}) {
			t.Errorf("%q: %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", "()", "(ALL)", "FOO", "BODY[", "BODY[]<0>", "BODY[]<0.0>", "BODY[]<.1>", "BODY[]<-1.1>", "BODY[0]", "BODY[1.]", "BODY[1..2]",
		"BODY[MIME]", "BODY[FOO]", "BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "BODY[1.1.FOO]", "BODY.PEEK", "BODY[1", "BODYSTRUCTURE[1]",
		"BINARY", "BINARY[TEXT]", "BINARY[1.]", "BINARY.SIZE", "BINARY.SIZE[1]<0.1>", "(FLAGS", "(FLAGS))", "FLAGS UID",
		"FLAGS (CHANGEDSINCE 1)", "BODY[TEXT.1]", "BODY[99999999999]", "BODY[" + strings.Repeat("1.", maxPath) + "1]",
	} {
		_, err := args(t, " 1 "+in+"\r\n").FetchArgs()
		wantSyntax(t, in, err)
	}
}

// Each extension adds its words without a change here.
func TestGrammarExtension(t *testing.T) {
	g := NewGrammar()
	g.Register(FetchItems, "MODSEQ", nil)
	number := func(d *Decoder) any {
		d.SP()
		return d.Number64()
	}
	g.Register(FetchModifiers, "CHANGEDSINCE", number)
	g.Register(SearchKeys, "MODSEQ", number)
	g.Register(StatusItems, "HIGHESTMODSEQ", nil)
	d := NewDecoder(strings.NewReader("a FETCH 1:* (MODSEQ) (CHANGEDSINCE 12345)\r\nb SEARCH modseq 620162338\r\nc STATUS a (HIGHESTMODSEQ)\r\n"),
		g, Limits{})
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	fetch, err := d.FetchArgs()
	if since, ok := Arg[uint64](fetch.Modifiers, "CHANGEDSINCE"); err != nil || !ok || since != 12345 || !Has(fetch.Items, "MODSEQ") {
		t.Errorf("FETCH: %+v, %v", fetch, err)
	}
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	search, err := d.SearchArgs()
	if want := (SearchKey{Op: SearchExtension, Name: "MODSEQ", Arg: uint64(620162338)}); err != nil || !reflect.DeepEqual(search.Key, want) {
		t.Errorf("SEARCH: %+v, %v", search, err)
	}
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if status, err := d.StatusArgs(); err != nil || !Has(status.Items, "HIGHESTMODSEQ") {
		t.Errorf("STATUS: %+v, %v", status, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for a word registered twice")
		}
	}()
	g.Register(FetchItems, "flags", nil)
}
