package object_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/yubin-mail/yubin/services/storage/internal/object"
)

// TestMain runs a test's other process when the environment names one.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("YUBIN_TEST_PROCESS") {
	case "":
		os.Exit(m.Run())
	case "writer":
		err = writer(os.Getenv("YUBIN_TEST_DIR"), os.Getenv("YUBIN_TEST_ROUND"))
	case "full":
		err = fullDisk(os.Getenv("YUBIN_TEST_DIR"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func process(t *testing.T, name, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), append(env, "YUBIN_TEST_PROCESS="+name, "YUBIN_TEST_DIR="+dir)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// contentOf a key in the crash test: some are small, some take several writes.
func contentOf(key string) string {
	n := 0
	for _, c := range []byte(key) {
		n = n*31 + int(c)
	}
	return strings.Repeat(key+"\n", 1+n%4000)
}

// writer puts objects until it is killed, and tells each that is durable.
func writer(dir, round string) error {
	d, err := object.OpenDir(dir)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	failed := make(chan error, 4)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("packs/day%d/%s-%d-%d", i/5, round, w, i)
				content := contentOf(key)
				// HalfReader makes many small writes, so that a kill is likely to hit amidst one.
				if err := d.Put(context.Background(), key, iotest.HalfReader(strings.NewReader(content)), int64(len(content))); err != nil {
					failed <- err
					return
				}
				if _, err := os.Stdout.WriteString(key + "\n"); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	return <-failed
}

func TestDirSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := make(map[string]bool)
	const rounds = 8
	for round := range rounds {
		cmd := process(t, "writer", dir, "YUBIN_TEST_ROUND="+strconv.Itoa(round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(60); lines.Scan(); {
			acknowledged[lines.Text()] = true
			if left--; left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		checkAfterCrash(t, dir, acknowledged)
	}
	if len(acknowledged) < rounds {
		t.Fatalf("only %d objects acknowledged in %d rounds", len(acknowledged), rounds)
	}
}

func checkAfterCrash(t *testing.T, dir string, acknowledged map[string]bool) {
	t.Helper()
	d, err := object.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	listed := make(map[string]bool)
	for info, err := range d.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		listed[info.Key] = true
		r, err := d.GetRange(t.Context(), info.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if string(got) != contentOf(info.Key) {
			t.Fatalf("%s is not whole: %d of %d octets", info.Key, len(got), len(contentOf(info.Key)))
		}
	}
	for key := range acknowledged {
		if !listed[key] {
			t.Fatalf("%s was acknowledged and is gone", key)
		}
	}
	if temps, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(temps) != 0 {
		t.Fatalf("%d temporary files left after opening, %v", len(temps), err)
	}
}

// fullDisk has room for files of 64 KiB only.
func fullDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 64 << 10, Max: 64 << 10}); err != nil {
		return err
	}
	d, err := object.OpenDir(dir)
	if err != nil {
		return err
	}
	for _, size := range []int64{object.SizeUnknown, 1 << 20} {
		err := d.Put(context.Background(), "packs/day/large", bytes.NewReader(make([]byte, 1<<20)), size)
		if !errors.Is(err, object.ErrFull) {
			return fmt.Errorf("put over the limit: %w, want ErrFull", err)
		}
	}
	if err := d.Put(context.Background(), "packs/day/small", strings.NewReader("fits"), 4); err != nil {
		return fmt.Errorf("put what fits: %w", err)
	}
	var keys []string
	for info, err := range d.List(context.Background(), "", "") {
		if err != nil {
			return err
		}
		keys = append(keys, info.Key)
	}
	if len(keys) != 1 || keys[0] != "packs/day/small" {
		return fmt.Errorf("list shows %q", keys)
	}
	temps, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		return err
	}
	if len(temps) != 0 {
		return fmt.Errorf("%d temporary files keep the disk full", len(temps))
	}
	return d.Close()
}

func TestDirFull(t *testing.T) {
	if err := process(t, "full", t.TempDir()).Run(); err != nil {
		t.Error(err)
	}
}
