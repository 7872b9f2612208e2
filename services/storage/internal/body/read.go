package body

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// Body is a stored body that can be read by ranges, also concurrently. It holds nothing that must be closed.
type Body struct {
	store    *Store
	ctx      context.Context
	location Location
}

// Open gives the body at l without reading anything yet; ctx is for ReadAt. Errors: ErrCorrupt if no body can lie there.
func (s *Store) Open(ctx context.Context, l Location) (*Body, error) {
	if _, _, err := l.frame().TableRange(); err != nil {
		return nil, readError(l, err)
	}
	return &Body{store: s, ctx: ctx, location: l}, nil
}

// readError makes an error of what lies in the object store a CorruptError; other errors may pass with the next try.
func readError(l Location, err error) error {
	if errors.Is(err, pack.ErrCorrupt) || errors.Is(err, object.ErrNotFound) {
		return &CorruptError{Object: l.Object, Offset: l.Offset, Err: err}
	}
	return fmt.Errorf("read body: %w", err)
}

// Size of the body in octets.
func (b *Body) Size() int64 { return b.location.Size }

// ReadAt implements io.ReaderAt, in the context that Open was given. Errors: ErrCorrupt, those of the object store.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read body: negative offset")
	}
	return ReadRange(p, func(w io.Writer) error {
		_, err := b.WriteRange(b.ctx, w, off, int64(len(p)))
		return err
	})
}

// ReadRange fills p with what write gives, and tells how much that was; io.EOF if it was less than p holds. Errors: those of write.
func ReadRange(p []byte, write func(io.Writer) error) (int, error) {
	w := sliceWriter{p: p}
	err := write(&w)
	if err == nil && w.n < len(p) {
		err = io.EOF
	}
	return w.n, err
}

type sliceWriter struct {
	p []byte
	n int
}

func (w *sliceWriter) Write(b []byte) (int, error) {
	n := copy(w.p[w.n:], b)
	w.n += n
	return n, nil
}

// WriteRange writes n octets from offset off to w and returns how many it wrote; n < 0 is to the end. A range is cut at the body's end.
// Each octet is verified before it is written. It holds a chunk or two in memory, whatever the range. w must not change what it is given.
// Errors: ErrCorrupt, those of the object store and of w.
func (b *Body) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	size := b.location.Size
	if off < 0 {
		return 0, errors.New("read body: negative offset")
	}
	if n < 0 || n > size-off {
		n = size - off
	}
	if n <= 0 {
		return 0, nil
	}
	// What is read at one go and fills much of the cache would only drive out what is asked for again.
	r := rangeReader{Body: b, ctx: ctx, w: w, off: off, end: off + n, keep: n <= b.store.cfg.CacheBytes/8}
	first, last := int(off/pack.ChunkSize), int((off+n-1)/pack.ChunkSize)
	for i := first; i <= last; {
		next, err := r.chunks(i, last)
		if err != nil {
			return r.written, err
		}
		i = next
	}
	return r.written, nil
}

// rangeReader writes the octets from off to end.
type rangeReader struct {
	*Body
	ctx      context.Context
	w        io.Writer
	off, end int64
	keep     bool
	written  int64
}

// keepOnDisk tells whether the disk has room for what is read at one go.
func (r *rangeReader) keepOnDisk() bool {
	return r.store.disk != nil && r.end-r.off <= r.store.disk.limit/8
}

func (b *Body) key(chunk int) cacheKey {
	return cacheKey{location: b.location, chunk: chunk}
}

// chunks writes chunk i, and those up to last that are best read with it; next is the one after them.
func (r *rangeReader) chunks(i, last int) (next int, err error) {
	next = i + 1
	for next <= last && !r.cached(i) && !r.cached(next) {
		next++
	}
	if next > i+1 {
		return next, r.stream(i, next)
	}
	content, err := r.chunk(r.ctx, i)
	if err != nil {
		return 0, readError(r.location, err)
	}
	return next, r.write(i, content)
}

// cached tells whether a cache has chunk i of a body of several.
func (r *rangeReader) cached(i int) bool {
	if _, ok := r.store.cache.peek(r.key(i)); ok {
		return true
	}
	table, ok := r.store.cache.peek(r.key(tableChunk))
	if !ok || r.store.disk == nil {
		return false
	}
	off, n := table.table.ChunkRange(i)
	return r.store.disk.has(diskName(r.location.Object, off, n))
}

// write writes what the range has of chunk i.
func (r *rangeReader) write(i int, content []byte) error {
	start := int64(i) * pack.ChunkSize
	content = content[max(r.off-start, 0):min(r.end-start, int64(len(content)))]
	n, err := r.w.Write(content)
	r.written += int64(n)
	if err != nil {
		return fmt.Errorf("write body: %w", err)
	}
	return nil
}

