package body

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

const (
	// MaxMany is the largest body, in octets, that ReadMany gives.
	MaxMany = pack.ChunkSize
	// maxGap is how many octets between two bodies are read and thrown away rather than asking the object store a second time.
	maxGap = 64 << 10
	// maxRun is about what one read of the object store brings at most.
	maxRun = 1 << 20
	// smallRun is what needs none of the buffers that are kept for long ones.
	smallRun = 64 << 10
	// readers is how many reads of the object store ReadMany does at a time.
	readers = 8
)

// runs are buffers for what a read of the object store brings.
var runs = sync.Pool{New: func() any { return new([maxRun]byte) }}

// ReadMany gives bodies that a client downloads one after the other, each verified. Those that lie close together in one pack, in the order given, are
// read at one go. A body that is larger than MaxMany, or cannot be read, is nil: Open and WriteRange give it or the reason. Nobody may change what it gives.
func (s *Store) ReadMany(ctx context.Context, locations []Location) [][]byte {
	contents := make([][]byte, len(locations))
	var missing []int
	for i, l := range locations {
		if l.Size <= 0 || l.Size > MaxMany {
			continue
		}
		if v, ok := s.cache.get(cacheKey{location: l}); ok {
			contents[i] = v.content
		} else if contents[i] = s.fromDisk(l); contents[i] == nil {
			missing = append(missing, i)
		}
	}
	var g errgroup.Group
	g.SetLimit(readers)
	for start := 0; start < len(missing); {
		end := start + 1
		for end < len(missing) && follows(locations[missing[start]], locations[missing[end-1]], locations[missing[end]]) {
			end++
		}
		run := missing[start:end]
		g.Go(func() error {
			s.readRun(ctx, locations, run, contents)
			return nil
		})
		start = end
	}
	_ = g.Wait() // none gives an error
	return contents
}

// follows tells whether next is read together with last, which the run that begins with first ends with.
func follows(first, last, next Location) bool {
	gap := next.Offset - (last.Offset + last.Stored)
	return next.Object == first.Object && last.Stored > 0 && next.Stored > 0 && gap >= 0 && gap <= maxGap && next.Offset+next.Stored-first.Offset <= maxRun
}

// readRun fills in what it can read of the bodies at the indexes run.
func (s *Store) readRun(ctx context.Context, locations []Location, run []int, contents [][]byte) {
	first, last := locations[run[0]], locations[run[len(run)-1]]
	size := last.Offset + last.Stored - first.Offset
	if size <= 0 || size > maxRun {
		return
	}
	in, err := s.objects.GetRange(ctx, first.Object, first.Offset, size)
	if err != nil {
		return
	}
	defer func() { _ = in.Close() }() // what was read of it is verified
	var stored []byte
	if size <= smallRun {
		stored = make([]byte, size)
	} else {
		buf := runs.Get().(*[maxRun]byte)
		defer runs.Put(buf)
		stored = buf[:size]
	}
	if _, err := io.ReadFull(in, stored); err != nil {
		return
	}
	for _, i := range run {
		l := locations[i]
		frame := stored[l.Offset-first.Offset:][:l.Stored]
		content, err := decodeWhole(l, frame)
		if err != nil {
			continue
		}
		contents[i] = content
		if s.disk != nil {
			s.disk.add(diskName(l.Object, l.Offset, l.Stored), frame)
		}
		s.cache.add(cacheKey{location: l}, cachedContent(content))
	}
}

// fromDisk gives a body of one chunk from the cache on disk, nil if it is not there.
func (s *Store) fromDisk(l Location) []byte {
	if s.disk == nil {
		return nil
	}
	name := diskName(l.Object, l.Offset, l.Stored)
	frame, ok := s.disk.get(name)
	if !ok {
		return nil
	}
	content, err := decodeWhole(l, frame)
	if err != nil {
		s.disk.damaged(name)
		return nil
	}
	s.cache.add(cacheKey{location: l}, cachedContent(content))
	return content
}

// decodeWhole gives the content of a body of one chunk, of which frame is all that is stored.
func decodeWhole(l Location, frame []byte) ([]byte, error) {
	off, n, err := l.frame().TableRange()
	if err != nil {
		return nil, err
	}
	if off -= l.Offset; int64(len(frame)) != l.Stored {
		return nil, fmt.Errorf("%w: frame of %d octets", pack.ErrCorrupt, len(frame))
	}
	table, err := pack.ParseTable(l.frame(), frame[off:off+n])
	if err != nil {
		return nil, err
	}
	off, n = table.ChunkRange(0)
	off -= l.Offset
	return table.Decode(nil, 0, frame[off:off+n])
}
