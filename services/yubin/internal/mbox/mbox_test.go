package mbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

type message struct {
	meta Meta
	text string
}

func readAll(t *testing.T, text string, format Format) []message {
	t.Helper()
	var out []message
	r := strings.NewReader(text)
	err := Scan(r, int64(len(text)), format, func(e Entry) error {
		body, err := io.ReadAll(Open(r, e, format))
		if err != nil {
			return err
		}
		if int64(len(body)) != e.Size || sha256.Sum256(body) != e.Digest {
			t.Errorf("entry says %d octets, digest %x; it has %d, %x", e.Size, e.Digest, len(body), sha256.Sum256(body))
		}
		out = append(out, message{e.Meta, string(body)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScan(t *testing.T) {
	const from = "From alice@example.test Thu Nov 24 18:22:48 2022\n"
	long := strings.Repeat("x", 3*lineBuffer)
	for _, c := range []struct {
		name, in string
		format   Format
		want     []string
	}{
		{"empty file", "", RD, nil},
		{"one", from + "Subject: a\n\nbody\n", RD, []string{"Subject: a\r\n\r\nbody\r\n"}},
		{"the blank line after a message is the file's", from + "A: b\n\nbody\n\n" + from + "C: d\n\nlast\n\n", RD,
			[]string{"A: b\r\n\r\nbody\r\n", "C: d\r\n\r\nlast\r\n"}},
		{"only one blank line is", from + "A: b\n\nbody\n\n\n" + from + "C: d\n\n", RD, []string{"A: b\r\n\r\nbody\r\n\r\n", "C: d\r\n"}},
		{"CRLF", strings.ReplaceAll(from+"A: b\n\nbody\n\n"+from+"C: d\n\nx\n", "\n", "\r\n"), RD, []string{"A: b\r\n\r\nbody\r\n", "C: d\r\n\r\nx\r\n"}},
		{"escapes of mboxrd", from + "A: b\n\n>From x\n>>From y\n>quoted\n> From z\n", RD, []string{"A: b\r\n\r\nFrom x\r\n>From y\r\n>quoted\r\n> From z\r\n"}},
		{"escapes of mboxo", from + "A: b\n\n>From x\n>>From y\n", O, []string{"A: b\r\n\r\nFrom x\r\n>>From y\r\n"}},
		{"From in mid-paragraph", from + "A: b\n\nx\n" + from + "y\n", RD, []string{"A: b\r\n\r\nx\r\n" + strings.TrimSuffix(from, "\n") + "\r\ny\r\n"}},
		{"a sentence is no From line", from + "A: b\n\n\nFrom now on\n", RD, []string{"A: b\r\n\r\n\r\nFrom now on\r\n"}},
		{"Thunderbird", "From - Sat Jan 01 10:00:00 2022\nA: b\n\nx\n\nFrom \nC: d\n\ny\n", RD, []string{"A: b\r\n\r\nx\r\n", "C: d\r\n\r\ny\r\n"}},
		{"no last line end", from + "A: b\n\nx", RD, []string{"A: b\r\n\r\nx"}},
		{"a long line", from + "A: b\n\n" + long + "\nFrom\n", RD, []string{"A: b\r\n\r\n" + long + "\r\nFrom\r\n"}},
		{"a From line inside a long one", from + "A: b\n\n\n" + strings.Repeat("x", lineBuffer) + from, RD,
			[]string{"A: b\r\n\r\n\r\n" + strings.Repeat("x", lineBuffer) + strings.TrimSuffix(from, "\n") + "\r\n"}},
		{"NUL and 8 bit", from + "A: \xe9\n\n\x00\n", RD, []string{"A: \xe9\r\n\r\n\x00\r\n"}},
		{"mail programs' lines go", from + "A: b\nStatus: RO\nX-Status: AF\nC: d\n\nStatus: R\n", RD, []string{"A: b\r\nC: d\r\n\r\nStatus: R\r\n"}},
		{"but others of that name stay", from + "Status: resolved\nX-Keywords: mine\nX-Yubin-Mailbox: Trash\n\nx\n", RD,
			[]string{"Status: resolved\r\nX-Keywords: mine\r\nX-Yubin-Mailbox: Trash\r\n\r\nx\r\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, m := range readAll(t, c.in, c.format) {
				got = append(got, m.text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %.300q\nwant %.300q", got, c.want)
			}
		})
	}
}

func TestNotAnMbox(t *testing.T) {
	for _, text := range []string{"Subject: x\n\nFrom a 10:00 2020\n", "\n\nhello", "From here on, nothing\n"} {
		err := Scan(strings.NewReader(text), int64(len(text)), RD, func(Entry) error { return nil })
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v, want ErrFormat", text, err)
		}
	}
}

func TestMeta(t *testing.T) {
	got := readAll(t, "From x Thu Nov  4 18:22:48 2022\nStatus: RO\nX-Status: AFDT\nDate: Fri, 1 Jan 2021 00:00:00 +0000\n\n\n"+
		"From \nDate: Fri, 1 Jan 2021 09:00:00 +0900\n\n", RD)
	if len(got) != 2 {
		t.Fatalf("%d messages", len(got))
	}
	m := got[0].meta
	if !m.Seen || !m.Answered || !m.Flagged || !m.Deleted || !m.Draft {
		t.Errorf("flags %+v", m)
	}
	if want := time.Date(2022, 11, 4, 18, 22, 48, 0, time.UTC); !m.Date.Equal(want) {
		t.Errorf("date %v, want %v", m.Date, want)
	}
	if want := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC); got[1].meta.Seen || !got[1].meta.Date.Equal(want) {
		t.Errorf("second: %+v, want unseen, %v", got[1].meta, want)
	}
}

func TestFromDate(t *testing.T) {
	want := time.Date(2022, 11, 24, 18, 22, 48, 0, time.UTC)
	for _, line := range []string{
		"From a@b Thu Nov 24 18:22:48 2022", "From a@b  Thu Nov 24 18:22:48 2022 +0000", "From - Thu Nov 24 18:22:48 2022",
		"From 123@xxx Thu Nov 24 18:22:48 +0000 2022", "From a Thu Nov 24 18:22:48 UTC 2022", "From a Thu Nov 24 19:22:48 2022 +0100",
	} {
		if got := parseFromDate(line); !got.Equal(want) {
			t.Errorf("%q: %v", line, got)
		}
	}
	if got := parseFromDate("From nobody knows when"); !got.IsZero() {
		t.Errorf("no date: %v", got)
	}
}

func TestWriteAndReadBack(t *testing.T) {
	date := time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC)
	in := []message{
		{Meta{Mailbox: "INBOX", Date: date, Seen: true, Keywords: []string{"$Forwarded", "later"}}, "Subject: x\r\n\r\nFrom me\r\n>From you\r\n\r\nFrom a Thu Nov 24 18:22:48 2022\r\n"},
		{Meta{Mailbox: "仕事/案件", Date: date, Answered: true, Flagged: true}, "Status: resolved\r\nX-Keywords: theirs\r\n\r\n\r\n\r\n"},
		{Meta{Mailbox: "Drafts", Date: date, Draft: true, Deleted: true}, "X-Yubin-Mailbox: Trash\r\n\r\n" + strings.Repeat("From ", lineBuffer) + "\r\n"},
	}
	var file bytes.Buffer
	w := NewWriter(&file)
	for _, m := range in {
		if err := w.Write(m.meta, strings.NewReader(m.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, file.String(), RD)
	if len(got) != len(in) {
		t.Fatalf("%d messages, want %d", len(got), len(in))
	}
	for i := range in {
		if got[i].text != in[i].text {
			t.Errorf("message %d: %.200q, want %.200q", i, got[i].text, in[i].text)
		}
		g, w := got[i].meta, in[i].meta
		if !g.Date.Equal(w.Date) || g.Mailbox != w.Mailbox || !slices.Equal(g.Keywords, w.Keywords) ||
			g.Seen != w.Seen || g.Answered != w.Answered || g.Flagged != w.Flagged || g.Deleted != w.Deleted || g.Draft != w.Draft {
			t.Errorf("message %d: %+v, want %+v", i, g, w)
		}
	}
}

// FuzzScan holds that entries are in order, do not overlap, and read as they were measured.
func FuzzScan(f *testing.F) {
	f.Add("From a Thu Nov 24 18:22:48 2022\nStatus: RO\nA: b\n\n>From x\n\nFrom \n\nx", true)
	f.Add("From \r\nX-Yubin-Mailbox: =?utf-8?q?=E4?=\r\n\r\n", false)
	f.Fuzz(func(t *testing.T, text string, rd bool) {
		format := O
		if rd {
			format = RD
		}
		r := strings.NewReader(text)
		end := int64(0)
		_ = Scan(r, int64(len(text)), format, func(e Entry) error {
			if e.Start < end || e.End < e.Start || e.End > int64(len(text)) {
				t.Fatalf("entry %d..%d after %d of %d", e.Start, e.End, end, len(text))
			}
			end = e.End
			body, err := io.ReadAll(Open(r, e, format))
			if err != nil || sha256.Sum256(body) != e.Digest {
				t.Fatalf("reads differently: %v", err)
			}
			return nil
		})
	})
}
