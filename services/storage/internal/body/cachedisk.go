package body

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/yubin-mail/yubin/pkg/telemetry"
)

// DiskCache keeps what was read of the object store in files, bounded by octets, also over a restart:
//
//	lock          held by the process that has it open
//	tmp/<n>       entries being written
//	<2>/<62>      an entry, named by the SHA-256 of what it is, in hexadecimal digits
//
// It is not trusted: nothing is synced to disk, and who reads an entry verifies it as what comes from the object store. A disk that fails or
// is full only makes it useless for a while.
type DiskCache struct {
	dir   string
	limit int64
	log   *slog.Logger
	lock  *os.File
	temp  atomic.Uint64

	reads  *prometheus.CounterVec
	faults prometheus.Counter
	bytes  prometheus.Gauge

	mu   sync.Mutex
	used int64
	lru  *simplelru.LRU[string, *diskEntry] // by file name, as far as they are counted in used
	// evicted are files to be removed.
	evicted []string
	// broken is the time until which nothing is written after a failure.
	broken time.Time
}

type diskEntry struct {
	cost    int64
	touched time.Time
}

const (
	// diskBlock is what a file takes at least, and a multiple of which it takes.
	diskBlock = 4096
	// touchAfter an entry's file is given the time of its use anew, by which a restart knows the order.
	touchAfter = time.Minute
	// diskRest is how long a disk that failed is left alone.
	diskRest = 10 * time.Second
)

// OpenDiskCache opens the cache in dir, which is made if need be, for at most limit octets on disk; reg may be nil. It looks at every entry's
// size and time, and removes the oldest if there are too many. It fails if another process has the directory open.
func OpenDiskCache(dir string, limit int64, log *slog.Logger, reg prometheus.Registerer) (*DiskCache, error) {
	c := &DiskCache{
		dir: dir, limit: limit, log: log,
		reads: telemetry.Register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yubin_storage_disk_cache_reads_total",
			Help: "Pieces of bodies looked for in the read cache on disk: hit, miss, or damaged there.",
		}, []string{"result"})),
		faults: telemetry.Register(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "yubin_storage_disk_cache_failures_total",
			Help: "Failures of the disk of the read cache, after each of which it is left alone for a while.",
		})),
		bytes: telemetry.Register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "yubin_storage_disk_cache_bytes",
			Help: "Disk space of the read cache.",
		})),
	}
	var err error
	if c.lru, err = simplelru.NewLRU(math.MaxInt, func(name string, e *diskEntry) {
		c.used -= e.cost
		c.evicted = append(c.evicted, name)
	}); err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open read cache %s: %w", dir, err), c.Close())
	}
	return c, nil
}

func (c *DiskCache) open() (err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if c.lock, err = os.OpenFile(filepath.Join(c.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock (is another process using it?): %w", err)
	}
	temp := filepath.Join(c.dir, "tmp") // what a dead process was writing
	if err := errors.Join(os.RemoveAll(temp), os.Mkdir(temp, 0o700)); err != nil {
		return err
	}
	return c.load()
}

// load finds the entries that are there.
func (c *DiskCache) load() error {
	type found struct {
		name  string
		entry *diskEntry
	}
	var all []found
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dir, file := filepath.Split(path)
		shard := filepath.Base(dir)
		if len(shard) != 2 || len(file) != 62 {
			return nil // not ours
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, found{shard + file, &diskEntry{cost: diskCost(info.Size()), touched: info.ModTime()}})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.entry.touched.Compare(b.entry.touched), cmp.Compare(a.name, b.name))
	})
	c.mu.Lock()
	for _, f := range all {
		c.lru.Add(f.name, f.entry)
		c.used += f.entry.cost
	}
	evicted := c.shrink(0)
	c.mu.Unlock()
	return c.remove(evicted)
}

// Close lets another process open the directory. The entries stay.
func (c *DiskCache) Close() error {
	if c.lock == nil {
		return nil
	}
	return c.lock.Close()
}

func diskCost(size int64) int64 { return max((size+diskBlock-1)/diskBlock, 1) * diskBlock }

