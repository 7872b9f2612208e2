package body

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/services/storage/internal/batch"
	"github.com/yubin-mail/yubin/services/storage/internal/object"
	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// noise is incompressible, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)}).Read(b)
	return b
}

// text is what mail looks like to a compressor.
func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "Line %d of a message that says much the same again and again.\r\n", i*i)
	}
	return b.Bytes()[:n]
}

// watched counts the reads of a store, and may hold them up or refuse writes.
type watched struct {
	object.Store
	gets atomic.Int64
	gate chan struct{}
	put  error
}

func (w *watched) GetRange(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	w.gets.Add(1)
	if w.gate != nil {
		select {
		case <-w.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w.Store.GetRange(ctx, key, off, n)
}

func (w *watched) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	if w.put != nil {
		return w.put
	}
	return w.Store.Put(ctx, key, r, size)
}

type fixture struct {
	*Store
	dir     string
	objects *watched
	spools  *Spools
}

func newStore(t testing.TB, cfg Config) *fixture {
	t.Helper()
	dir := t.TempDir()
	objects, err := object.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := objects.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &watched{Store: objects}
	cfg.Objects = w
	cfg.Registerer = prometheus.NewRegistry()
	s, err := NewStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Store: s, dir: dir, objects: w, spools: openSpools(t, SpoolConfig{})}
}

func (f *fixture) put(t testing.TB, bodies ...[]byte) []Location {
	t.Helper()
	var pending []*Pending
	for i, b := range bodies {
		pending = append(pending, &Pending{Spool: spool(t, f.spools, b, 64<<10), Meta: fmt.Appendf(nil, "meta %d", i)})
	}
	locations, err := f.Put(t.Context(), pending)
	if err != nil {
		t.Fatal(err)
	}
	return locations
}

func (f *fixture) open(t testing.TB, l Location) *Body {
	t.Helper()
	b, err := f.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) keys(t testing.TB) (keys []string) {
	t.Helper()
	for info, err := range f.objects.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// file of an object on the disk.
func (f *fixture) file(t testing.TB, key string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(f.dir, "objects", filepath.Dir(key), "*", filepath.Base(key)))
	if err != nil || len(found) != 1 {
		t.Fatalf("files of %s: %v, %v", key, found, err)
	}
	return found[0]
}

func TestPutAndRead(t *testing.T) {
	f := newStore(t, Config{})
	bodies := [][]byte{
		{}, []byte("x"), text(2000), noise(1 << 20), text(pack.ChunkSize), text(pack.ChunkSize + 1), // in one pack
		text(1<<20 + 1), noise(3_000_000), // each its own
	}
	locations := f.put(t, bodies...)
	if keys := f.keys(t); len(keys) != 3 {
		t.Errorf("%d objects, want a pack and two of their own: %q", len(keys), keys)
	}
	for i, l := range locations {
		b := f.open(t, l)
		if b.Size() != int64(len(bodies[i])) {
			t.Errorf("body %d: size %d", i, b.Size())
		}
		var got bytes.Buffer
		if n, err := b.WriteRange(t.Context(), &got, 0, -1); err != nil || n != b.Size() || !bytes.Equal(got.Bytes(), bodies[i]) {
			t.Errorf("body %d of %d octets: read %d, %v", i, len(bodies[i]), n, err)
		}
		if len(bodies[i]) < 10_000 {
			if err := iotest.TestReader(io.NewSectionReader(b, 0, b.Size()), bodies[i]); err != nil {
				t.Errorf("body %d: %v", i, err)
			}
		}
		if again, err := ParseLocation(l.String()); err != nil || again != l {
			t.Errorf("location %v parses as %v, %v", l, again, err)
		}
		if i < 6 != (l.Object == locations[0].Object) {
			t.Errorf("body %d of %d octets lies in %s, the first in %s", i, len(bodies[i]), l.Object, locations[0].Object)
		}
	}
}

