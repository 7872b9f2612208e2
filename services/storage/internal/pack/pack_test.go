package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// noise is incompressible, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// text is what mail looks like to a compressor.
func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "Line %d of a message that says much the same again and again.\r\n", i*i)
	}
	return b.Bytes()[:n]
}

func bodies() [][]byte {
	sizes := []int{0, 1, 10, minCompress - 1, minCompress, 2000, ChunkSize - 1, ChunkSize, ChunkSize + 1, 3*ChunkSize + 5}
	var all [][]byte
	for _, n := range sizes {
		all = append(all, noise(n), text(n))
	}
	return append(all, append(noise(ChunkSize), text(ChunkSize)...))
}

func meta(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*7) }

func build(t testing.TB, bodies [][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for i, body := range bodies {
		if _, err := w.Append(meta(i), bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(b.Len()) {
		t.Fatalf("Size = %d, wrote %d", w.Size(), b.Len())
	}
	return b.Bytes()
}

func open(t testing.TB, pack []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(pack), int64(len(pack)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func scan(pack []byte) (frames []Frame, errs []error) {
	for f, err := range Scan(bytes.NewReader(pack), int64(len(pack))) {
		if err != nil {
			errs = append(errs, err)
		} else {
			frames = append(frames, f)
		}
	}
	return frames, errs
}

func sameFrame(a, b Frame) bool {
	return a.Offset == b.Offset && a.Stored == b.Stored && a.Size == b.Size && a.Sum == b.Sum && bytes.Equal(a.Meta, b.Meta)
}

func TestRoundTrip(t *testing.T) {
	want := bodies()
	pack := build(t, want)
	r := open(t, pack)
	frames := r.Frames()
	if len(frames) != len(want) {
		t.Fatalf("%d frames, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		var got bytes.Buffer
		n, err := r.WriteFrame(&got, f)
		if err != nil || n != int64(len(want[i])) || !bytes.Equal(got.Bytes(), want[i]) {
			t.Errorf("frame %d of %d octets: read %d, %v", i, len(want[i]), n, err)
		}
		if !bytes.Equal(f.Meta, meta(i)) || f.Size != int64(len(want[i])) {
			t.Errorf("frame %d: %+v", i, f)
		}
		if max := minStored(f.Size, int64(len(f.Meta))) + f.Size; f.Stored > max {
			t.Errorf("frame %d: %d octets stored in %d", i, f.Size, f.Stored)
		}
	}
	scanned, errs := scan(pack)
	if len(errs) != 0 || !slices.EqualFunc(scanned, frames, sameFrame) {
		t.Errorf("scan: %v, %d frames that differ from the index's %d", errs, len(scanned), len(frames))
	}
}

func TestEmptyPack(t *testing.T) {
	pack := build(t, nil)
	if frames := open(t, pack).Frames(); len(frames) != 0 {
		t.Errorf("frames: %v", frames)
	}
	if frames, errs := scan(pack); len(frames) != 0 || len(errs) != 0 {
		t.Errorf("scan: %v, %v", frames, errs)
	}
}

// TestFormat reads a pack by the words of the package's documentation alone.
func TestFormat(t *testing.T) {
	body := noise(ChunkSize + 3)
	pack := build(t, [][]byte{[]byte("zero"), body})
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	at := 0
	next := func(n int) []byte { at += n; return pack[at-n : at] }
	expect := func(what string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Fatalf("%s at %d: %q, want %q", what, at, got, want)
		}
	}
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint64(nil, xxhash.Sum64(b)) }

	expect("magic", next(8), []byte("YUBINPK1"))
	marker := next(8)
	first := at
	header := next(28)
	expect("header", header[:20], slices.Concat(marker, []byte{0, 0, 0, 0}, []byte{4, 0, 0, 0, 0, 0, 0, 0}))
	expect("header's sum", header[20:], sum(header[:20]))
	entry := next(16)
	expect("entry", entry, slices.Concat([]byte{4, 0, 0, 0}, []byte{0, 0, 0, 0}, sum([]byte("zero"))))
	expect("content", next(4), []byte("zero"))
	expect("table", next(16), entry)

	second := at
	header = next(28)
	expect("header", header[:20], slices.Concat(marker, []byte{7, 0, 0, 0}, []byte{3, 0, 4, 0, 0, 0, 0, 0}))
	expect("meta", next(7), meta(1))
	expect("header's sum", header[20:], sum(slices.Concat(header[:20], meta(1))))
	one := next(16)
	expect("entry", one, slices.Concat([]byte{0, 0, 4, 0}, []byte{0, 0, 0, 0}, sum(body[:ChunkSize])))
	expect("chunk", next(ChunkSize), body[:ChunkSize])
	two := next(16)
	expect("entry", two, slices.Concat([]byte{3, 0, 0, 0}, []byte{0, 0, 0, 0}, sum(body[ChunkSize:])))
	expect("chunk", next(3), body[ChunkSize:])
	expect("table", next(32), slices.Concat(one, two))

	index := at
	footer := pack[len(pack)-40:]
	expect("index", next(4), []byte("YIDX"))
	stored := next(int(u32(footer[8:])))
	expect("footer's magic", footer[32:], []byte("YUBINIX1"))
	expect("footer's sum", footer[24:32], sum(pack[index:len(pack)-16]))
	if u64(footer) != uint64(index) || u32(footer[20:]) != 2 || at != len(pack)-40 {
		t.Errorf("footer: index at %d (is at %d), %d frames", u64(footer), index, u32(footer[20:]))
	}
	records, err := decompress(nil, stored, u32(footer[16:]), int(u32(footer[12:])))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	want := le.AppendUint64(nil, uint64(first))
	want = le.AppendUint64(want, uint64(second-first))
	want = le.AppendUint64(want, 4)
	want = append(want, sum(entry)...)
	want = le.AppendUint32(want, 0)
	want = le.AppendUint64(want, uint64(second))
	want = le.AppendUint64(want, uint64(index-second))
	want = le.AppendUint64(want, uint64(len(body)))
	want = append(want, sum(slices.Concat(one, two))...)
	want = le.AppendUint32(want, 7)
	want = append(want, meta(1)...)
	expect("index", records, want)
}

func TestMarkersDiffer(t *testing.T) {
	if a, b := build(t, nil), build(t, nil); bytes.Equal(a[:headSize], b[:headSize]) {
		t.Error("two packs have one marker")
	}
}

func TestCompresses(t *testing.T) {
	body := text(5 * ChunkSize)
	if n := len(build(t, [][]byte{body})); n > len(body)/3 {
		t.Errorf("%d octets of repetitive text became %d", len(body), n)
	}
}

// A range is read through the table alone: nothing else of the pack is there.
func TestTableReadsRange(t *testing.T) {
	body := append(noise(2*ChunkSize), text(ChunkSize)...)
	pack := build(t, [][]byte{text(100), body})
	f := open(t, pack).Frames()[1]
	f.Meta = nil
	off, n, err := f.TableRange()
	if err != nil {
		t.Fatal(err)
	}
	table, err := ParseTable(f, pack[off:off+n])
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{2, 0, 1} {
		off, n := table.ChunkRange(i)
		got, err := table.Decode(nil, i, pack[off:off+n])
		if err != nil || !bytes.Equal(got, body[i*ChunkSize:(i+1)*ChunkSize]) {
			t.Errorf("chunk %d: %d octets, %v", i, len(got), err)
		}
		if _, err := table.Decode(nil, i, pack[off:off+n-1]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("chunk %d cut: %v", i, err)
		}
		if _, err := table.Decode(nil, (i+1)%3, pack[off:off+n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("chunk %d taken for another: %v", i, err)
		}
	}
}

// Each bit of a pack that is read is covered by a checksum.
func TestFlippedBits(t *testing.T) {
	want := [][]byte{[]byte("zero"), text(300), {}, noise(100)}
	pack := build(t, want)
	for i := range pack {
		bad := bytes.Clone(pack)
		bad[i] ^= 1 << (i % 8)
		r, err := Open(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("octet %d: %v", i, err)
			}
			continue
		}
		for k, f := range r.Frames() {
			var got bytes.Buffer
			if _, err := r.WriteFrame(&got, f); err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("octet %d: %v", i, err)
				}
				continue
			}
			if !bytes.Equal(got.Bytes(), want[k]) || !bytes.Equal(f.Meta, meta(k)) {
				t.Fatalf("octet %d flipped and frame %d reads %q without an error", i, k, got.Bytes())
			}
		}
		frames, _ := scan(bad)
		if len(frames) < len(want)-1 {
			t.Fatalf("octet %d flipped and a scan finds %d of %d frames", i, len(frames), len(want))
		}
	}
}

func TestCutPack(t *testing.T) {
	want := [][]byte{[]byte("zero"), text(300), {}, noise(100)}
	pack := build(t, want)
	frames := open(t, pack).Frames()
	for n := range len(pack) {
		if _, err := Open(bytes.NewReader(pack[:n]), int64(n)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("opened %d of %d octets: %v", n, len(pack), err)
		}
		var whole []Frame
		for _, f := range frames {
			if f.Offset+f.Stored <= int64(n) {
				whole = append(whole, f)
			}
		}
		if got, _ := scan(pack[:n]); !slices.EqualFunc(got, whole, sameFrame) {
			t.Fatalf("cut at %d: scan finds %d frames, want %d", n, len(got), len(whole))
		}
	}
	// A file that ends earlier than its size says.
	if _, err := Open(bytes.NewReader(pack[:len(pack)-1]), int64(len(pack))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("short file: %v", err)
	}
}

func TestScanPassesDamage(t *testing.T) {
	want := [][]byte{text(3*ChunkSize + 1), noise(2 * ChunkSize), text(10), noise(500_000), {}}
	pack := build(t, want)
	frames := open(t, pack).Frames()
	for k, f := range frames {
		bad := bytes.Clone(pack)
		for i := f.Offset; i < f.Offset+f.Stored; i++ {
			bad[i] = byte(i)
		}
		got, errs := scan(bad)
		if len(errs) == 0 || !slices.EqualFunc(got, slices.Delete(slices.Clone(frames), k, k+1), sameFrame) {
			t.Errorf("frame %d overwritten: scan finds %d frames, %v", k, len(got), errs)
		}
	}
}

// A sender must not be able to put a frame into a body that a recovery takes for one of the pack's.
func TestScanIgnoresForgedFrames(t *testing.T) {
	forged := build(t, [][]byte{[]byte("forged")})
	body := slices.Concat(noise(1000), forged, noise(1001))
	pack := build(t, [][]byte{text(100), body, text(200)})
	if !bytes.Contains(pack, forged) {
		t.Fatal("the forged frame is not stored as it is")
	}
	frames := open(t, pack).Frames()
	pack[frames[1].Offset+50] ^= 1
	got, errs := scan(pack)
	if len(errs) != 1 || !slices.EqualFunc(got, []Frame{frames[0], frames[2]}, sameFrame) {
		t.Errorf("scan finds %d frames, %v", len(got), errs)
	}
}

func TestReaderErrors(t *testing.T) {
	broken := errors.New("disk broke")
	pack := build(t, [][]byte{text(100)})
	r := brokenAt{bytes.NewReader(pack), broken}
	if _, err := Open(r, int64(len(pack))); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Errorf("Open: %v", err)
	}
	var errs []error
	for _, err := range Scan(r, int64(len(pack))) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("Scan: %v", errs)
	}
}

