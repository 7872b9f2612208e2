// Package body keeps message bodies in packs on an object store.
package body

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

var (
	ErrTooLarge = errors.New("message is too large")
	ErrCorrupt  = errors.New("stored body is corrupt")
)

type Spools struct{}

type SpoolConfig struct {
	Dir         string // cleared at OpenSpools; may be missing
	Memory      int64  // of one message before it goes to a file (1 MiB)
	TotalMemory int64  // of all spools (256 MiB); beyond, files
	Registerer  prometheus.Registerer
}

func OpenSpools(cfg SpoolConfig) (*Spools, error) { panic("skeleton") }

// New starts an empty spool for at most max octets (0: no limit).
func (s *Spools) New(max int64) *Spool { panic("skeleton") }

type Spool struct{}

func (s *Spool) Write(p []byte) (int, error)             { panic("skeleton") } // ErrTooLarge, object.ErrFull
func (s *Spool) Size() int64                             { panic("skeleton") }
func (s *Spool) Sum() uint64                             { panic("skeleton") }
func (s *Spool) ReadAt(p []byte, off int64) (int, error) { panic("skeleton") }
func (s *Spool) Close() error                            { panic("skeleton") }

type Location struct {
	Object string
	Offset int64
	Stored int64
	Size   int64
	Sum    uint64
}

func (l Location) String() string { panic("skeleton") }

func ParseLocation(s string) (Location, error) { panic("skeleton") }

func ObjectTime(key string) (time.Time, error) { panic("skeleton") }

type Pending struct {
	Spool *Spool
	Meta  []byte
}

type Config struct {
	Objects    object.Store
	CacheBytes int64
	LargeBytes int64
	Now        func() time.Time
	Registerer prometheus.Registerer
}

type Store struct{}

func NewStore(cfg Config) (*Store, error)                                       { panic("skeleton") }
func (s *Store) Large(size int64) bool                                          { panic("skeleton") }
func (s *Store) Put(ctx context.Context, bodies []*Pending) ([]Location, error) { panic("skeleton") }
func (s *Store) Open(ctx context.Context, l Location) (*Body, error)            { panic("skeleton") }

type Body struct{}

func (b *Body) Size() int64                             { panic("skeleton") }
func (b *Body) ReadAt(p []byte, off int64) (int, error) { panic("skeleton") }
func (b *Body) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	panic("skeleton")
}

const KeyPrefix = "packs/"

type CorruptError struct {
	Object string
	Offset int64
	Err    error
}

func (e *CorruptError) Error() string { panic("skeleton") }
