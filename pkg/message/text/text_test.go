package text

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/unicode/norm"
)

// encode gives text in a charset.
func encode(t testing.TB, e encoding.Encoding, s string) string {
	t.Helper()
	out, err := e.NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDecodeHeader(t *testing.T) {
	jis := encode(t, japanese.ISO2022JP, "郵便局からのお知らせ")
	sjis := encode(t, japanese.ShiftJIS, "郵便")
	euc := encode(t, japanese.EUCJP, "郵便")
	utf8Word := "=?UTF-8?B?" + b64("郵\xe4\xbe") + "?="
	tests := []struct{ name, in, want string }{
		{"plain", " hello \r\n", "hello"},
		{"folded", "hello\r\n world", "hello world"},
		{"base64", "=?UTF-8?B?" + b64("郵便") + "?=", "郵便"},
		{"quoted-printable", "=?iso-8859-1?q?Caf=E9_=3D_tea?=", "Café = tea"},
		{"ISO-2022-JP", "=?ISO-2022-JP?B?" + b64(jis) + "?=", "郵便局からのお知らせ"},
		{"Shift_JIS", "=?Shift_JIS?B?" + b64(sjis) + "?=", "郵便"},
		{"EUC-JP", "=?euc-jp?B?" + b64(euc) + "?=", "郵便"},
		{"circled digit of CP50220", "=?iso-2022-jp?B?" + b64("\x1b$B-!\x1b(B") + "?=", "①"},
		{"half-width katakana", "=?iso-2022-jp?B?" + b64("\x1b(I1\x1b(B") + "?=", "ｱ"},
		{"neighbours", "=?utf-8?q?a?= \r\n =?utf-8?q?b?= c", "ab c"},
		{"neighbours that split a character", utf8Word + "\r\n =?utf-8?B?" + b64("\xbf局") + "?=", "郵便局"},
		{"neighbours of two charsets", "=?utf-8?q?a?= =?iso-8859-1?q?=E9?=", "aé"},
		{"language", "=?utf-8*ja?q?a?=", "a"},
		{"inside a text", "Re:=?utf-8?q?a?=b", "Re:ab"},
		{"spaces in the word", "=?utf-8?q?a b?=", "a b"},
		{"unknown charset", "=?no-such?q?=E9?=", "é"},
		{"not a word", "=?utf-8?x?a?= =? =?? =?utf-8?q?a", "=?utf-8?x?a?= =? =?? =?utf-8?q?a"},
		{"raw UTF-8", "郵便", "郵便"},
		{"raw ISO-2022-JP", jis, "郵便局からのお知らせ"},
		{"raw Windows-1252", "Caf\xe9 \x80", "Café €"},
		{"raw octets beside a word", "Caf\xe9 =?utf-8?q?=C3=A9?=", "Café é"},
		{"controls", "=?utf-8?q?a=0D=0ABcc:=00b?=", "a  Bcc: b"},
		{"broken base64", "=?utf-8?B?YQ=Y*m?=", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DecodeHeader([]byte(tt.in)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTransferDecode(t *testing.T) {
	tests := []struct{ encoding, in, want string }{
		{"7bit", "a=41", "a=41"},
		{"x-unknown", "a=41", "a=41"},
		{"Base64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "aGVsbG8", "hello"},
		{"base64", "a G!V-s bG8=", "hello"},
		{"base64", "aGVs" + "bG8=" + "IQ==", "hello!"},
		{"base64", "a", ""},
		{"quoted-printable", "a=3D=e3=81=82\r\n", "a=あ\r\n"},
		{"quoted-printable", "soft=\r\n break= \t\r\n=\nend=", "soft breakend"},
		{"quoted-printable", "trailing \t\r\nspace  \nend ", "trailing\r\nspace\nend "},
		{"quoted-printable", "bad =zz =4 =4x ==41 =", "bad =zz =4 =4x =A "},
		{"quoted-printable", "cut =4", "cut =4"},
		{"quoted-printable", "a\rb", "a\rb"},
		{"quoted-printable", "= x", "= x"},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(tt.in), "octets": iotest.OneByteReader(strings.NewReader(tt.in)),
		} {
			got, err := io.ReadAll(TransferDecode(r, tt.encoding))
			if err != nil || string(got) != tt.want {
				t.Errorf("%s %q (%s): got %q, %v, want %q", tt.encoding, tt.in, name, got, err, tt.want)
			}
		}
	}
	if _, err := io.ReadAll(TransferDecode(iotest.ErrReader(io.ErrClosedPipe), "base64")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func TestDecodePart(t *testing.T) {
	long := strings.Repeat("plain text. ", 2000)
	jis := encode(t, japanese.ISO2022JP, strings.Repeat("郵便局 ", 3000))
	tests := []struct{ name, encoding, charset, in, want string }{
		{"ISO-2022-JP", "7bit", "ISO-2022-JP", jis, strings.Repeat("郵便局 ", 3000)},
		{"Shift_JIS", "base64", "shift_jis", b64(encode(t, japanese.ShiftJIS, "便り")), "便り"},
		{"CP932", "8bit", "cp932", "\x87\x40", "①"},
		{"EUC-JP", "8bit", "EUC-JP", encode(t, japanese.EUCJP, "便り"), "便り"},
		{"quoted charset", "8bit", "\"utf-8\"; x", "é", "é"},
		{"broken UTF-8", "8bit", "utf-8", "a\xffb", "a\uFFFDb"},
		{"guess UTF-8", "8bit", "", long + "é", long + "é"},
		{"guess Windows-1252", "8bit", "us-ascii", long + "\xe9\x80", long + "é€"},
		{"guess ISO-2022-JP", "7bit", "us-ascii", long + jis, long + strings.Repeat("郵便局 ", 3000)},
		{"UTF-8 that the sample cuts", "8bit", "", strings.Repeat("郵", 5000), strings.Repeat("郵", 5000)},
		{"Latin-1 is Windows-1252", "8bit", "iso-8859-1", "\x93\xe9\x94", "“é”"},
		{"GB2312", "8bit", "gb2312", "\xd3\xca\xbe\xd6", "邮局"},
		{"KS_C_5601-1987", "8bit", "ks_c_5601-1987", "\xbf\xec\xc3\xbc", "우체"},
		{"UTF-16", "base64", "utf-16", b64("\xfe\xff\x90\xf5"), "郵"},
		{"KOI8-R", "8bit", "koi8-r", "\xd0\xcf\xde\xd4\xc1", "почта"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := io.ReadAll(DecodePart(iotest.HalfReader(strings.NewReader(tt.in)), tt.encoding, tt.charset))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %.80q (%d), %v, want %.80q (%d)", got, len(got), err, tt.want, len(tt.want))
			}
		})
	}
}

func TestHTMLText(t *testing.T) {
	long := strings.Repeat("x", maxToken*3)
	tests := []struct{ name, in, want string }{
		{"text", "<html><head><title>t</title><style>p{}</style></head><p>a&amp;b</p><script>if(a<b){}</script>c<!-- d -->e", "a&b ce"},
		{"blocks and cells", "<table><tr><td>a</td><td>b</td></tr></table>c<br/>d<b>e</b>", "a b c de"},
		{"open tag", "a<b", "a"},
		{"not a tag", "1 < 2 & 3", "1 < 2 & 3"},
		{"long text", long + "<b>y</b>", long + "y"},
		{"long script", "<script>" + long + "</script>y", "y"},
		{"Japanese", "<p>郵&#20415;局</p>", "郵便局"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := io.ReadAll(HTMLText(strings.NewReader(tt.in)))
			if s := strings.Join(strings.Fields(string(got)), " "); err != nil || s != tt.want {
				t.Errorf("got %.80q (%d), %v, want %.80q (%d)", s, len(s), err, tt.want, len(tt.want))
			}
		})
	}
}

func TestFold(t *testing.T) {
	for _, group := range [][]string{
		{"abc", "ABC", "ＡＢＣ", "aBc"},
		{"strasse", "STRASSE", "straße"},
		{"カタカナ", "ｶﾀｶﾅ"},
		{"ガ", "ｶﾞ", "カ\u3099"},
		{"é", "É", "e\u0301"},
		{"ı", "i"},
		{"ệ", "ê\u0323", "e\u0302\u0323", "e\u0323\u0302"},
		{"①", "1"},
		{"한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"},
		{"각a", "가\u11a8a"},
		{"\uFFFD", "\xff"},
	} {
		for _, s := range group[1:] {
			if Fold(s) != Fold(group[0]) {
				t.Errorf("%q folds to %q, %q to %q", s, Fold(s), group[0], Fold(group[0]))
			}
		}
	}
	for _, c := range []struct {
		in, part string
		want     bool
	}{
		{"naïve", "NAIVE", false}, // the mark is between
		{"𝚤", "I", true},
		{"café", "CAFE", true},
		{"ば", "は", true},
		{"ﾊﾞ", "ハ", true},
		{"は", "ば", false},
		{"ǆ", "ǅ", true},
		{"각", "가", false}, // RFC 5051 knows no decomposition of them
		{"ㅋㅋㅋ", "ㅋㅋ", true},
	} {
		if strings.Contains(Fold(c.in), Fold(c.part)) != c.want {
			t.Errorf("%q has %q: want %v", c.in, c.part, c.want)
		}
	}
}

// casemap is RFC 5051 section 2 to the letter.
func casemap(s string) string {
	for {
		var out strings.Builder
		for _, r := range s {
			r = unicode.ToTitle(r)
			switch d := norm.NFKD.PropertiesString(string(r)).Decomposition(); {
			case len(d) > 0 && (r < hangulS || r >= hangulS+hangulLs*hangulVs*hangulTs):
				out.Write(d)
			default:
				out.WriteRune(r)
			}
		}
		if out.String() == s {
			return s
		}
		s = out.String()
	}
}

// What i;unicode-casemap takes for the same, full case folding, or NFKC, Fold does too.
func TestFoldTakesForTheSame(t *testing.T) {
	full := cases.Fold()
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		s := string(r)
		for _, same := range []string{casemap(s), full.String(s), norm.NFKC.String(s)} {
			if same != s && Fold(same) != Fold(s) {
				t.Errorf("%U folds to %q, and %q, which is the same, to %q", r, Fold(s), same, Fold(same))
			}
		}
	}
}

func TestKnown(t *testing.T) {
	for charset, want := range map[string]bool{"": true, "US-ASCII": true, "iso-2022-jp": true, "Windows-31J": true, "utf-8*en": true, "klingon": false} {
		if got := Known(charset); got != want {
			t.Errorf("%q: got %v", charset, got)
		}
	}
	for enc, want := range map[string]bool{"": true, "BASE64": true, "8bit": true, "x-uuencode": false} {
		if got := KnownEncoding(enc); got != want {
			t.Errorf("%q: got %v", enc, got)
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	f.Add([]byte("=?utf-8?B?6YO1?= =?iso-2022-jp?q?=1B$B?= \x1b$B;3 \xe9"))
	f.Add([]byte("=?utf-16?B?/v8A?=\r\n =?utf-7?q?+?="))
	f.Fuzz(func(t *testing.T, in []byte) {
		got := DecodeHeader(in)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\r\n") {
			t.Fatalf("%q", got)
		}
		if len(got) > 6*len(in) {
			t.Fatalf("%d octets from %d", len(got), len(in))
		}
	})
}

func FuzzDecodePart(f *testing.F) {
	f.Add([]byte("=E9=\r\n<b>&amp;"), "quoted-printable", "iso-8859-1")
	f.Add([]byte("GyRCOzNF"), "base64", "iso-2022-jp")
	f.Add([]byte("\xfe\xff\xd8"), "", "utf-16")
	f.Fuzz(func(t *testing.T, in []byte, transfer, charset string) {
		whole, err := io.ReadAll(DecodePart(bytes.NewReader(in), transfer, charset))
		if err != nil || !utf8.Valid(whole) {
			t.Fatalf("%q %v", whole, err)
		}
		pieces, err := io.ReadAll(DecodePart(iotest.OneByteReader(bytes.NewReader(in)), transfer, charset))
		if err != nil || !bytes.Equal(whole, pieces) {
			t.Fatalf("octet by octet: %q %v, at once %q", pieces, err, whole)
		}
		if _, err := io.ReadAll(HTMLText(bytes.NewReader(whole))); err != nil {
			t.Fatal(err)
		}
	})
}
