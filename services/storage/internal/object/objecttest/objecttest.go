// Package objecttest is the conformance suite that every object.Store passes.
package objecttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// Run checks a backend. open gives an empty store for each test and takes care of closing it.
func Run(t *testing.T, open func(t *testing.T) object.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s object.Store)
	}{
		{"PutGet", testPutGet},
		{"SizeUnknown", testSizeUnknown},
		{"WrongSize", testWrongSize},
		{"Ranges", testRanges},
		{"Missing", testMissing},
		{"Delete", testDelete},
		{"Keys", testKeys},
		{"PutAgain", testPutAgain},
		{"ListOrder", testListOrder},
		{"ListPages", testListPages},
		{"ListStop", testListStop},
		{"ReaderFails", testReaderFails},
		{"CancelPut", testCancelPut},
		{"Concurrent", testConcurrent},
		{"Large", testLarge},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(t *testing.T, s object.Store, key, content string) {
	t.Helper()
	if err := s.Put(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s object.Store, key string, off, n int64) string {
	t.Helper()
	r, err := s.GetRange(t.Context(), key, off, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func list(t *testing.T, s object.Store, prefix, after string) []string {
	t.Helper()
	var keys []string
	for info, err := range s.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// nothing asserts that no trace of a failed Put can be seen.
func nothing(t *testing.T, s object.Store, key string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), key); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("Stat of what was not put: %v, want ErrNotFound", err)
	}
	if keys := list(t, s, "", ""); len(keys) != 0 {
		t.Errorf("List shows what was not put: %q", keys)
	}
}

func testPutGet(t *testing.T, s object.Store) {
	for _, content := range []string{"", "a", strings.Repeat("line\r\n\x00\xff", 20_000)} {
		key := fmt.Sprintf("packs/20260131/%d", len(content))
		put(t, s, key, content)
		if got := get(t, s, key, 0, -1); got != content {
			t.Errorf("%s: got %d octets that differ from the %d put", key, len(got), len(content))
		}
		info, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if info.Key != key || info.Size != int64(len(content)) || info.Modified.IsZero() {
			t.Errorf("Stat = %+v", info)
		}
	}
}

func testSizeUnknown(t *testing.T, s object.Store) {
	for _, n := range []int{0, 1, 1 << 20} {
		content := strings.Repeat("x", n)
		key := fmt.Sprintf("unknown/%d", n)
		if err := s.Put(t.Context(), key, io.MultiReader(strings.NewReader(content)), object.SizeUnknown); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, key, 0, -1); got != content {
			t.Errorf("%s: got %d octets", key, len(got))
		}
	}
}

func testWrongSize(t *testing.T, s object.Store) {
	for _, size := range []int64{0, 4, 6, 1 << 20} {
		if err := s.Put(t.Context(), "a", strings.NewReader("12345"), size); !errors.Is(err, object.ErrSize) {
			t.Errorf("5 octets announced as %d: %v, want ErrSize", size, err)
		}
		nothing(t, s, "a")
	}
}

func testRanges(t *testing.T, s object.Store) {
	put(t, s, "a", "0123456789")
	put(t, s, "empty", "")
	for _, test := range []struct {
		key    string
		off, n int64
		want   string
	}{
		{"a", 0, 10, "0123456789"},
		{"a", 0, 1, "0"},
		{"a", 9, 1, "9"},
		{"a", 3, 4, "3456"},
		{"a", 3, -1, "3456789"},
		{"a", 8, 100, "89"},
		{"a", 4, 0, ""},
		{"a", 10, 1, ""},
		{"a", 10, -1, ""},
		{"a", 1 << 40, 1, ""},
		{"a", 1, 1<<63 - 1, "123456789"},
		{"empty", 0, -1, ""},
		{"empty", 0, 5, ""},
	} {
		if got := get(t, s, test.key, test.off, test.n); got != test.want {
			t.Errorf("GetRange(%s, %d, %d) = %q, want %q", test.key, test.off, test.n, got, test.want)
		}
	}
	if r, err := s.GetRange(t.Context(), "a", -1, 1); err == nil {
		t.Errorf("negative offset: no error, closing says %v", r.Close())
	}
}

func testMissing(t *testing.T, s object.Store) {
	put(t, s, "packs/day/there", "x")
	for _, key := range []string{"packs/day/missing", "packs/day", "packs", "packs/day/there/below", "packs/day/the"} {
		for _, n := range []int64{-1, 0, 1} {
			if r, err := s.GetRange(t.Context(), key, 0, n); !errors.Is(err, object.ErrNotFound) {
				t.Errorf("GetRange(%s, 0, %d): %v, want ErrNotFound", key, n, err)
				if err == nil {
					_ = r.Close()
				}
			}
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("Stat(%s): %v, want ErrNotFound", key, err)
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%s) of nothing: %v", key, err)
		}
	}
	if got := get(t, s, "packs/day/there", 0, -1); got != "x" {
		t.Errorf("the object there reads %q", got)
	}
}