// The database is lost: the objects alone give the bodies and their metas back.
func TestObjectsAloneSuffice(t *testing.T) {
	f := newStore(t, Config{})
	want := map[string][]byte{"meta 0": text(100), "meta 1": text(3000), "meta 2": noise(2_000_000)}
	f.put(t, want["meta 0"], want["meta 1"], want["meta 2"])
	got := make(map[string][]byte)
	for _, key := range f.keys(t) {
		file, err := os.ReadFile(f.file(t, key))
		if err != nil {
			t.Fatal(err)
		}
		r, err := pack.Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, frame := range r.Frames() {
			var b bytes.Buffer
			if _, err := r.WriteFrame(&b, frame); err != nil {
				t.Fatal(err)
			}
			got[string(frame.Meta)] = b.Bytes()
		}
	}
	for meta, body := range want {
		if !bytes.Equal(got[meta], body) {
			t.Errorf("%s: %d octets came back of %d", meta, len(got[meta]), len(body))
		}
	}
}

func TestRanges(t *testing.T) {
	body := append(text(2*pack.ChunkSize+100), noise(pack.ChunkSize)...)
	size := int64(len(body))
	for _, cache := range []int64{-1, 300_000, 64 << 20} {
		f := newStore(t, Config{CacheBytes: cache})
		b := f.open(t, f.put(t, body)[0])
		r := rand.New(rand.NewPCG(1, 2))
		ranges := [][2]int64{{0, 0}, {0, 1}, {size - 1, 1}, {size, 1}, {size, -1}, {size + 5, 1}, {0, size + 9}, {1, -1}, {0, 1<<63 - 1}, {5, 1<<63 - 1},
			{pack.ChunkSize - 1, 2}, {pack.ChunkSize, pack.ChunkSize}, {pack.ChunkSize - 1, pack.ChunkSize + 2}}
		for range 60 {
			ranges = append(ranges, [2]int64{r.Int64N(size), r.Int64N(size)})
		}
		for _, x := range ranges {
			off, n := x[0], x[1]
			want := body[min(off, size):]
			if n >= 0 && n < int64(len(want)) {
				want = want[:n]
			}
			var got bytes.Buffer
			written, err := b.WriteRange(t.Context(), &got, off, n)
			if err != nil || written != int64(len(want)) || !bytes.Equal(got.Bytes(), want) {
				t.Fatalf("cache %d: range %d+%d: %d octets, %v; want %d", cache, off, n, written, err, len(want))
			}
		}
		if _, err := b.WriteRange(t.Context(), io.Discard, -1, 1); err == nil {
			t.Error("negative offset passes")
		}
		if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("negative offset passes")
		}
	}
}

// A range of a large body must not read all of it.
func TestRangeReadsItsChunksOnly(t *testing.T) {
	f := newStore(t, Config{CacheBytes: -1})
	body := noise(40 * pack.ChunkSize)
	l := f.put(t, body)[0]
	file := f.file(t, l.Object)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// All but chunk 20 and the table is destroyed.
	at := bytes.Index(data, body[20*pack.ChunkSize:21*pack.ChunkSize])
	table := int(l.Offset+l.Stored) - 40*16
	clear(data[:at-16])
	clear(data[at+pack.ChunkSize : table])
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1000)
	if n, err := f.open(t, l).ReadAt(got, 20*pack.ChunkSize+77); err != nil || !bytes.Equal(got, body[20*pack.ChunkSize+77:][:1000]) {
		t.Errorf("read %d, %v", n, err)
	}
	if n, err := f.open(t, l).ReadAt(got, 19*pack.ChunkSize+77); !errors.Is(err, ErrCorrupt) {
		t.Errorf("read of a destroyed chunk: %d, %v", n, err)
	}
}

func TestCorruptObject(t *testing.T) {
	for _, size := range []int{1, 3000, 3*pack.ChunkSize + 5} {
		for name, harm := range map[string]func(data []byte, l Location) []byte{
			"flipped": func(data []byte, l Location) []byte {
				data[l.Offset+l.Stored-int64(l.frame().Chunks()*16)-1] ^= 4 // the last octet of content
				return data
			},
			"table":   func(data []byte, l Location) []byte { data[l.Offset+l.Stored-1] ^= 4; return data },
			"zeros":   func(data []byte, l Location) []byte { clear(data); return data },
			"cut":     func(data []byte, l Location) []byte { return data[:l.Offset+l.Stored/2] },
			"cut end": func(data []byte, l Location) []byte { return data[:l.Offset+l.Stored-1] },
			"empty":   func([]byte, Location) []byte { return nil },
			"another": func(data []byte, l Location) []byte { return append(make([]byte, 5), data...) },
		} {
			t.Run(fmt.Sprintf("%d %s", size, name), func(t *testing.T) {
				f := newStore(t, Config{})
				body := noise(size)
				l := f.put(t, text(50), body, text(50))[1]
				file := f.file(t, l.Object)
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, harm(data, l), 0o600); err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				_, err = f.open(t, l).WriteRange(t.Context(), &got, 0, -1)
				corrupt, ok := errors.AsType[*CorruptError](err)
				if !errors.Is(err, ErrCorrupt) || !ok || corrupt.Object != l.Object || corrupt.Offset != l.Offset {
					t.Errorf("read: %v", err)
				}
				if !bytes.HasPrefix(body, got.Bytes()) {
					t.Error("wrong octets were given")
				}
			})
		}
	}
}

