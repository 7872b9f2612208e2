package pack

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Reader reads a pack by its index.
type Reader struct {
	r      io.ReaderAt
	size   int64
	frames []Frame
}

// Open reads the index of the pack of size octets in r. Its memory is bounded by a few times 32 MiB for any input.
// Errors: ErrCorrupt (then Scan may still find frames), those of r.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	p := &Reader{r: r, size: size}
	if err := p.readIndex(); err != nil {
		return nil, fmt.Errorf("open pack: %w", err)
	}
	return p, nil
}

// readFull reads the octets at off; an early end is corruption.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		return corrupt("ends at %d, within %d octets at %d", off+int64(n), len(b), off)
	}
	return fmt.Errorf("read pack: %w", err)
}

type footer struct {
	offset int64
	stored uint32
	size   uint32
	codec  uint32
	frames uint32
	sum    uint64
	octets [footerSize]byte
}

func readFooter(r io.ReaderAt, size int64) (footer, error) {
	var f footer
	if size < headSize+int64(len(indexMagic))+footerSize {
		return f, corrupt("only %d octets", size)
	}
	b := f.octets[:]
	if err := readFull(r, b, size-footerSize); err != nil {
		return f, err
	}
	if string(b[footerSize-len(footerMagic):]) != footerMagic {
		return f, corrupt("no footer at the end")
	}
	f.offset = int64(binary.LittleEndian.Uint64(b))
	f.stored = binary.LittleEndian.Uint32(b[8:])
	f.size = binary.LittleEndian.Uint32(b[12:])
	f.codec = binary.LittleEndian.Uint32(b[16:])
	f.frames = binary.LittleEndian.Uint32(b[20:])
	f.sum = binary.LittleEndian.Uint64(b[24:])
	return f, nil
}

func (p *Reader) readIndex() error {
	f, err := readFooter(p.r, p.size)
	if err != nil {
		return err
	}
	length := int64(len(indexMagic)) + int64(f.stored)
	if f.offset < headSize || f.offset != p.size-footerSize-length || f.stored > f.size || f.size > maxIndex {
		return corrupt("impossible footer")
	}
	b := make([]byte, length, length+24)
	if err := readFull(p.r, b, f.offset); err != nil {
		return err
	}
	if xxhash.Sum64(append(b, f.octets[:24]...)) != f.sum || string(b[:len(indexMagic)]) != indexMagic {
		return corrupt("index fails its checksum")
	}
	index, err := decompress(nil, b[len(indexMagic):], f.codec, int(f.size))
	if err != nil {
		return err
	}
	return p.parseIndex(index, int(f.frames), f.offset)
}

// parseIndex takes frames that lie without gaps from the head to end.
func (p *Reader) parseIndex(index []byte, frames int, end int64) error {
	if frames > len(index)/recordSize {
		return corrupt("index of %d octets for %d frames", len(index), frames)
	}
	p.frames = make([]Frame, 0, frames)
	next := int64(headSize)
	for range frames {
		if len(index) < recordSize {
			return corrupt("index is cut")
		}
		f := Frame{
			Offset: int64(binary.LittleEndian.Uint64(index)),
			Stored: int64(binary.LittleEndian.Uint64(index[8:])),
			Size:   int64(binary.LittleEndian.Uint64(index[16:])),
			Sum:    binary.LittleEndian.Uint64(index[24:]),
		}
		meta := binary.LittleEndian.Uint32(index[32:])
		index = index[recordSize:]
		if int64(meta) > int64(min(len(index), MaxMeta)) {
			return corrupt("index is cut")
		}
		f.Meta, index = index[:meta:meta], index[meta:]
		if err := f.check(); err != nil {
			return err
		}
		if f.Offset != next || f.Stored > end-f.Offset {
			return corrupt("frame at %d where %d was expected", f.Offset, next)
		}
		next += f.Stored
		p.frames = append(p.frames, f)
	}
	if len(index) != 0 || next != end {
		return corrupt("frames end at %d, the index begins at %d", next, end)
	}
	return nil
}

// Frames of the pack, in order, with their metas.
func (p *Reader) Frames() []Frame { return slices.Clone(p.frames) }

// WriteFrame writes the body of f to w, verified chunk by chunk, and returns the octets written. Errors: ErrCorrupt, those of w.
func (p *Reader) WriteFrame(w io.Writer, f Frame) (int64, error) {
	return WriteFrame(w, p.r, f)
}

// WriteFrame writes the body of frame f of the pack in r to w, verified chunk by chunk, and returns the octets written.
// Errors: ErrCorrupt, those of r and w.
func WriteFrame(w io.Writer, r io.ReaderAt, f Frame) (int64, error) {
	off, n, err := f.TableRange()
	if err != nil {
		return 0, err
	}
	b := make([]byte, n)
	if err := readFull(r, b, off); err != nil {
		return 0, err
	}
	table, err := ParseTable(f, b)
	if err != nil {
		return 0, err
	}
	var written int64
	var stored, content []byte
	for i := range f.Chunks() {
		off, n := table.ChunkRange(i)
		stored = slices.Grow(stored[:0], int(n))[:n]
		if err := readFull(r, stored, off); err != nil {
			return written, err
		}
		if content, err = table.Decode(content[:0], i, stored); err != nil {
			return written, err
		}
		m, err := w.Write(content)
		written += int64(m)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
