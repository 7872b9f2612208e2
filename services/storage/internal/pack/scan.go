package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Scan finds the frames of a pack without its index, verifying each whole. Where something is damaged it gives one ErrCorrupt and looks for
// the next frame, so a damaged chunk costs one body. It ends at the index, at the end, or after an error of r. The content is read by
// WriteFrame. It is for recovery by an operator: what it costs on hostile input is bounded in memory only.
func Scan(r io.ReaderAt, size int64) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		m, err := findMarker(r, size)
		if err != nil {
			yield(Frame{}, err)
			return
		}
		s := scanner{r: r, size: size, marker: m}
		for off := int64(headSize); off < size; {
			f, next, err := s.frame(off)
			if errors.Is(err, errIndex) {
				return
			}
			if err != nil && !errors.Is(err, ErrCorrupt) {
				yield(Frame{}, err)
				return
			}
			if !yield(f, err) {
				return
			}
			if err != nil {
				if next, err = s.find(next); err != nil {
					yield(Frame{}, err)
					return
				}
			}
			off = next
		}
	}
}

// errIndex says that the frames have come to their end.
var errIndex = errors.New("index reached")

// findMarker takes the marker from the first frame, or, if its header is damaged, from the head.
func findMarker(r io.ReaderAt, size int64) (marker, error) {
	s := scanner{r: r, size: size}
	b, err := s.at(headSize, int64(len(s.marker)))
	if err == nil {
		s.marker = marker(b)
		_, _, err = s.header(headSize)
	}
	if err == nil {
		return s.marker, nil
	}
	if !errors.Is(err, ErrCorrupt) {
		return marker{}, err
	}
	if b, err = s.at(0, headSize); err != nil {
		return marker{}, err
	}
	if string(b[:len(packMagic)]) != packMagic {
		return marker{}, corrupt("neither head nor first frame can be read")
	}
	return marker(b[len(packMagic):]), nil
}

type scanner struct {
	r       io.ReaderAt
	size    int64
	marker  marker
	stored  []byte
	content []byte
}

// at reads n octets at off into the scanner's buffer.
func (s *scanner) at(off, n int64) ([]byte, error) {
	if n > s.size-off {
		return nil, corrupt("%d octets at %d of %d", n, off, s.size)
	}
	s.stored = slices.Grow(s.stored[:0], int(n))[:n]
	return s.stored, readFull(s.r, s.stored, off)
}

// frame reads and verifies the frame at off. next is where the one after it begins, or, with ErrCorrupt, from where on to look for one.
func (s *scanner) frame(off int64) (f Frame, next int64, err error) {
	f.Offset = off
	if b, err := s.at(off, int64(len(indexMagic))); err == nil && string(b) == indexMagic {
		return f, off, errIndex
	}
	f, next, err = s.header(off)
	if err != nil {
		return f, off + 1, err
	}
	return s.chunks(f, next)
}

// header reads and verifies the header and the meta of the frame at off; next is where its chunks begin.
func (s *scanner) header(off int64) (f Frame, next int64, err error) {
	f.Offset = off
	b, err := s.at(off, headerSize)
	if err != nil {
		return f, 0, err
	}
	meta, size := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint64(b[12:])
	header := bytes.Clone(b)
	if marker(b) != s.marker || meta > MaxMeta || size > MaxSize {
		return f, 0, corrupt("no frame at %d", off)
	}
	if b, err = s.at(off+headerSize, int64(meta)); err != nil {
		return f, 0, err
	}
	f.Meta, f.Size = bytes.Clone(b), int64(size)
	if !bytes.HasPrefix(s.marker.header(f.Meta, f.Size), header) {
		return f, 0, corrupt("header of the frame at %d fails its checksum", off)
	}
	return f, off + headerSize + int64(meta), nil
}

func (s *scanner) chunks(f Frame, at int64) (Frame, int64, error) {
	d := xxhash.New()
	for left := f.Size; left > 0; left -= ChunkSize {
		b, err := s.at(at, entrySize)
		if err != nil {
			return f, at + 1, err
		}
		_, _ = d.Write(b)
		e, size := parseEntry(b), int(min(left, ChunkSize))
		if err := e.check(size); err != nil {
			return f, at + 1, fmt.Errorf("frame at %d: %w", f.Offset, err)
		}
		if b, err = s.at(at+entrySize, int64(e.stored)); err != nil {
			return f, at + 1, err
		}
		if s.content, err = e.decode(s.content[:0], b, size); err != nil {
			return f, at + 1, fmt.Errorf("frame at %d: %w", f.Offset, err)
		}
		at += entrySize + int64(e.stored)
	}
	f.Sum = d.Sum64()
	table, err := s.tableSum(at, chunks(f.Size)*entrySize)
	if err != nil {
		return f, at, err
	}
	f.Stored = at + chunks(f.Size)*entrySize - f.Offset
	if table != f.Sum {
		return f, at + 1, corrupt("table of the frame at %d fails its checksum", f.Offset)
	}
	return f, f.Offset + f.Stored, nil
}

func (s *scanner) tableSum(off, n int64) (uint64, error) {
	d := xxhash.New()
	if _, err := io.Copy(d, io.NewSectionReader(s.r, off, n)); err != nil {
		return 0, fmt.Errorf("read pack: %w", err)
	}
	return d.Sum64(), nil
}

// find gives the place of the next marker at or after off, or the size if there is none.
func (s *scanner) find(off int64) (int64, error) {
	const window = 64 << 10
	for off < s.size {
		b, err := s.at(off, min(window, s.size-off))
		if err != nil {
			return 0, err
		}
		if i := bytes.Index(b, s.marker[:]); i >= 0 {
			return off + int64(i), nil
		}
		if len(b) < window {
			break
		}
		off += window - int64(len(s.marker)) + 1
	}
	return s.size, nil
}
