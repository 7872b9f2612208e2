package batch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// recorder is a flush that takes its time and remembers its batches.
type recorder struct {
	takes time.Duration
	mu    sync.Mutex
	seen  [][]int
	fail  map[int]error
}

func (r *recorder) flush(ctx context.Context, items []int) []Result[string] {
	r.mu.Lock()
	r.seen = append(r.seen, slices.Clone(items))
	r.mu.Unlock()
	results := make([]Result[string], len(items))
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		for i := range results {
			results[i].Err = ctx.Err()
		}
		return results
	}
	for i, item := range items {
		results[i] = Result[string]{Value: fmt.Sprint(item), Err: r.fail[item]}
	}
	return results
}

func (r *recorder) sizes() (sizes []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, batch := range r.seen {
		sizes = append(sizes, len(batch))
	}
	return sizes
}

func octets(item int) int64 { return int64(item) }

// submit expects item's own result.
func submit(t *testing.T, b *Batcher[int, string], item int) {
	if got, err := b.Submit(t.Context(), item); err != nil || got != fmt.Sprint(item) {
		t.Errorf("Submit(%d) = %q, %v", item, got, err)
	}
}

func closeNow(t *testing.T, b *Batcher[int, string]) {
	t.Helper()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLoneDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		b := New(Config{}, octets, r.flush)
		start := time.Now()
		for i := range 100 {
			submit(t, b, i)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("100 lone submissions waited %v", took)
		}
		if len(r.seen) != 100 {
			t.Errorf("%d flushes", len(r.seen))
		}
		closeNow(t, b)
	})
}

func TestGathersWhileFlushing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: 10 * time.Millisecond}
		b := New(Config{}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 51 {
			wg.Go(func() { submit(t, b, i) })
			synctest.Wait()
		}
		wg.Wait()
		if got := r.sizes(); !slices.Equal(got, []int{1, 50}) {
			t.Errorf("flushes of %v", got)
		}
		if !slices.IsSorted(r.seen[1]) {
			t.Errorf("not first come first served: %v", r.seen[1])
		}
		closeNow(t, b)
	})
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   Config
		items []int
		want  [][]int
	}{
		{"items", Config{MaxItems: 3}, []int{1, 2, 3, 4, 5, 6, 7}, [][]int{{1, 2, 3}, {4, 5, 6}, {7}}},
		{"octets", Config{MaxBytes: 10}, []int{5, 5, 5, 4, 3, 10, 1}, [][]int{{5, 5}, {5, 4}, {3}, {10}, {1}}},
		{"larger than the limit", Config{MaxBytes: 10}, []int{1, 1000, 2, 3}, [][]int{{1}, {1000}, {2, 3}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{takes: 10 * time.Millisecond}
				b := New(test.cfg, octets, r.flush)
				var wg sync.WaitGroup
				for _, item := range append([]int{0}, test.items...) {
					wg.Go(func() { submit(t, b, item) })
					synctest.Wait()
				}
				wg.Wait()
				if got := r.seen[1:]; !slices.EqualFunc(got, test.want, slices.Equal) {
					t.Errorf("flushes %v, want %v", got, test.want)
				}
				closeNow(t, b)
			})
		})
	}
}

// Clients that come again a moment after each answer are served together, though no flush is running when they come.
func TestWaitsUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, rounds = 20, 50
		r := &recorder{takes: 5 * time.Millisecond}
		b := New(Config{}, octets, r.flush)
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range rounds {
					submit(t, b, c*1000+i)
					time.Sleep(time.Duration(c) * 50 * time.Microsecond) // up to 1 ms: the client's own work
				}
			})
		}
		wg.Wait()
		// All but those whom the first flush took come a flush later, and so do their last submissions.
		sizes := r.sizes()
		for i, n := range sizes {
			if n != clients && i != 0 && i != len(sizes)-1 {
				t.Errorf("%d clients were served in flushes of %v", clients, sizes)
				break
			}
		}
		// The load is over: one flush may have waited in vain, the next does not.
		time.Sleep(time.Second)
		start := time.Now()
		submit(t, b, 1)
		submit(t, b, 2)
		if took := time.Since(start); took != 2*r.takes {
			t.Errorf("two lone submissions after load took %v", took)
		}
		closeNow(t, b)
	})
}