type brokenAt struct {
	io.ReaderAt
	err error
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) { return 0, b.err }

func TestAppendRefuses(t *testing.T) {
	w := NewWriter(io.Discard)
	if _, err := w.Append(make([]byte, MaxMeta+1), strings.NewReader(""), 0); err == nil {
		t.Error("meta too long passes")
	}
	if _, err := w.Append(nil, strings.NewReader("abc"), -1); err == nil {
		t.Error("negative size passes")
	}
	if _, err := w.Append(nil, strings.NewReader("abc"), 3); err != nil {
		t.Errorf("what was refused spoilt the pack: %v", err)
	}
	if _, err := w.Append(nil, strings.NewReader("abc"), 4); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short body: %v", err)
	}
	if err := w.Close(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Close after a short body: %v", err)
	}
}

func TestIndexFull(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	long := make([]byte, MaxMeta)
	n := 0
	for {
		_, err := w.Append(long, strings.NewReader("x"), 1)
		if errors.Is(err, ErrIndexFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(open(t, b.Bytes()).Frames()); got != n || n != maxIndex/(MaxMeta+recordSize) {
		t.Errorf("%d frames of %d appended", got, n)
	}
}

func FuzzReader(f *testing.F) {
	pack := build(f, [][]byte{[]byte("zero"), text(3000), {}, noise(100)})
	f.Add(pack, uint16(0), uint16(0))
	f.Add(pack[:len(pack)-20], uint16(20), uint16(1))
	f.Add(build(f, nil), uint16(3), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, at, index uint16) {
		// Sums made good again let hostile numbers get past them.
		if n := len(data); n >= headSize+footerSize && int(index) < n-footerSize {
			fixed := bytes.Clone(data)
			from := n - footerSize - int(index)
			copy(fixed[from:], indexMagic)
			binary.LittleEndian.PutUint64(fixed[n-footerSize:], uint64(from))
			binary.LittleEndian.PutUint32(fixed[n-footerSize+8:], uint32(index)-uint32(min(int(index), len(indexMagic))))
			binary.LittleEndian.PutUint64(fixed[n-16:], xxhash.Sum64(fixed[from:n-16]))
			copy(fixed[n-8:], footerMagic)
			check(t, fixed, int(at))
		}
		check(t, data, int(at))
	})
}

// check reads a hostile pack in all ways.
func check(t *testing.T, data []byte, at int) {
	size := int64(len(data))
	read := func(f Frame) {
		n, err := WriteFrame(io.Discard, bytes.NewReader(data), f)
		if err == nil && n != f.Size {
			t.Errorf("%d octets of a body of %d", n, f.Size)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("reading a frame: %v", err)
		}
	}
	r, err := Open(bytes.NewReader(data), size)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open: %v", err)
	}
	if err == nil {
		end := int64(headSize)
		for _, f := range r.Frames() {
			if f.Offset != end || f.Stored > size-f.Offset {
				t.Errorf("frame at %d with %d of %d octets", f.Offset, f.Stored, size)
			}
			end += f.Stored
			read(f)
		}
	}
	for f, err := range Scan(bytes.NewReader(data), size) {
		if err == nil {
			if n, err := WriteFrame(io.Discard, bytes.NewReader(data), f); err != nil || n != f.Size {
				t.Errorf("a scanned frame reads %d of %d octets: %v", n, f.Size, err)
			}
		}
	}
	// A frame whose table is good by accident or intent.
	if at < len(data) {
		table := data[at:]
		table = table[:len(table)/entrySize*entrySize]
		chunks := int64(len(table) / entrySize)
		f := Frame{Offset: headSize, Stored: size - headSize, Size: chunks * ChunkSize, Sum: xxhash.Sum64(table)}
		read(f)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{2000, 20_000, ChunkSize} {
		for name, body := range map[string][]byte{"text": text(n), "noise": noise(n)} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				w := NewWriter(io.Discard)
				for b.Loop() {
					w.frames, w.index = w.frames[:0], 0
					if _, err := w.Append(nil, bytes.NewReader(body), int64(n)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkWriteFrame(b *testing.B) {
	for _, n := range []int{2000, 20_000, 4 * ChunkSize} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pack := build(b, [][]byte{text(n)})
			f := open(b, pack).Frames()[0]
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := WriteFrame(io.Discard, bytes.NewReader(pack), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
