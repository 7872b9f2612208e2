package inflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// said is what the client said in testdata/partial_flush.txt before the i-th flush.
func said(i int) string {
	var out strings.Builder
	for k := range 1 + i {
		fmt.Fprintf(&out, "a%d.%d UID FETCH %d (UID RFC822.SIZE FLAGS BODY.PEEK[%d.%d.MIME])\r\n", i, k, i*k*k, k, i)
	}
	return out.String()
}

const flushes = 16

// dripping gives what was put into it, then an error, so that a reader that asks too early shows.
type dripping struct{ bytes.Buffer }

var errAsked = errors.New("asked for more")

func (d *dripping) Read(p []byte) (int, error) {
	if d.Len() == 0 {
		return 0, errAsked
	}
	return d.Buffer.Read(p)
}

// TestPartialFlush: zlib's deflate (raw, levels 1, 6 and 9, with codes of its own and the fixed ones) says things and flushes each with Z_PARTIAL_FLUSH.
func TestPartialFlush(t *testing.T) {
	file, err := os.ReadFile("testdata/partial_flush.txt")
	if err != nil {
		t.Fatal(err)
	}
	var src *dripping
	var r *Reader
	lines := strings.Fields(string(file))
	if len(lines) != 2*3*flushes {
		t.Fatalf("%d fields", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		turn := i / 2 % flushes
		if turn == 0 {
			src = &dripping{}
			r = NewReader(src)
		}
		raw, err := hex.DecodeString(lines[i+1])
		if err != nil {
			t.Fatal(err)
		}
		src.Write(raw)
		got := make([]byte, len(said(turn)))
		if n, err := io.ReadFull(r, got); err != nil || string(got) != said(turn) {
			t.Fatalf("level %s, flush %d: %d octets, %v", lines[i], turn, n, err)
		}
	}
}

// TestSyncFlush: Go's compressor says things and flushes, in pieces of one octet and whole.
func TestSyncFlush(t *testing.T) {
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var raw bytes.Buffer
		w, err := flate.NewWriter(&raw, level)
		if err != nil {
			t.Fatal(err)
		}
		var whole string
		for i := range flushes {
			whole += said(i)
			if _, err := io.WriteString(w, said(i)); err != nil {
				t.Fatal(err)
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		raw.WriteString("what follows")
		for name, src := range map[string]io.Reader{
			"whole": bytes.NewReader(raw.Bytes()), "octets": iotest.OneByteReader(bytes.NewReader(raw.Bytes())), "with the end": iotest.DataErrReader(bytes.NewReader(raw.Bytes())),
		} {
			got, err := io.ReadAll(iotest.HalfReader(NewReader(src)))
			if err != nil || string(got) != whole {
				t.Errorf("level %d, %s: %d octets of %d, %v", level, name, len(got), len(whole), err)
			}
		}
	}
}

// TestFarRepetitions: what is repeated lies anywhere in the window, also around its end.
func TestFarRepetitions(t *testing.T) {
	r := rand.New(rand.NewPCG(1951, 1))
	plain := make([]byte, 0, 300_000)
	for len(plain) < cap(plain)-40_000 {
		if n := len(plain); n > 100 && r.IntN(3) > 0 {
			from := max(0, n-1-r.IntN(maxWindow+10))
			plain = append(plain, plain[from:min(n, from+r.IntN(400))]...)
			continue
		}
		for range r.IntN(2000) {
			plain = append(plain, byte(r.IntN(256)))
		}
	}
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(NewReader(&raw))
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d octets of %d, %v", len(got), len(plain), err)
	}
}

func TestWhatIsNotDeflate(t *testing.T) {
	for name, raw := range map[string]string{
		"a reserved type":               "06",
		"a stored length that is wrong": "0001000100",
		"a distance before the start":   "4b04220000000000000000",
		"too many literals":             "f4ffff",
		"text":                          hex.EncodeToString([]byte("this is not deflate")),
	} {
		data, err := hex.DecodeString(raw)
		if err != nil {
			t.Fatal(err)
		}
		r := NewReader(bytes.NewReader(data))
		for range 2 {
			if _, err := io.ReadAll(r); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := NewReader(stuck{}).Read(make([]byte, 1)); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// TestMemory: who says little costs little.
func TestMemory(t *testing.T) {
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, said(10)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := NewReader(&raw)
	if n, err := io.Copy(io.Discard, r); n != int64(len(said(10))) || err != nil {
		t.Fatal(n, err)
	}
	if len(r.window.ring) > 1<<10 || r.codes != nil {
		t.Errorf("a window of %d octets for %d that were said, tables %v", len(r.window.ring), len(said(10)), r.codes != nil)
	}
}

// FuzzReader compares with the standard library's reader.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\x03\x00"))
	f.Add([]byte("\x00\x02\x00\xfd\xffab\x01\x00\x00\xff\xff"))
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level += 3 {
		var raw bytes.Buffer
		w, err := flate.NewWriter(&raw, level)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := io.WriteString(w, said(9)); err != nil {
			f.Fatal(err)
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		f.Add(raw.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		const limit = 1 << 20
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), limit))
		got, gotErr := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(raw)), limit))
		if wantErr == nil && (gotErr != nil || !bytes.Equal(want, got)) {
			t.Fatalf("%d octets, %v; flate has %d", len(got), gotErr, len(want))
		}
		// Like zlib, and other than flate, we refuse a block that cannot end.
		if gotErr == nil && !bytes.HasPrefix(got, want) {
			t.Fatalf("%d octets are other than flate's %d", len(got), len(want))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var raw bytes.Buffer
	w, err := flate.NewWriter(&raw, flate.DefaultCompression)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1951, 2))
	const size = 1 << 20
	line := make([]byte, 76)
	for range size / len(line) {
		for i := range line { // an attachment in base64
			line[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[r.IntN(64)]
		}
		if _, err := fmt.Fprintf(w, "%s\r\n", line); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		if _, err := io.Copy(io.Discard, NewReader(bytes.NewReader(raw.Bytes()))); err != nil {
			b.Fatal(err)
		}
	}
}