// stream reads chunks from i to before end in one read of the object.
func (r *rangeReader) stream(i, end int) error {
	table, err := r.table(r.ctx)
	if err != nil {
		return readError(r.location, err)
	}
	from, _ := table.ChunkRange(i)
	to, n := table.ChunkRange(end - 1)
	in, err := r.store.objects.GetRange(r.ctx, r.location.Object, from, to+n-from)
	if err != nil {
		return readError(r.location, err)
	}
	defer func() { _ = in.Close() }() // what was read of it is verified

	var stored, buf []byte
	for ; i < end; i++ {
		off, n := table.ChunkRange(i)
		stored = slices.Grow(stored[:0], int(n))[:n]
		if _, err := io.ReadFull(wholeReader{in}, stored); err != nil && !errors.Is(err, pack.ErrCorrupt) {
			return readError(r.location, err)
		}
		content, err := table.Decode(buf, i, stored)
		if err != nil {
			// Damaged, here or on the way: read alone it gets a second chance.
			if content, err = r.chunk(r.ctx, i); err != nil {
				return readError(r.location, err)
			}
			if err := r.write(i, content); err != nil {
				return err
			}
			continue
		}
		if r.keepOnDisk() {
			r.store.disk.add(diskName(r.location.Object, off, n), stored)
		}
		if r.keep {
			r.store.cache.add(r.key(i), cachedContent(content))
		} else {
			buf = content
		}
		if err := r.write(i, content); err != nil {
			return err
		}
	}
	return nil
}

// chunk gives the content of one chunk.
func (b *Body) chunk(ctx context.Context, i int) ([]byte, error) {
	v, err := b.store.shared(ctx, b.key(i), func(ctx context.Context) (cached, error) {
		load := b.loadChunk
		if b.location.frame().Chunks() == 1 {
			load = b.loadWhole
		}
		content, err := load(ctx, i)
		return cachedContent(content), err
	})
	return v.content, err
}

// loadWhole reads a body of one chunk with its table in one read.
func (b *Body) loadWhole(ctx context.Context, _ int) (content []byte, err error) {
	frame := b.location.frame()
	err = b.read(ctx, frame.Offset, frame.Stored, func(stored []byte) error {
		content, err = decodeWhole(b.location, stored)
		return err
	})
	return content, err
}

func (b *Body) loadChunk(ctx context.Context, i int) (content []byte, err error) {
	table, err := b.table(ctx)
	if err != nil {
		return nil, err
	}
	off, n := table.ChunkRange(i)
	err = b.read(ctx, off, n, func(stored []byte) error {
		content, err = table.Decode(nil, i, stored)
		return err
	})
	return content, err
}

func (b *Body) table(ctx context.Context) (*pack.Table, error) {
	v, err := b.store.shared(ctx, b.key(tableChunk), func(ctx context.Context) (cached, error) {
		off, n, err := b.location.frame().TableRange()
		if err != nil {
			return cached{}, err
		}
		var table *pack.Table
		err = b.read(ctx, off, n, func(stored []byte) error {
			table, err = pack.ParseTable(b.location.frame(), stored)
			return err
		})
		return cachedTable(table, b.location.frame().Chunks()), err
	})
	return v.table, err
}

// maxRead is the most that a read of one piece takes: a frame of one chunk with the longest meta, or a table.
const maxRead = 8 << 20

// read reads n octets of the object, from the disk if they are there, and has them verified. What the object store gave damaged is read
// once more: it may have been so on the way only.
func (b *Body) read(ctx context.Context, off, n int64, verify func(stored []byte) error) error {
	if n > maxRead {
		return fmt.Errorf("%w: %d octets where few were expected", pack.ErrCorrupt, n)
	}
	name := diskName(b.location.Object, off, n)
	if stored, ok := b.store.disk.get(name); ok {
		if int64(len(stored)) == n && verify(stored) == nil {
			return nil
		}
		b.store.disk.damaged(name)
	}
	stored, err := b.readStored(ctx, off, n, verify)
	if errors.Is(err, pack.ErrCorrupt) {
		stored, err = b.readStored(ctx, off, n, verify)
	}
	if err != nil {
		return err
	}
	b.store.disk.add(name, stored)
	return nil
}

// readStored reads and verifies n octets of the object in the object store.
func (b *Body) readStored(ctx context.Context, off, n int64, verify func(stored []byte) error) ([]byte, error) {
	in, err := b.store.objects.GetRange(ctx, b.location.Object, off, n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // what was read of it is verified
	stored := make([]byte, n)
	if _, err := io.ReadFull(wholeReader{in}, stored); err != nil {
		return nil, err
	}
	return stored, verify(stored)
}

// wholeReader takes the end of an object within a frame for corruption, unlike the io.ErrUnexpectedEOF of a connection that broke.
type wholeReader struct{ r io.Reader }

func (w wholeReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err == io.EOF { //nolint:errorlint // io.Reader: EOF itself, not wrapped
		err = fmt.Errorf("%w: object ends within the frame", pack.ErrCorrupt)
	}
	return n, err
}

// shared gives what the cache has under key, or else loads it once for all who ask at the same time. One who leaves does not
// disturb the others.
func (s *Store) shared(ctx context.Context, key cacheKey, load func(context.Context) (cached, error)) (cached, error) {
	if v, ok := s.cache.get(key); ok {
		return v, nil
	}
	result := s.flights.DoChan(key.String(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ReadTimeout)
		defer cancel()
		v, err := load(ctx)
		if err != nil {
			return cached{}, err
		}
		s.cache.add(key, v)
		return v, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return cached{}, r.Err
		}
		return r.Val.(cached), nil
	case <-ctx.Done():
		return cached{}, ctx.Err()
	}
}
