package body

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

func openDiskCache(t *testing.T, dir string, limit int64) *DiskCache {
	t.Helper()
	c, err := OpenDiskCache(dir, limit, slog.New(slog.NewTextHandler(t.Output(), nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// diskUse sums up what the files of a directory take.
func diskUse(t *testing.T, dir string) (files int, octets int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "lock" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		octets += diskCost(info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, octets
}

// entries gives the files of a cache.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withDisk makes a body store that caches on disk and not in memory.
func withDisk(t *testing.T, dir string, limit int64) *fixture {
	t.Helper()
	return newStore(t, Config{CacheBytes: -1, Disk: openDiskCache(t, dir, limit)})
}

func readAll(t *testing.T, f *fixture, l Location, want []byte) (gets int64) {
	t.Helper()
	before := f.objects.gets.Load()
	var got bytes.Buffer
	if _, err := f.open(t, l).WriteRange(t.Context(), &got, 0, -1); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("read %d octets of %d, %v", got.Len(), len(want), err)
	}
	return f.objects.gets.Load() - before
}

func TestDiskCacheSpares(t *testing.T) {
	dir := t.TempDir()
	f := withDisk(t, dir, 64<<20)
	small, large := text(3000), noise(3*pack.ChunkSize+5)
	l := f.put(t, small, large)
	for i, body := range [][]byte{small, large} {
		if gets := readAll(t, f, l[i], body); gets == 0 {
			t.Error("nothing was read of the object store")
		}
		if gets := readAll(t, f, l[i], body); i == 0 && gets != 0 {
			t.Errorf("%d reads of what is on disk", gets)
		}
	}
	// After a restart, too.
	if err := f.disk.Close(); err != nil {
		t.Fatal(err)
	}
	f.disk = openDiskCache(t, dir, 64<<20)
	if gets := readAll(t, f, l[0], small); gets != 0 {
		t.Errorf("%d reads of what was on disk before the restart", gets)
	}
	for i := range int64(4) {
		before := f.objects.gets.Load()
		if _, err := f.open(t, l[1]).WriteRange(t.Context(), io.Discard, i*pack.ChunkSize, 5); err != nil || f.objects.gets.Load() != before {
			t.Errorf("chunk %d was read of the object store, %v", i, err)
		}
	}
}

func TestDiskCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	const limit = 40 * diskBlock
	c := openDiskCache(t, dir, limit)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				name := diskName(fmt.Sprint(w), int64(i), 1)
				c.add(name, make([]byte, 1+(i*997)%(3*diskBlock)))
				if got, ok := c.get(name); ok && len(got) != 1+(i*997)%(3*diskBlock) {
					t.Errorf("got %d octets", len(got))
				}
			}
		})
	}
	wg.Wait()
	files, octets := diskUse(t, dir)
	if octets > limit || octets < limit/2 || octets != c.used || files != c.lru.Len() {
		t.Errorf("%d octets in %d files, counted %d in %d, limit %d", octets, files, c.used, c.lru.Len(), limit)
	}
	c.add(diskName("huge", 0, 1), make([]byte, limit+1))
	if c.has(diskName("huge", 0, 1)) {
		t.Error("keeps what is larger than the cache")
	}
	// A smaller limit holds for what is there already.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	openDiskCache(t, dir, limit/4)
	if _, octets := diskUse(t, dir); octets > limit/4 || octets == 0 {
		t.Errorf("%d octets after the limit became %d", octets, limit/4)
	}
}

func TestDiskCacheKeepsWhatIsUsed(t *testing.T) {
	c := openDiskCache(t, t.TempDir(), 10*diskBlock)
	used := diskName("used", 0, 1)
	c.add(used, []byte("used"))
	for i := range 50 {
		c.add(diskName("other", int64(i), 1), []byte("other"))
		if got, ok := c.get(used); !ok || string(got) != "used" {
			t.Fatalf("gone after %d others", i)
		}
	}
	if c.has(diskName("other", 0, 1)) {
		t.Error("what nobody uses stays")
	}
}

func TestDiskCacheIsNotTrusted(t *testing.T) {
	for name, harm := range map[string]func(file string) error{
		"other octets":     func(file string) error { return os.WriteFile(file, bytes.Repeat([]byte("x"), 5000), 0o600) },
		"cut by a crash":   func(file string) error { return os.Truncate(file, 100) },
		"empty by a crash": func(file string) error { return os.Truncate(file, 0) },
		"removed":          os.Remove,
		"a folder": func(file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Mkdir(file, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := withDisk(t, dir, 64<<20)
			small, large := text(3000), noise(2*pack.ChunkSize)
			l := f.put(t, small, large)
			readAll(t, f, l[0], small)
			readAll(t, f, l[1], large)
			files := entries(t, dir)
			if len(files) < 3 {
				t.Fatalf("%d entries", len(files))
			}
			for _, file := range files {
				if err := harm(file); err != nil {
					t.Fatal(err)
				}
			}
			if gets := readAll(t, f, l[0], small); gets != 1 {
				t.Errorf("%d reads of the object store", gets)
			}
			readAll(t, f, l[1], large)
		})
	}
}

func TestDiskCacheThatFailsHarmsNobody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	f := withDisk(t, dir, 64<<20)
	body := text(3000)
	l := f.put(t, body)[0]
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the directory was
		t.Fatal(err)
	}
	for range 3 {
		if gets := readAll(t, f, l, body); gets != 1 {
			t.Errorf("%d reads", gets)
		}
	}
	if got := testutil.ToFloat64(f.disk.faults); got != 1 {
		t.Errorf("%v failures counted: the disk must be left alone after one", got)
	}
	if f.disk.used != 0 {
		t.Errorf("%d octets counted", f.disk.used)
	}
}

func TestDiskCacheAfterKill(t *testing.T) {
	dir := t.TempDir()
	c := openDiskCache(t, dir, 64<<20)
	c.add(diskName("a", 0, 1), []byte("a"))
	if err := os.WriteFile(filepath.Join(dir, "tmp", "7"), []byte("half an ent"), 0o600); err != nil {
		t.Fatal(err)
	}
	if second, err := OpenDiskCache(dir, 1<<20, slog.New(slog.DiscardHandler), nil); err == nil {
		t.Errorf("opened twice; closing says %v", second.Close())
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = openDiskCache(t, dir, 64<<20)
	if files, _ := diskUse(t, dir); files != 1 || !c.has(diskName("a", 0, 1)) {
		t.Errorf("%d files are left", files)
	}
}

// flipping damages the first reads of a store on their way.
type flipping struct {
	object.Store
	left atomic.Int64
}

func (s *flipping) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	in, err := s.Store.GetRange(ctx, key, off, n)
	if err != nil || s.left.Add(-1) < 0 {
		return in, err
	}
	defer in.Close()
	content, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	content[len(content)/2] ^= 1
	return io.NopCloser(bytes.NewReader(content)), nil
}

func TestWhatWasDamagedOnTheWayIsReadAgain(t *testing.T) {
	for _, size := range []int{3000, 3*pack.ChunkSize + 5} {
		f := newStore(t, Config{CacheBytes: -1, Disk: openDiskCache(t, t.TempDir(), 64<<20)})
		body := noise(size)
		l := f.put(t, body)[0]
		harm := &flipping{Store: f.objects.Store}
		f.objects.Store = harm
		for range 2 { // the table, then what it tells of
			harm.left.Store(1)
			readAll(t, f, l, body)
			if harm.left.Load() >= 0 {
				t.Fatal("nothing was read")
			}
			for _, name := range entries(t, f.disk.dir) {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