// A slow flush holds up a lone submission only for a while, and many only until they are worth a flush.
func TestFlushesBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		b := New(Config{MaxFlushes: 3, Full: 4, Patience: 50 * time.Millisecond}, octets, r.flush)
		var wg sync.WaitGroup
		start := time.Now()
		took := make([]time.Duration, 9)
		for i := range took {
			wg.Go(func() {
				submit(t, b, i)
				took[i] = time.Since(start)
			})
			synctest.Wait()
			if i == 5 { // 1 to 4 were worth a flush, 5 is not
				time.Sleep(60 * time.Millisecond)
			}
		}
		wg.Wait()
		if want := [][]int{{0}, {1, 2, 3, 4}, {5}, {6, 7, 8}}; !slices.EqualFunc(r.seen, want, slices.Equal) {
			t.Errorf("flushes %v, want %v", r.seen, want)
		}
		late := time.Second + 50*time.Millisecond
		if took[0] != time.Second || took[4] != time.Second || took[5] != late || took[8] != 2*time.Second {
			t.Errorf("submissions took %v", took)
		}
		closeNow(t, b)
	})
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		b := New(Config{Wait: 2 * time.Millisecond}, octets, r.flush)
		var wg sync.WaitGroup
		r.takes = time.Millisecond
		for i := range 10 {
			wg.Go(func() { submit(t, b, i) })
			synctest.Wait()
		}
		wg.Wait()
		r.takes = 0
		start := time.Now()
		submit(t, b, 100) // comes while the flush waits for nine
		if took := time.Since(start); took != 2*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		closeNow(t, b)
	})
}

func TestNoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Millisecond}
		b := New(Config{Wait: -1}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() { submit(t, b, i) })
			synctest.Wait()
		}
		wg.Wait()
		start := time.Now()
		submit(t, b, 100)
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("took %v", took)
		}
		closeNow(t, b)
	})
}

func TestCancelBeforeFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		b := New(Config{MaxBytes: 100}, octets, r.flush)
		var wg sync.WaitGroup
		wg.Go(func() { submit(t, b, 1) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for _, item := range []int{2, 99, 3} {
			wg.Go(func() {
				if item != 99 {
					submit(t, b, item)
					return
				}
				start := time.Now()
				if _, err := b.Submit(ctx, item); !errors.Is(err, context.Canceled) {
					t.Errorf("Submit: %v", err)
				}
				if took := time.Since(start); took != 0 {
					t.Errorf("a cancelled submission waited %v", took)
				}
			})
			synctest.Wait()
		}
		cancel()
		wg.Wait()
		// What was withdrawn does not count against the limit of octets either.
		if want := [][]int{{1}, {2, 3}}; !slices.EqualFunc(r.seen, want, slices.Equal) {
			t.Errorf("flushes %v, want %v", r.seen, want)
		}
		if _, err := b.Submit(ctx, 4); !errors.Is(err, context.Canceled) || len(r.seen) != 2 {
			t.Errorf("Submit with an ended context: %v", err)
		}
		closeNow(t, b)
	})
}