// What comes from the database may be wrong, too.
func TestWrongLocation(t *testing.T) {
	f := newStore(t, Config{})
	right := f.put(t, text(3000), text(300_000), text(5000))
	for i, l := range right {
		for name, wrong := range map[string]Location{
			"sum":           {l.Object, l.Offset, l.Stored, l.Size, l.Sum + 1},
			"size":          {l.Object, l.Offset, l.Stored, l.Size + 1, l.Sum},
			"less":          {l.Object, l.Offset, l.Stored, l.Size - 1, l.Sum},
			"offset":        {l.Object, l.Offset + 1, l.Stored, l.Size, l.Sum},
			"stored":        {l.Object, l.Offset, l.Stored + 1, l.Size, l.Sum},
			"shorter":       {l.Object, l.Offset, l.Stored - 1, l.Size, l.Sum},
			"huge":          {l.Object, l.Offset, 1 << 50, l.Size, l.Sum},
			"huge size":     {l.Object, l.Offset, 1 << 50, 1 << 35, l.Sum},
			"absurd size":   {l.Object, l.Offset, 1 << 62, 1 << 62, l.Sum},
			"negative size": {l.Object, l.Offset, l.Stored, -1, l.Sum},
			"negative":      {l.Object, -1, l.Stored, l.Size, l.Sum},
			"no stored":     {l.Object, l.Offset, 0, l.Size, l.Sum},
			"other frame":   {l.Object, right[(i+1)%3].Offset, right[(i+1)%3].Stored, l.Size, l.Sum},
			"object":        {KeyPrefix + "gone", l.Offset, l.Stored, l.Size, l.Sum},
		} {
			b, err := f.Open(t.Context(), wrong)
			if err == nil {
				_, err = b.WriteRange(t.Context(), io.Discard, 0, -1)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("body %d, wrong %s: %v", i, name, err)
			}
			if missing := errors.Is(err, object.ErrNotFound); missing != (name == "object") {
				t.Errorf("body %d, wrong %s: missing %t", i, name, missing)
			}
		}
	}
}

func TestCache(t *testing.T) {
	f := newStore(t, Config{CacheBytes: 4 << 20})
	small, large := text(3000), noise(20*pack.ChunkSize)
	locations := f.put(t, small, large)
	read := func(l Location, off, n int64) int64 {
		t.Helper()
		before := f.objects.gets.Load()
		if _, err := f.open(t, l).WriteRange(t.Context(), io.Discard, off, n); err != nil {
			t.Fatal(err)
		}
		return f.objects.gets.Load() - before
	}
	for _, step := range []struct {
		name string
		l    Location
		off  int64
		n    int64
		want int64
	}{
		{"small", locations[0], 0, -1, 1},
		{"small again", locations[0], 10, 20, 0},
		{"table and chunk", locations[1], 0, 10, 2},
		{"chunk again", locations[1], 5000, 10, 0},
		{"next chunk", locations[1], pack.ChunkSize, 1, 1},
		{"two known chunks", locations[1], 0, 2 * pack.ChunkSize, 0},
		{"whole: known, and the rest in one read", locations[1], 0, -1, 1},
		{"whole again: not kept", locations[1], 0, -1, 1},
		{"the whole did not drive out", locations[0], 0, -1, 0},
	} {
		if got := read(step.l, step.off, step.n); got != step.want {
			t.Errorf("%s: %d reads of objects, want %d", step.name, got, step.want)
		}
	}
	for i := range int64(20) {
		read(locations[1], i*pack.ChunkSize, 1)
		if f.cache.used > 4<<20 {
			t.Fatalf("cache holds %d octets", f.cache.used)
		}
	}
	if f.cache.lru.Len() < 10 || testutil.ToFloat64(f.metrics.cacheBytes) != float64(f.cache.used) {
		t.Errorf("cache holds %d entries of %d octets", f.cache.lru.Len(), f.cache.used)
	}
	if got := testutil.ToFloat64(f.metrics.cacheHits); got == 0 {
		t.Error("no hits counted")
	}
}

