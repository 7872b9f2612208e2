package body

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// SpoolConfig is for OpenSpools. Zero numbers take the defaults.
type SpoolConfig struct {
	// Dir is for the files of spools that memory does not hold. It is made if missing, and cleared of old ones.
	Dir string
	// Memory is what one spool holds in memory, in octets, before it goes to a file (1 MiB).
	Memory int64
	// TotalMemory is what all spools hold in memory together, in octets (256 MiB); beyond it they go to files.
	TotalMemory int64
	// Admit is asked before octets go to a file, and may refuse them; nil: all may.
	Admit      func(octets int64) error
	Registerer prometheus.Registerer
}

// Spools receive messages of any length in bounded memory.
type Spools struct {
	cfg     SpoolConfig
	used    atomic.Int64
	memory  prometheus.Gauge
	files   prometheus.Gauge
	spilled *prometheus.CounterVec
}

const spoolPattern = "spool-*"

// OpenSpools makes the spools of a process.
func OpenSpools(cfg SpoolConfig) (*Spools, error) {
	cfg.Memory = cmp.Or(cfg.Memory, 1<<20)
	cfg.TotalMemory = cmp.Or(cfg.TotalMemory, 256<<20)
	if cfg.Admit == nil {
		cfg.Admit = func(int64) error { return nil }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	// A spool's file has no name as soon as it is made; what is found was left between these two steps.
	old, err := filepath.Glob(filepath.Join(cfg.Dir, spoolPattern))
	if err != nil {
		return nil, fmt.Errorf("clear spool directory: %w", err)
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("clear spool directory: %w", err)
		}
	}
	return &Spools{
		cfg: cfg,
		memory: telemetry.Register(cfg.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_spool_memory_bytes",
			Help: "Memory that messages on their way in take.",
		})),
		files: telemetry.Register(cfg.Registerer, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_spool_files",
			Help: "Messages on their way in that are held in files.",
		})),
		spilled: telemetry.Register(cfg.Registerer, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_spool_spilled_total",
			Help: "Messages that went to a file, for their size or because the memory of all was used up.",
		}, []string{"reason"})),
	}, nil
}

// New starts an empty spool that takes at most limit octets; 0 is no limit.
func (s *Spools) New(limit int64) *Spool {
	return &Spool{spools: s, limit: limit, sum: xxhash.New()}
}

// take reserves n octets of the memory of all.
func (s *Spools) take(n int64) bool {
	if s.used.Add(n) > s.cfg.TotalMemory {
		s.used.Add(-n)
		return false
	}
	s.memory.Add(float64(n))
	return true
}

func (s *Spools) give(n int64) {
	s.used.Add(-n)
	s.memory.Sub(float64(n))
}

// Spool receives one message, and gives it back by ranges. Once all is written, ReadAt may be called concurrently.
type Spool struct {
	spools *Spools
	limit  int64
	size   int64
	sum    *xxhash.Digest
	buf    []byte
	file   *os.File
	err    error
}

// Write implements io.Writer. After an error the spool is of no use but to be closed. Errors: ErrTooLarge, object.ErrFull, those of
// SpoolConfig.Admit.
func (s *Spool) Write(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.write(p)
	}
	if s.err != nil {
		return 0, s.err
	}
	s.size += int64(len(p))
	_, _ = s.sum.Write(p) // never fails
	return len(p), nil
}

func (s *Spool) write(p []byte) error {
	size := s.size + int64(len(p))
	if s.limit > 0 && size > s.limit {
		return fmt.Errorf("%w: more than %d octets", ErrTooLarge, s.limit)
	}
	if s.file == nil {
		switch {
		case size > s.spools.cfg.Memory:
			if err := s.spill("size"); err != nil {
				return err
			}
		case !s.grow(int(size)):
			if err := s.spill("memory"); err != nil {
				return err
			}
		default:
			s.buf = append(s.buf, p...)
			return nil
		}
	}
	return s.writeFile(p)
}

func (s *Spool) writeFile(p []byte) error {
	if err := s.spools.cfg.Admit(int64(len(p))); err != nil {
		return err
	}
	_, err := s.file.Write(p)
	return spoolError(err)
}

// grow makes room for size octets in memory, unless the spools have no more.
func (s *Spool) grow(size int) bool {
	if size <= cap(s.buf) {
		return true
	}
	room := max(size, min(2*cap(s.buf), int(s.spools.cfg.Memory)), 4<<10)
	if !s.spools.take(int64(room - cap(s.buf))) {
		return false
	}
	buf := make([]byte, len(s.buf), room)
	copy(buf, s.buf)
	s.buf = buf
	return true
}

// spill goes on in a file that vanishes with the process.
func (s *Spool) spill(reason string) error {
	f, err := os.CreateTemp(s.spools.cfg.Dir, spoolPattern)
	if err != nil {
		return spoolError(err)
	}
	s.file = f
	s.spools.files.Inc()
	s.spools.spilled.WithLabelValues(reason).Inc()
	if err := os.Remove(f.Name()); err != nil {
		return spoolError(err)
	}
	if err := s.writeFile(s.buf); err != nil {
		return err
	}
	s.freeMemory()
	return nil
}

func spoolError(err error) error {
	switch {
	case err == nil:
		return nil
	case object.NoSpace(err):
		return fmt.Errorf("spool message: %w: %w", object.ErrFull, err)
	}
	return fmt.Errorf("spool message: %w", err)
}

func (s *Spool) freeMemory() {
	s.spools.give(int64(cap(s.buf)))
	s.buf = nil
}

// Size is the number of octets written.
func (s *Spool) Size() int64 { return s.size }

// Sum is the XXH64 of the octets written.
func (s *Spool) Sum() uint64 { return s.sum.Sum64() }

// ReadAt implements io.ReaderAt.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.file != nil {
		return s.file.ReadAt(p, off)
	}
	if off < 0 {
		return 0, errors.New("read spool: negative offset")
	}
	if off >= int64(len(s.buf)) {
		return 0, io.EOF
	}
	n := copy(p, s.buf[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Reader reads the message from its beginning.
func (s *Spool) Reader() *io.SectionReader { return io.NewSectionReader(s, 0, s.size) }

// Close frees what the spool holds, once nothing reads it any more. It may be called again.
func (s *Spool) Close() error {
	s.err = fmt.Errorf("spool message: %w", os.ErrClosed)
	s.freeMemory()
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	s.spools.files.Dec()
	if err := f.Close(); err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