// What is being flushed may get stored: the caller must learn how it went, and must not free what the flush uses.
func TestCancelDuringFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		b := New(Config{}, octets, r.flush)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		start := time.Now()
		if got, err := b.Submit(ctx, 1); err != nil || got != "1" || time.Since(start) != time.Second {
			t.Errorf("Submit: %q, %v after %v", got, err, time.Since(start))
		}
		closeNow(t, b)
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := &recorder{takes: time.Second}
		b := New(Config{Name: "test", MaxQueue: 2, Registerer: reg}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 3 { // one in the flush, two wait
			wg.Go(func() { submit(t, b, i) })
			synctest.Wait()
		}
		if _, err := b.Submit(t.Context(), 9); !errors.Is(err, ErrBusy) {
			t.Errorf("Submit into a full queue: %v", err)
		}
		wg.Wait()
		submit(t, b, 9)
		want := `
# HELP yubin_storage_batch_queue_items Submissions that wait.
# TYPE yubin_storage_batch_queue_items gauge
yubin_storage_batch_queue_items{batch="test"} 0
# HELP yubin_storage_batch_refused_total Submissions refused because the queue was full.
# TYPE yubin_storage_batch_refused_total counter
yubin_storage_batch_refused_total{batch="test"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "yubin_storage_batch_queue_items", "yubin_storage_batch_refused_total"); err != nil {
			t.Error(err)
		}
		if n, err := testutil.GatherAndCount(reg, "yubin_storage_batch_items", "yubin_storage_batch_bytes", "yubin_storage_batch_wait_seconds",
			"yubin_storage_batch_flush_seconds"); err != nil || n != 4 {
			t.Errorf("%d histograms, %v", n, err)
		}
		closeNow(t, b)
	})
}

func TestItemsHaveTheirOwnErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		r := &recorder{takes: time.Millisecond, fail: map[int]error{2: broken}}
		b := New(Config{}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				if i != 2 {
					submit(t, b, i)
				} else if _, err := b.Submit(t.Context(), i); !errors.Is(err, broken) {
					t.Errorf("Submit: %v", err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		closeNow(t, b)
	})
}

func TestWrongNumberOfResults(t *testing.T) {
	b := New(Config{}, octets, func(context.Context, []int) []Result[string] { return nil })
	if got, err := b.Submit(t.Context(), 1); err == nil {
		t.Errorf("Submit = %q without an error", got)
	}
	closeNow(t, b)
}

func TestFlushTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Hour}
		b := New(Config{FlushTimeout: time.Second}, octets, r.flush)
		start := time.Now()
		if _, err := b.Submit(t.Context(), 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Submit: %v after %v", err, time.Since(start))
		}
		closeNow(t, b)
	})
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Second}
		b := New(Config{MaxItems: 2}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() { submit(t, b, i) })
			synctest.Wait()
		}
		for range 2 {
			wg.Go(func() {
				closeNow(t, b)
				if got := len(r.sizes()); got != 4 {
					t.Errorf("closed after %d flushes", got)
				}
			})
		}
		synctest.Wait()
		if _, err := b.Submit(t.Context(), 9); !errors.Is(err, ErrClosed) {
			t.Errorf("Submit while closing: %v", err)
		}
		wg.Wait()
		closeNow(t, b)
	})
}

func TestCloseUnused(t *testing.T) {
	b := New(Config{}, octets, (&recorder{}).flush)
	closeNow(t, b)
	closeNow(t, b)
	if _, err := b.Submit(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit after Close: %v", err)
	}
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{takes: time.Hour}
		b := New(Config{FlushTimeout: 2 * time.Hour}, octets, r.flush)
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				want := ErrClosed
				if i == 0 {
					want = context.Canceled // its flush had begun
				}
				if _, err := b.Submit(t.Context(), i); !errors.Is(err, want) {
					t.Errorf("Submit(%d): %v, want %v", i, err, want)
				}
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		wg.Wait()
	})
}

// Whatever the interleaving: each submission is flushed once and gets its own answer, or was withdrawn and is never flushed.
func TestManyClients(t *testing.T) {
	var mu sync.Mutex
	flushed := make(map[int]int)
	const flushes = 3
	var running atomic.Int32
	cfg := Config{MaxItems: 7, MaxQueue: 40, MaxBytes: 1 << 20, MaxFlushes: flushes, Full: 5, Patience: time.Millisecond, Wait: 100 * time.Microsecond}
	b := New(cfg, octets, func(_ context.Context, items []int) []Result[int] {
		if n := running.Add(1); n > flushes {
			t.Errorf("%d flushes at once", n)
		}
		defer running.Add(-1)
		mu.Lock()
		defer mu.Unlock()
		results := make([]Result[int], len(items))
		for i, item := range items {
			flushed[item]++
			results[i].Value = -item
		}
		return results
	})
	var wg sync.WaitGroup
	for c := range 50 {
		wg.Go(func() {
			for i := range 200 {
				item := c*1000 + i
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(300))*time.Microsecond)
				got, err := b.Submit(ctx, item)
				cancel()
				mu.Lock()
				n := flushed[item]
				mu.Unlock()
				switch {
				case err == nil && (n != 1 || got != -item):
					t.Errorf("item %d was flushed %d times and answered %d", item, n, got)
				case err != nil && n != 0:
					t.Errorf("item %d was flushed and answered %v", item, err)
				case err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("item %d: %v", item, err)
				}
			}
		})
	}
	wg.Wait()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(b.queue) != 0 || b.bytes != 0 {
		t.Errorf("%d items of %d octets left in the queue", len(b.queue), b.bytes)
	}
}

func BenchmarkSubmit(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients-%d", clients), func(b *testing.B) {
			bt := New(Config{}, octets, func(_ context.Context, items []int) []Result[int] { return make([]Result[int], len(items)) })
			b.SetParallelism(clients)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := bt.Submit(context.Background(), 1); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
