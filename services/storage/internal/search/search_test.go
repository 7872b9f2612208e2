package search

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	mailv1 "github.com/yubin-mail/yubin/proto/yubin/mail/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// candidate is a message in memory that remembers what was read of it.
type candidate struct {
	state     *storagev1.MessageState
	text      string
	structure *mailv1.Structure
	read      []string
	fail      error // of Structure, Header and Open
}

func newCandidate(t testing.TB, text string, state *storagev1.MessageState) *candidate {
	t.Helper()
	s, err := message.Parse(strings.NewReader(text), int64(len(text)), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return &candidate{state: state, text: text, structure: s}
}

func (c *candidate) State() *storagev1.MessageState { return c.state }
func (c *candidate) EmailID() string                { return "M1" }
func (c *candidate) ThreadID() string               { return "T1" }
func (c *candidate) SentUnix() int64                { return c.structure.GetSentUnix() }

func (c *candidate) Structure() (*mailv1.Structure, error) {
	c.read = append(c.read, "structure")
	return c.structure, c.fail
}

func (c *candidate) Header() ([]byte, error) {
	c.read = append(c.read, "header")
	return []byte(c.text[:c.structure.GetRoot().GetHeaderSize()]), c.fail
}

func (c *candidate) Open() (io.ReaderAt, error) {
	c.read = append(c.read, "body")
	return strings.NewReader(c.text), c.fail
}

func allOfKeys(keys ...*storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AllOf{AllOf: &storagev1.SearchCriteria_List{Criteria: keys}}}
}

func anyOfKeys(keys ...*storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_AnyOf{AnyOf: &storagev1.SearchCriteria_List{Criteria: keys}}}
}

func notKey(k *storagev1.SearchCriteria) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Not{Not: k}}
}

func bodyKey(s string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Body{Body: s}}
}

func textKey(s string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Text{Text: s}}
}

func headerKey(name, value string) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Header_{Header: &storagev1.SearchCriteria_Header{Name: name, Value: value}}}
}

func flagsKey(bits uint32) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Flags{Flags: bits}}
}

func uidsKey(ranges ...*storagev1.UidRange) *storagev1.SearchCriteria {
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Uids{Uids: &storagev1.SearchCriteria_UidSet{Uids: ranges}}}
}

func day(year int, month time.Month, d int) int64 {
	return time.Date(year, month, d, 0, 0, 0, 0, time.UTC).Unix()
}

func match(t testing.TB, criteria *storagev1.SearchCriteria, m Candidate) bool {
	t.Helper()
	p, err := Compile(criteria)
	if err != nil {
		t.Fatalf("Compile: %v", err)
	}
	ok, err := p.Match(t.Context(), m)
	if err != nil {
		t.Fatalf("Match: %v", err)
	}
	return ok
}

