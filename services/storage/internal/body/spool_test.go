package body

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

func openSpools(t testing.TB, cfg SpoolConfig) *Spools {
	t.Helper()
	cfg.Dir = filepath.Join(t.TempDir(), "spools")
	cfg.Registerer = prometheus.NewRegistry()
	s, err := OpenSpools(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// spool receives content in pieces.
func spool(t testing.TB, spools *Spools, content []byte, piece int) *Spool {
	t.Helper()
	s := spools.New(0)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for rest := content; len(rest) > 0; {
		n, err := s.Write(rest[:min(piece, len(rest))])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	return s
}

func TestSpool(t *testing.T) {
	const memory = 10_000
	spools := openSpools(t, SpoolConfig{Memory: memory, TotalMemory: 4 * memory})
	for _, size := range []int{0, 1, 4095, 4097, memory - 1, memory, memory + 1, 10 * memory} {
		for _, piece := range []int{1, 700, 1 << 20} {
			if piece == 1 && size > memory+1 {
				continue
			}
			t.Run(fmt.Sprintf("%d by %d", size, piece), func(t *testing.T) {
				content := noise(size)
				s := spool(t, spools, content, piece)
				if s.Size() != int64(size) || s.Sum() != xxhash.Sum64(content) {
					t.Errorf("size %d, sum %x", s.Size(), s.Sum())
				}
				if (s.file != nil) != (size > memory) {
					t.Errorf("%d octets in a file: %t", size, s.file != nil)
				}
				if err := iotest.TestReader(s.Reader(), content); err != nil {
					t.Error(err)
				}
				if n, err := s.ReadAt(make([]byte, 10), int64(size)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("ReadAt the end: %d, %v", n, err)
				}
				if _, err := s.ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("ReadAt before the beginning: %v", err)
				}
				files, err := os.ReadDir(spools.cfg.Dir)
				if err != nil || len(files) != 0 {
					t.Errorf("a spool's file has a name: %v, %v", files, err)
				}
			})
		}
	}
	if got := spools.used.Load(); got != 0 {
		t.Errorf("%d octets of memory are held when all spools are closed", got)
	}
	if got := testutil.ToFloat64(spools.files); got != 0 {
		t.Errorf("%v files are held when all spools are closed", got)
	}
}

func TestSpoolsShareMemory(t *testing.T) {
	spools := openSpools(t, SpoolConfig{Memory: 100_000, TotalMemory: 250_000})
	content := noise(100_000)
	var inMemory int
	for range 20 {
		s := spool(t, spools, content, 3000)
		if s.file == nil {
			inMemory++
		}
		if used := spools.used.Load(); used > 250_000 {
			t.Fatalf("%d octets of memory used of 250,000", used)
		}
		if got, err := io.ReadAll(s.Reader()); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("content differs, %v", err)
		}
	}
	if inMemory == 0 || inMemory > 2 {
		t.Errorf("%d of 20 spools in memory", inMemory)
	}
	if got := testutil.ToFloat64(spools.spilled.WithLabelValues("memory")); got != float64(20-inMemory) {
		t.Errorf("%v spilled for want of memory", got)
	}
	if got := testutil.ToFloat64(spools.memory); got != float64(spools.used.Load()) {
		t.Errorf("the gauge says %v, used is %d", got, spools.used.Load())
	}
}

func TestSpoolLimit(t *testing.T) {
	spools := openSpools(t, SpoolConfig{Memory: 1000})
	for _, limit := range []int{500, 5000} {
		s := spools.New(int64(limit))
		if _, err := s.Write(noise(limit)); err != nil {
			t.Errorf("just the limit: %v", err)
		}
		// What came too much stays too much: a shorter piece does not sneak in after a longer one.
		for _, n := range []int{10, 1, 0} {
			if n, err := s.Write(noise(n)); n != 0 || !errors.Is(err, ErrTooLarge) {
				t.Errorf("over the limit: %d, %v", n, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		if _, err := s.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("written after Close: %v", err)
		}
	}
}

func TestSpoolsClearOld(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"spool-123", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := OpenSpools(SpoolConfig{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || files[0].Name() != "other" {
		t.Errorf("left: %v, %v", files, err)
	}
}

// TestMain runs a test's other process when the environment names its directory.
func TestMain(m *testing.M) {
	dir := os.Getenv("YUBIN_TEST_FULL_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := fullDisk(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fullDisk has room for files of 64 KiB only.
func fullDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		return err
	}
	objects, err := object.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		return err
	}
	store, err := NewStore(Config{Objects: objects, LargeBytes: 150_000})
	if err != nil {
		return err
	}
	spools, err := OpenSpools(SpoolConfig{Dir: filepath.Join(dir, "tmp"), Memory: 200_000})
	if err != nil {
		return err
	}
	var spooled []*Pending
	for _, size := range []int{100, 100_000, 160_000} { // small, too much for the disk in a pack, and in its own object
		s := spools.New(0)
		if _, err := s.Write(noise(size)); err != nil {
			return err
		}
		spooled = append(spooled, &Pending{Spool: s})
	}
	for _, bodies := range [][]*Pending{spooled, spooled[:2], spooled[2:]} {
		if _, err := store.Put(context.Background(), bodies); !errors.Is(err, object.ErrFull) {
			return fmt.Errorf("put on a full disk: %w, want ErrFull", err)
		}
	}
	for info, err := range objects.List(context.Background(), "", "") {
		if err != nil {
			return err
		}
		if info.Size > 64<<10 {
			return fmt.Errorf("object of %d octets", info.Size)
		}
	}
	if _, err := store.Put(context.Background(), spooled[:1]); err != nil {
		return fmt.Errorf("put what fits: %w", err)
	}
	s := spools.New(0)
	if _, err := s.Write(noise(300_000)); !errors.Is(err, object.ErrFull) {
		return fmt.Errorf("spool on a full disk: %w, want ErrFull", err)
	}
	return s.Close()
}

func TestFullDisk(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "YUBIN_TEST_FULL_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
