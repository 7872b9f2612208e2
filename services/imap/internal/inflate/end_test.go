package inflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

const lastLine, plainLines = "b UNAUTHENTICATE\r\n", "c LOGIN alice secret\r\nd NOOP\r\n"

// deflated gives the last line as Go's compressor says it.
func deflated(t *testing.T, level int, end func(*flate.Writer) error) string {
	t.Helper()
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, lastLine); err != nil {
		t.Fatal(err)
	}
	if err := end(w); err != nil {
		t.Fatal(err)
	}
	return raw.String()
}

func unhex(t *testing.T, s string) string {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestEnd: compression ends behind what was said, however that shows, and what follows comes as it is.
func TestEnd(t *testing.T) {
	type ending struct {
		name, raw string
		final     bool
	}
	const said = "4a5208f5730c0df170f50bf174760c71e5e502"
	endings := []ending{
		{"zlib: Z_SYNC_FLUSH", unhex(t, said+"000000ffff"), false},
		{"zlib: Z_PARTIAL_FLUSH, Z_SYNC_FLUSH", unhex(t, said+"08000000ffff"), false},
		{"zlib: Z_PARTIAL_FLUSH, Z_FINISH", unhex(t, said+"083000"), true},
	}
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		endings = append(endings, ending{"flush", deflated(t, level, (*flate.Writer).Flush), false}, ending{"close", deflated(t, level, (*flate.Writer).Close), true})
	}
	for _, c := range endings {
		raw := c.raw + plainLines
		for name, src := range map[string]io.Reader{"whole": bytes.NewBufferString(raw), "octets": iotest.OneByteReader(bytes.NewBufferString(raw))} {
			r := NewReader(src)
			got := make([]byte, len(lastLine))
			if _, err := io.ReadFull(r, got); err != nil || string(got) != lastLine {
				t.Fatalf("%s, %s: %q, %v", c.name, name, got, err)
			}
			rest, final, err := r.End()
			if err != nil || final != c.final {
				t.Fatalf("%s, %s: final %v, %v", c.name, name, final, err)
			}
			behind, err := io.ReadAll(src)
			if err != nil || string(rest)+string(behind) != plainLines {
				t.Errorf("%s, %s: %q and %q follow", c.name, name, rest, behind)
			}
		}
	}
}

// TestNoEnd: more is said, or what comes is not compressed, or nothing comes.
func TestNoEnd(t *testing.T) {
	whole := deflated(t, flate.BestCompression, (*flate.Writer).Flush)
	for _, c := range []struct {
		name, raw string
		read      int
		want      error
	}{
		{"an octet is left", whole, len(lastLine) - 1, ErrCorrupt},
		{"nothing comes", whole[:len(whole)-1], len(lastLine), io.EOF},
		{"no block", deflated(t, flate.NoCompression, func(*flate.Writer) error { return nil }) + "\x06", 0, ErrCorrupt},
	} {
		r := NewReader(bytes.NewBufferString(c.raw))
		if _, err := io.ReadFull(r, make([]byte, c.read)); err != nil {
			t.Fatal(c.name, err)
		}
		if _, _, err := r.End(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// FuzzEnd: whatever comes, reading it ends, and what was read ahead is a part of it.
func FuzzEnd(f *testing.F) {
	f.Add([]byte("\x03\x00a NOOP\r\n"), uint16(0))
	f.Add([]byte("\x4a\x52\x08\x00\x00\x00\xff\xffa NOOP\r\n"), uint16(1))
	f.Fuzz(func(t *testing.T, raw []byte, n uint16) {
		r := NewReader(bytes.NewReader(raw))
		if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
			return
		}
		rest, _, err := r.End()
		if err == nil && !bytes.HasSuffix(raw, rest) && len(raw) <= readAhead {
			t.Errorf("%q does not end with %q", raw, rest)
		}
	})
}