func encode(t testing.TB, e encoding.Encoding, s string) string {
	t.Helper()
	out, err := e.NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wrap64 is base64 in lines of 76.
func wrap64(s string) string {
	b := base64.StdEncoding.EncodeToString([]byte(s))
	var out strings.Builder
	for len(b) > 76 {
		out.WriteString(b[:76] + "\r\n")
		b = b[76:]
	}
	return out.String() + b
}

func japaneseMail(t testing.TB) string {
	return strings.Join([]string{
		"Date: Fri, 2 Feb 2024 00:30:00 +0900",
		"From: =?ISO-2022-JP?B?" + base64.StdEncoding.EncodeToString([]byte(encode(t, japanese.ISO2022JP, "山田太郎"))) + "?= <yamada@example.jp>",
		"To: Jörg <joerg@example.org>",
		"Subject: =?UTF-8?B?6YO1?= =?UTF-8?B?5L6/5bGA?= news",
		"X-Empty:",
		"Content-Type: multipart/mixed; boundary=b",
		"",
		"preamble",
		"--b",
		"Content-Type: text/plain; charset=ISO-2022-JP",
		"",
		encode(t, japanese.ISO2022JP, "お知らせです。長い文は途"),
		encode(t, japanese.ISO2022JP, "中で折り返す。Hello"),
		"World",
		"--b",
		"Content-Type: text/html; charset=Shift_JIS",
		"Content-Transfer-Encoding: base64",
		"",
		wrap64(encode(t, japanese.ShiftJIS, "<style>hidden</style><p>ｶﾀｶﾅの<b>手紙</b>&amp;封筒</p>")),
		"--b",
		"Content-Type: text/plain",
		"Content-Transfer-Encoding: quoted-printable",
		"",
		"Caf=C3=A9 con=",
		"tinued",
		"--b",
		"Content-Type: message/rfc822",
		"",
		"Subject: =?utf-8?q?inner_subject?=",
		"",
		"inner text",
		"--b",
		"Content-Type: application/pdf",
		"Content-Disposition: attachment; filename*=UTF-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf",
		"",
		"pdf bytes",
		"--b--",
		"",
	}, "\r\n")
}

func TestMatchText(t *testing.T) {
	msg := japaneseMail(t)
	tests := []struct {
		criteria *storagev1.SearchCriteria
		want     bool
	}{
		{headerKey("subject", "郵便局"), true},
		{headerKey("Subject", "便局 NEWS"), true},
		{headerKey("Subject", "=?utf-8?b?6yo1"), true},
		{headerKey("Subject", "no such"), false},
		{headerKey("From", "山田"), true},
		{headerKey("From", "YAMADA@"), true},
		{headerKey("To", "JÖRG"), true},
		{headerKey("X-Empty", ""), true},
		{headerKey("X-None", ""), false},
		{headerKey("", ""), false},
		{bodyKey("お知らせ"), true},
		{bodyKey("途中で"), true},
		{bodyKey("hello world"), true},
		{bodyKey("Hello  \t World"), true},
		{bodyKey("HelloWorld"), false},
		{bodyKey("カタカナ"), true},
		{bodyKey("の手紙&封筒"), true},
		{bodyKey("hidden"), false},
		{bodyKey("CAFÉ continued"), true},
		{bodyKey("inner text"), true},
		{bodyKey("inner subject"), false},
		{bodyKey("pdf bytes"), false},
		{bodyKey("preamble"), false},
		{bodyKey("郵便局"), false},
		{bodyKey(""), true},
		{textKey("郵便局"), true},
		{textKey("お知らせ"), true},
		{textKey("inner subject"), true},
		{textKey("請求書"), true},
		{textKey("application/pdf"), true},
		{textKey("from: 山田"), true},
		{textKey("pdf bytes"), false},
		{allOfKeys(bodyKey("お知らせ"), textKey("請求書"), bodyKey("封筒")), true},
		{allOfKeys(bodyKey("お知らせ"), textKey("no such")), false},
		{anyOfKeys(bodyKey("no such"), bodyKey("封筒")), true},
		{notKey(bodyKey("封筒")), false},
		{notKey(textKey("no such")), true},
	}
	for _, tt := range tests {
		if got := match(t, tt.criteria, newCandidate(t, msg, nil)); got != tt.want {
			t.Errorf("%v: got %v", tt.criteria, got)
		}
	}
}

// TestMatchAcrossChunks puts a text at every place around the end of a chunk.
// TestMatchAddresses: RFC 9051 section 6.4.4, FROM, TO, CC and BCC look into the envelope, where an address has neither quotes nor comments in it.
func TestMatchAddresses(t *testing.T) {
	m := newCandidate(t, "From: Bob \"the\" (very) \"B\\\"uilder\" <bob (his name) . b@example(com).test>\r\n"+
		"To: a (one)\r\n @example.test, \"john doe\"@example.test, Team: c (x) @ example.test, d@example.test;\r\n"+
		"Reply-To: zed(x)@example.test\r\n\r\n", nil)
	for _, c := range []struct {
		field, value string
		want         bool
	}{
		{"From", "bob.b@example.test", true}, {"From", `Bob the B"uilder`, true}, {"From", "<BOB.B@EXAMPLE.TEST>", true},
		{"From", "bob (his name)", true}, // as it stands
		{"From", "bob@example.test", false},
		{"To", "a@example.test", true}, {"To", "john doe@example.test", true}, {"To", "c@example.test", true}, {"To", "d@example.test", true},
		{"To", `"john doe"@example.test`, true}, {"To", "team", true}, {"To", "zed@example.test", false},
		{"Cc", "a@example.test", false}, {"Reply-To", "zed@example.test", false}, {"Reply-To", "zed(x)@example.test", true},
	} {
		if got := match(t, headerKey(c.field, c.value), m); got != c.want {
			t.Errorf("%s %q: %v", c.field, c.value, got)
		}
		kept, err := Extract(t.Context(), m, Limits{Header: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		if got := kept.HasField(normal(c.field), normal(c.value)); got != c.want {
			t.Errorf("%s %q by what an index keeps: %v", c.field, c.value, got)
		}
	}
}

func TestMatchAcrossChunks(t *testing.T) {
	for _, charset := range []string{"utf-8", "iso-2022-jp"} {
		for shift := range 24 {
			body := strings.Repeat("x", chunkBytes-12+shift) + "郵便ｶﾞ局"
			if charset == "iso-2022-jp" {
				body = encode(t, japanese.ISO2022JP, body)
			}
			msg := "Content-Type: text/plain; charset=" + charset + "\r\n\r\n" + body + strings.Repeat("y", 3*chunkBytes)
			if !match(t, bodyKey("郵便ガ局yyy"), newCandidate(t, msg, nil)) {
				t.Errorf("%s: not found at shift %d", charset, shift)
			}
			if match(t, bodyKey("郵便カ局"), newCandidate(t, msg, nil)) {
				t.Errorf("%s: found what is not there at shift %d", charset, shift)
			}
		}
	}
}

func TestMatchState(t *testing.T) {
	state := &storagev1.MessageState{
		Uid: 7, Modseq: 20, Flags: uint32(storagev1.Flag_FLAG_SEEN | storagev1.Flag_FLAG_FLAGGED), Keywords: []string{"$Forwarded"},
		Size: 100, InternalUnix: 1000, SavedUnix: 2000,
	}
	timeRange := func(from, before int64) *storagev1.SearchCriteria_TimeRange {
		return &storagev1.SearchCriteria_TimeRange{FromUnix: from, BeforeUnix: before}
	}
	tests := []struct {
		name     string
		criteria *storagev1.SearchCriteria
		want     bool
	}{
		{"nil", nil, true},
		{"empty", &storagev1.SearchCriteria{}, true},
		{"all of nothing", allOfKeys(), true},
		{"any of nothing", anyOfKeys(), false},
		{"not nothing", notKey(nil), false},
		{"uid", uidsKey(&storagev1.UidRange{Start: 9, Stop: 9}, &storagev1.UidRange{Start: 6, Stop: 8}), true},
		{"other uid", uidsKey(&storagev1.UidRange{Start: 8, Stop: 9}), false},
		{"flags", flagsKey(5), true},
		{"not all flags", flagsKey(7), false},
		{"keyword", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Keyword{Keyword: "$forwarded"}}, true},
		{"other keyword", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Keyword{Keyword: "$Forward"}}, false},
		{"since", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_InternalDate{InternalDate: timeRange(1000, 0)}}, true},
		{"before", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_InternalDate{InternalDate: timeRange(0, 1000)}}, false},
		{"saved", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_SavedDate{SavedDate: timeRange(1999, 2001)}}, true},
		{"larger", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Larger{Larger: 99}}, true},
		{"not larger than itself", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Larger{Larger: 100}}, false},
		{"smaller", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Smaller{Smaller: 101}}, true},
		{"not smaller than itself", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Smaller{Smaller: 100}}, false},
		{"modseq", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Modseq{Modseq: 20}}, true},
		{"later modseq", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Modseq{Modseq: 21}}, false},
		{"email id", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_EmailId{EmailId: "M1"}}, true},
		{"thread id", &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_ThreadId{ThreadId: "T2"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCandidate(t, "Subject: x\r\n\r\n", state)
			if got := match(t, tt.criteria, c); got != tt.want {
				t.Errorf("got %v", got)
			}
			if len(c.read) > 0 {
				t.Errorf("read %v", c.read)
			}
		})
	}
}