// diskName names n octets from off of an object.
func diskName(object string, off, n int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s:%d:%d", object, off, n))
	return hex.EncodeToString(sum[:])
}

func (c *DiskCache) file(name string) string { return filepath.Join(c.dir, name[:2], name[2:]) }

// has tells whether an entry is there, as no use of it.
func (c *DiskCache) has(name string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Contains(name)
}

// get gives an entry, which the caller verifies.
func (c *DiskCache) get(name string) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	e, ok := c.lru.Get(name)
	touch := ok && time.Since(e.touched) > touchAfter
	if touch {
		e.touched = time.Now()
	}
	c.mu.Unlock()
	if !ok {
		c.reads.WithLabelValues("miss").Inc()
		return nil, false
	}
	content, err := os.ReadFile(c.file(name))
	if err != nil {
		c.drop(name)
		c.reads.WithLabelValues("miss").Inc()
		if !errors.Is(err, fs.ErrNotExist) {
			c.failed(err)
		}
		return nil, false
	}
	if touch {
		_ = os.Chtimes(c.file(name), time.Time{}, time.Now()) // for the order after a restart only
	}
	c.reads.WithLabelValues("hit").Inc()
	return content, true
}

// damaged removes an entry that is not what it should be.
func (c *DiskCache) damaged(name string) {
	c.reads.WithLabelValues("damaged").Inc()
	c.drop(name)
}

func (c *DiskCache) drop(name string) {
	c.mu.Lock()
	c.lru.Remove(name)
	evicted := c.shrink(0)
	c.mu.Unlock()
	if err := c.remove(evicted); err != nil {
		c.failed(err)
	}
}

// add keeps verified content, in the place of what was used least lately.
func (c *DiskCache) add(name string, content []byte) {
	if c == nil {
		return
	}
	cost := diskCost(int64(len(content)))
	c.mu.Lock()
	if cost > c.limit || c.lru.Contains(name) || time.Now().Before(c.broken) {
		c.mu.Unlock()
		return
	}
	// Counted before it is there, so that there never is more than the limit.
	evicted := c.shrink(cost)
	c.used += cost
	c.mu.Unlock()

	err := c.remove(evicted)
	if err == nil {
		err = c.write(name, content)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used -= cost
	if err == nil && !c.lru.Contains(name) { // another may have been as fast
		c.lru.Add(name, &diskEntry{cost: cost, touched: time.Now()})
		c.used += cost
	}
	c.bytes.Set(float64(c.used))
	if err != nil {
		c.failedLocked(err)
	}
}

// shrink makes room for more octets, and gives the files to be removed for it.
func (c *DiskCache) shrink(more int64) []string {
	for c.used+more > c.limit {
		if _, _, ok := c.lru.RemoveOldest(); !ok {
			break // what is being written now
		}
	}
	evicted := c.evicted
	c.evicted = nil
	c.bytes.Set(float64(c.used))
	return evicted
}

func (c *DiskCache) remove(names []string) error {
	var failed error
	for _, name := range names {
		if err := os.Remove(c.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = err
		}
	}
	return failed
}

// write makes an entry appear at once.
func (c *DiskCache) write(name string, content []byte) error {
	temp := filepath.Join(c.dir, "tmp", strconv.FormatUint(c.temp.Add(1), 10))
	err := os.WriteFile(temp, content, 0o600)
	if err == nil {
		if err = os.Rename(temp, c.file(name)); errors.Is(err, fs.ErrNotExist) {
			if err = os.Mkdir(filepath.Join(c.dir, name[:2]), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				err = os.Rename(temp, c.file(name))
			}
		}
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

func (c *DiskCache) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failedLocked(err)
}

// failedLocked leaves the disk alone for a while.
func (c *DiskCache) failedLocked(err error) {
	c.faults.Inc()
	if now := time.Now(); now.After(c.broken) {
		c.broken = now.Add(diskRest)
		c.log.Warn("the disk of the read cache fails", "error", err)
	}
}
