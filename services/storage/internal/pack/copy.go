package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Stored is a whole frame as it lies in a pack, verified, so that it can be put into another one without being compressed anew.
type Stored struct {
	frame  Frame  // Meta is set
	chunks []byte // and the table
}

// Frame of the pack that it was read from, with its meta, which is part of the octets given to ReadStored.
func (s Stored) Frame() Frame { return s.frame }

// ReadStored takes the octets of frame f, all f.Stored of them, and verifies each: header, meta, chunks and table. They are kept, not
// copied. f.Meta is not looked at. Errors: ErrCorrupt.
func ReadStored(f Frame, octets []byte) (Stored, error) {
	f.Meta = nil
	off, n, err := f.TableRange()
	if err != nil {
		return Stored{}, err
	}
	if int64(len(octets)) != f.Stored {
		return Stored{}, corrupt("%d octets of the frame at %d, which has %d", len(octets), f.Offset, f.Stored)
	}
	if f.Meta, err = readHeader(f, octets); err != nil {
		return Stored{}, err
	}
	start := int64(headerSize + len(f.Meta))
	if n > f.Stored-start {
		return Stored{}, corrupt("table of the frame at %d begins before its chunks", f.Offset)
	}
	table, err := ParseTable(f, octets[off-f.Offset:])
	if err != nil {
		return Stored{}, err
	}
	next := f.Offset + start
	buf := buffers.Get().(*[ChunkSize]byte)
	defer buffers.Put(buf)
	for i := range f.Chunks() {
		at, n := table.ChunkRange(i)
		if at != next {
			return Stored{}, corrupt("chunk %d of the frame at %d is not where it belongs", i, f.Offset)
		}
		next += n
		if _, err := table.Decode(buf[:0], i, octets[at-f.Offset:at-f.Offset+n]); err != nil {
			return Stored{}, err
		}
	}
	if next != off {
		return Stored{}, corrupt("chunks of the frame at %d end before its table", f.Offset)
	}
	return Stored{frame: f, chunks: octets[start:]}, nil
}

// readHeader verifies the header that the octets begin with, and gives the meta.
func readHeader(f Frame, octets []byte) ([]byte, error) {
	if len(octets) < headerSize {
		return nil, corrupt("frame at %d is cut", f.Offset)
	}
	meta, size := binary.LittleEndian.Uint32(octets[8:]), binary.LittleEndian.Uint64(octets[12:])
	if int64(meta) > min(MaxMeta, int64(len(octets)-headerSize)) || size != uint64(f.Size) {
		return nil, corrupt("header of the frame at %d is of another one", f.Offset)
	}
	end := headerSize + int(meta)
	if want := marker(octets[:8]).header(octets[headerSize:end], f.Size); !bytes.Equal(want, octets[:end]) {
		return nil, corrupt("header of the frame at %d fails its checksum", f.Offset)
	}
	return octets[headerSize:end:end], nil
}

// Copy writes a frame of another pack, the same but for the marker in its header. After an error but ErrIndexFull the pack is of no use.
// Errors: ErrIndexFull, those of the underlying writer.
func (w *Writer) Copy(s Stored) (Frame, error) {
	f := s.frame
	if w.err != nil {
		return Frame{}, w.err
	}
	if w.index+recordSize+int64(len(f.Meta)) > maxIndex {
		return Frame{}, ErrIndexFull
	}
	if n := chunks(f.Size) * entrySize; xxhash.Sum64(s.chunks[int64(len(s.chunks))-n:]) != f.Sum {
		return Frame{}, fmt.Errorf("copy frame: %w", corrupt("table of the frame at %d changed in memory", f.Offset))
	}
	f.Offset, f.Meta = w.off, bytes.Clone(f.Meta)
	w.write(w.marker.header(f.Meta, f.Size))
	w.write(s.chunks)
	if w.err != nil {
		return Frame{}, w.err
	}
	w.frames = append(w.frames, f)
	w.index += recordSize + int64(len(f.Meta))
	return f, nil
}

// Verify reads frame f of the pack in r, whole, and verifies each octet of it: header, meta, chunks and table, in the memory of a chunk and
// the meta. f.Meta is not looked at. Errors: ErrCorrupt, those of r.
func Verify(r io.ReaderAt, f Frame) error {
	f.Meta = nil
	if err := f.check(); err != nil {
		return err
	}
	header := make([]byte, headerSize)
	if err := readFull(r, header, f.Offset); err != nil {
		return err
	}
	octets := make([]byte, headerSize+min(MaxMeta, f.Stored-headerSize, int64(binary.LittleEndian.Uint32(header[8:]))))
	if err := readFull(r, octets, f.Offset); err != nil {
		return err
	}
	if _, err := readHeader(f, octets); err != nil {
		return err
	}
	_, err := WriteFrame(io.Discard, r, f)
	return err
}
