package textindex

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// words that texts and needles of the test are made of, so that some needles are in some texts.
var words = []string{
	"invoice", "invoices", "in", "voice", "a", "ab", "abc", "alice@example.com", "bob@example.com", "x-mailer", "日本語", "日本", "本語", "語", "東京都",
	"été", "naïve", "2026-11-22", "...", "@", "ﬁ", "a.b", "한국어", "한국", "😀", "q\u0301", "\x00", "foo..bar", "foo.bar",
}

func sentence(r *rand.Rand, most int) string {
	var b strings.Builder
	for range r.IntN(most) {
		if r.IntN(3) > 0 && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

func randomText(r *rand.Rand) *search.Text {
	t := &search.Text{HeaderPartial: r.IntN(40) == 0}
	t.Partial = t.HeaderPartial || r.IntN(40) == 0
	for range r.IntN(4) {
		t.Header += []string{"subject", "from", "x-to", "list-id"}[r.IntN(4)] + ": " + sentence(r, 6) + "\n"
	}
	for range r.IntN(2) {
		t.Parts += sentence(r, 6) + "\n"
	}
	for range r.IntN(3) {
		t.Body += sentence(r, 30) + "\n"
	}
	return t
}

// resolve asks a segment whether its messages have a needle, and whether they may have it.
func resolve(t *testing.T, s *Segment, n search.Needle) (yes, may []bool, q Query) {
	t.Helper()
	q = QueryOf(n)
	l := NewLookup([]Query{QueryOf(search.Needle{Text: "else", Zone: search.ZoneText}), q})
	if err := l.Segment(7, s.Header, s.Docs); err != nil {
		t.Fatal(err)
	}
	for more := true; more; more = l.Next() {
		for _, row := range l.Rows() {
			if s.Rows[row] == nil {
				continue
			}
			if err := l.Row(row, 7, s.Rows[row]); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.Each(1, func(_ uint32, y, m bool) { yes, may = append(yes, y), append(may, m) })
	return yes, may, q
}

func has(text *search.Text, n search.Needle) (has, partial bool) {
	if n.Zone == search.ZoneField {
		return text.HasField(n.Field, n.Text), text.HeaderPartial
	}
	return text.Contains(n), text.Partial
}

func segmentOf(t testing.TB, b *Builder) *Segment {
	t.Helper()
	s, err := b.Segment()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What an index says for certain is so, and what it rules out is not so.
func TestIndexAgreesWithTexts(t *testing.T) {
	certain, ruledOut, exact := 0, 0, 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := NewBuilder()
		texts := make([]*search.Text, 1+r.IntN(700))
		for i := range texts {
			texts[i] = randomText(r)
			b.Add(uint32(10+3*i), texts[i])
		}
		s := segmentOf(t, b)
		if d, _ := DecodeDocs(s.Header, s.Docs); d.UIDs[0] != s.First || d.UIDs[s.Docs-1] != s.Last || s.Last != uint32(10+3*(len(texts)-1)) {
			t.Fatalf("UIDs are %v, from %d to %d", d.UIDs, s.First, s.Last)
		}
		for range 60 {
			n := search.Needle{Text: strings.TrimSpace(sentence(r, 4)), Zone: search.Zone(r.IntN(3))}
			if n.Zone == search.ZoneField {
				n.Field = []string{"subject", "from", "to", "list-id"}[r.IntN(4)]
			}
			if n.Text == "" {
				continue
			}
			if cut := []rune(n.Text); r.IntN(2) == 0 { // a part of words
				n.Text = strings.TrimSpace(string(cut[r.IntN(len(cut)):]))
			}
			if n.Text == "" {
				continue
			}
			yes, may, q := resolve(t, s, n)
			for i, text := range texts {
				has, partial := has(text, n)
				switch {
				case yes[i] && !has:
					t.Fatalf("seed %d: %q is not in %v", seed, n.Text, text)
				case !may[i] && (has || partial):
					t.Fatalf("seed %d: %q is or may be in %v", seed, n.Text, text)
				case (q.Exact || q.Column > 0) && !partial && yes[i] != may[i]:
					t.Fatalf("seed %d: %q is said to be exact but is not", seed, n.Text)
				case yes[i]:
					certain++
				case !may[i]:
					ruledOut++
				}
			}
			if q.Exact {
				exact++
			}
		}
	}
	if certain == 0 || ruledOut == 0 || exact == 0 {
		t.Errorf("%d certain, %d ruled out, %d exact: the test says nothing", certain, ruledOut, exact)
	}
}

func TestQueries(t *testing.T) {
	for _, c := range []struct {
		needle string
		zone   search.Zone
		want   string
	}{
		{"a", search.ZoneText, `["a"] true []`},
		{"ab", search.ZoneText, `["ab"] true []`},
		{"abc", search.ZoneText, `["abc"] true []`},
		{"abc", search.ZoneBody, `["abc"] false []`},
		{"日本", search.ZoneBody, `["日本"] true ["\x01\x01日本"]`},
		{"abcd", search.ZoneText, `["abc" "bcd"] false ["\x02abcd" "\x01abcd"]`},
		{"abcd", search.ZoneBody, `["abc" "bcd"] false ["\x02abcd"]`},
		{"abcd", search.ZoneField, `["abc" "bcd"] false []`},
		{"a@b.jp", search.ZoneBody, `["a@b" "@b." "b.j" ".jp"] false ["\x02a@b.jp"]`},
		{"語", search.ZoneText, `["語"] true []`},
		{"日本", search.ZoneText, `["日本"] true []`},
		{"日本語", search.ZoneText, `["日本" "本語"] false ["\x02日本語" "\x01日本語"]`},
		{"ab語cde", search.ZoneText, `["ab" "b語" "語c" "cde"] false []`},
		{"aaaa", search.ZoneBody, `["aaa"] false ["\x02aaaa"]`},
		{"ab\x00cd", search.ZoneText, `[] false []`},
	} {
		q := QueryOf(search.Needle{Text: c.needle, Zone: c.zone})
		if got := fmt.Sprintf("%q %v %q", q.All, q.Exact, append(q.Not, q.Any...)); got != c.want {
			t.Errorf("%q: got %s, want %s", c.needle, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	var got []string
	eachWord("to alice@example.com, re: foo..barbar -x-mailer- été naïve ab\nlast.words", func(w string) { got = append(got, w) })
	want := "alice example alice@example.com barbar mailer x-mailer naïve last words last.words"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPhrases(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"one, two  three four five", "one, two/one, two  three/one, two  three four/two  three/two  three four/two  three four five/three four/three four five/four five"},
		{"one ----- two", ""},
		{"a@b.jp\nc d", "a@b/a@b.jp/@b.jp/c d"},
		{"serial123 4567abcde", "serial/serial123 4567abcde/abcde"},
		{"お願いしま", "お願い/お願いし/お願いしま/願いし/願いしま/いしま"},
		{"ab東京都cd", "東京都"},
	} {
		var got []string
		eachPhrase(c.text, func(string) bool { return true }, func(s string) { got = append(got, s) })
		slices.Sort(got)
		want := strings.Split(c.want, "/")
		if c.want == "" {
			want = nil
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", c.text, got, want)
		}
	}
	// No longer than what is common.
	var got []string
	eachPhrase("one two three", func(s string) bool { return s == "one two" }, func(s string) { got = append(got, s) })
	if strings.Join(got, "/") != "one two" {
		t.Errorf("got %q", got)
	}
}

// Parts of words, phrases and Japanese that most messages have are known for certain of nearly all.
func TestVocabularyKnowsWhatIsCommon(t *testing.T) {
	b := NewBuilder()
	for i := range SegmentDocs {
		body := fmt.Sprintf("serial%d order-%d@shop.example.net thank you for your order よろしくお願いいたします %x", i, i*7919, i*104729)
		b.Add(uint32(i+1), &search.Text{Header: "subject: your order\n", Body: body})
	}
	s := segmentOf(t, b)
	for _, needle := range []string{"seria", "serial", "shop.exam", "hank you f", "@shop.example.net", "ろしくお願", "お願いいたし", "xample.ne", "thank you for your"} {
		for _, zone := range []search.Zone{search.ZoneText, search.ZoneBody} {
			yes, may, _ := resolve(t, s, search.Needle{Text: needle, Zone: zone})
			unsure := 0
			for i := range yes {
				if !may[i] {
					t.Fatalf("%q is ruled out", needle)
				}
				if !yes[i] {
					unsure++
				}
			}
			if unsure > SegmentDocs/phraseShare {
				t.Errorf("%q is uncertain of %d messages", needle, unsure)
			}
		}
	}
	yes, may, _ := resolve(t, s, search.Needle{Text: "ubject", Zone: search.ZoneBody})
	if slices.Contains(yes, true) || slices.Contains(may, false) {
		t.Error("what is in headers only is said to be in bodies, or its grams are not known")
	}
	yes, may, _ = resolve(t, s, search.Needle{Text: "r orde", Zone: search.ZoneField, Field: "subject"})
	if slices.Contains(yes, false) || slices.Contains(may, false) {
		t.Error("a column does not have what it has")
	}
}

func FuzzRows(f *testing.F) {
	b := NewBuilder()
	for i := range 40 {
		b.Add(uint32(i+1), &search.Text{Header: fmt.Sprintf("subject: hello %d\nto: x\n", i), Body: "hello world", HeaderPartial: i == 7})
	}
	s := segmentOf(f, b)
	for _, row := range s.Rows[Chunks:] {
		if row != nil {
			f.Add(row, "hello", 40)
		}
	}
	f.Fuzz(func(t *testing.T, row []byte, text string, docs int) {
		if docs < 0 || docs > SegmentDocs || text == "" || strings.ContainsRune(text, '\n') {
			return
		}
		yes, partial, err := findIn(row, text, docs)
		if err == nil && (len(yes) != len(partial) || len(yes) != len(newBits(docs))) {
			t.Errorf("%d and %d words for %d messages", len(yes), len(partial), docs)
		}
		_ = readVocabulary(row, inBody, text, func(term string, _ int) {
			if !strings.Contains(term, text) || !strings.HasPrefix(term, inBody) {
				t.Errorf("%q was found for %q", term, text)
			}
		})
	})
}

func TestTextRoundTrip(t *testing.T) {
	for _, text := range []search.Text{{}, {Header: "subject: x\n"}, {Body: strings.Repeat("日本語 ", 5000), Partial: true}, {Header: "a\n", Parts: "c\n", Body: "b", HeaderPartial: true}} {
		stored, err := EncodeText(&text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeText(stored)
		if err != nil || *got != text {
			t.Errorf("got %v, %v; want %v", got, err, text)
		}
		stored[0] = Format + 1
		if got, err := DecodeText(stored); got != nil || err != nil {
			t.Errorf("of another format: got %v, %v", got, err)
		}
	}
}

// A segment ends before it takes more memory than it may.
func TestSegmentIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	b := NewBuilder()
	uid := uint32(0)
	for !b.Full() {
		uid++
		runes := make([]rune, 50_000)
		for i := range runes {
			runes[i] = 0x4e00 + rune(r.IntN(0x5000))
		}
		b.Add(uid, &search.Text{Body: string(runes)})
	}
	if b.Docs() > 20 {
		t.Errorf("%d messages full of different terms make a segment", b.Docs())
	}
	if s := segmentOf(t, b); s.Docs != b.Docs() || s.Last != uid {
		t.Errorf("the segment has %d messages up to UID %d", s.Docs, s.Last)
	}
}

func FuzzDecode(f *testing.F) {
	b := NewBuilder()
	for i := range 20 {
		b.Add(uint32(i+1), &search.Text{Body: fmt.Sprint("hello world ", i)})
	}
	s := segmentOf(f, b)
	for _, c := range s.Rows {
		if c != nil {
			f.Add(c, s.Header, "hello", 20)
		}
	}
	f.Fuzz(func(t *testing.T, chunk, header []byte, term string, docs int) {
		if _, err := DecodeText(chunk); err == nil && len(chunk) > 0 && chunk[0] == Format && len(chunk) < 3 {
			t.Error("a cut text was taken")
		}
		d, err := DecodeDocs(header, docs)
		if err != nil {
			return
		}
		if len(d.UIDs) != docs {
			t.Errorf("%d messages, want %d", len(d.UIDs), docs)
		}
		bits, err := find(chunk, term, docs)
		if err == nil && len(bits) != len(d.Partial) {
			t.Errorf("%d words", len(bits))
		}
	})
}
