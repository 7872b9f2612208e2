package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Sizes of the format, in octets.
const (
	// ChunkSize is the content of each chunk but the last of a body.
	ChunkSize = 256 << 10
	// MaxMeta is the longest meta of a frame.
	MaxMeta = 1 << 20
	// MaxSize is the largest body.
	MaxSize = 64 << 30

	maxIndex    = 32 << 20
	headSize    = 16
	headerSize  = 28
	entrySize   = 16
	recordSize  = 36
	footerSize  = 40
	packMagic   = "YUBINPK1"
	indexMagic  = "YIDX"
	footerMagic = "YUBINIX1"
)

// ErrCorrupt says that octets are not what was written.
var ErrCorrupt = errors.New("corrupt pack")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

type marker [8]byte

// Frame tells where a body lies in its pack. Offset, Stored and Size are in octets.
type Frame struct {
	Offset int64
	Stored int64
	// Size of the body, uncompressed.
	Size int64
	// Sum is the XXH64 of the frame's table, by which its whole content can be verified.
	Sum uint64
	// Meta is what Writer.Append was given; nil in a Frame that was made from a database's row.
	Meta []byte
}

// chunks of a body of size octets.
func chunks(size int64) int64 { return (size + ChunkSize - 1) / ChunkSize }

// minStored is how short a frame of size octets can be.
func minStored(size, meta int64) int64 {
	n := chunks(size)
	return headerSize + meta + n*(2*entrySize+1)
}

// check refuses numbers that no Writer makes, before any memory is given to them.
func (f Frame) check() error {
	if f.Offset < headSize || f.Size < 0 || f.Size > MaxSize || f.Stored < minStored(f.Size, int64(len(f.Meta))) {
		return corrupt("impossible frame: %d octets at %d for a body of %d", f.Stored, f.Offset, f.Size)
	}
	return nil
}

// Chunks is the number of chunks that the body has.
func (f Frame) Chunks() int { return int(chunks(f.Size)) }

// TableRange is the place of the frame's table in its pack; n is 0 for an empty body. Errors: ErrCorrupt if the frame is impossible.
func (f Frame) TableRange() (off, n int64, err error) {
	if err := f.check(); err != nil {
		return 0, 0, err
	}
	n = chunks(f.Size) * entrySize
	return f.Offset + f.Stored - n, n, nil
}

type entry struct {
	stored uint32
	codec  uint32
	sum    uint64
}

func (e entry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, e.stored)
	b = binary.LittleEndian.AppendUint32(b, e.codec)
	return binary.LittleEndian.AppendUint64(b, e.sum)
}

func parseEntry(b []byte) entry {
	return entry{
		stored: binary.LittleEndian.Uint32(b),
		codec:  binary.LittleEndian.Uint32(b[4:]),
		sum:    binary.LittleEndian.Uint64(b[8:]),
	}
}

// check an entry for a chunk of size octets.
func (e entry) check(size int) error {
	if e.stored == 0 || int64(e.stored) > int64(size) {
		return corrupt("chunk of %d octets stored in %d", size, e.stored)
	}
	return nil
}

// Table knows the chunks of one frame.
type Table struct {
	frame   Frame
	entries []entry
	offsets []int64 // of each chunk's entry in the pack
}

// ParseTable reads what lies in the frame's TableRange and verifies it against the frame's sum. Errors: ErrCorrupt.
func ParseTable(f Frame, table []byte) (*Table, error) {
	_, n, err := f.TableRange()
	if err != nil {
		return nil, err
	}
	if int64(len(table)) != n || xxhash.Sum64(table) != f.Sum {
		return nil, corrupt("table of the frame at %d fails its checksum", f.Offset)
	}
	t := &Table{frame: f, entries: make([]entry, f.Chunks()), offsets: make([]int64, f.Chunks())}
	end := f.Offset + f.Stored - n
	for i := len(t.entries) - 1; i >= 0; i-- {
		e := parseEntry(table[i*entrySize:])
		if err := e.check(t.Len(i)); err != nil {
			return nil, err
		}
		end -= entrySize + int64(e.stored)
		t.entries[i], t.offsets[i] = e, end
	}
	if end < f.Offset+headerSize {
		return nil, corrupt("chunks of the frame at %d are longer than it", f.Offset)
	}
	return t, nil
}

// Len is the number of octets of the content of chunk i.
func (t *Table) Len(i int) int {
	return int(min(ChunkSize, t.frame.Size-int64(i)*ChunkSize))
}

// ChunkRange is the place of chunk i in the pack. Chunks are contiguous.
func (t *Table) ChunkRange(i int) (off, n int64) {
	return t.offsets[i], entrySize + int64(t.entries[i].stored)
}

// Decode gives the content of chunk i, of which stored is what lies in its ChunkRange, and verifies it. It writes over buf if that has
// room enough. Errors: ErrCorrupt.
func (t *Table) Decode(buf []byte, i int, stored []byte) ([]byte, error) {
	e := t.entries[i]
	if len(stored) != entrySize+int(e.stored) || !bytes.Equal(stored[:entrySize], e.append(nil)) {
		return nil, corrupt("chunk %d of the frame at %d is not the one in its table", i, t.frame.Offset)
	}
	content, err := e.decode(buf, stored[entrySize:], t.Len(i))
	if err != nil {
		return nil, fmt.Errorf("chunk %d of the frame at %d: %w", i, t.frame.Offset, err)
	}
	return content, nil
}

// decode gives the size octets of content that stored holds, verified.
func (e entry) decode(buf, stored []byte, size int) ([]byte, error) {
	content, err := decompress(buf, stored, e.codec, size)
	if err != nil {
		return nil, err
	}
	if xxhash.Sum64(content) != e.sum {
		return nil, corrupt("checksum differs")
	}
	return content, nil
}

// header of a frame, with its meta.
func (m marker) header(meta []byte, size int64) []byte {
	b := make([]byte, 0, headerSize+len(meta))
	b = append(b, m[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(meta)))
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	d := xxhash.New()
	_, _ = d.Write(b)
	_, _ = d.Write(meta)
	b = binary.LittleEndian.AppendUint64(b, d.Sum64())
	return append(b, meta...)
}
