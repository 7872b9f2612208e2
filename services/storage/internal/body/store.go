package body

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// maxPack is how many octets of bodies and metas go into one pack of small bodies, which is made in memory.
const maxPack = 16 << 20

// putters is how many objects one Put writes at the same time.
const putters = 4

// Config of a Store. Zero numbers take the defaults.
type Config struct {
	Objects object.Store
	// CacheBytes bounds the memory of the read cache, in octets (64 MiB); negative: no cache.
	CacheBytes int64
	// Disk is a second cache below the one in memory; nil: none. The caller closes it.
	Disk *DiskCache
	// LargeBytes is the size in octets above which a body gets an object of its own (1 MiB).
	LargeBytes int64
	// ReadTimeout bounds one read of a chunk or table that callers share (30 s).
	ReadTimeout time.Duration
	// Now is the clock of the objects' keys (time.Now).
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Store keeps bodies in packs.
type Store struct {
	cfg     Config
	objects object.Store
	cache   *cache
	disk    *DiskCache
	flights singleflight.Group
	metrics *metrics
}

// NewStore makes a store on cfg.Objects.
func NewStore(cfg Config) (*Store, error) {
	if cfg.Objects == nil {
		return nil, errors.New("body store needs an object store")
	}
	cfg.CacheBytes = cmp.Or(cfg.CacheBytes, 64<<20)
	cfg.LargeBytes = cmp.Or(cfg.LargeBytes, 1<<20)
	cfg.ReadTimeout = cmp.Or(cfg.ReadTimeout, 30*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := newMetrics(cfg.Registerer)
	c, err := newCache(cfg.CacheBytes, m)
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	return &Store{cfg: cfg, objects: object.Instrument(cfg.Objects, cfg.Registerer), cache: c, disk: cfg.Disk, metrics: m}, nil
}

// Pending is a body to be stored.
type Pending struct {
	Spool *Spool
	// Meta goes with the body into the pack, at most pack.MaxMeta octets: enough to put the message back where it belongs if the database
	// is lost.
	Meta []byte
}

// Large tells whether a body of size octets gets an object of its own. Put large ones before they join a group commit, lest a slow
// upload holds up small ones.
func (s *Store) Large(size int64) bool { return size > s.cfg.LargeBytes }

// Put stores bodies and answers their locations in the same order. They are durable when it returns. Large ones get an object each, the others
// share as few as possible. After an error none counts as stored; objects that were written nonetheless are orphans.
// Errors: object.ErrFull, ErrCorrupt if a spool does not give what it was given, ctx.Err().
func (s *Store) Put(ctx context.Context, bodies []*Pending) ([]Location, error) {
	locations := make([]Location, len(bodies))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(putters)
	var small []int
	var octets int64
	flush := func() {
		if len(small) > 0 {
			group := small
			g.Go(func() error { return s.putPack(ctx, bodies, group, locations) })
		}
		small, octets = nil, 0
	}
	for i, b := range bodies {
		size := b.Spool.Size()
		if s.Large(size) {
			g.Go(func() (err error) {
				locations[i], err = s.putLarge(ctx, b)
				return err
			})
			continue
		}
		if octets += size + int64(len(b.Meta)); octets > maxPack {
			flush()
			octets = size + int64(len(b.Meta))
		}
		small = append(small, i)
	}
	flush()
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("store bodies: %w", err)
	}
	return locations, nil
}

// putPack stores the bodies at indexes group in one object.
func (s *Store) putPack(ctx context.Context, bodies []*Pending, group []int, locations []Location) error {
	var b bytes.Buffer
	b.Grow(packRoom(bodies, group))
	key := NewKey(s.cfg.Now())
	w := pack.NewWriter(&b)
	for _, i := range group {
		l, err := appendBody(w, key, bodies[i])
		if err != nil {
			return err
		}
		locations[i] = l
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := s.objects.Put(ctx, key, bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
		return err
	}
	s.metrics.packed(locations, group, w.Size())
	return nil
}

// packRoom guesses how large a pack will be.
func packRoom(bodies []*Pending, group []int) int {
	room := int64(1 << 10)
	for _, i := range group {
		room += bodies[i].Spool.Size() + 2*int64(len(bodies[i].Meta)) // the meta is in the frame and in the index
	}
	return int(room)
}

// putLarge stores one body in its own object, in the memory of a few chunks.
func (s *Store) putLarge(ctx context.Context, body *Pending) (Location, error) {
	var l Location
	var size int64
	key := NewKey(s.cfg.Now())
	r, w := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		buffered := bufio.NewWriterSize(w, pack.ChunkSize)
		pw := pack.NewWriter(buffered)
		var err error
		if l, err = appendBody(pw, key, body); err == nil {
			err = pw.Close()
		}
		if err == nil {
			err = buffered.Flush()
		}
		size = pw.Size()
		_ = w.CloseWithError(err) // never fails; nil is io.EOF
	}()
	err := s.objects.Put(ctx, key, r, object.SizeUnknown)
	// Ends the packing if Put has not read to the end.
	_ = r.CloseWithError(io.ErrClosedPipe)
	<-packed
	if err != nil {
		return Location{}, err
	}
	s.metrics.packed([]Location{l}, []int{0}, size)
	return l, nil
}

// appendBody packs a body and verifies that it still is what the spool was given.
func appendBody(w *pack.Writer, key string, body *Pending) (Location, error) {
	sum := xxhash.New()
	f, err := w.Append(body.Meta, io.TeeReader(body.Spool.Reader(), sum), body.Spool.Size())
	if err != nil {
		return Location{}, err
	}
	if sum.Sum64() != body.Spool.Sum() {
		return Location{}, &CorruptError{Object: key, Offset: f.Offset, Err: errors.New("spool gives other octets than it was given")}
	}
	return Location{Object: key, Offset: f.Offset, Stored: f.Stored, Size: f.Size, Sum: f.Sum}, nil
}
