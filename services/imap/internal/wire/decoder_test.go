package wire

import (
	"errors"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// newDecoder reads input one octet at a time, so that every token crosses a buffer's end.
func newDecoder(input string) *Decoder {
	d := NewDecoder(iotest.OneByteReader(strings.NewReader(input)), NewGrammar(), Limits{})
	d.Continue = func() error { return nil }
	return d
}

// args is a decoder that stands after the command name.
func args(t *testing.T, input string) *Decoder {
	t.Helper()
	d := newDecoder("a X" + input)
	if tag, name, err := d.Command(); tag != "a" || name != "X" || err != nil {
		t.Fatalf("Command() = %q, %q, %v", tag, name, err)
	}
	return d
}

func wantSyntax(t *testing.T, input string, err error) {
	t.Helper()
	if _, ok := errors.AsType[*SyntaxError](err); !ok {
		t.Errorf("%q: error %v, want a syntax error", input, err)
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		in, tag, name string
		ok            bool
	}{
		{"a001 NOOP\r\n", "a001", "NOOP", true},
		{"A.1 noop\r\n", "A.1", "NOOP", true},
		{"a UID fetch 1 FLAGS\r\n", "a", "UID FETCH", true},
		{"a noop\n", "a", "NOOP", true},
		{"]x NOOP\r\n", "]x", "NOOP", true},
		{"a UID\r\n", "a", "UID ", false},
		{"a  NOOP\r\n", "a", "", false},
		{"a\r\n", "a", "", false},
		{"\r\n", "", "", false},
		{"+ NOOP\r\n", "", "", false},
		{"(a NOOP\r\n", "", "", false},
		{"\x16\x03\x01\x02\n", "", "", false}, // TLS on the wrong port
	} {
		d := newDecoder(tt.in + "z NOOP\r\n")
		tag, name, err := d.Command()
		if tag != tt.tag || name != tt.name || (err == nil) != tt.ok {
			t.Errorf("%q: Command() = %q, %q, %v, want %q, %q", tt.in, tag, name, err, tt.tag, tt.name)
		}
		if err := d.Discard(); err != nil {
			t.Errorf("%q: Discard: %v", tt.in, err)
		}
		if tag, name, err = d.Command(); tag != "z" || name != "NOOP" || err != nil {
			t.Errorf("%q: next Command() = %q, %q, %v", tt.in, tag, name, err)
		}
	}
}

func TestTagTooLong(t *testing.T) {
	d := newDecoder(strings.Repeat("a", maxTag+1) + " NOOP\r\nb NOOP\r\n")
	_, _, err := d.Command()
	wantSyntax(t, "long tag", err)
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	if tag, _, err := d.Command(); tag != "b" || err != nil {
		t.Fatalf("next command %q, %v", tag, err)
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
		ok   bool
	}{
		{" atom", "atom", true},
		{" a]b", "a]b", true},
		{` "quoted string"`, "quoted string", true},
		{` "a\"b\\c"`, `a"b\c`, true},
		{` ""`, "", true},
		{" {5}\r\nhello", "hello", true},
		{" {5+}\r\nhello", "hello", true},
		{" {0}\r\n", "", true},
		{" {7+}\r\na\r\nb\"\\(", "a\r\nb\"\\(", true},
		{" {3}\nabc", "abc", true},
		{" \"日本\"", "日本", true},
		{" 日本", "日本", true},
		{` "a\n"`, "", false},
		{" \"a\r\n\"", "", false},
		{" \"a\x00\"", "", false},
		{` "open`, "", false},
		{" {3}\r\na\x00b", "", false},
		{" {}\r\n", "", false},
		{" {-1}\r\n", "", false},
		{" {3-}\r\nabc", "", false},
		{" {99999999999999999999}\r\n", "", false},
		{" (a)", "", false},
		{" a(b", "", false},
		{" ", "", false},
		{"", "", false},
		{" a b", "", false},
	} {
		d := args(t, tt.in+"\r\n")
		got, err := d.AStringArg()
		if (err == nil) != tt.ok || (tt.ok && got != tt.want) {
			t.Errorf("%q: %q, %v, want %q", tt.in, got, err, tt.want)
		}
		if !tt.ok {
			wantSyntax(t, tt.in, err)
		}
	}
}

func TestContinuation(t *testing.T) {
	asked := 0
	d := newDecoder("a LOGIN {5}\r\nalice {8+}\r\npassword\r\nb LOGIN {2}\r\n")
	d.Continue = func() error { asked++; return nil }
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	user, password, err := d.LoginArgs()
	if user != "alice" || password != "password" || err != nil {
		t.Fatalf("LoginArgs() = %q, %q, %v", user, password, err)
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once: for the synchronizing literal", asked)
	}
	broken := errors.New("broken pipe")
	d.Continue = func() error { return broken }
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if _, _, err = d.LoginArgs(); !errors.Is(err, broken) {
		t.Errorf("error %v, want the one of Continue", err)
	}
	if err := d.Discard(); !errors.Is(err, broken) {
		t.Errorf("Discard: %v, want the connection's error", err)
	}
}

// A command that fails leaves the decoder at the next one, whatever literals it had.
func TestDiscard(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, in := range []string{
		"a LOGIN (\r\n",
		"a LOGIN ( {5+}\r\nb NO \r\n",                // an unread non-synchronizing literal
		"a LOGIN ( {5+}\r\nb NO  {2+}\r\n\r\n x\r\n", // two of them
		"a LOGIN ( {5}\r\n",                          // never sent: the client waits
		"a LOGIN ( {5+}\r\nb NO  {5}\r\n",
		"a LOGIN {5+ }\r\n",
		"a LOGIN {5+}x\r\n",
		"a LOGIN {300+}\r\n" + long + " b\r\n", // beyond Limits.Literal
		"a LOGIN {300}\r\n",
		"a LOGIN " + long + "\r\n", // beyond Limits.Line
		"a LOGIN " + long + " {3+}\r\nxyz\r\n",
		"a LOGIN {90+}\r\n" + long[:90] + " {90+}\r\n" + long[:90] + "\r\n", // beyond Limits.Command
		"a LOGIN \"{3+}\r\nxyz\r\n",
		"a LOGIN {3+}\r\na\x00b c\r\n",
		"a LOGIN }\r\n",
		"a LOGIN {+}\r\n",
		"a LOGIN 123}\r\n",
		"a LOGIN x y z\r\n",
	} {
		d := NewDecoder(strings.NewReader(in+"next NOOP\r\n"), NewGrammar(), Limits{Line: 200, Command: 150, Literal: 100, Discard: 1000})
		asked := false
		d.Continue = func() error { asked = true; return nil }
		if _, name, err := d.Command(); name != "LOGIN" || err != nil {
			t.Fatalf("%q: %q, %v", in, name, err)
		}
		_, _, err := d.LoginArgs()
		wantSyntax(t, in, err)
		if err := d.Discard(); err != nil {
			t.Errorf("%q: Discard: %v", in, err)
		}
		if asked {
			t.Errorf("%q: asked for a literal of a broken command", in)
		}
		if tag, name, err := d.Command(); tag != "next" || name != "NOOP" || err != nil {
			t.Errorf("%q: next command %q %q, %v", in, tag, name, err)
		}
		if err := d.End(); err != nil {
			t.Errorf("%q: next command: %v", in, err)
		}
	}
}

func TestOversizedLiteralCode(t *testing.T) {
	d := NewDecoder(strings.NewReader("a LOGIN {101}\r\n"), NewGrammar(), Limits{Literal: 100})
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.LoginArgs()
	if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Code != "TOOBIG" {
		t.Errorf("error %v, want [TOOBIG]", err)
	}
}

func TestDiscardGivesUp(t *testing.T) {
	for _, in := range []string{
		"a LOGIN ( {1001+}\r\n",
		"a LOGIN ( {999999999999999999999+}\r\n",
		"a LOGIN ( " + strings.Repeat("x", 2000),
		"a LOGIN ( {600+}\r\n" + strings.Repeat("x", 600) + " {600+}\r\n",
	} {
		d := NewDecoder(strings.NewReader(in), NewGrammar(), Limits{Discard: 1000})
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		_, _, err := d.LoginArgs()
		wantSyntax(t, in, err)
		err = d.Discard()
		if _, ok := errors.AsType[*ByeError](err); !ok {
			t.Errorf("%.40q: Discard: %v, want a ByeError", in, err)
		}
	}
}

func TestConnectionLost(t *testing.T) {
	for _, in := range []string{"", "a", "a LOG", "a LOGIN ", "a LOGIN \"x", "a LOGIN {5+}\r\nab", "a LOGIN x y", "a LOGIN x y\r"} {
		d := newDecoder(in)
		_, _, err := d.Command()
		if err == nil {
			_, _, err = d.LoginArgs()
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: error %v, want io.ErrUnexpectedEOF", in, err)
		}
		if err := d.Discard(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: Discard: %v, want io.ErrUnexpectedEOF", in, err)
		}
	}
	if err := newDecoder("").Wait(); !errors.Is(err, io.EOF) {
		t.Errorf("Wait: %v, want io.EOF", err)
	}
}

// A literal that was announced but not sent costs what was sent.
func TestLiteralMemory(t *testing.T) {
	least := uint64(math.MaxUint64) // what else runs allocates, too
	for range 10 {
		d := NewDecoder(strings.NewReader("a LOGIN {900000+}\r\nx"), NewGrammar(), Limits{})
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, _, err := d.LoginArgs(); err == nil {
			t.Fatal("no error")
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if least > 64<<10 {
		t.Errorf("%d octets for a literal of which 1 came", least)
	}
}

func TestResetDropsPlaintext(t *testing.T) {
	d := newDecoder("")
	d.Reset(strings.NewReader("a STARTTLS\r\nb LOGOUT\r\n"))
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	if d.Buffered() == 0 {
		t.Error("nothing was read ahead: the test proves nothing")
	}
	d.Reset(strings.NewReader("c NOOP\r\n"))
	if tag, _, err := d.Command(); tag != "c" || err != nil {
		t.Errorf("after Reset: %q, %v", tag, err)
	}
}

func TestLine(t *testing.T) {
	d := newDecoder("a IDLE\r\nDONE\r\n\r\nb NOOP\r\n")
	if _, _, err := d.Command(); err != nil {
		t.Fatal(err)
	}
	if err := d.End(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DONE", ""} {
		if got, err := d.Line(); got != want || err != nil {
			t.Errorf("Line() = %q, %v, want %q", got, err, want)
		}
	}
	if tag, _, err := d.Command(); tag != "b" || err != nil {
		t.Errorf("next command %q, %v", tag, err)
	}
	d = NewDecoder(strings.NewReader(strings.Repeat("x", 500)+"\r\nb NOOP\r\n"), NewGrammar(), Limits{Line: 100})
	_, err := d.Line()
	wantSyntax(t, "long line", err)
	if err := d.Discard(); err != nil {
		t.Fatal(err)
	}
	if tag, _, err := d.Command(); tag != "b" || err != nil {
		t.Errorf("next command %q, %v", tag, err)
	}
}

func TestMailbox(t *testing.T) {
	for _, tt := range []struct {
		in   string
		utf8 bool
		want string
		ok   bool
	}{
		{"inBox", false, "INBOX", true},
		{`"Inbox"`, true, "INBOX", true},
		{"Entw&APw-rfe", false, "Entwürfe", true},
		{"Entw&APw-rfe", true, "Entw&APw-rfe", true},
		{`"Entwürfe"`, true, "Entwürfe", true},
		{`"Entwürfe"`, false, "Entwürfe", true},
		{"日本語", false, "日本語", true},
		{`"R & D"`, false, "R & D", true},
		{"\"\xff\"", false, "", false},
		{"{2+}\r\n\xc3\x28", true, "", false},
		{"a*b", false, "", false},
	} {
		d := args(t, " "+tt.in+"\r\n")
		d.UTF8 = tt.utf8
		got, err := d.MailboxArg()
		if got != tt.want && tt.ok || (err == nil) != tt.ok {
			t.Errorf("%q: %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestNumSet(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit uint32
		want  string
	}{
		{"1", 10, "1"},
		{"2,4:7,9,12:*", 15, "2,4:7,9,12:15"}, // RFC 9051 section 9
		{"*", 15, "15"},
		{"*:1", 3, "1:3"},
		{"5:3,1", 9, "1,3:5"},
		{"7:*", 3, "3:7"}, // "*" is part of it even if smaller
		{"1:3,2:5,6", 9, "1:6"},
		{"4294967295,1", 9, "1,4294967295"},
		{"4294967295,4294967294:4294967295,1", 9, "1,4294967294:4294967295"},
		{"*", 0, ""},
		{"1:*", 0, ""},
		{"1:2,*", 0, "1:2"},
	} {
		set, err := args(t, " "+tt.in+"\r\n").SetArg()
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		ranges := set.Resolve(tt.limit)
		if got := string(AppendRanges(nil, ranges)); got != tt.want {
			t.Errorf("%q of %d: %q, want %q", tt.in, tt.limit, got, tt.want)
		}
		for n := range uint32(20) {
			want := slices.ContainsFunc(ranges, func(r Range) bool { return r.Start <= n && n <= r.Stop })
			if Contains(ranges, n) != want {
				t.Errorf("%q: Contains(%d) = %v", tt.in, n, !want)
			}
		}
	}
	if set, err := args(t, " $\r\n").SetArg(); err != nil || !set.SearchRes || set.Ranges != nil {
		t.Errorf("$: %v, %v", set, err)
	}
	for _, in := range []string{"0", "1,0", "1:0", "", ",", "1,", ":1", "1:", "a", "4294967296", "1 2", "$,1", "1,$", "**", "1:2:3"} {
		_, err := args(t, " "+in+"\r\n").SetArg()
		wantSyntax(t, in, err)
	}
}

func TestAppendNum(t *testing.T) {
	var ranges []Range
	for _, n := range []uint32{1, 2, 3, 5, 7, 8} {
		ranges = AppendNum(ranges, n)
	}
	if got := string(AppendRanges(nil, ranges)); got != "1:3,5,7:8" {
		t.Error(got)
	}
}

func TestDates(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Time
	}{
		{`"17-Jul-1996 02:44:25 -0700"`, time.Date(1996, 7, 17, 9, 44, 25, 0, time.UTC)},
		{`" 7-Jul-1996 02:44:25 +0000"`, time.Date(1996, 7, 7, 2, 44, 25, 0, time.UTC)},
		{`"7-Jul-1996 02:44:25 +0000"`, time.Time{}},
		{`"32-Jul-1996 02:44:25 +0000"`, time.Time{}},
		{`"17-Jul-1996 02:44:25.123 +0000"`, time.Time{}},
		{`"17-Jul-1996 02:44:25"`, time.Time{}},
		{`""`, time.Time{}},
	} {
		d := args(t, " "+tt.in+"\r\n")
		d.SP()
		got := d.DateTime()
		if !got.Equal(tt.want) || (d.End() == nil) == tt.want.IsZero() {
			t.Errorf("%s: %v, %v, want %v", tt.in, got, d.Err(), tt.want)
		}
	}
	for _, tt := range []struct {
		in   string
		want time.Time
	}{
		{"1-Feb-1994", time.Date(1994, 2, 1, 0, 0, 0, 0, time.UTC)},
		{`"01-feb-1994"`, time.Date(1994, 2, 1, 0, 0, 0, 0, time.UTC)},
		{"1-Foo-1994", time.Time{}},
		{"30-Feb-1994", time.Time{}},
		{`"1-Feb-1994`, time.Time{}},
		{"1-Feb-94", time.Time{}},
	} {
		d := args(t, " "+tt.in+"\r\n")
		d.SP()
		got := d.Date()
		if (d.End() == nil) == tt.want.IsZero() || (!tt.want.IsZero() && !got.Equal(tt.want)) {
			t.Errorf("%s: %v, %v, want %v", tt.in, got, d.Err(), tt.want)
		}
	}
}

func TestFlags(t *testing.T) {
	d := args(t, " 1 +flags.silent (\\seen \\DELETED $Forwarded \\Foo)\r\n")
	got, err := d.StoreArgs()
	want := StoreArgs{
		Set: NumSet{Ranges: []Range{{1, 1}}}, Op: StoreAdd, Silent: true,
		Flags: []string{`\Seen`, `\Deleted`, "$Forwarded", `\Foo`},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for in, op := range map[string]StoreOp{" $ FLAGS \\Seen a": StoreSet, " 1:* -FLAGS (\\Seen a)": StoreRemove} {
		got, err := args(t, in+"\r\n").StoreArgs()
		if err != nil || got.Op != op || got.Silent || !slices.Equal(got.Flags, []string{`\Seen`, "a"}) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	if got, err := args(t, " 1 FLAGS ()\r\n").StoreArgs(); err != nil || len(got.Flags) != 0 {
		t.Errorf("no flags: %+v, %v", got, err)
	}
	for _, in := range []string{
		" 1 FLAGS", " 1 FLAGS ", " 1 FOO (a)", " 1 FLAGS (\\*)", " 1 FLAGS (a", " 1 FLAGS (a b))", " 1 (FOO 1) FLAGS (a)",
		" 1 +-FLAGS (a)", " 1 FLAGS (a  b)", " 1 FLAGS ( a)", " 1 FLAGS (\\)", " 1 FLAGS \"a\"",
	} {
		_, err := args(t, in+"\r\n").StoreArgs()
		wantSyntax(t, in, err)
	}
}
