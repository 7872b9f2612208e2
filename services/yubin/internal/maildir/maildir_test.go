package maildir

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestNames(t *testing.T) {
	for _, c := range []struct{ mailbox, folder string }{
		{"INBOX", ""},
		{"Sent", ".Sent"},
		{"Work/Projects", ".Work.Projects"},
		{"INBOX/old", ".INBOX.old"},
		{"R&D", ".R&-D"},
		{"日本語", ".&ZeVnLIqe-"},
		{"台北/x", ".&U,BTFw-.x"},
		{"😀", ".&2D3eAA-"},
		{"v1.2", ".v1&AC4-2"},
		{"..", ".&AC4ALg-"},
		{"a\\b", ".a&AFw-b"},
	} {
		if got := folderName(c.mailbox); got != c.folder {
			t.Errorf("folder of %q is %q, want %q", c.mailbox, got, c.folder)
		}
		if got, err := mailboxName(c.folder); err != nil || got != c.mailbox {
			t.Errorf("mailbox of %q is %q, %v, want %q", c.folder, got, err, c.mailbox)
		}
	}
	if got, err := mailboxName(".予定"); err != nil || got != "予定" {
		t.Errorf("plain UTF-8: %q, %v", got, err)
	}
	if got, err := mailboxName(".a&b"); err != nil || got != "a&b" {
		t.Errorf("no modified UTF-7: %q, %v", got, err)
	}
	if _, err := mailboxName(".\xff"); err == nil {
		t.Error("neither modified UTF-7 nor UTF-8: no error")
	}
}

func FuzzNames(f *testing.F) {
	f.Add("Work/日本語.&")
	f.Fuzz(func(t *testing.T, mailbox string) {
		folder := folderName(mailbox)
		if strings.ContainsAny(folder, "/\\\x00") || folder == "." || folder == ".." {
			t.Errorf("%q has the folder %q", mailbox, folder)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cur", "1.a.host:2,FRS"), "A: b\n\nx\n")
	write(t, filepath.Join(dir, "new", "2.b.host"), "")
	write(t, filepath.Join(dir, "tmp", "3.c.host"), "half")
	write(t, filepath.Join(dir, ".Sent", "cur", "4.d.host:2,DPTSab"), "")
	write(t, filepath.Join(dir, ".Sent", "dovecot-keywords"), "0 later\n1 $Important\n99 x\n")
	write(t, filepath.Join(dir, ".config", "x"), "not a mailbox")
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "new", "2.b.host"), old, old); err != nil {
		t.Fatal(err)
	}
	entries, mailboxes, err := Scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(mailboxes, []string{"INBOX", "Sent"}) {
		t.Errorf("mailboxes %q", mailboxes)
	}
	if len(entries) != 3 {
		t.Fatalf("%d entries: %+v", len(entries), entries)
	}
	if e := entries[0]; e.Unique != "2.b.host" || !e.Date.Equal(old) || e.Seen || e.Mailbox != "INBOX" {
		t.Errorf("first %+v", e)
	}
	if e := entries[1]; !e.Seen || !e.Flagged || !e.Answered || e.Draft || e.Deleted || e.Size != 8 {
		t.Errorf("second %+v", e)
	}
	if e := entries[2]; !e.Draft || !e.Deleted || !slices.Equal(e.Keywords, []string{"$Forwarded", "later", "$Important"}) {
		t.Errorf("third %+v", e)
	}
	if _, _, err := Scan(filepath.Join(dir, "tmp")); !errors.Is(err, ErrFormat) {
		t.Errorf("no Maildir: %v", err)
	}
}

func TestLineEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	for _, c := range []struct{ name, in, want string }{
		{"LF", "A: b\n\nx\r\ny\n", "A: b\r\n\r\nx\r\ny\r\n"},
		{"CRLF stays as it is", "A: b\r\n\r\nx\ny\r\r\n", "A: b\r\n\r\nx\ny\r\r\n"},
		{"bare CR", "A: b\nx\ry\n", "A: b\r\nx\ry\r\n"},
		{"no last line end", "A: b\nx", "A: b\r\nx"},
		{"one line", "x", "x"},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, path, c.in)
			for _, slow := range []bool{false, true} {
				r, err := Open(Entry{Path: path})
				if err != nil {
					t.Fatal(err)
				}
				var in io.Reader = r
				if slow {
					in = iotest.OneByteReader(r)
				}
				got, err := io.ReadAll(in)
				if err != nil || string(got) != c.want {
					t.Errorf("slow %v: %q, %v, want %q", slow, got, err, c.want)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWriteAndReadBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	date := time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC)
	const text = "Subject: x\r\n\r\nbare \n and \x00\r\n"
	flags := Flags{Seen: true, Draft: true, Keywords: []string{"$Forwarded", "後で", "$Junk"}}
	w, err := NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(w *Writer, unique string) error {
		return w.Write("仕事/v1.2", unique, flags, date, func(out io.Writer) error {
			_, err := io.WriteString(out, text)
			return err
		})
	}
	if err := put(w, "1.7_1"); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("cut")
	if err := w.Write("仕事/v1.2", "1.7_2", flags, date, func(io.Writer) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a failed write gives %v", err)
	}
	again, err := NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	for unique, want := range map[string]bool{"1.7_1": true, "1.7_2": false} {
		if has, err := again.Has("仕事/v1.2", unique); err != nil || has != want {
			t.Errorf("has %s: %v, %v, want %v", unique, has, err, want)
		}
	}
	if err := put(again, "1.7_3"); err != nil {
		t.Fatal(err)
	}
	entries, mailboxes, err := Scan(dir)
	if err != nil || len(entries) != 2 || !slices.Equal(mailboxes, []string{"INBOX", "仕事/v1.2"}) {
		t.Fatalf("%+v, %q, %v", entries, mailboxes, err)
	}
	for _, e := range entries {
		if !e.Seen || !e.Draft || e.Flagged || !slices.Equal(e.Keywords, flags.Keywords) || !e.Date.Equal(date) {
			t.Errorf("%+v", e)
		}
		r, err := Open(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, []byte(text)) {
			t.Errorf("%q, %v", got, err)
		}
		_ = r.Close()
	}
	if left, err := os.ReadDir(filepath.Join(dir, folderName("仕事/v1.2"), "tmp")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}
