package space

import (
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

type fake struct {
	free  int64
	err   error
	asked int
}

func (f *fake) Free() (int64, error) {
	f.asked++
	return f.free, f.err
}

func TestReserveStaysFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, objects := &fake{free: 1000}, &fake{free: 5000}
		reg := prometheus.NewRegistry()
		g := New(100, []Source{disk, objects}, time.Now, slog.New(slog.DiscardHandler), reg)
		admit := func(n int64, want error) {
			t.Helper()
			if err := g.Admit(n); !errors.Is(err, want) {
				t.Errorf("Admit(%d) = %v, want %v", n, err, want)
			}
		}
		admit(900, nil)
		admit(1, ErrNearlyFull) // what was admitted is not on the disk yet, but it counts
		admit(0, nil)
		if disk.asked != 1 {
			t.Errorf("measured %d times at once", disk.asked)
		}
		disk.free = 99
		time.Sleep(measureEvery)
		admit(0, ErrNearlyFull)
		if n, err := testutil.GatherAndCount(reg, "yubin_storage_free_bytes"); err != nil || n != 1 {
			t.Errorf("there are %d metrics, %v", n, err)
		}
		disk.free = 200
		admit(0, ErrNearlyFull)
		time.Sleep(measureEvery)
		admit(101, ErrNearlyFull)
		admit(100, nil)
		disk.err, objects.err = errors.New("not now"), errors.New("not now")
		time.Sleep(measureEvery)
		admit(1<<40, nil)
	})
}

func TestNoReserve(t *testing.T) {
	g := New(0, []Source{&fake{}}, time.Now, slog.New(slog.DiscardHandler), nil)
	for _, g := range []*Guard{g, nil} {
		if err := g.Admit(math.MaxInt64); err != nil {
			t.Errorf("got %v", err)
		}
	}
}

func TestDisk(t *testing.T) {
	if free, err := Disk(t.TempDir()).Free(); err != nil || free <= 0 {
		t.Errorf("got %d, %v", free, err)
	}
	if _, err := Disk(t.TempDir() + "/missing").Free(); err == nil {
		t.Error("a directory that does not exist has room")
	}
}