func testDelete(t *testing.T, s object.Store) {
	put(t, s, "d/1", "one")
	put(t, s, "d/2", "two")
	for range 2 {
		if err := s.Delete(t.Context(), "d/1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Stat(t.Context(), "d/1"); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("Stat after Delete: %v", err)
	}
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"d/2"}) {
		t.Errorf("List after Delete: %q", got)
	}
	if err := s.Delete(t.Context(), "d/2"); err != nil {
		t.Fatal(err)
	}
	put(t, s, "d/1", "again")
	if got := get(t, s, "d/1", 0, -1); got != "again" {
		t.Errorf("put again after Delete: %q", got)
	}
}

func testKeys(t *testing.T, s object.Store) {
	long := strings.Repeat("n", 200)
	for _, key := range []string{"a", "A", "a-b_c.d", "b/b", "b/c/d", "a-b", "b/b-c", long, "x/" + long + "/" + long} {
		put(t, s, key, "content of "+key)
	}
	for _, key := range []string{"a", "A", "b/b", "b/c/d", long} {
		if got := get(t, s, key, 0, -1); got != "content of "+key {
			t.Errorf("%s reads %q", key, got)
		}
	}
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", "..", ".", "../a", "a/../b", "a/./b", ".hidden", "a/.tmp", "a\x00b", "a b", "a\\b", "é", "=a", "a\n",
		long + "n", strings.Repeat("n/", 300) + "n",
	} {
		if err := s.Put(t.Context(), key, strings.NewReader("x"), 1); !errors.Is(err, object.ErrKey) {
			t.Errorf("Put(%q): %v, want ErrKey", key, err)
		}
		if _, err := s.Stat(t.Context(), key); !errors.Is(err, object.ErrKey) {
			t.Errorf("Stat(%q): %v, want ErrKey", key, err)
		}
		if r, err := s.GetRange(t.Context(), key, 0, -1); !errors.Is(err, object.ErrKey) {
			t.Errorf("GetRange(%q): %v, want ErrKey", key, err)
			if err == nil {
				_ = r.Close()
			}
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, object.ErrKey) {
			t.Errorf("Delete(%q): %v, want ErrKey", key, err)
		}
	}
}

func testPutAgain(t *testing.T, s object.Store) {
	put(t, s, "a/b", "the same")
	r, err := s.GetRange(t.Context(), "a/b", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "a/b", "the same")
	if got, err := io.ReadAll(r); err != nil || string(got) != "the same" {
		t.Errorf("a reader opened before the second Put reads %q, %v", got, err)
	}
	if got := get(t, s, "a/b", 0, -1); got != "the same" {
		t.Errorf("after the second Put: %q", got)
	}
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("List: %q", got)
	}
	// A second Put that fails leaves the first.
	if err := s.Put(t.Context(), "a/b", strings.NewReader("the"), 8); !errors.Is(err, object.ErrSize) {
		t.Errorf("short second Put: %v", err)
	}
	if got := get(t, s, "a/b", 0, -1); got != "the same" {
		t.Errorf("after the failed Put: %q", got)
	}
}

// orderKeys are hard to order: names that are prefixes of each other, folders beside objects, octets around '/'.
var orderKeys = []string{
	"a-", "a.", "a/b", "a/b-c", "a/c/d", "a0", "aa", "abcdefg-", "abcdefg/x", "abcdefg/y/z", "abcdefg0",
	"abcdefgh-i", "abcdefgh/1", "abcdefgh/2", "abcdefghi", "abcdef/g", "B/1", "B0", "packs/20260130/0194b9a1-0000-7000-8000-000000000000",
	"packs/20260130/0194b9a1-0000-7000-8000-000000000001", "packs/20260130/0194b9a2-0000-7000-8000-000000000000",
	"packs/20260131/0194b9b1-0000-7000-8000-000000000000", "packs/20260201/0194b9c1-0000-7000-8000-000000000000", "z",
}

func fill(t *testing.T, s object.Store) (sorted []string) {
	for _, key := range orderKeys {
		put(t, s, key, key)
	}
	return slices.Sorted(slices.Values(orderKeys))
}