// Many devices ask for a new message at once: it is read once.
func TestReadsAreShared(t *testing.T) {
	f := newStore(t, Config{})
	body := text(3000)
	l := f.put(t, body)[0]
	synctest.Test(t, func(t *testing.T) {
		f.objects.gate = make(chan struct{})
		impatient, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.open(t, l).WriteRange(impatient, io.Discard, 0, -1); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left: %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				var got bytes.Buffer
				if _, err := f.open(t, l).WriteRange(t.Context(), &got, 0, -1); err != nil || !bytes.Equal(got.Bytes(), body) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(f.objects.gate)
		wg.Wait()
	})
	if got := f.objects.gets.Load(); got != 1 {
		t.Errorf("%d reads", got)
	}
}

func TestReadTimesOut(t *testing.T) {
	f := newStore(t, Config{ReadTimeout: time.Second})
	l := f.put(t, text(3000))[0]
	synctest.Test(t, func(t *testing.T) {
		f.objects.gate = make(chan struct{})
		if _, err := f.open(t, l).WriteRange(t.Context(), io.Discard, 0, -1); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrCorrupt) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestPutFails(t *testing.T) {
	f := newStore(t, Config{})
	bodies := []*Pending{{Spool: spool(t, f.spools, text(100), 100)}, {Spool: spool(t, f.spools, noise(3<<20), 1<<16)}}
	f.objects.put = object.ErrFull
	if _, err := f.Put(t.Context(), bodies); !errors.Is(err, object.ErrFull) {
		t.Errorf("Put: %v", err)
	}
	f.objects.put = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Put(ctx, bodies); !errors.Is(err, context.Canceled) {
		t.Errorf("Put after cancel: %v", err)
	}
	if _, err := f.Put(t.Context(), []*Pending{{Spool: bodies[0].Spool, Meta: make([]byte, pack.MaxMeta+1)}}); err == nil {
		t.Error("meta too long passes")
	}
	if keys := f.keys(t); len(keys) != 0 {
		t.Errorf("objects left: %q", keys)
	}
	if locations, err := f.Put(t.Context(), nil); err != nil || len(locations) != 0 {
		t.Errorf("Put of nothing: %v, %v", locations, err)
	}
}

// A disk that gives back other octets than were spooled must not end in a stored message.
func TestPutVerifiesSpool(t *testing.T) {
	f := newStore(t, Config{})
	for _, size := range []int{2 << 20, 4 << 20} {
		store, err := NewStore(Config{Objects: f.objects, LargeBytes: 3 << 20})
		if err != nil {
			t.Fatal(err)
		}
		s := spool(t, f.spools, text(size), 1<<16)
		if _, err := s.file.WriteAt([]byte("X"), 1<<20); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Put(t.Context(), []*Pending{{Spool: s}}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("Put of %d octets: %v", size, err)
		}
	}
	if keys := f.keys(t); len(keys) != 0 {
		t.Errorf("objects left: %q", keys)
	}
}

func TestPutSplitsPacks(t *testing.T) {
	f := newStore(t, Config{})
	var bodies [][]byte
	for i := range 40 {
		bodies = append(bodies, noise(900_000+i))
	}
	locations := f.put(t, bodies...)
	if keys := f.keys(t); len(keys) != 3 {
		t.Errorf("36 MB in %d packs", len(keys))
	}
	for i, l := range locations {
		got := make([]byte, len(bodies[i]))
		if _, err := f.open(t, l).ReadAt(got, 0); err != nil || !bytes.Equal(got, bodies[i]) {
			t.Errorf("body %d: %v", i, err)
		}
	}
	// The metas count: 40 of a MiB do not fit into the index of one pack.
	var pending []*Pending
	for range 40 {
		pending = append(pending, &Pending{Spool: spool(t, f.spools, []byte("x"), 1), Meta: make([]byte, pack.MaxMeta)})
	}
	if _, err := f.Put(t.Context(), pending); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	now := time.Date(2026, 1, 31, 23, 59, 59, 999_500_000, time.FixedZone("", 3600))
	var last string
	seen := make(map[string]bool)
	for i := range 100 {
		at := now.Add(time.Duration(i) * 10 * time.Minute)
		key := NewKey(at)
		got, err := ObjectTime(key)
		if err != nil || !got.Equal(at.Truncate(time.Millisecond)) {
			t.Errorf("time of %s: %v, %v; want %v", key, got, err, at)
		}
		if err := object.CheckKey(key); err != nil {
			t.Error(err)
		}
		if key <= last || seen[key] {
			t.Errorf("%s comes after %s", key, last)
		}
		last, seen[key] = key, true
	}
	if key := NewKey(now); !strings.HasPrefix(key, "packs/20260131/") {
		t.Errorf("key %s", key)
	}
	good := NewKey(now)
	for _, key := range []string{"", "packs/", good[1:], good + "0", "packs/20260130" + good[14:], "packs/20260131/7f1d5bd2-1111-4000-8000-000000000000",
		strings.ReplaceAll(good, "-", "")} {
		if at, err := ObjectTime(key); err == nil {
			t.Errorf("ObjectTime(%q) = %v", key, at)
		}
	}
}

func TestParseLocation(t *testing.T) {
	for _, s := range []string{"", "a", "a:1:2:3", "a:1:2:3:4", "../a:1:2:3:0000000000000004", "a:-1:2:3:0000000000000004",
		"a:1:9223372036854775808:3:0000000000000004", "a:1:2:3:000000000000000x", "a:1:2:3:0000000000000004:5"} {
		if l, err := ParseLocation(s); err == nil {
			t.Errorf("ParseLocation(%q) = %v", s, l)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch-%d", n), func(b *testing.B) {
			f := newStore(b, Config{})
			var pending []*Pending
			for range n {
				pending = append(pending, &Pending{Spool: spool(b, f.spools, text(4000), 4000), Meta: make([]byte, 100)})
			}
			b.SetBytes(int64(4000 * n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Put(b.Context(), pending); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "bodies/s")
		})
	}
}

// BenchmarkGroupCommit compares clients that each put for themselves with clients that share packs.
func BenchmarkGroupCommit(b *testing.B) {
	for _, clients := range []int{1, 64} {
		for _, shared := range []bool{false, true} {
			b.Run(fmt.Sprintf("clients-%d-shared-%t", clients, shared), func(b *testing.B) {
				f := newStore(b, Config{})
				queue := batch.New(batch.Config{}, func(p *Pending) int64 { return p.Spool.Size() },
					func(ctx context.Context, bodies []*Pending) []batch.Result[Location] {
						results := make([]batch.Result[Location], len(bodies))
						locations, err := f.Put(ctx, bodies)
						for i := range results {
							results[i].Err = err
							if err == nil {
								results[i].Value = locations[i]
							}
						}
						return results
					})
				p := &Pending{Spool: spool(b, f.spools, text(4000), 4000), Meta: make([]byte, 100)}
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for left.Add(-1) >= 0 {
							var err error
							if shared {
								_, err = queue.Submit(b.Context(), p)
							} else {
								_, err = f.Put(b.Context(), []*Pending{p})
							}
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bodies/s")
			})
		}
	}
}

func BenchmarkPutLarge(b *testing.B) {
	f := newStore(b, Config{})
	body := append(text(10<<20), noise(15<<20)...)
	pending := []*Pending{{Spool: spool(b, f.spools, body, 64<<10)}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Put(b.Context(), pending); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, size := range []int{4000, 25 << 20} {
		for name, cache := range map[string]int64{"cached": 64 << 20, "uncached": -1} {
			b.Run(fmt.Sprintf("%d-%s", size, name), func(b *testing.B) {
				f := newStore(b, Config{CacheBytes: cache})
				body := f.open(b, f.put(b, text(size))[0])
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := body.WriteRange(b.Context(), io.Discard, 0, -1); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
