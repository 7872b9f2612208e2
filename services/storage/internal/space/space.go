// Package space keeps room on the disk for what frees room: below a reserve new mail is refused, while flags, moves and deletions
// still find place for their rows.
package space

import (
	"log/slog"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/telemetry"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// ErrNearlyFull is the fault of new mail that would use up the reserve.
var ErrNearlyFull = fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "storage is nearly full")

// measureEvery is how long a measurement holds. What is admitted meanwhile counts as written.
const measureEvery = time.Second

// Source tells how many octets can still be written somewhere.
type Source interface {
	Free() (bytes int64, err error)
}

// Disk is the file system of a directory.
type Disk string

// Free implements Source, for a process without privileges.
func (d Disk) Free() (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(string(d), &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// Size gives the octets of the whole file system.
func (d Disk) Size() (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(string(d), &s); err != nil {
		return 0, err
	}
	return int64(s.Blocks) * s.Bsize, nil
}

// Guard admits new mail as long as the reserve stays free. The zero value of *Guard, nil, admits all.
type Guard struct {
	reserve int64
	sources []Source
	now     func() time.Time
	log     *slog.Logger

	mu       sync.Mutex
	measured time.Time
	free     int64 // of the source that has least; math.MaxInt64: unknown
	admitted int64 // since then
	short    bool
}

// New makes a Guard of the sources that new mail is written to. reserve is in octets, 0 for none; reg may be nil.
func New(reserve int64, sources []Source, now func() time.Time, log *slog.Logger, reg prometheus.Registerer) *Guard {
	g := &Guard{reserve: reserve, sources: sources, now: now, log: log}
	telemetry.Register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "yubin_storage_free_bytes",
		Help: "Octets that can still be written to the disk of the data directory, below --storage-min-free only by deleting.",
	}, func() float64 {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.measure(); g.free == math.MaxInt64 {
			return math.NaN()
		}
		return float64(g.free)
	}))
	for _, s := range sources {
		if disk, ok := s.(Disk); ok {
			telemetry.Register(reg, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "yubin_storage_disk_bytes", Help: "Octets of the whole disk of the data directory.",
			}, func() float64 {
				size, err := disk.Size()
				if err != nil {
					return math.NaN()
				}
				return float64(size)
			}))
			break
		}
	}
	return g
}

// Admit allows n more octets to be written, or fails with ErrNearlyFull.
func (g *Guard) Admit(n int64) error {
	if g == nil || g.reserve <= 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.measure()
	if g.free-g.admitted-n < g.reserve {
		if !g.short {
			g.short = true
			g.log.Error("storage is nearly full: new mail is refused until there is room", "free", g.free, "reserve", g.reserve)
		}
		return ErrNearlyFull
	}
	g.admitted += n
	if g.short {
		g.short = false
		g.log.Info("storage takes new mail again", "free", g.free)
	}
	return nil
}

// measure looks again if the last time is long ago. A source that cannot tell does not stop the mail.
func (g *Guard) measure() {
	if now := g.now(); g.measured.IsZero() || now.Sub(g.measured).Abs() >= measureEvery {
		g.measured, g.free, g.admitted = now, math.MaxInt64, 0
		for _, s := range g.sources {
			free, err := s.Free()
			if err != nil {
				g.log.Warn("free space cannot be measured", "error", err)
				continue
			}
			g.free = min(g.free, free)
		}
	}
}