func testListOrder(t *testing.T, s object.Store) {
	sorted := fill(t, s)
	if got := list(t, s, "", ""); !slices.Equal(got, sorted) {
		t.Errorf("List:\n%q, want\n%q", got, sorted)
	}
	prefixes := []string{"", "a", "a/", "ab", "abcdefg", "abcdefg/", "abcdefgh", "packs/", "packs/20260130/", "packs/20260130/0194b9a1", "B", "nothing", "zz"}
	for _, prefix := range prefixes {
		for _, after := range append(sorted, "", "0", "a/", "a/b/", "abcdefg/w", "packs/20260131", "packs/20260131~", "zz") {
			var want []string
			for _, key := range sorted {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			if got := list(t, s, prefix, after); !slices.Equal(got, want) {
				t.Errorf("List(%q, %q):\n%q, want\n%q", prefix, after, got, want)
			}
		}
	}
	for info, err := range s.List(t.Context(), "packs/", "") {
		if err != nil || info.Size != int64(len(info.Key)) || info.Modified.IsZero() {
			t.Errorf("List gives %+v, %v", info, err)
		}
	}
}

func testListPages(t *testing.T, s object.Store) {
	sorted := fill(t, s)
	var got []string
	for after := ""; ; {
		n := 0
		for info, err := range s.List(t.Context(), "", after) {
			if err != nil {
				t.Fatal(err)
			}
			got, after = append(got, info.Key), info.Key
			if n++; n == 3 {
				break
			}
		}
		if n == 0 {
			break
		}
	}
	if !slices.Equal(got, sorted) {
		t.Errorf("pages of three:\n%q, want\n%q", got, sorted)
	}
}

func testListStop(t *testing.T, s object.Store) {
	fill(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs, keys int
	for _, err := range s.List(ctx, "", "") {
		if err != nil {
			errs++
			if !errors.Is(err, context.Canceled) {
				t.Errorf("List after cancel: %v", err)
			}
		} else {
			keys++
		}
	}
	if errs != 1 || keys != 0 {
		t.Errorf("List after cancel gave %d errors and %d keys, want one error", errs, keys)
	}
}

func testReaderFails(t *testing.T, s object.Store) {
	broken := errors.New("sender went away")
	for _, size := range []int64{object.SizeUnknown, 1 << 20} {
		r := io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), failing{broken})
		if err := s.Put(t.Context(), "a/b", r, size); !errors.Is(err, broken) {
			t.Errorf("Put: %v, want the reader's error", err)
		}
		nothing(t, s, "a/b")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testCancelPut(t *testing.T, s object.Store) {
	for _, size := range []int64{object.SizeUnknown, 1 << 30} {
		ctx, cancel := context.WithCancel(t.Context())
		r := &endless{after: 20, then: cancel}
		if err := s.Put(ctx, "a/b", r, size); !errors.Is(err, context.Canceled) {
			t.Errorf("Put: %v, want Canceled", err)
		}
		cancel()
		nothing(t, s, "a/b")
	}
}

// endless gives octets for ever, and calls then after some reads.
type endless struct {
	after int
	then  func()
}

func (e *endless) Read(p []byte) (int, error) {
	if e.after--; e.after == 0 {
		e.then()
	}
	return len(p), nil
}

func testConcurrent(t *testing.T, s object.Store) {
	const workers, each = 8, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				// Folders that come and go under each other's feet, and one key that all put.
				key := fmt.Sprintf("day%d/%d-%d", i%3, w, i)
				content := strings.Repeat(key, 100)
				if err := errors.Join(
					s.Put(t.Context(), key, strings.NewReader(content), int64(len(content))),
					s.Put(t.Context(), "same/key", strings.NewReader("same"), 4),
				); err != nil {
					t.Error(err)
					return
				}
				r, err := s.GetRange(t.Context(), key, 0, -1)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r)
				if err := errors.Join(err, r.Close()); err != nil || string(got) != content {
					t.Errorf("%s reads %d octets, %v", key, len(got), err)
				}
				if i%2 == 0 {
					if err := s.Delete(t.Context(), key); err != nil {
						t.Error(err)
					}
				}
				for _, err := range s.List(t.Context(), "day", "") {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if got, want := len(list(t, s, "", "")), workers*(each/2)+1; got != want {
		t.Errorf("%d objects at the end, want %d", got, want)
	}
}

func testLarge(t *testing.T, s object.Store) {
	const size = 40<<20 + 12345
	table := crc64.MakeTable(crc64.ECMA)
	content := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }
	want := crc64.New(table)
	if err := s.Put(t.Context(), "large", io.TeeReader(content(), want), object.SizeUnknown); err != nil {
		t.Fatal(err)
	}
	r, err := s.GetRange(t.Context(), "large", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := crc64.New(table)
	if n, err := io.Copy(got, r); err != nil || n != size || got.Sum64() != want.Sum64() {
		t.Errorf("read %d octets with sum %x, %v; want %d with %x", n, got.Sum64(), err, int64(size), want.Sum64())
	}
	var whole bytes.Buffer
	if _, err := io.CopyN(&whole, content(), 30<<20+500); err != nil {
		t.Fatal(err)
	}
	if part := get(t, s, "large", 30<<20, 500); part != whole.String()[30<<20:] {
		t.Error("a range of the large object differs")
	}
}