func TestMatchSentDate(t *testing.T) {
	sent := func(from, before int64) *storagev1.SearchCriteria {
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_SentDate{SentDate: &storagev1.SearchCriteria_TimeRange{FromUnix: from, BeforeUnix: before}}}
	}
	tests := []struct {
		date         string
		from, before int64
		want         bool
		read         int
	}{
		{"Fri, 2 Feb 2024 00:30:00 +0900", day(2024, 2, 2), day(2024, 2, 3), true, 1}, // the 1st in UTC
		{"Fri, 2 Feb 2024 00:30:00 +0900", day(2024, 2, 1), day(2024, 2, 2), false, 1},
		{"Fri, 2 Feb 2024 23:30:00 -0800", day(2024, 2, 2), day(2024, 2, 3), true, 1}, // the 3rd in UTC
		{"Fri, 2 Feb 2024 00:30:00 +0900", day(2024, 1, 1), 0, true, 0},
		{"Fri, 2 Feb 2024 00:30:00 +0900", day(2024, 3, 1), 0, false, 0},
		{"Fri, 2 Feb 2024 00:30:00 +0900", 0, day(2024, 1, 1), false, 0},
		{"Fri, 2 Feb 2024 00:30:00 +0900", 0, 0, true, 0},
		{"never", 0, day(2024, 1, 1), false, 0},
	}
	for _, tt := range tests {
		c := newCandidate(t, "Date: "+tt.date+"\r\n\r\n", nil)
		if got := match(t, sent(tt.from, tt.before), c); got != tt.want || len(c.read) != tt.read {
			t.Errorf("%s in [%d,%d): got %v, read %v", tt.date, tt.from, tt.before, got, c.read)
		}
	}
}

