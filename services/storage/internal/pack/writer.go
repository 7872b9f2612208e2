package pack

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// ErrIndexFull says that the pack's index has no room for another frame: put it into another pack.
var ErrIndexFull = errors.New("index of the pack is full")

// buffers hold the content of a chunk.
var buffers = sync.Pool{New: func() any { return new([ChunkSize]byte) }}

// Writer makes a pack. Its memory does not grow with the bodies.
type Writer struct {
	w      io.Writer
	marker marker
	off    int64
	frames []Frame
	index  int64 // octets of the index so far
	stored []byte
	err    error
}

// NewWriter starts a pack on w.
func NewWriter(w io.Writer) *Writer {
	pw := &Writer{w: w}
	_, _ = rand.Read(pw.marker[:]) // never fails
	pw.write(append([]byte(packMagic), pw.marker[:]...))
	return pw
}

// write keeps the first error, after which nothing more is written.
func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(b)
	w.off += int64(n)
	if err != nil {
		w.err = fmt.Errorf("write pack: %w", err)
	}
}

// Append writes a frame with the size octets that body gives. After an error but ErrIndexFull the pack is of no use.
// Errors: ErrIndexFull, io.ErrUnexpectedEOF if body is shorter, those of body and of the underlying writer.
func (w *Writer) Append(meta []byte, body io.Reader, size int64) (Frame, error) {
	if w.err != nil {
		return Frame{}, w.err
	}
	if len(meta) > MaxMeta || size < 0 || size > MaxSize {
		return Frame{}, fmt.Errorf("append to pack: meta of %d octets, body of %d", len(meta), size)
	}
	if w.index+recordSize+int64(len(meta)) > maxIndex {
		return Frame{}, ErrIndexFull
	}
	f := Frame{Offset: w.off, Size: size, Meta: slices.Clone(meta)}
	w.write(w.marker.header(meta, size))
	table := make([]byte, 0, f.Chunks()*entrySize)
	buf := buffers.Get().(*[ChunkSize]byte)
	defer buffers.Put(buf)
	for left := size; left > 0 && w.err == nil; left -= ChunkSize {
		table = w.chunk(table, body, buf[:min(left, ChunkSize)])
	}
	w.write(table)
	if w.err != nil {
		return Frame{}, w.err
	}
	f.Stored = w.off - f.Offset
	f.Sum = xxhash.Sum64(table)
	w.frames = append(w.frames, f)
	w.index += recordSize + int64(len(meta))
	return f, nil
}

// chunk fills content from body, writes it, and appends its entry to table.
func (w *Writer) chunk(table []byte, body io.Reader, content []byte) []byte {
	if _, err := io.ReadFull(body, content); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		w.err = fmt.Errorf("read body: %w", err)
		return table
	}
	w.stored = append(w.stored[:0], make([]byte, entrySize)...)
	var codec uint32
	w.stored, codec = compress(w.stored, content)
	e := entry{stored: uint32(len(w.stored) - entrySize), codec: codec, sum: xxhash.Sum64(content)}
	e.append(w.stored[:0])
	w.write(w.stored)
	return e.append(table)
}

// Size is the number of octets written so far.
func (w *Writer) Size() int64 { return w.off }

// Close writes the index. It does not close the underlying writer.
func (w *Writer) Close() error {
	index := make([]byte, 0, w.index)
	for _, f := range w.frames {
		index = binary.LittleEndian.AppendUint64(index, uint64(f.Offset))
		index = binary.LittleEndian.AppendUint64(index, uint64(f.Stored))
		index = binary.LittleEndian.AppendUint64(index, uint64(f.Size))
		index = binary.LittleEndian.AppendUint64(index, f.Sum)
		index = binary.LittleEndian.AppendUint32(index, uint32(len(f.Meta)))
		index = append(index, f.Meta...)
	}
	out, codec := compress([]byte(indexMagic), index)
	stored := len(out) - len(indexMagic)
	out = binary.LittleEndian.AppendUint64(out, uint64(w.off))
	out = binary.LittleEndian.AppendUint32(out, uint32(stored))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(index)))
	out = binary.LittleEndian.AppendUint32(out, codec)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(w.frames)))
	out = binary.LittleEndian.AppendUint64(out, xxhash.Sum64(out))
	w.write(append(out, footerMagic...))
	return w.err
}