func TestMatchReadsNoMoreThanNeeded(t *testing.T) {
	seen, unseen := flagsKey(1), notKey(flagsKey(1))
	tests := []struct {
		criteria *storagev1.SearchCriteria
		needs    Needs
		want     string
	}{
		{seen, NeedsState, "[]"},
		{allOfKeys(bodyKey("x"), headerKey("a", "b"), unseen), NeedsBody, "[]"},
		{allOfKeys(bodyKey("x"), headerKey("a", "b"), seen), NeedsBody, "[header]"},
		{anyOfKeys(bodyKey("x"), seen), NeedsBody, "[]"},
		{anyOfKeys(bodyKey("x"), headerKey("subject", "hello")), NeedsBody, "[header]"},
		{anyOfKeys(headerKey("subject", "no"), headerKey("to", "no"), headerKey("subject", "hello")), NeedsHeader, "[header]"},
		{anyOfKeys(bodyKey("no"), textKey("such"), bodyKey("word")), NeedsBody, "[header structure body]"},
		{textKey("hello"), NeedsBody, "[header]"},
		{bodyKey(""), NeedsState, "[]"},
	}
	for _, tt := range tests {
		c := newCandidate(t, "Subject: Hello\r\n\r\nbody", &storagev1.MessageState{Flags: 1})
		p, err := Compile(tt.criteria)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Match(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(c.read); got != tt.want || p.Needs() != tt.needs {
			t.Errorf("%v: read %s, needs %d", tt.criteria, got, p.Needs())
		}
	}
}

func TestMatchErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, criteria := range []*storagev1.SearchCriteria{bodyKey("x"), headerKey("a", ""), notKey(textKey("x")), anyOfKeys(headerKey("a", "")), allOfKeys(bodyKey("x"))} {
		p, err := Compile(criteria)
		if err != nil {
			t.Fatal(err)
		}
		c := newCandidate(t, "\r\nbody", nil)
		c.fail = broken
		if ok, err := p.Match(t.Context(), c); ok || !errors.Is(err, broken) {
			t.Errorf("%v: got %v, %v", criteria, ok, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := Compile(bodyKey("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Match(ctx, newCandidate(t, "\r\nbody", nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCompileRefuses(t *testing.T) {
	deep := flagsKey(1)
	for range MaxDepth {
		deep = notKey(deep)
	}
	wide := make([]*storagev1.SearchCriteria, MaxNodes)
	tests := map[string]*storagev1.SearchCriteria{
		"depth":          deep,
		"nodes":          allOfKeys(wide...),
		"text":           anyOfKeys(bodyKey(strings.Repeat("x", MaxText)), headerKey("a", "b")),
		"uid 0":          uidsKey(&storagev1.UidRange{Start: 0, Stop: 1}),
		"range reversed": allOfKeys(notKey(uidsKey(&storagev1.UidRange{Start: 2, Stop: 1}))),
	}
	for name, criteria := range tests {
		if _, err := Compile(criteria); !fault.Is(err, rpcv1.Reason_REASON_INVALID) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Compile(deep.GetNot()); err != nil {
		t.Errorf("at the depth limit: %v", err)
	}
	if _, err := Compile(allOfKeys(wide[1:]...)); err != nil {
		t.Errorf("at the node limit: %v", err)
	}
}

// generator makes criteria of the state keys from fuzzed octets.
type generator struct{ data []byte }

func (g *generator) next() byte {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return b
}

func (g *generator) criteria(depth int) *storagev1.SearchCriteria {
	kind := g.next() % 8
	if depth == 0 {
		kind = 3 + kind%5
	}
	switch kind {
	case 0, 1:
		keys := make([]*storagev1.SearchCriteria, g.next()%4)
		for i := range keys {
			keys[i] = g.criteria(depth - 1)
		}
		if kind == 0 {
			return allOfKeys(keys...)
		}
		return anyOfKeys(keys...)
	case 2:
		return notKey(g.criteria(depth - 1))
	case 3:
		return flagsKey(uint32(g.next() % 32))
	case 4:
		start := uint32(g.next()) + 1
		return uidsKey(&storagev1.UidRange{Start: start, Stop: start + uint32(g.next())})
	case 5:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Larger{Larger: uint64(g.next())}}
	case 6:
		return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Smaller{Smaller: uint64(g.next())}}
	}
	return &storagev1.SearchCriteria{Key: &storagev1.SearchCriteria_Modseq{Modseq: uint64(g.next())}}
}

// reference says what the criteria of a generator mean, as plainly as can be.
func reference(k *storagev1.SearchCriteria, s *storagev1.MessageState) bool {
	switch v := k.GetKey().(type) {
	case *storagev1.SearchCriteria_AllOf:
		all := true
		for _, c := range v.AllOf.GetCriteria() {
			all = reference(c, s) && all
		}
		return all
	case *storagev1.SearchCriteria_AnyOf:
		found := false
		for _, c := range v.AnyOf.GetCriteria() {
			found = reference(c, s) || found
		}
		return found
	case *storagev1.SearchCriteria_Not:
		return !reference(v.Not, s)
	case *storagev1.SearchCriteria_Flags:
		return v.Flags&^s.GetFlags() == 0
	case *storagev1.SearchCriteria_Uids:
		r := v.Uids.GetUids()[0]
		return r.GetStart() <= s.GetUid() && s.GetUid() <= r.GetStop()
	case *storagev1.SearchCriteria_Larger:
		return s.GetSize() > v.Larger
	case *storagev1.SearchCriteria_Smaller:
		return s.GetSize() < v.Smaller
	case *storagev1.SearchCriteria_Modseq:
		return s.GetModseq() >= v.Modseq
	}
	return true
}

func FuzzMatchState(f *testing.F) {
	f.Add([]byte{0, 3, 1, 2, 3, 7, 4, 2, 9, 2, 5, 9, 6, 200}, uint32(5), uint32(3), uint64(20), uint64(7))
	f.Fuzz(func(t *testing.T, data []byte, uid, flags uint32, size, modseq uint64) {
		g := generator{data: data}
		criteria := g.criteria(6)
		state := &storagev1.MessageState{Uid: uid, Flags: flags, Size: size, Modseq: modseq}
		p, err := Compile(criteria)
		if err != nil {
			if !fault.Is(err, rpcv1.Reason_REASON_INVALID) {
				t.Fatal(err)
			}
			return
		}
		got, err := p.Match(t.Context(), &candidate{state: state})
		if want := reference(criteria, state); err != nil || got != want {
			t.Fatalf("%v of %v: got %v, %v, want %v", criteria, state, got, err, want)
		}
	})
}

func FuzzMatchBody(f *testing.F) {
	f.Add("hello\r\nworld ｶﾞ", "World ガ", uint(3))
	f.Add("e\u0301\xff <b>", "é", uint(40000))
	f.Fuzz(func(t *testing.T, body, needle string, pad uint) {
		if len(body) > maxCluster { // it may be cut inside a cluster, where it folds otherwise
			return
		}
		body = strings.Repeat("x", int(pad%(2*chunkBytes))) + body
		msg := "Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
		p, err := Compile(bodyKey(needle))
		if err != nil {
			return
		}
		got, err := p.Match(t.Context(), newCandidate(t, msg, nil))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Contains(normal(text.DecodeString([]byte(body), "utf-8")), normal(needle)); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
